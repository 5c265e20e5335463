/** Fields that are never written, wherever they appear in the first levels of what is logged. */
const SECRET_FIELDS = [
  'authorization',
  'Authorization',
  'cookie',
  'set-cookie',
  'x-api-key',
  'api_key',
  'apiKey',
  'key',
  'password',
  'secret',
  'adminToken',
  'keyPepper',
  'encryptionKey',
  'databaseUrl',
  'redisUrl',
  // What tenants say to models, and models to them.
  'prompt',
  'prompts',
  'messages',
  'content',
  'input',
];

const DEPTH = 4;

/** pino's paths: each field at the top and under any parent, down to DEPTH levels. */
export const REDACTED_PATHS: readonly string[] = SECRET_FIELDS.flatMap((field) =>
  Array.from({ length: DEPTH }, (_, level) => {
    const quoted = `["${field}"]`;
    return level === 0 ? quoted : `${Array.from({ length: level }, () => '*').join('.')}${quoted}`;
  }),
);
