import { NO_TOKENS } from '../../catalogue/price';
import { usageFromOpenAi } from './openai-chat/usage';
import { usageReportedIn } from './reported-usage';

const USAGE = '{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":4}}';
const COUNTS = { ...NO_TOKENS, inputUncached: 6, inputCached: 4, output: 5 };

const reported = (body: string): unknown => usageReportedIn(Buffer.from(body), usageFromOpenAi);

describe('the usage that a failed attempt reported', () => {
  it.each([
    ['beside an error', `{"error":{"message":"overloaded"},"usage":${USAGE}}`],
    ['inside an error', `{"error":{"message":"overloaded","usage": ${USAGE} }}`],
    ['in a body that broke off after it', `{"usage" :\n${USAGE},"choices":[{"message":{"content":"on`],
    [
      'with braces in its texts',
      `{"usage":{"note":"}{\\"","prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":4}}`,
    ],
    ['after one that was not credible', `{"usage":{"prompt_tokens":-1},"more":{"usage":${USAGE}}}`],
    ['before one that broke off', `{"usage":${USAGE},"more":{"usage":{"prompt_tokens":1`],
  ])('is found %s', (_, body) => {
    expect(reported(body)).toEqual(COUNTS);
  });

  it.each([
    ['nothing', ''],
    ['a web page', '<html>usage</html>'],
    ['a usage of null', '{"usage":null}'],
    ['a usage that broke off', '{"usage":{"prompt_tokens":10,"completion_tokens":5'],
    [
      'the words of an answer',
      `{"choices":[{"message":{"content":"{\\"usage\\":{\\"prompt_tokens\\":1,\\"completion_tokens\\":1}}"`,
    ],
    ['a list', '{"usage":[{"prompt_tokens":10,"completion_tokens":5}]}'],
    ['the word without end', '"usage"'.repeat(100)],
  ])('is not found in %s', (_, body) => {
    expect(reported(body)).toBeUndefined();
  });

  it('is not looked for without end in what is larger than any usage', () => {
    expect(
      reported(`{"usage":{"prompt_tokens":10,"completion_tokens":5,"pad":"${'x'.repeat(20_000)}"}}`),
    ).toBeUndefined();
  });
});
