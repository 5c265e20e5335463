import { Redis } from 'ioredis';
import { affinityKey } from '../../src/routing/affinity/affinity-key';
import { createApiKey, createTenant } from '../factories/tenants';
import { createPrice, createProvider, createUpstream } from '../factories/upstreams';
import { AffinityModel } from '../support/affinity-model';
import { eventually } from '../support/eventually';
import { brokenInvariants, type GatewayStack, startGatewayStack } from '../support/gateway-stack';
import { Seeded } from '../support/money-stage';

const SESSIONS = 200;
const CALLS_A_SESSION = 6;
const UPSTREAMS = 3;
const SEED = 20_261_121;

/** Of ten calls six meet no failure, one is refused by all. */
const FAILURES = [0, 0, 0, 0, 0, 0, 1, 1, 2, 3] as const;

/** So many attempts of a call fail, each in a way that makes no upstream cool down: the others stay undisturbed. */
interface Plan {
  readonly failures: (typeof FAILURES)[number];
  readonly isStream: boolean;
}

interface Called {
  readonly status: number;
  /** Who answered; null where nobody did. */
  readonly upstream: string | null;
}

describe('sessions keep to the upstream that answered them', () => {
  let stack: GatewayStack;
  let redis: Redis;
  let key: string;
  let tenantId: string;
  let names: Map<string, string>;
  let made = 0;

  beforeAll(async () => {
    // Many calls fail on purpose, and each failure is to be tried again. A busy machine must not look like a Redis in trouble.
    const env = { UPSTREAM_RETRY_PERCENT: '100', AFFINITY_WAIT_MS: '5000' };
    stack = await startGatewayStack([env, env]);
    redis = new Redis(stack.redisUrl);
    tenantId = await createTenant(stack.gateway, {
      initial_balance_usd: '1000',
      rpm_limit: null,
      tpm_limit: null,
      concurrency_limit: null,
      daily_quota: null,
    });
    ({ key } = await createApiKey(stack.gateway, tenantId));
  }, 120_000);
  afterAll(async () => {
    redis.disconnect();
    await stack.close();
  });

  /** Upstreams of one model, all at one simulator. */
  async function newModel(count: number, fields: object = {}): Promise<string> {
    made += 1;
    const model = `affine-${made}`;
    names = new Map();
    for (let i = 0; i < count; i += 1) {
      const provider_id = await createProvider(stack.gateway, { base_url: `${stack.simulator.url}/v1` });
      const name = `${model}-${i}`;
      names.set(await createUpstream(stack.gateway, { provider_id, model, name, ...fields }), name);
    }
    await createPrice(stack.gateway, { model });
    return model;
  }

  async function call(
    gatewayUrl: string,
    model: string,
    session: string,
    plan: Plan,
    stormKey: string,
  ): Promise<Called> {
    const fail = { status: 425, firstCalls: plan.failures, stormKey };
    const answer = await fetch(`${gatewayUrl}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', 'x-session-id': session },
      body: JSON.stringify({
        model,
        stream: plan.isStream,
        messages: [{ role: 'user', content: 'Hello' }],
        x_simulate: { tokens: 3, ...(plan.failures > 0 ? { fail } : {}) },
      }),
    });
    await answer.text();
    return { status: answer.status, upstream: answer.headers.get('x-tollgate-upstream') };
  }

  const stored = (sessionId: string, model: string): Promise<Record<string, string>> =>
    redis.hgetall(affinityKey({ tenantId, sessionId, model, region: undefined }));

  it(`as the model says, of ${SESSIONS} at once at two processes, with failures (seed ${SEED})`, async () => {
    const model = await newModel(UPSTREAMS);
    const jumps: string[] = [];
    const runSession = async (index: number): Promise<void> => {
      const random = new Seeded(SEED + index);
      const session = `session ${index}`;
      const reference = new AffinityModel();
      let expected: string | undefined;
      for (let i = 0; i < CALLS_A_SESSION; i += 1) {
        const failures = random.pick(FAILURES);
        const gateway = random.pick(stack.gateways);
        const plan: Plan = { failures, isStream: random.pick([true, false]) };
        const { status, upstream } = await call(gateway.url, model, session, plan, `${index}/${i}`);
        expect(status === 200).toBe(failures < UPSTREAMS);
        if (failures === 0 && expected !== undefined && upstream !== expected) jumps.push(`${session} call ${i}`);
        follow(reference, String(i), expected, failures < UPSTREAMS ? (upstream ?? '') : undefined, failures);
        // After a failure of all of them the session has none: the next call may go anywhere.
        expected = failures < UPSTREAMS ? (upstream ?? undefined) : undefined;
        // Reports travel behind the answer: a call that overtook one, at the other process, would go by the word before.
        await matches(session, model, reference);
      }
    };
    await Promise.all(Array.from({ length: SESSIONS }, (_, index) => runSession(index)));
    expect(jumps).toEqual([]);
    expect(await brokenInvariants(stack.gateway)).toEqual([]);
  }, 180_000);

  /**
   * The same call as the model sees it. Where the session had no upstream (or failed with it), whom the gateway drew first
   * is only known from who answered; with failures before it, it was another.
   */
  function follow(
    reference: AffinityModel,
    own: string,
    before: string | undefined,
    answered: string | undefined,
    failures: number,
  ): void {
    const all = [...names.values()];
    const drawn = before ?? (failures === 0 ? answered : undefined) ?? all.find((name) => name !== answered) ?? '';
    const { choice, upstream } = reference.choose(own, [drawn, ...all.filter((name) => name !== drawn)]);
    if (answered === undefined) reference.fail(upstream, choice);
    else reference.confirm(answered, choice, `${own} moved`);
  }

  async function matches(session: string, model: string, reference: AffinityModel): Promise<void> {
    const { session: kept } = reference;
    if (!kept) throw new Error('a session that was called is known');
    // Whom a session failed with is not told to anybody: which one was drawn first is the gateway's.
    const expected = [kept.state, kept.state === 'active' ? kept.upstream : 'any', kept.successCount];
    let found: unknown[] = [];
    await eventually('it is told', async () => {
      const { state, upstream = '', success_count: count } = await stored(session, model);
      found = [state, state === 'active' ? names.get(upstream) : 'any', Number(count)];
      return found.every((value, i) => value === expected[i]) ? true : undefined;
    }).catch(async () => {
      expect({ session, found, counted: await counted() }).toEqual({ session, found: expected });
    });
  }

  /** What became of choices and reports, in each process. */
  function counted(): Promise<readonly string[]> {
    return Promise.all(
      stack.gateways.map(async ({ url, adminToken }) => {
        const answer = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${adminToken}` } });
        return (await answer.text()).match(/^tollgate_affinity_total.*$/gm)?.join(' ') ?? '';
      }),
    );
  }

  it('which a session with many calls at once does too, each success counted once', async () => {
    const model = await newModel(UPSTREAMS);
    const session = 'busy';
    const first = await call(stack.gateway.url, model, session, { failures: 0, isStream: false }, 'first');
    const all = await Promise.all(
      Array.from({ length: 100 }, (_, i) => {
        const gateway = stack.gateways[i % 2] ?? stack.gateway;
        return call(gateway.url, model, session, { failures: 0, isStream: i % 3 === 0 }, `busy ${i}`);
      }),
    );
    expect(new Set(all.map(({ upstream }) => upstream))).toEqual(new Set([first.upstream]));
    await eventually('every success is counted', async () =>
      (await stored(session, model)).success_count === '101' ? true : undefined,
    );
  });

  it('also where a model has more upstreams than a call would try', async () => {
    const model = await newModel(8);
    const session = 'one of many';
    const first = await call(stack.gateway.url, model, session, { failures: 0, isStream: false }, 'many');
    await eventually('it is told', async () => ((await stored(session, model)).state === 'active' ? true : undefined));
    for (let i = 0; i < 12; i += 1) {
      const gateway = stack.gateways[i % 2] ?? stack.gateway;
      const next = await call(gateway.url, model, session, { failures: 0, isStream: false }, `many ${i}`);
      expect(next).toEqual({ status: 200, upstream: first.upstream });
    }
  });

  it('until its stream breaks: then the session begins anew elsewhere', async () => {
    const model = await newModel(2);
    const session = 'broken';
    const first = await call(stack.gateway.url, model, session, { failures: 0, isStream: true }, 'x');
    const answer = await fetch(`${stack.gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', 'x-session-id': session },
      body: JSON.stringify({
        model,
        stream: true,
        messages: [{ role: 'user', content: 'Hello' }],
        x_simulate: { tokens: 9, resetAt: 3 },
      }),
    });
    await answer.text();
    expect(answer.headers.get('x-tollgate-upstream')).toBe(first.upstream);
    await eventually('it has failed', async () =>
      (await stored(session, model)).state === 'failed' ? true : undefined,
    );
    const next = await call(stack.gateway.url, model, session, { failures: 0, isStream: true }, 'y');
    expect(next.status).toBe(200);
    expect(next.upstream).not.toBe(first.upstream);
  });

  it('and nothing is known of a call that names no session, of a model with one upstream, nor of a quote', async () => {
    const lonely = await newModel(1);
    const alone = await call(stack.gateway.url, lonely, 'alone', { failures: 0, isStream: false }, 'alone');
    expect(alone.status).toBe(200);
    expect(await stored('alone', lonely)).toEqual({});
    const model = await newModel(2);
    const before = (await redis.keys(`tg:{${tenantId}}:affinity:*`)).length;
    const ask = (path: string, headers: Record<string, string>): Promise<Response> =>
      fetch(`${stack.gateway.url}${path}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers },
        body: JSON.stringify({ model, messages: [{ role: 'user', content: 'Hello' }] }),
      });
    expect((await ask('/v1/chat/completions', {})).status).toBe(200);
    expect((await ask('/v1/quote', { 'x-session-id': 'quoted' })).status).toBe(200);
    expect((await redis.keys(`tg:{${tenantId}}:affinity:*`)).length).toBe(before);
  });
});
