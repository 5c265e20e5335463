import type { Dialect } from '../dialect';
import { ResponseStreamReading } from './response-stream';
import { responsesPromptText } from './response-text';
import { parseResponsesRequest, passOnResponses } from './responses-request';
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
};
