/** What one invariant of money.md came to. Tolerance is zero; examples are bounded. */
export interface InvariantResult {
  readonly id: 'I1' | 'I2' | 'I3' | 'I4' | 'I5' | 'I6' | 'I8';
  readonly states: string;
  readonly verdict: 'holds' | 'violated' | 'in_motion' | 'unknown';
  /** How many rows, accounts or tenants were looked at. */
  readonly checked: number;
  readonly violations: number;
  readonly examples: readonly string[];
}

export const MAX_EXAMPLES = 10;
