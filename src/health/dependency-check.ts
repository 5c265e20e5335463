/** One thing the gateway leans on, as /health shows it. */
export interface DependencyCheck {
  /** Key in the answer. */
  readonly name: string;
  /** Resolves with details worth showing while it works; rejects when it does not. */
  check(): Promise<Readonly<Record<string, unknown>>>;
}

/** Why a check failed, in words that strangers may read: no addresses, no names, no secrets. */
export class PublicReason extends Error {
  override readonly name = 'PublicReason';
}
