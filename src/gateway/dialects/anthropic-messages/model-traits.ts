/** What models of Anthropic take, by their version; it grew with each, and nothing but the name tells. */
export interface ModelTraits {
  /** `thinking: adaptive` with an effort in place of a budget; the newest refuse a budget. */
  readonly thinksAdaptively: boolean;
  readonly knowsXhighEffort: boolean;
  /** Temperature and its kin, other than their defaults. */
  readonly takesSampling: boolean;
  /** Messages of role system in the middle of a conversation. */
  readonly takesSystemMessages: boolean;
  /** Answers and tool input held to a schema. */
  readonly holdsToSchemas: boolean;
}

/** A name without a version (a provider's own) is of a model that was there before what only newer ones take. */
const UNKNOWN = { major: 4, minor: 5 };
/** Families that began with this version. */
const NEW_FAMILIES = /claude-(?:fable|mythos)/;

/**
 * `claude-sonnet-4-6`, `claude-opus-4-20250514`, `claude-3-7-sonnet-latest`, `anthropic/claude-sonnet-4.5`,
 * `anthropic.claude-opus-4-8-v1:0`: the first number is the major version, the second, unless it is a date, the minor.
 */
export function traitsOf(model: string): ModelTraits {
  const { major, minor } = versionOf(model);
  const isAtLeast = (wantedMajor: number, wantedMinor: number): boolean =>
    major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
  return {
    thinksAdaptively: isAtLeast(4, 6),
    knowsXhighEffort: isAtLeast(4, 7),
    takesSampling: !isAtLeast(4, 7),
    takesSystemMessages: isAtLeast(4, 8),
    holdsToSchemas: isAtLeast(4, 5) || /opus-4[-.]1/.test(model),
  };
}

function versionOf(model: string): { readonly major: number; readonly minor: number } {
  const version = /claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)/.exec(model);
  if (version) return { major: Number(version[1]), minor: Number(version[2] ?? 0) };
  return NEW_FAMILIES.test(model) ? { major: 5, minor: 0 } : UNKNOWN;
}
