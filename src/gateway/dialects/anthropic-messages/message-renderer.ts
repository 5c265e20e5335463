import { createHash } from 'node:crypto';

import type { JsonObject } from '../../../kernel/json-object';
import type { FirstRefusal } from '../first-refusal';
import { argumentsOfInput } from '../neutral/custom-tool';
import type {
  NeutralAssistantPart,
  NeutralDocument,
  NeutralImage,
  NeutralMessage,
  NeutralSource,
  NeutralText,
  NeutralUserPart,
} from '../neutral/neutral-request';
import { isForeignSignature } from './foreign-thoughts';
import type { ModelTraits } from './model-traits';
import { toolInputOf } from './tool-input';

const NOT_SAYABLE = 'cannot be sent to the provider of this model';

interface Turn {
  readonly role: 'user' | 'assistant' | 'system';
  readonly content: JsonObject[];
}

/**
 * Messages as Anthropic takes them: by turns, without empty text, results of tools before anything else that the user says.
 * What has no place in them is noted.
 */
export class MessageRenderer {
  constructor(
    private readonly traits: ModelTraits,
    private readonly refusals: FirstRefusal,
  ) {}

  texts(texts: readonly NeutralText[]): JsonObject[] {
    return texts.filter(({ text }) => text.trim() !== '').map(textBlock);
  }

  messages(messages: readonly NeutralMessage[]): readonly JsonObject[] {
    const turns: Turn[] = [];
    messages.forEach((message, index) => {
      const turn = this.turn(message, turns.at(-1), messages[index + 1]);
      const last = turns.at(-1);
      if (turn.content.length === 0) return;
      if (last?.role === turn.role) last.content.push(...turn.content);
      else turns.push(turn);
    });
    return turns.map(({ role, content }) => ({ role, content: role === 'user' ? resultsFirst(content) : content }));
  }

  private turn(message: NeutralMessage, before: Turn | undefined, next: NeutralMessage | undefined): Turn {
    if (message.role === 'user')
      return { role: 'user', content: message.content.flatMap((part) => this.userPart(part)) };
    if (message.role === 'assistant') {
      return { role: 'assistant', content: message.content.flatMap((part) => this.assistantPart(part)) };
    }
    const isInPlace = before?.role === 'user' && (next === undefined || next.role === 'assistant');
    const texts = this.texts(message.content);
    return this.traits.takesSystemMessages && isInPlace
      ? { role: 'system', content: texts }
      : { role: 'user', content: texts.map(markedAsSystem) };
  }

  private userPart(part: NeutralUserPart): readonly JsonObject[] {
    switch (part.type) {
      case 'text':
        return this.texts([part]);
      case 'image':
        return this.image(part);
      case 'document':
        return this.document(part);
      case 'audio':
        this.refusals.note(part.path, NOT_SAYABLE);
        return [];
      case 'tool_result': {
        const content = part.content.flatMap((shown) => this.userPart(shown));
        return [
          {
            type: 'tool_result',
            tool_use_id: toolUseIdOf(part.callId),
            ...(content.length === 0 ? {} : { content }),
            ...(part.isError === true ? { is_error: true } : {}),
            ...cached(part.cacheControl),
          },
        ];
      }
    }
  }

  private image({ source, cacheControl, path }: NeutralImage): readonly JsonObject[] {
    if (!this.isSayable(source, path)) return [];
    return [{ type: 'image', source: sourceOf(source), ...cached(cacheControl) }];
  }

  private document({ source, filename, cacheControl, path }: NeutralDocument): readonly JsonObject[] {
    if (source.type !== 'text' && !this.isSayable(source, path)) return [];
    const isPdf = source.type !== 'base64' || source.mediaType === 'application/pdf';
    const isText = source.type === 'base64' && source.mediaType.startsWith('text/');
    if (!isPdf && !isText) this.refusals.note(path, `${NOT_SAYABLE}: it takes documents of PDF and of text`);
    const text = isText ? Buffer.from(source.data, 'base64').toString('utf8') : undefined;
    return [
      {
        type: 'document',
        source:
          source.type === 'text' ? plainText(source.text) : text === undefined ? sourceOf(source) : plainText(text),
        ...(filename === undefined ? {} : { title: filename }),
        ...cached(cacheControl),
      },
    ];
  }

  /** Files are known to the provider that keeps them, under names of its own. */
  private isSayable(source: NeutralSource, path: string): boolean {
    if (source.type === 'file') this.refusals.note(path, 'names a file that the provider of this model does not have');
    return source.type !== 'file';
  }

  private assistantPart(part: NeutralAssistantPart): readonly JsonObject[] {
    switch (part.type) {
      case 'text':
        return this.texts([part]);
      case 'refusal':
        return this.texts([{ type: 'text', text: part.text }]);
      case 'reasoning': {
        const { signature, text } = part;
        // Without its own proof the provider refuses a thought; what another model thought it has no use for.
        if (isForeignSignature(signature)) return [];
        return part.isRedacted === true
          ? [{ type: 'redacted_thinking', data: signature }]
          : [{ type: 'thinking', thinking: text, signature }];
      }
      case 'tool_call': {
        const text = part.kind === 'custom' ? argumentsOfInput(part.arguments) : part.arguments;
        const id = toolUseIdOf(part.callId);
        return [{ type: 'tool_use', id, name: part.name, input: toolInputOf(text), ...cached(part.cacheControl) }];
      }
    }
  }
}

/** What was said of the tools the model asked for comes first; the rest stays in order. */
function resultsFirst(content: readonly JsonObject[]): readonly JsonObject[] {
  const isResult = ({ type }: JsonObject): boolean => type === 'tool_result';
  return [...content.filter(isResult), ...content.filter((block) => !isResult(block))];
}

/** Models that know no such role read it where it stands, and are told who says it. */
function markedAsSystem(block: JsonObject): JsonObject {
  return { ...block, text: `<system>\n${String(block.text)}\n</system>` };
}

/** Anthropic takes letters, digits, `_` and `-`: another id becomes one of those, always the same. */
function toolUseIdOf(callId: string): string {
  if (/^[\w-]{1,128}$/.test(callId)) return callId;
  return `toolu_${createHash('sha256').update(callId).digest('hex').slice(0, 24)}`;
}

function textBlock({ text, cacheControl }: NeutralText): JsonObject {
  return { type: 'text', text, ...cached(cacheControl) };
}

function plainText(data: string): JsonObject {
  return { type: 'text', media_type: 'text/plain', data };
}

function sourceOf(source: NeutralSource): JsonObject {
  switch (source.type) {
    case 'base64':
      return { type: 'base64', media_type: source.mediaType, data: source.data };
    case 'url':
      return { type: 'url', url: source.url };
    case 'file':
      return { type: 'file', file_id: source.fileId };
  }
}

export function cached(cacheControl: JsonObject | undefined): JsonObject {
  return cacheControl === undefined ? {} : { cache_control: cacheControl };
}
