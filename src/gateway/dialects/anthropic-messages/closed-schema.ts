import { isObject, type JsonObject } from '../../../kernel/json-object';
import { isArray } from '../json-value';

/** Keywords whose value is a schema, a list of schemas, or schemas by name. */
const ONE = ['items', 'additionalItems', 'contains', 'not', 'if', 'then', 'else', 'propertyNames'];
const LISTED = ['anyOf', 'oneOf', 'allOf', 'prefixItems'];
const NAMED = ['properties', 'patternProperties', '$defs', 'definitions', 'dependentSchemas'];

/**
 * Whether every object in a JSON schema names all it may hold and needs all it names: OpenAI holds its models strictly to
 * such schemas only, Anthropic to others too.
 */
export function isClosedSchema(schema: JsonObject): boolean {
  if (isOfObjects(schema)) {
    const names = Object.keys(isObject(schema.properties) ? schema.properties : {});
    const required = isArray(schema.required) ? schema.required : [];
    if (schema.additionalProperties !== false || names.some((name) => !required.includes(name))) return false;
  }
  return schemasIn(schema).every(isClosedSchema);
}

/**
 * The schema with every object closed that allows further properties without a word: Anthropic takes no other. An answer
 * without them is right by the schema as it was, too.
 */
export function closedSchema(schema: JsonObject): JsonObject {
  const closed: Record<string, unknown> = { ...schema };
  for (const key of ONE) {
    const value = schema[key];
    if (isObject(value)) closed[key] = closedSchema(value);
  }
  for (const key of LISTED) {
    const value = schema[key];
    if (isArray(value)) closed[key] = value.map(closedOrAsIs);
  }
  for (const key of NAMED) {
    const value = schema[key];
    if (!isObject(value)) continue;
    closed[key] = Object.fromEntries(Object.entries(value).map(([name, named]) => [name, closedOrAsIs(named)]));
  }
  if (isOfObjects(schema) && schema.additionalProperties === undefined) closed.additionalProperties = false;
  return closed;
}

function isOfObjects({ type, properties }: JsonObject): boolean {
  return type === 'object' || isObject(properties) || (isArray(type) && type.includes('object'));
}

function schemasIn(schema: JsonObject): readonly JsonObject[] {
  const listed = LISTED.flatMap((key) => (isArray(schema[key]) ? schema[key] : []));
  const named = NAMED.flatMap((key) => (isObject(schema[key]) ? Object.values(schema[key]) : []));
  return [...ONE.map((key) => schema[key]), ...listed, ...named].filter(isObject);
}

function closedOrAsIs(value: unknown): unknown {
  return isObject(value) ? closedSchema(value) : value;
}
