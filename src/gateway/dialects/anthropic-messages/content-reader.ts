import { isObject, type JsonObject } from '../../../kernel/json-object';
import type { FirstRefusal } from '../first-refusal';
import { isAbsent, isArray } from '../json-value';
import type {
  NeutralAssistantPart,
  NeutralDocument,
  NeutralImage,
  NeutralMessage,
  NeutralSource,
  NeutralText,
  NeutralUserPart,
} from '../neutral/neutral-request';

const NOT_SAYABLE = 'cannot be sent to the provider of this model';
const TEXT_FIELDS = new Set(['type', 'text', 'cache_control', 'citations']);
const IMAGE_FIELDS = new Set(['type', 'source', 'cache_control', 'transformations']);
const DOCUMENT_FIELDS = new Set(['type', 'source', 'cache_control', 'citations', 'context', 'title']);
const RESULT_FIELDS = new Set(['type', 'tool_use_id', 'content', 'is_error', 'cache_control']);
const CALL_FIELDS = new Set(['type', 'id', 'name', 'input', 'cache_control', 'caller']);

/** Messages of a request as no dialect has them; what has no place there is noted. */
export class ContentReader {
  constructor(private readonly refusals: FirstRefusal) {}

  messages(messages: readonly JsonObject[]): readonly NeutralMessage[] {
    const last = messages.length - 1;
    if (messages[last]?.role === 'assistant') {
      this.refusals.note(
        `messages[${last}]`,
        'must be of the user: the provider of this model begins its answers itself',
      );
    }
    return messages.flatMap((message, index) => this.message(message, `messages[${index}]`));
  }

  texts(content: unknown, path: string): readonly NeutralText[] {
    if (typeof content === 'string') return content === '' ? [] : [{ type: 'text', text: content }];
    return blocksOf(content).flatMap((block, index) => {
      if (block.type === 'text' || block.type === undefined) return this.text(block, `${path}[${index}]`);
      this.refusals.note(`${path}[${index}]`, NOT_SAYABLE);
      return [];
    });
  }

  private message(message: JsonObject, path: string): readonly NeutralMessage[] {
    this.refusals.unknownFields(message, path, new Set(['role', 'content']));
    const at = `${path}.content`;
    switch (message.role) {
      case 'user':
        return [{ role: 'user', content: this.userParts(message.content, at) }];
      case 'assistant':
        return [{ role: 'assistant', content: this.assistantParts(message.content, at) }];
      case 'system':
        return [{ role: 'system', content: this.texts(message.content, at), path }];
      default:
        this.refusals.note(`${path}.role`, 'must be user, assistant or system');
        return [];
    }
  }

  private userParts(content: unknown, path: string): readonly NeutralUserPart[] {
    if (typeof content === 'string') return [{ type: 'text', text: content }];
    return blocksOf(content).flatMap((block, index): readonly NeutralUserPart[] => {
      const at = `${path}[${index}]`;
      return block.type === 'tool_result' ? this.toolResult(block, at) : this.shown(block, at);
    });
  }

  private toolResult(block: JsonObject, path: string): readonly NeutralUserPart[] {
    this.refusals.unknownFields(block, path, RESULT_FIELDS);
    const { content } = block;
    const text: NeutralText[] = typeof content === 'string' ? [{ type: 'text', text: content }] : [];
    const shown = blocksOf(content).flatMap((part, index) => this.shown(part, `${path}.content[${index}]`));
    return [
      {
        type: 'tool_result',
        callId: this.name(block.tool_use_id, `${path}.tool_use_id`),
        content: [...text, ...shown],
        ...(block.is_error === true ? { isError: true } : {}),
        ...cached(block),
        path,
      },
    ];
  }

  /** What a user or a tool shows the model. */
  private shown(block: JsonObject, path: string): readonly (NeutralText | NeutralImage | NeutralDocument)[] {
    switch (block.type) {
      case 'text':
        return this.text(block, path);
      case 'image':
        return this.image(block, path);
      case 'document':
        return this.document(block, path);
      case 'search_result':
        return this.searchResult(block, path);
      default:
        this.refusals.note(path, NOT_SAYABLE);
        return [];
    }
  }

  /** Where an earlier answer cited something, what it said stays. */
  private text(block: JsonObject, path: string): readonly NeutralText[] {
    this.refusals.unknownFields(block, path, TEXT_FIELDS);
    return typeof block.text === 'string' && block.text !== ''
      ? [{ type: 'text', text: block.text, ...cached(block) }]
      : [];
  }

