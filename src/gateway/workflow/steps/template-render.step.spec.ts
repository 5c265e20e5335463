import { defaultProfile } from '../../../catalogue/default-profile';
import type { Refusal } from '../../../kernel/errors';
import type { RoutableUpstream } from '../../../upstreams/upstream-directory';
import type { ApiDialect } from '../../../upstreams/upstream.port';
import { streamRequest } from '../../../../test/support/dialect-pump';
import { translationOf } from '../../dialects/dialects';
import { WorkflowContext } from '../workflow.context';
import { TemplateRenderStep } from './template-render.step';

function speaking(dialects: readonly ApiDialect[], upstreamModel = 'theirs'): RoutableUpstream {
  return { dialects, target: { upstreamModel } } as RoutableUpstream;
}

/** The step after routing has found these candidates for such a request. */
function rendered(
  client: ApiDialect,
  candidates: readonly RoutableUpstream[],
  more: object = {},
): { readonly context: WorkflowContext; readonly refusal: Refusal | undefined } {
  const context = new WorkflowContext({} as never);
  const request = streamRequest(client, more);
  context.validation = { request };
  context.routing = { model: 'ours', candidates, price: {} as never, profile: defaultProfile('ours') };
  const outcome = new TemplateRenderStep().execute(context);
  if (outcome instanceof Promise || typeof outcome === 'symbol') throw new Error('the step answers at once');
  return { context, refusal: outcome };
}

const bodyFor = ({ templateRender }: WorkflowContext, candidate: RoutableUpstream): Record<string, unknown> =>
  JSON.parse(templateRender.bodyFor(candidate).toString()) as Record<string, unknown>;

const CHAT = speaking(['openai-chat', 'openai-embeddings']);
const MESSAGES = speaking(['anthropic-messages']);
const RESPONSES = speaking(['openai-responses']);
const ALL = speaking(['openai-chat', 'openai-responses', 'anthropic-messages']);

describe('the dialect in which a provider is asked', () => {
  it.each<[ApiDialect, RoutableUpstream, ApiDialect]>([
    ['openai-chat', ALL, 'openai-chat'],
    ['openai-responses', ALL, 'openai-responses'],
    ['anthropic-messages', ALL, 'anthropic-messages'],
    ['anthropic-messages', CHAT, 'openai-chat'],
    ['anthropic-messages', RESPONSES, 'openai-responses'],
    ['openai-chat', MESSAGES, 'anthropic-messages'],
    ['openai-responses', speaking(['anthropic-messages', 'openai-chat']), 'openai-chat'],
    ['openai-embeddings', CHAT, 'openai-embeddings'],
  ])('by a client of %s: its own, else the first that can say it', (client, candidate, wire) => {
    const { context, refusal } = rendered(client, [candidate]);
    expect(refusal).toBeUndefined();
    expect(context.templateRender.wireOf(candidate)).toBe(wire);
    expect(bodyFor(context, candidate)).toMatchObject({ model: 'theirs' });
  });
});

describe('what a provider is sent', () => {
  it('are the client’s own bytes where it speaks the same dialect, unknown fields too', () => {
    const { context } = rendered('anthropic-messages', [MESSAGES], { odd: { kept: 12345678901234567890n.toString() } });
    expect(bodyFor(context, MESSAGES)).toMatchObject({ odd: { kept: '12345678901234567890' } });
  });

  it('names the maximum that is reserved, where its dialect must name one and the client named none', () => {
    const { context } = rendered('openai-chat', [MESSAGES]);
    expect(bodyFor(context, MESSAGES).max_tokens).toBe(defaultProfile('ours').defaultOutputReserveTokens);
  });

  it('is translated once for all candidates of one dialect and name of the model', () => {
    const render = jest.spyOn(translationOf('anthropic-messages'), 'renderRequest');
    const understand = jest.spyOn(translationOf('openai-chat'), 'toNeutral');
    const candidates = [MESSAGES, speaking(['anthropic-messages']), speaking(['anthropic-messages'], 'other')];
    const { context } = rendered('openai-chat', candidates);
    const models = candidates.map((candidate) => bodyFor(context, candidate).model);
    expect(models).toEqual(['theirs', 'theirs', 'other']);
    expect([understand.mock.calls.length, render.mock.calls.length]).toEqual([1, 2]);
    jest.restoreAllMocks();
  });

  it('is not translated before it is known that somebody must be asked in another dialect', () => {
    const understand = jest.spyOn(translationOf('openai-chat'), 'toNeutral');
    rendered('openai-chat', [CHAT]);
    expect(understand).not.toHaveBeenCalled();
    jest.restoreAllMocks();
  });
});

describe('a candidate whose dialect cannot say what was asked', () => {
  /** Anthropic writes one answer. */
  const twoAnswers = { n: 2 };

  it('is none while there is another', () => {
    const { context, refusal } = rendered('openai-chat', [MESSAGES, CHAT], twoAnswers);
    expect(refusal).toBeUndefined();
    expect(context.templateRender.candidates).toEqual([CHAT]);
  });

  it('is the answer where there is no other: the field is named by the client’s name', () => {
    const { refusal } = rendered('openai-chat', [MESSAGES], twoAnswers);
    expect(refusal).toMatchObject({ code: 'INVALID_REQUEST', param: 'n' });
  });

  it.each<[ApiDialect, RoutableUpstream]>([
    ['openai-embeddings', MESSAGES],
    ['openai-chat', speaking(['openai-embeddings'])],
  ])('%s: speaks nothing that it could be said in', (client, candidate) => {
    const { refusal } = rendered(client, [candidate]);
    expect(refusal).toMatchObject({ code: 'INVALID_REQUEST', param: 'model' });
  });
});
