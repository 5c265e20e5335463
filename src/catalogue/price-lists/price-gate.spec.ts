import type { BucketPrices } from '../price';
import { completePrices } from '../usd-price';
import { gateFindings, type StandingPrice } from './price-gate';
import type { ListedPrice } from './price-list';

const USD = 1_000_000_000n;

type Given = Parameters<typeof completePrices>[0];

const price = (
  given: Partial<Given> = {},
  tiers: readonly (readonly [number, Partial<Given>])[] = [],
  perRequest = 0n,
) => {
  const complete = (some: Partial<Given>): BucketPrices =>
    completePrices({ inputUncached: 2n * USD, output: 8n * USD, ...some });
  return {
    perMillionTokens: complete(given),
    tiers: tiers.map(([aboveInputTokens, of]) => ({ aboveInputTokens, perMillionTokens: complete(of) })),
    perRequestNanoUsd: perRequest,
  } satisfies StandingPrice;
};

const found = (listed: StandingPrice, standing?: StandingPrice): string[] =>
  gateFindings(
    {
      model: 'm',
      ...listed,
      maxOutputTokens: undefined,
      isReasoning: undefined,
      ignored: [],
      isRounded: false,
    } satisfies ListedPrice,
    standing,
  ).map(
    ({ code, bucket, aboveInputTokens }) =>
      `${code} ${bucket}${aboveInputTokens === null ? '' : ` ${aboveInputTokens}`}`,
  );

describe('the gate before an import', () => {
  it('finds nothing in prices as they are, new, the same or a few times what they were', () => {
    expect(found(price())).toEqual([]);
    expect(found(price(), price())).toEqual([]);
    expect(found(price({ inputUncached: 19n * USD, output: 75n * USD }), price())).toEqual([]);
    // The cheapest real one, cached at a tenth.
    expect(found(price({ inputUncached: 5_000_000n, inputCached: 500_000n, output: 20_000_000n }))).toEqual([]);
  });

  it.each<[string, StandingPrice, StandingPrice, string[]]>([
    ['ten times', price({ cacheWrite: 20n * USD }), price({ cacheWrite: 2n * USD }), ['tenfold_up cacheWrite']],
    ['not quite ten times', price({ cacheWrite: 20n * USD - 1n }), price({ cacheWrite: 2n * USD }), []],
    ['a tenth', price({ cacheWrite: USD / 5n }), price({ cacheWrite: 2n * USD }), ['tenfold_down cacheWrite']],
    ['a thousand times', price({ image: 2_000n * USD }), price({ image: 2n * USD }), ['unit_slip image']],
    ['a millionth', price({ image: 2_000n }), price({ image: 2n * USD }), ['unit_slip image']],
    ['a hundred times', price({ image: 200n * USD }), price({ image: 2n * USD }), ['tenfold_up image']],
    ['nothing any more', price({ image: 0n }), price({ image: 2n * USD }), ['became_zero image']],
    ['something at last', price({ image: 2n * USD }), price({ image: 0n }), []],
    ['nothing, as before', price({ output: 0n }), price({ output: 0n }), []],
    ['ten times a request', price({}, [], 10n), price({}, [], 1n), ['tenfold_up per_request']],
    ['no more a request', price({}, [], 0n), price({}, [], 1n), ['became_zero per_request']],
    [
      'ten times in a tier',
      price({}, [[200_000, { image: 30n * USD }]]),
      price({}, [[200_000, { image: 3n * USD }]]),
      ['tenfold_up image 200000'],
    ],
    [
      'ten times in a new tier, beside what such calls cost until now',
      price({}, [[200_000, { image: 30n * USD }]]),
      price({}, [[128_000, { image: 3n * USD }]]),
      ['tenfold_up image 200000'],
    ],
  ])('compares with the price in force: %s', (_, listed, standing, expected) => {
    expect(found(listed, standing)).toEqual(expected);
  });

  it.each<[string, StandingPrice, string[]]>([
    ['input for nothing', price({ inputUncached: 0n, image: 1n, inputCached: 0n }), ['is_zero inputUncached']],
    ['output for nothing', price({ output: 0n }), ['is_zero output']],
    ['cached dearer than not cached', price({ inputCached: 2n * USD + 1n }), ['cached_dearer_than_input inputCached']],
    ['output far below input', price({ output: (2n * USD) / 5n - 1n }), ['output_far_below_input output']],
    ['output a fifth of input', price({ output: (2n * USD) / 5n }), []],
    ['output far above input', price({ output: 200n * USD + 1n }), ['output_far_above_input output']],
    [
      'a price per thousand tokens taken for one per million',
      price({ inputUncached: 150_000n, output: 600_000n }),
      ['beyond_any_price inputUncached', 'beyond_any_price output'],
    ],
    [
      'a price per token taken for one per thousand',
      price({ inputUncached: 2_000n * USD, output: 8_000n * USD }),
      ['beyond_any_price inputUncached', 'beyond_any_price output'],
    ],
    ['the same in a tier', price({}, [[1, { output: 0n }]]), ['is_zero output 1']],
  ])('looks at a new price by itself: %s', (_, listed, expected) => {
    expect(found(listed)).toEqual(expected);
  });
});
