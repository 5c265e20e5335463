import { createHash } from 'node:crypto';
import { defaultOutputReserveTokens } from '../default-profile';
import { type ModelProfile, TOKEN_BUCKETS } from '../price';
import { tiersJson } from '../price-json';
import { type GateFinding, gateFindings, type StandingPrice } from './price-gate';
import type { ListedPrice } from './price-list';

/** What is known of a model now: the version in force, if any, and its profile. */
export interface Standing {
  readonly price: (StandingPrice & { readonly version: string }) | undefined;
  readonly profile: ModelProfile;
}

/** What an import would do with one model of a list. */
export interface ModelDiff {
  readonly model: string;
  readonly status: 'added' | 'changed' | 'unchanged';
  readonly listed: ListedPrice;
  readonly standing: Standing;
  readonly isPriceNew: boolean;
  /** As it would be; the very same as it is where the list says nothing new. */
  readonly profile: ModelProfile;
  readonly findings: readonly GateFinding[];
}

export function diffOf(listed: ListedPrice, standing: Standing): ModelDiff {
  const isPriceNew = !standing.price || !isSamePrice(listed, standing.price);
  const profile = listedProfile(listed, standing.profile);
  const isUnchanged = !isPriceNew && profile === standing.profile;
  return {
    model: listed.model,
    status: standing.price ? (isUnchanged ? 'unchanged' : 'changed') : 'added',
    listed,
    standing,
    isPriceNew,
    profile,
    findings: isPriceNew ? gateFindings(listed, standing.price) : [],
  };
}

/**
 * Names what an import would write, and over what: whoever sends it has looked at exactly this. Another where the list,
 * the book or a profile has changed since.
 */
export function digestOf(source: string, diffs: readonly ModelDiff[]): string {
  const hash = createHash('sha256').update(source);
  for (const diff of diffs) if (diff.status !== 'unchanged') hash.update(`\n${JSON.stringify(written(diff))}`);
  return hash.digest('hex');
}

function written({ model, listed, standing, isPriceNew, profile }: ModelDiff): unknown {
  const price = isPriceNew
    ? [
        ...tiersJson([{ aboveInputTokens: 0, perMillionTokens: listed.perMillionTokens }, ...listed.tiers]),
        listed.perRequestNanoUsd.toString(),
      ]
    : null;
  return [model, standing.price?.version ?? null, price, facts(standing.profile), facts(profile)];
}

function facts(profile: ModelProfile): unknown {
  const { isReasoning, defaultOutputReserveTokens: reserve, maxOutputTokens, tokensPerImage } = profile;
  return [isReasoning, reserve, maxOutputTokens, tokensPerImage];
}

function isSamePrice(a: StandingPrice, b: StandingPrice): boolean {
  const levelsOf = ({ perMillionTokens, tiers }: StandingPrice) => [
    { aboveInputTokens: 0, perMillionTokens },
    ...tiers,
  ];
  const [ofA, ofB] = [levelsOf(a), levelsOf(b)];
  return (
    a.perRequestNanoUsd === b.perRequestNanoUsd &&
    ofA.length === ofB.length &&
    ofA.every((level, at) => {
      const other = ofB[at];
      return (
        level.aboveInputTokens === other?.aboveInputTokens &&
        TOKEN_BUCKETS.every((bucket) => level.perMillionTokens[bucket] === other.perMillionTokens[bucket])
      );
    })
  );
}

function listedProfile({ maxOutputTokens, isReasoning }: ListedPrice, profile: ModelProfile): ModelProfile {
  const becomesReasoning = isReasoning ?? profile.isReasoning;
  const ceiling = maxOutputTokens ?? profile.maxOutputTokens;
  if (becomesReasoning === profile.isReasoning && ceiling === profile.maxOutputTokens) return profile;
  return {
    ...profile,
    isReasoning: becomesReasoning,
    maxOutputTokens: ceiling,
    defaultOutputReserveTokens:
      becomesReasoning === profile.isReasoning
        ? profile.defaultOutputReserveTokens
        : defaultOutputReserveTokens(becomesReasoning),
  };
}
