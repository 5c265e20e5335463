import type { FrozenPrice } from '../../../src/catalogue/price';
import { pricesJson } from '../../../src/catalogue/price-json';
import type { HoldRequest } from '../../../src/quota/quota-store.port';
import type { CallerLimits } from '../../../src/quota/scopes/caller-limits';
import { holdRequest, ONE_NANO_A_TOKEN } from '../../support/money-harness';
import type { Ask } from './decide';
import type { Caller } from './limits';
import {
  callerLimits,
  callersOf,
  type LimitName,
  type LimitSettings,
  type Names,
  newNames,
  type Scenario,
} from './scenario';

/** Input costs nothing, an output token one nano-USD: tokens and amounts are two numbers. */
export const OUTPUT_ALONE: FrozenPrice = {
  ...ONE_NANO_A_TOKEN,
  perMillionTokens: { ...ONE_NANO_A_TOKEN.perMillionTokens, inputUncached: 0n },
};

/** Who calls in one run, under limits that change, for the model and for the product. */
export class Callers {
  private readonly names: Names;
  private readonly limits = new Map<Caller, CallerLimits>();
  private settings: LimitSettings;
  private callers: readonly Caller[];

  constructor(
    readonly tenantId: string,
    readonly scene: Scenario,
  ) {
    this.names = newNames();
    this.settings = scene.limits;
    this.callers = callersOf(this.names, scene, this.settings);
  }

  ask(callerAt: number, amount: number, tokens: number): Ask {
    const caller = this.callers[callerAt % this.callers.length];
    if (!caller) throw new Error('there are no callers');
    return { caller, amount: BigInt(amount), tokens };
  }

  /** Undefined is unlimited from now on. */
  setLimit(name: LimitName, value: number | undefined): void {
    const { [name]: before, ...others } = this.settings;
    if (value === before) return;
    this.settings = value === undefined ? others : { ...others, [name]: value };
    this.callers = callersOf(this.names, this.scene, this.settings);
  }

  /** A call of its own. The limits of one caller are one object, as the cache of keys has it. */
  requestOf({ caller, amount, tokens }: Ask): HoldRequest {
    let limits = this.limits.get(caller);
    if (!limits) {
      limits = callerLimits(this.tenantId, caller);
      this.limits.set(caller, limits);
    }
    const request = holdRequest(limits, amount, { tokens });
    return { ...request, pending: { ...request.pending, prices: pricesJson(OUTPUT_ALONE) } };
  }
}
