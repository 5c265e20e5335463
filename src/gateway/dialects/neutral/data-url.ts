import type { NeutralSource } from './neutral-request';

/** `data:<media type>;base64,<data>`; undefined where it is another, or none. */
export function sourceOfDataUrl(url: string): NeutralSource | undefined {
  const comma = url.indexOf(',');
  const [mediaType = '', ...flags] = url.slice('data:'.length, Math.max(comma, 0)).split(';');
  const isBase64 = flags.at(-1)?.trim().toLowerCase() === 'base64';
  if (!url.startsWith('data:') || comma < 0 || mediaType === '' || !isBase64) return undefined;
  return { type: 'base64', mediaType: mediaType.toLowerCase(), data: url.slice(comma + 1) };
}
