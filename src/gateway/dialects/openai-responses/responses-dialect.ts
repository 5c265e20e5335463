import type { Dialect } from '../dialect';
import { parseWholeResponse, ResponseEventParser } from './event-parser';
import { renderWholeResponse, ResponseEventRenderer } from './event-renderer';
import { renderResponsesRequest } from './rendered-request';
import { ResponseStreamReading } from './response-stream';
import { responsesPromptText } from './response-text';
import { parseResponsesRequest, passOnResponses } from './responses-request';
import { responsesToNeutral } from './to-neutral';
import { usageFromResponses } from './usage';
import { readWholeResponse } from './whole-response';

/** OpenAI's Responses API. */
export const RESPONSES_DIALECT: Dialect = {
  name: 'openai-responses',
  parseRequest: parseResponsesRequest,
  passOn: passOnResponses,
  promptText: responsesPromptText,
  readAnswer: readWholeResponse,
  usageFrom: usageFromResponses,
  streamReading: () => new ResponseStreamReading(),
  translation: {
    toNeutral: responsesToNeutral,
    renderRequest: renderResponsesRequest,
    eventParser: () => new ResponseEventParser(),
    parseAnswer: parseWholeResponse,
    eventRenderer: (look) => new ResponseEventRenderer(look),
    renderAnswer: renderWholeResponse,
  },
};
