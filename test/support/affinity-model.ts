import type { AffinityState } from '../../src/routing/affinity/affinity-machine';

/** One session of the model; undefined is none. */
export interface ModelSession {
  readonly state: Exclude<AffinityState, 'none'>;
  readonly upstream: string;
  readonly choice: string;
  readonly successCount: number;
}

/**
 * What Redis should say of one session: the same machine (src/routing/affinity/affinity-machine.ts), written anew and in one
 * place, to hold the scripts against.
 */
export class AffinityModel {
  session: ModelSession | undefined;

  /** @returns the choice by which the call goes. */
  choose(own: string, candidates: readonly string[]): { readonly upstream: string; readonly choice: string } {
    const { session } = this;
    if (session && session.state !== 'failed' && candidates.includes(session.upstream)) return session;
    const avoided = session?.state === 'failed' ? session.upstream : undefined;
    const upstream = candidates.find((candidate) => candidate !== avoided) ?? avoided ?? '';
    this.session = { state: 'pending', upstream, choice: own, successCount: 0 };
    return this.session;
  }

  confirm(upstream: string, choice: string, own: string): void {
    const { session } = this;
    if (session?.upstream === upstream) {
      if (session.state === 'failed') return;
      this.session = { ...session, state: 'active', successCount: session.successCount + 1 };
    } else if (!session || session.choice === choice) {
      this.session = { state: 'active', upstream, choice: own, successCount: 1 };
    }
  }

  fail(upstream: string, choice: string): void {
    const { session } = this;
    if (session?.upstream !== upstream || session.choice !== choice) return;
    this.session = { ...session, state: 'failed', successCount: 0 };
  }

  /** Time passed: a session without a success, or a failure. */
  expire(): void {
    this.session = undefined;
  }
}
