import {
  imageFromData,
  imageFromUrl,
  isRecord,
  type JsonRecord,
  numberOr,
  recordsOf,
  RequestError,
  requiredModel,
  type SimRequest,
  textOf,
} from '../request';

const MIN_THINKING_BUDGET = 1024;

/**
 * Checks what Anthropic checks where a translated request may go wrong: a maximum, roles, no empty text, tool results
 * right after their calls, thoughts with their signature.
 * @throws RequestError
 */
export function readMessagesRequest(body: JsonRecord): SimRequest {
  const { max_tokens: maxTokens } = body;
  if (typeof maxTokens !== 'number' || !Number.isSafeInteger(maxTokens) || maxTokens < 1) {
    throw new RequestError('max_tokens', 'field required, an integer of at least 1');
  }
  checkThinking(body.thinking, maxTokens);
  return { ...readPrompt(body), maxTokens };
}

/** As count_tokens takes it: nothing is written, so nothing limits it. */
export function readPrompt(body: JsonRecord): SimRequest {
  const model = requiredModel(body);
  const messages = checkedMessages(body.messages);
  const blocks = messages.flatMap(({ content }) => recordsOf(content)).flatMap(withResults);
  const { tool_choice: choice } = body;
  return {
    wire: 'anthropic-messages',
    model,
    isStream: body.stream === true,
    wantsUsage: true,
    prompt: [textOf(body.system), ...messages.map(({ content }) => textOf(content))].join('\n'),
    maxTokens: undefined,
    choices: 1,
    stopSequences: Array.isArray(body.stop_sequences)
      ? body.stop_sequences.filter((sequence) => typeof sequence === 'string')
      : [],
    images: blocks.filter(({ type }) => type === 'image').map(({ source }) => imageOf(source)),
    tools: recordsOf(body.tools).map(({ name }) => ({ name: String(name), isCustom: false })),
    forcedTool: isRecord(choice) && choice.type === 'tool' ? String(choice.name) : undefined,
    body: checkedTools(body),
  };
}

function withResults(block: JsonRecord): JsonRecord[] {
  return block.type === 'tool_result' ? recordsOf(block.content) : [block];
}

function imageOf(source: unknown): string {
  if (!isRecord(source)) return 'none';
  return source.type === 'base64' ? imageFromData(source.media_type, source.data) : imageFromUrl(source.url);
}

function checkedMessages(messages: unknown): JsonRecord[] {
  if (!Array.isArray(messages) || messages.length === 0) {
    throw new RequestError('messages', 'at least one message is required');
  }
  const checked = recordsOf(messages);
  if (checked.length < messages.length) throw new RequestError('messages', 'each must be an object');
  let calls = new Set<unknown>();
  checked.forEach((message, index) => {
    calls = checkMessage(message, `messages.${index}`, calls);
  });
  if (calls.size > 0) throw new RequestError('messages', `\`tool_use\` ids were found without \`tool_result\` blocks`);
  return checked;
}

/** @returns ids of the tool calls that the next message must answer. */
function checkMessage({ role, content }: JsonRecord, at: string, open: ReadonlySet<unknown>): Set<unknown> {
  // Newer versions of the API take system messages too, but not before all others.
  const isSystem = role === 'system' && at !== 'messages.0';
  if (role !== 'user' && role !== 'assistant' && !isSystem) {
    throw new RequestError(`${at}.role`, 'must be user or assistant');
  }
  if (typeof content !== 'string' && !Array.isArray(content)) throw new RequestError(`${at}.content`, 'field required');
  if (content.length === 0 && role === 'user') throw new RequestError(`${at}.content`, 'must not be empty');
  const blocks = recordsOf(content);
  blocks.forEach((block, index) => {
    checkBlock(block, `${at}.content.${index}`, open);
  });
  const answered = new Set(blocks.map((block) => block.tool_use_id));
  for (const id of open) {
    if (!answered.has(id)) {
      throw new RequestError(at, `\`tool_use\` ids were found without \`tool_result\` blocks after: ${String(id)}`);
    }
  }
  if (role !== 'assistant') return new Set();
  return new Set(blocks.filter(({ type }) => type === 'tool_use').map(({ id }) => id));
}

function checkBlock(block: JsonRecord, at: string, open: ReadonlySet<unknown>): void {
  if (block.type === 'text' && (typeof block.text !== 'string' || block.text === '')) {
    throw new RequestError(`${at}.text`, 'text content blocks must be non-empty');
  }
  if (block.type === 'tool_result' && !open.has(block.tool_use_id)) {
    throw new RequestError(`${at}.tool_use_id`, 'each `tool_result` must have a `tool_use` in the previous message');
  }
  if (block.type === 'tool_use' && !isRecord(block.input)) throw new RequestError(`${at}.input`, 'must be an object');
  if (block.type === 'thinking' && typeof block.signature !== 'string') {
    throw new RequestError(`${at}.signature`, 'field required');
  }
}

function checkThinking(thinking: unknown, maxTokens: number): void {
  if (!isRecord(thinking) || thinking.type !== 'enabled') return;
  const budget = numberOr(thinking.budget_tokens) ?? 0;
  if (budget < MIN_THINKING_BUDGET) throw new RequestError('thinking.budget_tokens', 'must be at least 1024');
  if (budget >= maxTokens) throw new RequestError('max_tokens', 'must be greater than `thinking.budget_tokens`');
}

/** Tools with a type are Anthropic's own and need no schema. */
function checkedTools(body: JsonRecord): JsonRecord {
  recordsOf(body.tools).forEach((tool, index) => {
    const isOwn = typeof tool.type === 'string' && tool.type !== 'custom';
    if (isOwn) return;
    if (typeof tool.name !== 'string') throw new RequestError(`tools.${index}.name`, 'field required');
    if (!isRecord(tool.input_schema) || tool.input_schema.type !== 'object') {
      throw new RequestError(`tools.${index}.input_schema`, 'must be a schema of type object');
    }
  });
  return body;
}
