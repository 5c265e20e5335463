import { ControlPlane, errorOf, textOf } from '../../../test/support/control-plane-harness';
import { newId } from '../../kernel/ids';
import { Affinity } from '../../routing/affinity/affinity';
import type { AffinitySession } from '../../routing/affinity/affinity-key';
import { RedisConnection } from '../../platform/redis/redis-connection';
import { UpstreamDirectory } from '../../upstreams/upstream-directory';

describe('sessions and their upstreams, of the control plane', () => {
  let plane: ControlPlane;
  let session: AffinitySession;
  let query: string;

  beforeAll(async () => {
    plane = await ControlPlane.start();
    const body = { name: 'p', kind: 'openai', base_url: 'http://127.0.0.1:9/v1', api_key: 'sk' };
    const provider_id = textOf(await plane.expectAdmin(201, 'POST', 'providers', body), 'id');
    for (const name of ['first', 'second']) {
      await plane.expectAdmin(201, 'POST', 'upstreams', { provider_id, name, model: 'm', upstream_model: 'm' });
    }
  });
  afterAll(() => plane.stop());
  beforeEach(() => {
    session = { tenantId: newId(), sessionId: 'chat/7 ünï', model: 'm', region: undefined };
    query = `affinity?tenant_id=${session.tenantId}&session_id=${encodeURIComponent(session.sessionId)}&model=m`;
  });

  async function served(): Promise<string> {
    const candidates = (await plane.app.get(UpstreamDirectory).candidatesOf('m')) ?? [];
    const affinity = plane.app.get(Affinity);
    const { choice } = await affinity.choose(session, candidates);
    if (!choice) throw new Error('nothing was chosen');
    for (let i = 0; i < 3; i += 1) affinity.report(choice, { kind: 'answered', upstreamId: choice.upstreamId });
    await affinity.beforeApplicationShutdown();
    return choice.upstreamId;
  }

  it('show state, upstream, successes and how long it stands', async () => {
    expect(await plane.expectAdmin(200, 'GET', query)).toEqual({
      object: 'affinity',
      tenant_id: session.tenantId,
      session_id: session.sessionId,
      model: 'm',
      region: null,
      state: 'none',
      upstream_id: null,
      upstream_name: null,
      success_count: 0,
      expires_in_seconds: null,
    });
    const upstream_id = await served();
    const shown = await plane.expectAdmin(200, 'GET', query);
    expect(shown).toMatchObject({ state: 'active', upstream_id, success_count: 3 });
    expect(shown.upstream_name).toMatch(/first|second/);
    expect(shown.expires_in_seconds).toBeGreaterThan(3_500);
    expect(await plane.expectAdmin(200, 'GET', `${query}&region=eu`)).toMatchObject({ state: 'none', region: 'eu' });
  });

  it('are forgotten, and the audit log says what was', async () => {
    const upstream_id = await served();
    expect(await plane.expectAdmin(200, 'DELETE', query)).toMatchObject({ state: 'active', upstream_id });
    expect(await plane.expectAdmin(200, 'GET', query)).toMatchObject({ state: 'none', success_count: 0 });
    const log = await plane.expectAdmin(200, 'GET', 'audit-log?entity=affinity');
    expect(log).toMatchObject({ data: [{ action: 'affinity.delete', before: { upstream_id, success_count: 3 } }] });
  });

  it.each([
    ['affinity', 'tenant_id'],
    ['affinity?tenant_id=x&session_id=s&model=m', 'tenant_id'],
    [`affinity?tenant_id=${newId()}&model=m`, 'session_id'],
    [`affinity?tenant_id=${newId()}&session_id=s`, 'model'],
    [`affinity?tenant_id=${newId()}&session_id=s&model=m&region=E%20U`, 'region'],
    [`affinity?tenant_id=${newId()}&session_id=s&model=m&x=1`, 'x'],
  ])('are asked for by name (%s)', async (path, field) => {
    const answer = await plane.admin('GET', path);
    expect([answer.status, errorOf(answer).param]).toEqual([400, field]);
  });

  it('cannot be told while Redis is away', async () => {
    const away = jest.spyOn(plane.app.get(RedisConnection), 'whyNotReady', 'get').mockReturnValue('Redis is away');
    for (const method of ['GET', 'DELETE'] as const) {
      const answer = await plane.admin(method, query);
      expect([answer.status, errorOf(answer).code]).toEqual([503, 'SERVICE_UNAVAILABLE']);
    }
    away.mockRestore();
  });
});
