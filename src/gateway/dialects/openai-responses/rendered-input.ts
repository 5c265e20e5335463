import type { JsonObject } from '../../../kernel/json-object';
import type {
  NeutralAssistantPart,
  NeutralAudio,
  NeutralDocument,
  NeutralImage,
  NeutralMessage,
  NeutralSource,
  NeutralText,
  NeutralToolResult,
  NeutralUserPart,
} from '../neutral/neutral-request';

type SentPart = Exclude<NeutralUserPart, NeutralToolResult | NeutralAudio>;

/** The part of a conversation that this API cannot take; undefined where it can take all. */
export function unsaidPart(messages: readonly NeutralMessage[]): NeutralAudio | undefined {
  for (const { role, content } of messages) {
    const recording = role === 'user' ? content.find((part) => part.type === 'audio') : undefined;
    if (recording) return recording;
  }
  return undefined;
}

/**
 * A conversation as items. Left out: thoughts without a proof, which no provider of this dialect takes back, and that a
 * tool's output tells of an error, which its text says too.
 */
export function renderInput(messages: readonly NeutralMessage[]): readonly JsonObject[] {
  const customCalls = new Set<string>();
  return messages.flatMap((message) => {
    switch (message.role) {
      case 'system':
        return [{ type: 'message', role: 'system', content: message.content.map(renderPart) }];
      case 'user':
        return renderUser(message.content, customCalls);
      case 'assistant':
        return message.content.flatMap((part) => renderAssistantPart(part, customCalls));
    }
  });
}

function renderUser(content: readonly NeutralUserPart[], customCalls: ReadonlySet<string>): readonly JsonObject[] {
  const items: JsonObject[] = [];
  let parts: JsonObject[] = [];
  const endMessage = (): void => {
    if (parts.length > 0) items.push({ type: 'message', role: 'user', content: parts });
    parts = [];
  };
  for (const part of content) {
    if (part.type === 'tool_result') {
      endMessage();
      items.push(renderResult(part, customCalls.has(part.callId)));
    } else if (part.type !== 'audio') {
      parts.push(renderPart(part));
    }
  }
  endMessage();
  return items;
}

function renderResult({ callId, content }: NeutralToolResult, isCustom: boolean): JsonObject {
  const [first] = content;
  const output = content.length === 1 && first?.type === 'text' ? first.text : content.map(renderPart);
  return {
    type: isCustom ? 'custom_tool_call_output' : 'function_call_output',
    call_id: callId,
    output: content.length === 0 ? '' : output,
  };
}

function renderAssistantPart(part: NeutralAssistantPart, customCalls: Set<string>): readonly JsonObject[] {
  switch (part.type) {
    case 'text':
      // Parts of an answer have ids in this API, a plain text has none.
      return [{ type: 'message', role: 'assistant', content: part.text }];
    case 'refusal':
      return [{ type: 'message', role: 'assistant', content: [{ type: 'refusal', refusal: part.text }] }];
    case 'reasoning': {
      if (part.signature === undefined) return [];
      const summary = part.text === '' ? [] : [{ type: 'summary_text', text: part.text }];
      const id = part.id === undefined ? {} : { id: part.id };
      return [{ type: 'reasoning', ...id, summary, encrypted_content: part.signature }];
    }
    case 'tool_call': {
      const { callId: call_id, name, arguments: written } = part;
      if (part.kind === 'function') return [{ type: 'function_call', call_id, name, arguments: written }];
      customCalls.add(call_id);
      return [{ type: 'custom_tool_call', call_id, name, input: written }];
    }
  }
}

function renderPart(part: SentPart): JsonObject {
  switch (part.type) {
    case 'text':
      return renderText(part);
    case 'image':
      return renderImage(part);
    case 'document':
      return renderDocument(part);
  }
}

function renderText({ text }: NeutralText): JsonObject {
  return { type: 'input_text', text };
}

function renderImage({ source, detail }: NeutralImage): JsonObject {
  const place = source.type === 'file' ? { file_id: source.fileId } : { image_url: urlOf(source) };
  return { type: 'input_image', detail: detail ?? 'auto', ...place };
}

function renderDocument({ source, filename }: NeutralDocument): JsonObject {
  switch (source.type) {
    case 'file':
      return { type: 'input_file', file_id: source.fileId };
    case 'url':
      return { type: 'input_file', file_url: source.url };
    case 'text': {
      const data = Buffer.from(source.text).toString('base64');
      return { type: 'input_file', filename: filename ?? 'document.txt', file_data: `data:text/plain;base64,${data}` };
    }
    case 'base64': {
      const named = filename ?? (source.mediaType === 'application/pdf' ? 'document.pdf' : 'document.txt');
      return { type: 'input_file', filename: named, file_data: urlOf(source) };
    }
  }
}

function urlOf(source: Exclude<NeutralSource, { readonly type: 'file' }>): string {
  return source.type === 'url' ? source.url : `data:${source.mediaType};base64,${source.data}`;
}
