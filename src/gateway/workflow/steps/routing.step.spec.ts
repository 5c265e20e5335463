import { testSettings } from '../../../../test/support/test-settings';
import type { UnknownPricePolicy } from '../../../auth/principal';
import { defaultProfile } from '../../../catalogue/default-profile';
import { pricesJson } from '../../../catalogue/price-json';
import type { FrozenPrice } from '../../../catalogue/price';
import type { PriceBook } from '../../../catalogue/price-book';
import type { Settings } from '../../../platform/config/settings';
import type { Router } from '../../../routing/router';
import { WorkflowContext } from '../workflow.context';
import type { StepOutcome } from '../workflow-step';
import { RoutingStep } from './routing.step';

const PRICED: FrozenPrice = { version: '7', multiplierMillionths: 850_000n } as FrozenPrice;

interface Routed {
  readonly outcome: StepOutcome;
  readonly price: FrozenPrice;
  readonly model: string | undefined;
}

/** The price book knows `priced`; it is asked with the multiplier, and answers with it. */
function stepOf(runMode: Settings['runMode'] = 'standard'): (model: string, caller?: Caller) => Promise<Routed> {
  const prices = {
    priceOf: (model: string, _atMs: number, multiplier: bigint) =>
      model === 'priced' ? { ...PRICED, multiplierMillionths: multiplier } : undefined,
    profileOf: defaultProfile,
  } as unknown as PriceBook;
  const router = { modelOf: (asked: string) => (asked === 'alias' ? 'priced' : asked), plan: () => [] };
  const step = new RoutingStep(router as unknown as Router, prices, testSettings({ runMode }));
  return async (model, { policy = 'reject', multiplier = 1_000_000n, allowed, region } = {}) => {
    const allowedModels = allowed ? new Set(allowed) : null;
    const principal = { unknownPricePolicy: policy, priceMultiplierMillionths: multiplier, allowedModels };
    const context = new WorkflowContext({ principal, receivedAtMs: 0, region } as never);
    context.validation = { request: { model } } as WorkflowContext['validation'];
    const outcome = await step.execute(context);
    const routed = outcome === undefined ? context.routing : undefined;
    return { outcome, price: routed?.price ?? PRICED, model: routed?.model };
  };
}

interface Caller {
  readonly policy?: UnknownPricePolicy;
  readonly multiplier?: bigint;
  readonly allowed?: readonly string[];
  readonly region?: string;
}

describe('the price that is frozen for a call', () => {
  it('is the book’s, times what the caller’s group pays', async () => {
    const { outcome, price } = await stepOf()('priced', { multiplier: 1_200_000n });
    expect([outcome, price]).toMatchObject([undefined, { version: '7', multiplierMillionths: 1_200_000n }]);
  });

  it('is none for a model that has none, where the tenant rejects those', async () => {
    expect((await stepOf()('unpriced')).outcome).toMatchObject({ code: 'MODEL_NOT_PRICED', param: 'model' });
  });

  it('is free of any version where the tenant serves them, and names the caller’s multiplier all the same', async () => {
    const route = stepOf();
    const first = await route('unpriced', { policy: 'free', multiplier: 850_000n });
    expect(first.price.version).toBeNull();
    expect(pricesJson(first.price)).toMatchObject({
      input_uncached: '0',
      output: '0',
      multiplier_millionths: '850000',
    });
    const again = await route('unpriced', { policy: 'free', multiplier: 850_000n });
    expect(again.price).toBe(first.price);
    expect((await route('unpriced', { policy: 'free' })).price.multiplierMillionths).toBe(1_000_000n);
  });

  it('is free where nobody is charged', async () => {
    expect((await stepOf('simple')('unpriced')).price.version).toBeNull();
  });
});

describe('the model that is routed', () => {
  it('is the one that an alias names, at its price', async () => {
    expect(await stepOf()('alias')).toMatchObject({ outcome: undefined, model: 'priced', price: { version: '7' } });
  });

  it.each([
    ['alias', ['alias']],
    ['alias', ['priced']],
    ['priced', ['priced']],
  ])('%s passes a key that may use %j', async (model, allowed) => {
    expect((await stepOf()(model, { allowed })).outcome).toBeUndefined();
  });

  it.each([
    ['alias', ['other']],
    ['priced', ['alias']],
    ['nobody', []],
  ])('%s is refused under its own name to a key that may use %j', async (model, allowed) => {
    expect((await stepOf()(model, { allowed })).outcome).toEqual({
      code: 'MODEL_NOT_ALLOWED',
      param: 'model',
      values: { model },
    });
  });

  it.each(['', 'EU', 'eu west', '-eu', 'a'.repeat(65)])('is refused for the region %j', async (region) => {
    expect((await stepOf()('priced', { region })).outcome).toMatchObject({
      code: 'INVALID_REQUEST',
      param: 'x-tollgate-region',
    });
  });
});
