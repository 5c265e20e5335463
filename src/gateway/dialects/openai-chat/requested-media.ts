import { type Refusal } from '../../../kernel/errors';
import { invalid } from '../invalid-request';
import { isObject, type JsonObject } from '../../../kernel/json-object';
import { isAbsent, isArray } from '../json-value';

/** What the answer may consist of beside text: each has a price of its own. */
export interface RequestedMedia {
  readonly asksForAudio: boolean;
  readonly asksForImages: boolean;
}

/** By `modalities` and by `audio` (voice and format), of which some providers need only one. */
export function requestedMedia(body: JsonObject): RequestedMedia {
  const asked = isArray(body.modalities) ? body.modalities.map(normalised) : [];
  return {
    asksForAudio: asked.includes('audio') || !isAbsent(body.audio),
    asksForImages: asked.includes('image'),
  };
}

/** Only the shape: which media there are is the provider's to judge. */
export function checkRequestedMedia({ modalities, audio }: JsonObject): Refusal | undefined {
  if (!isAbsent(audio) && !isObject(audio)) return invalid('audio', 'must be an object');
  if (isAbsent(modalities)) return undefined;
  if (!isArray(modalities)) return invalid('modalities', 'must be an array');
  const odd = modalities.findIndex((modality) => typeof modality !== 'string');
  return odd < 0 ? undefined : invalid(`modalities[${odd}]`, 'must be a string');
}

/** Providers differ in how strictly they read the names. */
function normalised(modality: unknown): unknown {
  return typeof modality === 'string' ? modality.trim().toLowerCase() : modality;
}
