import { type BucketPrices, TOKEN_BUCKETS, type TokenBucket } from '../../../catalogue/price';
import type { ModelDiff } from '../../../catalogue/price-lists/price-diff';
import type { GateFinding, StandingPrice } from '../../../catalogue/price-lists/price-gate';
import type { PriceList } from '../../../catalogue/price-lists/price-list';
import { nanoUsd, toDecimalUsd } from '../../../kernel/money';
import { renderProfile } from '../price-rendering';
import type { PriceChangeDto, PriceFindingDto, PreviewedModelDto, PricePreviewDto } from './price-import.dto';

/** As the prices of the control plane call them. */
const NAMES: Readonly<Record<TokenBucket | 'per_request', string>> = {
  inputUncached: 'input',
  inputCached: 'cached_input',
  cacheWrite: 'cache_write',
  output: 'output',
  reasoning: 'reasoning',
  audio: 'audio',
  image: 'image',
  per_request: 'per_request',
};

const RATIO_DECIMALS = 4;

export function renderPreview(list: PriceList, diffs: readonly ModelDiff[], digest: string): Readonly<PricePreviewDto> {
  const withStatus = (status: ModelDiff['status']): readonly ModelDiff[] =>
    diffs.filter((diff) => diff.status === status);
  const unchanged = withStatus('unchanged').map(({ model }) => model);
  return {
    object: 'price_preview',
    source: list.name,
    digest,
    counts: {
      added: withStatus('added').length,
      changed: withStatus('changed').length,
      unchanged: unchanged.length,
      skipped: list.skipped.length,
      found: diffs.filter(({ findings }) => findings.length > 0).length,
    },
    models: diffs.filter(({ status }) => status !== 'unchanged').map(renderDiff),
    unchanged,
    skipped: list.skipped.map(({ model, reason, field }) => ({ model, reason, field: field ?? null })),
  };
}

function renderDiff({
  model,
  status,
  listed,
  standing,
  isPriceNew,
  profile,
  findings,
}: ModelDiff): Readonly<PreviewedModelDto> {
  return {
    model,
    status,
    changes: isPriceNew ? changesOf(standing.price, listed) : [],
    findings: findings.map(renderFinding),
    profile: renderProfile(profile),
    ignored: listed.ignored,
    is_rounded: listed.isRounded,
  };
}

function changesOf(before: StandingPrice | undefined, after: StandingPrice): Readonly<PriceChangeDto>[] {
  const levels = [null, ...thresholdsOf(before, after)];
  const changes = levels.flatMap((aboveInputTokens) => {
    const [old, listed] = [pricesAt(before, aboveInputTokens), pricesAt(after, aboveInputTokens)];
    return TOKEN_BUCKETS.filter((bucket) => old?.[bucket] !== listed?.[bucket]).map((bucket) =>
      renderChange(bucket, aboveInputTokens, old?.[bucket], listed?.[bucket]),
    );
  });
  const [old, listed] = [before?.perRequestNanoUsd, after.perRequestNanoUsd];
  return old === listed ? changes : [...changes, renderChange('per_request', null, old, listed)];
}

function thresholdsOf(...prices: readonly (StandingPrice | undefined)[]): number[] {
  const all = prices.flatMap((price) => price?.tiers ?? []).map(({ aboveInputTokens }) => aboveInputTokens);
  return [...new Set(all)].sort((a, b) => a - b);
}

function pricesAt(price: StandingPrice | undefined, aboveInputTokens: number | null): BucketPrices | undefined {
  if (aboveInputTokens === null) return price?.perMillionTokens;
  return price?.tiers.find((tier) => tier.aboveInputTokens === aboveInputTokens)?.perMillionTokens;
}

function renderChange(
  bucket: TokenBucket | 'per_request',
  aboveInputTokens: number | null,
  before: bigint | undefined,
  after: bigint | undefined,
): Readonly<PriceChangeDto> {
  return {
    bucket: NAMES[bucket],
    above_input_tokens: aboveInputTokens,
    before_usd: usdOrNull(before),
    after_usd: usdOrNull(after),
    ratio: ratioOf(before, after),
  };
}

function renderFinding({ code, bucket, aboveInputTokens, before, after }: GateFinding): Readonly<PriceFindingDto> {
  return {
    code,
    bucket: NAMES[bucket],
    above_input_tokens: aboveInputTokens,
    before_usd: usdOrNull(before ?? undefined),
    after_usd: toDecimalUsd(nanoUsd(after)),
  };
}

function ratioOf(before: bigint | undefined, after: bigint | undefined): string | null {
  if (before === undefined || before === 0n || after === undefined) return null;
  const scale = 10n ** BigInt(RATIO_DECIMALS);
  const scaled = (after * scale) / before;
  return `${scaled / scale}.${(scaled % scale).toString().padStart(RATIO_DECIMALS, '0')}`;
}

function usdOrNull(price: bigint | undefined): string | null {
  return price === undefined ? null : toDecimalUsd(nanoUsd(price));
}
