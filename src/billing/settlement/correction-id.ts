import { v5 } from 'uuid';

/** Ids of late-settle corrections derive from the charge's id, so that booking one twice collides. */
const CORRECTION_NAMESPACE = '6f1c2a9e-6b5d-4a57-9a0e-0d7f0e9a4b11';

export function correctionIdOf(chargeId: string): string {
  return v5(chargeId, CORRECTION_NAMESPACE);
}

export function correctionTraceIdOf(traceId: string): string {
  return v5(traceId, CORRECTION_NAMESPACE);
}
