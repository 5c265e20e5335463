import { NO_TOKENS, type FrozenPrice } from '../catalogue/price';
import { pricesJson } from '../catalogue/price-json';
import { checkpointOf } from '../billing/writer/checkpoint';
import { nanoUsd } from '../kernel/money';
import { type ChargeRow, SWEPT_VOID, sweptEnding } from './swept-ending';

const each = (price: bigint): FrozenPrice['perMillionTokens'] => ({
  ...{ inputUncached: price, inputCached: price, cacheWrite: price, output: 4n * price },
  ...{ reasoning: 4n * price, audio: price, image: price },
});

/** 1 nano-USD an input token, 3 above 100 of them; one half more for this caller, and 7 a request. */
const PRICE: FrozenPrice = {
  version: '5',
  perMillionTokens: each(1_000_000n),
  tiers: [{ aboveInputTokens: 100, perMillionTokens: each(3_000_000n) }],
  perRequestNanoUsd: nanoUsd(7n),
  multiplierMillionths: 1_500_000n,
};

const row = (fields: Partial<ChargeRow>): ChargeRow => ({
  id: 'charge',
  tenant_id: 'tenant',
  status: 'PENDING',
  credit_limit_nano_usd: '0',
  price_version: '5',
  prices: JSON.parse(JSON.stringify(pricesJson(PRICE))) as unknown,
  checkpoint: null,
  input_tokens_estimate: '101',
  ...fields,
});

const delivered = (inputUncached: number, output: number): unknown =>
  checkpointOf({
    tokens: { ...NO_TOKENS, inputUncached, output },
    method: 'estimated',
    servedBy: { upstreamId: 'u', upstreamName: 'upstream', providerName: 'provider' },
    upstreamCost: nanoUsd(0n),
    houseCosts: [],
  });

describe('the ending of a dead process’ charge', () => {
  it.each([
    // (100 + 2 × 4 + 7) × 1.5 = 172.5; (101 × 3 + 2 × 12 + 7) × 1.5 = 501
    ['the price frozen in its row', 100, 173n],
    ['the tier that its input reached', 101, 501n],
  ])('costs what its checkpoint says was delivered, by %s', (_, input, amount) => {
    const ending = sweptEnding(row({ checkpoint: delivered(input, 2) }), 'void');
    expect(ending).toMatchObject({ is_commit: true, amount_nano_usd: amount.toString(), tokens_output: 2 });
  });

  it('costs its input as it was estimated, or nothing, as the policy says, where nothing is known to be delivered', () => {
    // (101 × 3 + 7) × 1.5
    expect(sweptEnding(row({}), 'charge_input')).toMatchObject({ is_commit: true, amount_nano_usd: '465' });
    expect(sweptEnding(row({}), 'void')).toBe(SWEPT_VOID);
  });

  it('costs nothing where its prices cannot be read', () => {
    const prices = { ...pricesJson(PRICE), tiers: [{ above_input_tokens: 100 }] };
    expect(sweptEnding(row({ prices, checkpoint: delivered(100, 2) }), 'charge_input')).toBe(SWEPT_VOID);
  });
});
