import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import Ajv2020, { type ValidateFunction } from 'ajv/dist/2020';

/** OpenAI's own description of its API, beside the project; data for tests, not part of it. */
const FILE = join(__dirname, '..', '..', '..', 'shared', 'openai', 'openapi.json');

export interface OpenAiSchemas {
  /** What is wrong with the value as a component of this name; empty when it is valid. */
  problemsOf(component: string, value: unknown): readonly string[];
}

/** Undefined where this machine has no description; a suite then says so instead of passing silently. */
export function openAiSchemas(): OpenAiSchemas | undefined {
  if (!existsSync(FILE)) return undefined;
  const document = JSON.parse(readFileSync(FILE, 'utf8')) as { components: object };
  // Only what its keywords mean is checked; formats such as `unixtime` are of the description's own making.
  const ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true });
  ajv.addSchema({ $id: 'openai', components: withNulls(document.components) as object });
  const compiled = new Map<string, ValidateFunction>();
  return {
    problemsOf: (component, value) => {
      const validate = compiled.get(component) ?? ajv.compile({ $ref: `openai#/components/schemas/${component}` });
      compiled.set(component, validate);
      if (validate(value)) return [];
      return (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message ?? ''}`);
    },
  };
}

/** The description calls itself 3.1 but says `nullable` as 3.0 did, which JSON Schema does not know. */
function withNulls(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(withNulls);
  if (typeof schema !== 'object' || schema === null) return schema;
  const { nullable, ...rest } = Object.fromEntries(
    Object.entries(schema).map(([key, value]) => [key, withNulls(value)]),
  );
  return nullable === true
    ? { anyOf: [rest, { type: 'null' }] }
    : { ...rest, ...(nullable === undefined ? {} : { nullable }) };
}
