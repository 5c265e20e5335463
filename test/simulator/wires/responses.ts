import { type Answer } from '../answer';
import { type Behaviour } from '../behaviour';
import { type SimRequest } from '../request';
import { encodeFrame, type Frame, paddingOf, plainUsage, replayTyped, type Whole, type Wire } from '../wire';
import { openAiError } from './chat';
import { type ItemEvent, outputItems } from './responses-items';
import { isIncomplete, responseObject } from './responses-object';
import { readResponsesRequest } from './responses-request';

/** OpenAI's responses, without anything stored. */
export const responsesWire: Wire = {
  name: 'openai-responses',
  read: readResponsesRequest,
  stream: (request, answer, behaviour) =>
    behaviour.frames === undefined
      ? renderAnswer(request, answer, behaviour)
      : replayTyped(behaviour, behaviour.frames),
  whole: (request, answer, behaviour): Whole => {
    const usage = plainUsage(answer, behaviour, 'openai-responses');
    const response = responseObject(request, answer, { ...endOf(answer), usage });
    return { json: JSON.stringify(response), usage: usage ?? undefined };
  },
  errorEvent: renderError,
  garbage: (behaviour) =>
    encodeFrame(behaviour, 'response.output_text.delta', '{"type":"response.output_text.delta","del'),
  errorBody: openAiError,
};

function endOf(answer: Answer): { readonly status: string; readonly output: readonly object[] } {
  const output = outputItems(answer).map(({ whole }) => whole);
  return { status: isIncomplete(answer) ? 'incomplete' : 'completed', output };
}

/** Numbers events in the order in which they are sent. */
class EventFrames {
  readonly frames: Frame[] = [];

  constructor(private readonly behaviour: Behaviour) {}

  add({ type, fields, isContent = false, text = '' }: ItemEvent, usage?: Frame['usage']): void {
    const padding = isContent ? paddingOf(this.behaviour) : {};
    const data = JSON.stringify({ type, sequence_number: this.frames.length, ...fields, ...padding });
    this.frames.push(encodeFrame(this.behaviour, type, data, { isContent, text, usage }));
  }
}

function renderAnswer(request: SimRequest, answer: Answer, behaviour: Behaviour): Frame[] {
  const usage = plainUsage(answer, behaviour, 'openai-responses');
  const events = new EventFrames(behaviour);
  const begun = responseObject(request, answer, { status: 'in_progress', output: [] });
  for (const type of ['response.created', 'response.in_progress']) events.add({ type, fields: { response: begun } });
  outputItems(answer).forEach((item, outputIndex) => {
    const place = { output_index: outputIndex };
    events.add({ type: 'response.output_item.added', fields: { ...place, item: item.opening } });
    for (const event of item.events) events.add({ ...event, fields: { ...place, ...event.fields } });
    events.add({ type: 'response.output_item.done', fields: { ...place, item: item.whole } });
  });
  if (behaviour.done !== false) {
    const response = responseObject(request, answer, { ...endOf(answer), usage });
    const type = isIncomplete(answer) ? 'response.incomplete' : 'response.completed';
    events.add({ type, fields: { response } }, usage ?? undefined);
  }
  return events.frames;
}

/** Its number is not the right one: nobody knows how many events were sent before. */
function renderError(request: SimRequest, answer: Answer, behaviour: Behaviour): Frame {
  const { errorEventMessage: message = 'The server had an error while processing your request.' } = behaviour;
  const { errorEventType: code = 'server_error' } = behaviour;
  if (code === 'response.failed') {
    const failed = responseObject(request, answer, { status: 'failed', output: [] });
    const response = { ...failed, error: { code: 'server_error', message } };
    return encodeFrame(behaviour, code, JSON.stringify({ type: code, sequence_number: 0, response }));
  }
  const error = { type: 'error', sequence_number: 0, code, message, param: null };
  return encodeFrame(behaviour, 'error', JSON.stringify(error));
}
