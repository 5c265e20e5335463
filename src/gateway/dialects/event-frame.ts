import type { JsonObject } from '../../kernel/json-object';

/** A frame of a dialect whose frames have names: the event's own `type`, as Anthropic and the Responses API have it. */
export function renderEvent(event: JsonObject): string {
  return `event: ${String(event.type)}\ndata: ${JSON.stringify(event)}\n\n`;
}
