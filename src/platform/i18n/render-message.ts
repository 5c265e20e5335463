import type { Refusal } from '../../kernel/errors';
import { LOCALES, MESSAGES, type Locale } from './messages';

const OPTIONAL_PART = /\[([^\]]*)\]/g;
const PLACEHOLDER = /\{([a-z_]+)\}/g;
/** A value may come from the caller; a message stays a line. */
const MAX_VALUE_LENGTH = 300;

/** The refusal in the caller's language. */
export function renderMessage(refusal: Refusal, locale: Locale): string {
  const values = valuesOf(refusal);
  return MESSAGES[refusal.code][locale].replace(OPTIONAL_PART, (_, part: string) => {
    const isComplete = [...part.matchAll(PLACEHOLDER)].every(([, name = '']) => values.has(name));
    return isComplete ? part.replace(PLACEHOLDER, (_placeholder, name: string) => values.get(name) ?? '') : '';
  });
}

function valuesOf(refusal: Refusal): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  const set = (name: string, value: string | number | undefined): void => {
    if (value !== undefined) values.set(name, shorten(String(value)));
  };
  set('param', refusal.param);
  set('resets_at', refusal.windowResetsAt?.toISOString());
  set(
    'retry_after_seconds',
    refusal.retryAfterMs === undefined ? undefined : Math.max(1, Math.ceil(refusal.retryAfterMs / 1000)),
  );
  for (const [name, value] of Object.entries(refusal.values ?? {})) set(name, value);
  return values;
}

function shorten(text: string): string {
  return text.length <= MAX_VALUE_LENGTH ? text : `${text.slice(0, MAX_VALUE_LENGTH)}…`;
}

/** The first language of an Accept-Language header that we speak, by its weights; en-US where there is none. */
export function localeOf(acceptLanguage: string | undefined): Locale {
  if (acceptLanguage === undefined || acceptLanguage === '') return 'en-US';
  const wishes = acceptLanguage
    .slice(0, 1_000)
    .split(',')
    .map((part) => {
      const [language = '', ...parameters] = part.trim().split(';');
      const weight = parameters.map((text) => /^\s*q=([01](?:\.\d{0,3})?)\s*$/.exec(text)?.[1]).find(Boolean);
      return { language: language.trim().toLowerCase(), weight: Number(weight ?? 1) };
    })
    .filter(({ weight }) => weight > 0)
    .sort((a, b) => b.weight - a.weight);
  for (const { language } of wishes) {
    const locale = LOCALES.find((known) => known.slice(0, 2) === language.split('-')[0]);
    if (locale) return locale;
  }
  return 'en-US';
}
