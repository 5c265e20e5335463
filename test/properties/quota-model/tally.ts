import { REFUSAL_CODES } from './limits';

/** How often each command ran and each code refused, so that a suite that proves less than it seems shows it. */
export class Tally {
  private readonly counts = new Map<string, number>();

  constructor(expected: readonly string[]) {
    for (const what of expected) this.counts.set(what, 0);
  }

  count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }

  get missing(): readonly string[] {
    return [...this.counts].filter(([, times]) => times === 0).map(([what]) => what);
  }

  of(what: string): number {
    return this.counts.get(what) ?? 0;
  }

  toString(): string {
    return [...this.counts].map(([what, times]) => `${what} ${times}`).join(', ');
  }
}

/** Limits that only Redis keeps. */
const ROLLING_CODES: readonly string[] = [
  'TENANT_RPM_EXCEEDED',
  'TENANT_TPM_EXCEEDED',
  'GROUP_RPM_EXCEEDED',
  'USER_RPM_EXCEEDED',
];

export function codesOf(kind: 'redis' | 'postgres'): readonly string[] {
  return REFUSAL_CODES.filter((code) => kind === 'redis' || !ROLLING_CODES.includes(code));
}
