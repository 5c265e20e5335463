import { pino } from 'pino';
import { Settings } from '../config/settings';
import { loggerOptions } from './logger-options';

function written(entry: object): string {
  const lines: string[] = [];
  const options = loggerOptions(new Settings()).pinoHttp;
  if (options === undefined || Array.isArray(options) || 'write' in options) throw new Error('options expected');
  const { level, redact } = options;
  if (level === undefined || redact === undefined) throw new Error('level and redaction expected');
  pino({ level, redact }, { write: (line: string) => void lines.push(line) }).info(entry, 'said');
  return lines.join('');
}

describe('what is logged', () => {
  it.each([
    { authorization: 'canary' },
    { req: { headers: { authorization: 'canary', 'x-api-key': 'canary', cookie: 'canary' } } },
    { provider: { api_key: 'canary' } },
    { a: { b: { c: { key: 'canary' } } } },
    { body: { messages: [{ role: 'user', content: 'canary' }] } },
    { messages: [{ content: 'canary' }] },
    { body: { prompt: 'canary', input: ['canary'] } },
    { settings: { keyPepper: 'canary', databaseUrl: 'postgres://u:canary@h/d' } },
  ])('never holds a secret or what was said to a model: %j', (entry) => {
    const line = written(entry);
    expect(line).not.toContain('canary');
    expect(line).toContain('[redacted]');
    expect(line).toContain('said');
  });

  it('keeps what helps', () => {
    expect(written({ traceId: 't-1', tenantId: 'x', route: '/v1/models' })).toContain('"traceId":"t-1"');
  });
});
