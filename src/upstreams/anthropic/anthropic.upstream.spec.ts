import type { IncomingMessage } from 'node:http';
import { Recorder, REQUEST_BODY, UpstreamHarness } from '../../../test/support/upstream-harness';
import { SystemClock } from '../../kernel/clock';
import { AnthropicUpstream } from './anthropic.upstream';

describe('AnthropicUpstream', () => {
  let harness: UpstreamHarness;
  let upstream: AnthropicUpstream;

  beforeEach(() => {
    harness = new UpstreamHarness();
    upstream = new AnthropicUpstream(harness.pools, new SystemClock());
  });

  afterEach(() => harness.stop());

  async function sent(basePath: string, headers: Record<string, string> = {}): Promise<IncomingMessage> {
    const seen = Promise.withResolvers<IncomingMessage>();
    const port = await harness.http((request, response) => {
      seen.resolve(request);
      response.end('{}');
    });
    const target = harness.target(port, { baseUrl: `http://127.0.0.1:${port}${basePath}` });
    const recorder = new Recorder();
    upstream.start(target, { path: '/messages', body: REQUEST_BODY, headers }, recorder);
    await recorder.over;
    return seen.promise;
  }

  it('sends the provider’s key as x-api-key and an API version, and no credentials of the caller', async () => {
    const { headers } = await sent('', {
      Authorization: 'Bearer of-the-client',
      'X-Api-Key': 'of-the-client',
      cookie: 'session=1',
    });
    expect(headers).toEqual({
      host: headers.host,
      connection: 'keep-alive',
      'content-type': 'application/json',
      'content-length': String(REQUEST_BODY.length),
      'accept-encoding': 'identity',
      'user-agent': 'tollgate',
      'x-api-key': 'sk-secret-of-the-provider',
      'anthropic-version': '2023-06-01',
    });
  });

  it('lets the caller choose version and betas', async () => {
    const { headers } = await sent('', { 'Anthropic-Version': '2027-01-01', 'anthropic-beta': 'a-1,b-2' });
    expect([headers['anthropic-version'], headers['anthropic-beta']]).toEqual(['2027-01-01', 'a-1,b-2']);
  });

  it.each([
    ['', '/v1/messages'],
    ['/', '/v1/messages'],
    ['/v1', '/v1/messages'],
    ['/v1/', '/v1/messages'],
    ['/anthropic', '/anthropic/v1/messages'],
    ['/anthropic/v1', '/anthropic/v1/messages'],
    ['/env1', '/env1/v1/messages'],
  ])('finds the API below the base URL “%s”', async (basePath, path) => {
    expect((await sent(basePath)).url).toBe(path);
  });
});
