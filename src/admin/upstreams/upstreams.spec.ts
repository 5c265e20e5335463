import { ControlPlane, errorOf, textOf } from '../../../test/support/control-plane-harness';
import { newId } from '../../kernel/ids';
import { UpstreamDirectory } from '../../upstreams/upstream-directory';
import { SecretBox } from '../../platform/crypto/secret-box';

const SECRET = 'sk-provider-canary-7f3a9';

describe('providers and upstreams of the control plane', () => {
  let plane: ControlPlane;
  let made = 0;

  beforeAll(async () => {
    plane = await ControlPlane.start();
  });
  afterAll(() => plane.stop());

  function providerBody(fields: Readonly<Record<string, unknown>> = {}): Readonly<Record<string, unknown>> {
    made += 1;
    return { name: `provider ${made}`, kind: 'openai', base_url: 'http://127.0.0.1:9/v1/', api_key: SECRET, ...fields };
  }

  async function newProvider(fields: Readonly<Record<string, unknown>> = {}): Promise<string> {
    return textOf(await plane.expectAdmin(201, 'POST', 'providers', providerBody(fields)), 'id');
  }

  async function sealedKeyOf(id: string): Promise<Buffer> {
    const [row] = await plane.query<{ key: Buffer }>('select api_key_encrypted as key from provider where id = $1', [
      id,
    ]);
    if (!row) throw new Error('no such provider');
    return row.key;
  }

  it('cost what their provider charges; cached input and cache writes as input unless told', async () => {
    const provider_id = await newProvider();
    const made = await plane.expectAdmin(201, 'POST', 'upstreams', {
      provider_id,
      model: 'costly',
      upstream_model: 'm',
      cost_input_usd_per_mtok: '3',
      cost_output_usd_per_mtok: '15',
    });
    expect(made).toMatchObject({ cost_cached_input_usd_per_mtok: null, cost_cache_write_usd_per_mtok: null });
    const directory = plane.app.get(UpstreamDirectory);
    const costs = async (): Promise<unknown> => {
      const [upstream] = (await directory.candidatesOf('costly')) ?? [];
      return upstream && [upstream.costCachedInputNanoUsdPerMtok, upstream.costCacheWriteNanoUsdPerMtok];
    };
    expect(await costs()).toEqual([3_000_000_000n, 3_000_000_000n]);
    const changed = await plane.expectAdmin(200, 'PATCH', `upstreams/${textOf(made, 'id')}`, {
      cost_cached_input_usd_per_mtok: '0.3',
      cost_cache_write_usd_per_mtok: '3.75',
    });
    expect(changed).toMatchObject({
      cost_cached_input_usd_per_mtok: '0.300000000',
      cost_cache_write_usd_per_mtok: '3.750000000',
    });
    expect(await costs()).toEqual([300_000_000n, 3_750_000_000n]);
    const again = { cost_cached_input_usd_per_mtok: null, cost_input_usd_per_mtok: '4' };
    await plane.expectAdmin(200, 'PATCH', `upstreams/${textOf(made, 'id')}`, again);
    expect(await costs()).toEqual([4_000_000_000n, 3_750_000_000n]);
  });

  it('seal a provider’s key and show it to nobody, not even to the audit log', async () => {
    const id = await newProvider();
    await plane.expectAdmin(200, 'PATCH', `providers/${id}`, { api_key: `${SECRET}-2` });
    const texts = [
      await plane.admin('GET', `providers/${id}`),
      await plane.admin('GET', 'providers'),
      await plane.admin('PATCH', `providers/${id}`, { name: 'renamed' }),
      await plane.admin('GET', `audit-log?entity_id=${id}`),
    ].map(({ text }) => text);
    for (const text of texts) {
      expect(text).toContain(id);
      expect(text).not.toContain(SECRET);
      expect(text).not.toMatch(/encrypted/);
    }
    expect(texts[3]).toContain('"api_key":"changed"');
    const sealed = await sealedKeyOf(id);
    expect(sealed.includes(SECRET)).toBe(false);
    expect(plane.app.get(SecretBox).open(sealed, id)).toBe(`${SECRET}-2`);
  });

  it('save base URLs in one form, and none that the policy forbids', async () => {
    const id = await newProvider();
    expect(await plane.expectAdmin(200, 'GET', `providers/${id}`)).toMatchObject({ base_url: 'http://127.0.0.1:9/v1' });
    const forbidden = ['http://169.254.169.254/v1', 'ftp://x/v1', 'not a url', 'http://u:p@x/v1', 'https://x/v1?a=b'];
    for (const base_url of forbidden) {
      for (const answer of [
        await plane.admin('POST', 'providers', providerBody({ base_url })),
        await plane.admin('PATCH', `providers/${id}`, { base_url }),
      ]) {
        expect([base_url, answer.status, errorOf(answer).param]).toEqual([base_url, 400, 'base_url']);
      }
    }
  });

  it('speak what their kind and base URL let one expect, or what they are said to speak', async () => {
    const spoken = async (fields: Readonly<Record<string, unknown>>): Promise<unknown> =>
      (await plane.expectAdmin(201, 'POST', 'providers', providerBody(fields))).dialects;
    expect(await spoken({})).toEqual(['openai-chat', 'openai-embeddings']);
    expect(await spoken({ kind: 'anthropic' })).toEqual(['anthropic-messages']);
    expect(await spoken({ dialects: ['anthropic-messages', 'openai-chat'] })).toEqual([
      'openai-chat',
      'anthropic-messages',
    ]);
    expect(await spoken({ kind: 'anthropic', dialects: ['anthropic-messages'] })).toEqual(['anthropic-messages']);
  });

  it('change what they speak, within what their kind can, and the next call knows', async () => {
    const provider_id = await newProvider();
    await plane.expectAdmin(201, 'POST', 'upstreams', { provider_id, model: 'spoken', upstream_model: 'm' });
    const dialects = ['openai-chat', 'openai-responses'];
    expect(await plane.expectAdmin(200, 'PATCH', `providers/${provider_id}`, { dialects })).toMatchObject({ dialects });
    expect(await plane.expectAdmin(200, 'GET', `providers/${provider_id}`)).toMatchObject({ dialects });
    const [upstream] = (await plane.app.get(UpstreamDirectory).candidatesOf('spoken')) ?? [];
    expect(upstream?.dialects).toEqual(dialects);
    const anthropic = await newProvider({ kind: 'anthropic' });
    const refused = await plane.admin('PATCH', `providers/${anthropic}`, { dialects });
    expect([refused.status, errorOf(refused).param]).toEqual([400, 'dialects']);
  });

  it('refuse a name that is taken, on creation and on change', async () => {
    const body = providerBody();
    const id = textOf(await plane.expectAdmin(201, 'POST', 'providers', body), 'id');
    const twin = await plane.admin('POST', 'providers', body);
    expect([twin.status, errorOf(twin).param]).toEqual([409, 'name']);
    const other = await newProvider();
    expect((await plane.admin('PATCH', `providers/${other}`, { name: body.name })).status).toBe(409);
    expect((await plane.admin('PATCH', `providers/${id}`, { name: body.name })).status).toBe(200);
  });

  it.each([
    [{ kind: 'telepathy' }, 'kind'],
    [{ api_key: '' }, 'api_key'],
    [{ api_key: 'a\r\nx-evil: 1' }, 'api_key'],
    [{ api_key: 5 }, 'api_key'],
    [{ id: 'mine' }, 'id'],
    [{ dialects: [] }, 'dialects'],
    [{ dialects: 'openai-chat' }, 'dialects'],
    [{ dialects: ['openai-chat', 'openai-chat'] }, 'dialects'],
    [{ dialects: ['esperanto'] }, 'dialects'],
    [{ dialects: [['openai-chat']] }, 'dialects'],
    [{ dialects: null }, 'dialects'],
    [{ kind: 'anthropic', dialects: ['openai-chat'] }, 'dialects'],
    [{ kind: 'anthropic', dialects: ['anthropic-messages', 'openai-embeddings'] }, 'dialects'],
  ])('refuse the provider %j', async (fields, field) => {
    const answer = await plane.admin('POST', 'providers', providerBody(fields));
    expect([answer.status, errorOf(answer).param]).toEqual([400, field]);
  });

  it('give an upstream defaults, and change only what is named', async () => {
    const provider_id = await newProvider();
    const body = { provider_id, model: 'gpt-x', upstream_model: 'gpt-x-2026' };
    const upstream = await plane.expectAdmin(201, 'POST', 'upstreams', body);
    expect(upstream).toMatchObject({
      ...body,
      object: 'upstream',
      name: `provider ${made}/gpt-x-2026`,
      priority: 0,
      weight: 100,
      timeout_ms: null,
      enabled: true,
      cost_input_usd_per_mtok: '0.000000000',
    });
    const id = textOf(upstream, 'id');
    const changes = { priority: -1, weight: 0, timeout_ms: 500, enabled: false, cost_output_usd_per_mtok: '0.005' };
    expect(await plane.expectAdmin(200, 'PATCH', `upstreams/${id}`, changes)).toMatchObject({
      ...changes,
      model: 'gpt-x',
      cost_output_usd_per_mtok: '0.005000000',
    });
    expect(await plane.expectAdmin(200, 'PATCH', `upstreams/${id}`, { timeout_ms: null })).toMatchObject({
      timeout_ms: null,
      weight: 0,
    });
    await plane.expectAdmin(200, 'DELETE', `upstreams/${id}`);
    expect((await plane.admin('GET', `upstreams/${id}`)).status).toBe(404);
  });

  it.each([
    [{ provider_id: newId() }, 'provider_id'],
    [{ provider_id: 'x' }, 'provider_id'],
    [{ weight: -1 }, 'weight'],
    [{ weight: 1.5 }, 'weight'],
    [{ timeout_ms: 0 }, 'timeout_ms'],
    [{ enabled: 'true' }, 'enabled'],
    [{ cost_input_usd_per_mtok: 0.5 }, 'cost_input_usd_per_mtok'],
    [{ model: '' }, 'model'],
    [{ max_tokens: 5 }, 'max_tokens'],
  ])('refuse the upstream %j', async (fields, field) => {
    const provider_id = await newProvider();
    const answer = await plane.admin('POST', 'upstreams', { provider_id, model: 'm', upstream_model: 'm', ...fields });
    expect([answer.status, errorOf(answer).param]).toEqual([400, field]);
  });

  it('go with their provider, and the audit log says which', async () => {
    const provider_id = await newProvider();
    const upstream = await plane.expectAdmin(201, 'POST', 'upstreams', {
      provider_id,
      model: 'm',
      upstream_model: 'm',
    });
    await plane.expectAdmin(200, 'DELETE', `providers/${provider_id}`);
    expect((await plane.admin('GET', `upstreams/${textOf(upstream, 'id')}`)).status).toBe(404);
    const log = await plane.expectAdmin(200, 'GET', `audit-log?entity=provider&entity_id=${provider_id}`);
    expect(log).toMatchObject({
      data: [
        { action: 'provider.delete', actor: 'admin-token', before: { upstream_ids: [upstream.id] }, after: null },
        { action: 'provider.create', before: null },
      ],
    });
  });
});
