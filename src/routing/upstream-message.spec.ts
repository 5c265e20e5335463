import { refuse } from '../kernel/errors';
import type { UpstreamTarget } from '../upstreams/upstream.port';
import { withUpstreamMessage } from './upstream-message';

const TARGET: UpstreamTarget = {
  upstreamId: 'u',
  upstreamName: 'upstream',
  providerId: 'p',
  providerName: 'provider',
  baseUrl: 'https://eu.llm-provider.example/v1',
  apiKey: 'opaque+key/of=the.provider',
  upstreamModel: 'vendor/big-model-2026',
  deadlines: { firstByteMs: 1, idleMs: 1, totalMs: 1 },
};
const REFUSAL = refuse('UPSTREAM_REJECTED', { status: 400 });

const clean = (body: unknown): ReturnType<typeof withUpstreamMessage> =>
  withUpstreamMessage(REFUSAL, Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)), TARGET, 'big');

const messageOf = (message: string): unknown => clean({ error: { message } }).values?.message;

describe('withUpstreamMessage', () => {
  it('tells the caller what the upstream says about the request', () => {
    expect(
      clean({ error: { message: "Invalid type for 'temperature'.", param: 'messages[0].content', code: 'x' } }),
    ).toEqual({
      ...REFUSAL,
      param: 'messages[0].content',
      values: { message: "Invalid type for 'temperature'." },
    });
  });

  it.each([
    ['{"error":"plain"}', 'plain'],
    ['{"message":"flat"}', 'flat'],
    ['{"detail":"fast"}', 'fast'],
  ])('understands %s', (body, message) => {
    expect(clean(body).values).toEqual({ message });
  });

  it.each([
    '',
    'not json',
    '<html>502</html>',
    '[]',
    'null',
    '{}',
    '{"error":null}',
    '{"error":{"message":7}}',
    '{"error":{"message":" "}}',
  ])('leaves the refusal as it is for %s', (body) => {
    expect(clean(body)).toEqual(REFUSAL);
  });

  it('does not read a body without bound', () => {
    expect(clean({ error: { message: 'x' }, more: 'y'.repeat(70_000) })).toEqual(REFUSAL);
  });

  it.each([
    ['the key', 'Incorrect key: opaque+key/of=the.provider.', 'opaque'],
    ['a key in parts', 'Incorrect API key provided: sk-proj-abc***********wxyz', 'sk-proj'],
    ['a bearer', 'Authorization: Bearer abc.def was refused', 'abc.def'],
    ['an organisation', 'in organization org-AbCdEf123456 on tokens', 'org-AbC'],
    ['a request id', 'see request req_0123456789abcdef', 'req_0123'],
    ['a link', 'visit https://platform.provider.example/account/billing', 'platform.provider'],
    ['an address', 'upstream 10.1.2.3:8080 refused', '10.1.2.3'],
    ['its host', 'host eu.llm-provider.example says no', 'llm-provider'],
    ['a mail address', 'contact ops@provider.example', 'ops@'],
  ])('does not show %s', (_what, message, secret) => {
    expect(messageOf(message)).not.toContain(secret);
    expect(messageOf(message)).toContain('[removed]');
  });

  it('speaks of the model under the name the caller used', () => {
    expect(messageOf('The model vendor/big-model-2026 has no vision.')).toBe('The model big has no vision.');
  });

  it('is one bounded line without control characters', () => {
    expect(messageOf('a\r\nset-cookie: x\u0000\u202eb')).toBe('a set-cookie: x b');
    const long = messageOf('x'.repeat(10_000)) as string;
    expect(long).toHaveLength(500);
  });

  it('drops a param that is no field name', () => {
    expect(clean({ error: { message: 'm', param: 'a b<script>' } }).param).toBeUndefined();
  });

  it('takes hostile text of every length in no time', () => {
    const startedMs = performance.now();
    for (const piece of ['a.', 'sk-', '1.', 'a@a-', 'http:', 'org-', '\u202e']) messageOf(piece.repeat(8_000));
    expect(performance.now() - startedMs).toBeLessThan(500);
  });
});
