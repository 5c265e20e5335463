/** One thing the gateway leans on, as /health shows it. */
export interface DependencyCheck {
  /** Key in the answer. */
  readonly name: string;
  /** Resolves with details worth showing while it works; rejects when it does not. */
  check(): Promise<Readonly<Record<string, unknown>>>;
}
