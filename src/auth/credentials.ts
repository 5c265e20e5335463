export const API_KEY_PREFIX = 'sk-tg-';

/** No key is longer; what is longer is refused before it is hashed. */
const MAX_KEY_LENGTH = 256;
const BEARER = /^bearer +(\S+) *$/i;

export interface CredentialHeaders {
  readonly authorization?: string | undefined;
  readonly 'x-api-key'?: string | undefined;
}

/**
 * The API key of a request, or undefined. OpenAI clients send `Authorization: Bearer`, Anthropic clients `x-api-key`;
 * both count on every route. Where both are sent the first that looks like a key of ours wins: some clients fill the
 * other header with a placeholder.
 */
export function extractApiKey(headers: CredentialHeaders): string | undefined {
  const authorization = headers.authorization;
  if (authorization !== undefined && authorization.length <= MAX_KEY_LENGTH + 'Bearer '.length) {
    const token = BEARER.exec(authorization)?.[1];
    if (token?.startsWith(API_KEY_PREFIX)) return token;
  }
  const apiKey = headers['x-api-key'];
  if (apiKey !== undefined && apiKey.length <= MAX_KEY_LENGTH && apiKey.startsWith(API_KEY_PREFIX)) return apiKey;
  return undefined;
}