  private image(block: JsonObject, path: string): readonly NeutralImage[] {
    this.refusals.unknownFields(block, path, IMAGE_FIELDS);
    const { transformations } = block;
    if (isObject(transformations) && transformations.oversized_image === 'error') {
      this.refusals.note(`${path}.transformations`, NOT_SAYABLE);
    }
    const source = this.source(block.source, `${path}.source`);
    return source ? [{ type: 'image', source, ...cached(block), path }] : [];
  }

  private document(block: JsonObject, path: string): readonly (NeutralText | NeutralDocument)[] {
    this.refusals.unknownFields(block, path, DOCUMENT_FIELDS);
    this.refuseCitations(block, path);
    const source = this.documentSource(block.source, `${path}.source`);
    if (!source) return [];
    const filename = typeof block.title === 'string' && block.title !== '' ? { filename: block.title } : {};
    const context: NeutralText[] =
      typeof block.context === 'string' && block.context !== '' ? [{ type: 'text', text: block.context }] : [];
    return [...context, { type: 'document', source, ...filename, ...cached(block), path }];
  }

  private documentSource(source: unknown, path: string): NeutralDocument['source'] | undefined {
    if (!isObject(source)) return undefined;
    if (source.type === 'text') return { type: 'text', text: this.name(source.data, `${path}.data`) };
    if (source.type !== 'content') return this.source(source, path);
    return {
      type: 'text',
      text: this.texts(source.content, `${path}.content`)
        .map(({ text }) => text)
        .join('\n'),
    };
  }

  private source(source: unknown, path: string): NeutralSource | undefined {
    if (!isObject(source)) return undefined;
    switch (source.type) {
      case 'base64':
        return {
          type: 'base64',
          mediaType: this.name(source.media_type, `${path}.media_type`),
          data: this.name(source.data, `${path}.data`),
        };
      case 'url':
        return { type: 'url', url: this.name(source.url, `${path}.url`) };
      case 'file':
        return { type: 'file', fileId: this.name(source.file_id, `${path}.file_id`) };
      default:
        this.refusals.note(`${path}.type`, NOT_SAYABLE);
        return undefined;
    }
  }

  /** Other dialects know it only as the text that it is. */
  private searchResult(block: JsonObject, path: string): readonly NeutralText[] {
    this.refuseCitations(block, path);
    const texts = this.texts(block.content, `${path}.content`).map(({ text }) => text);
    const head = [block.title, block.source].filter((line) => typeof line === 'string' && line !== '');
    return [{ type: 'text', text: [...head, ...texts].join('\n'), ...cached(block) }];
  }

  private refuseCitations({ citations }: JsonObject, path: string): void {
    if (isObject(citations) && citations.enabled === true) this.refusals.note(`${path}.citations`, NOT_SAYABLE);
  }

  private assistantParts(content: unknown, path: string): readonly NeutralAssistantPart[] {
    if (typeof content === 'string') return content === '' ? [] : [{ type: 'text', text: content }];
    return blocksOf(content).flatMap((block, index) => this.assistantPart(block, `${path}[${index}]`));
  }

  private assistantPart(block: JsonObject, path: string): readonly NeutralAssistantPart[] {
    switch (block.type) {
      case 'text':
        return this.text(block, path);
      case 'thinking': {
        const { thinking, signature } = block;
        const proof = typeof signature === 'string' && signature !== '' ? { signature } : {};
        return [{ type: 'reasoning', text: this.name(thinking, `${path}.thinking`), ...proof, path }];
      }
      case 'redacted_thinking':
        return [
          { type: 'reasoning', text: '', signature: this.name(block.data, `${path}.data`), isRedacted: true, path },
        ];
      case 'tool_use':
        this.refusals.unknownFields(block, path, CALL_FIELDS);
        return [
          {
            type: 'tool_call',
            kind: 'function',
            callId: this.name(block.id, `${path}.id`),
            name: this.name(block.name, `${path}.name`),
            arguments: JSON.stringify(block.input ?? {}),
            ...cached(block),
            path,
          },
        ];
      default:
        this.refusals.note(path, NOT_SAYABLE);
        return [];
    }
  }

  private name(value: unknown, path: string): string {
    if (typeof value === 'string') return value;
    this.refusals.note(path, 'must be a string');
    return '';
  }
}

export function cached({ cache_control: cacheControl }: JsonObject): { readonly cacheControl?: JsonObject } {
  return isObject(cacheControl) ? { cacheControl } : {};
}

function blocksOf(content: unknown): readonly JsonObject[] {
  return isArray(content) && !isAbsent(content) ? content.filter(isObject) : [];
}
