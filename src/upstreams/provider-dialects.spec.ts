import { API_DIALECTS, defaultDialects, dialectsOfKind, PROVIDER_KINDS } from './provider-dialects';

describe('the dialects of a provider', () => {
  const CHAT = ['openai-chat', 'openai-embeddings'];
  const WITH_RESPONSES = ['openai-chat', 'openai-responses', 'openai-embeddings'];

  it.each([
    ['https://api.openai.com/v1', WITH_RESPONSES],
    ['https://eu.api.openai.com/v1', WITH_RESPONSES],
    ['https://openai.com', WITH_RESPONSES],
    ['https://mine.openai.azure.com/openai/v1', WITH_RESPONSES],
    ['https://openai.azure.com/v1', CHAT],
    ['https://notopenai.com/v1', CHAT],
    ['https://api.openai.com.evil.example/v1', CHAT],
    ['http://127.0.0.1:8080/openai.com/v1', CHAT],
  ])('of the kind openai at %s are %j', (baseUrl, dialects) => {
    expect(defaultDialects('openai', baseUrl)).toEqual(dialects);
  });

  it('of the kind anthropic are Anthropic’s, wherever it is', () => {
    expect(defaultDialects('anthropic', 'https://api.openai.com/v1')).toEqual(['anthropic-messages']);
    expect(dialectsOfKind('anthropic')).toEqual(['anthropic-messages']);
  });

  it('by default are among those that the kind can speak, in the same order', () => {
    for (const kind of PROVIDER_KINDS) {
      const defaults = defaultDialects(kind, 'https://api.openai.com/v1');
      expect(dialectsOfKind(kind).filter((dialect) => defaults.includes(dialect))).toEqual(defaults);
    }
    expect(dialectsOfKind('openai')).toEqual(API_DIALECTS);
  });
});
