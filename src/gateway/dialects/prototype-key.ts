import { isObject, type JsonObject } from '../../kernel/json-object';
import { type TopLevel } from './top-level-scan';

const NAME = Buffer.from('__proto__');
const QUOTE = 0x22;
const COLON = 0x3a;

/**
 * Whether any object in the body has a key `__proto__`. Talking about it in a string is fine: there the quotes are
 * escaped, or no colon follows. A name written with escapes is looked for in the parsed value.
 */
export function hasPrototypeKey(raw: Buffer, body: JsonObject, layout: TopLevel): boolean {
  for (let at = raw.indexOf(NAME); at >= 0; at = raw.indexOf(NAME, at + 1)) {
    let next = at + NAME.length;
    if (raw[at - 1] !== QUOTE || raw[next++] !== QUOTE) continue;
    while (isWhitespace(raw[next])) next++;
    if (raw[next] === COLON) return true;
  }
  return layout.hasEscapedKeys && hasKeyBelow(body);
}

function hasKeyBelow(root: JsonObject): boolean {
  const open: object[] = [root];
  for (let value = open.pop(); value !== undefined; value = open.pop()) {
    if (isObject(value) && Object.hasOwn(value, '__proto__')) return true;
    for (const child of Object.values(value) as unknown[]) {
      if (typeof child === 'object' && child !== null) open.push(child);
    }
  }
  return false;
}

function isWhitespace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}
