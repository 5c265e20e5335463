import { setTimeout as delay } from 'node:timers/promises';
import { adminCall } from '../factories/admin-client';
import { createApiKey } from '../factories/tenants';
import { createPrice, createProvider, createUpstream } from '../factories/upstreams';
import { type RunningCall } from '../support/client-log';
import { ALL_HOLD, firstSeed, invariantsOf, MoneyStage, Seeded, until } from '../support/money-stage';
import { metricOf } from '../support/plain-call';
import type { TestGateway } from '../support/test-gateway';

const SEED = firstSeed();
const SUBJECTS = ['api-keys', 'upstreams', 'providers'] as const;
type Subject = (typeof SUBJECTS)[number];

const TOKENS = 12;
const PACE_MS = 20;
const HEADERS_MS = 150;
const AFTER_MS = 200;
/** Calls at once. */
const WIDTH = 9;

/** A call whose key, upstream or provider goes: `when` resolves at that moment. */
interface Deletion {
  readonly subject: Subject;
  readonly isStream: boolean;
  readonly moment: string;
  readonly when: (call: RunningCall) => Promise<unknown>;
  /** It may come before the call was admitted. */
  readonly mayRefuse: boolean;
}

/** What one call stands on, none of it shared with another. */
interface Footing {
  readonly model: string;
  readonly key: string;
  readonly ids: Readonly<Record<Subject, string>>;
  readonly names: { readonly api_key_name: string; readonly upstream_name: string; readonly provider_name: string };
}

function deletionsOf(random: Seeded): readonly Deletion[] {
  const kinds = SUBJECTS.flatMap((subject) => [true, false].map((isStream) => ({ subject, isStream })));
  return kinds.flatMap(({ subject, isStream }): Deletion[] => {
    const atMs = (ms: number, label: string): Deletion => ({
      subject,
      isStream,
      moment: `${ms} ms after ${label}`,
      mayRefuse: label === 'its start',
      when: (call) => (label === 'its end' ? call.done.then(() => delay(ms)) : delay(ms)),
    });
    const atBytes = (bytes: number): Deletion => ({
      subject,
      isStream,
      moment: `after ${bytes} bytes`,
      mayRefuse: false,
      when: (call) =>
        until(
          () => call.bytesSoFar() >= bytes,
          20_000,
          () => 'it does not stream',
        ),
    });
    const during = isStream
      ? [atBytes(1), atBytes(random.integer(200, 1_500))]
      : [atMs(random.integer(50, HEADERS_MS), 'its start')];
    const after = [0, ...Array.from({ length: 4 }, () => random.integer(1, AFTER_MS))];
    return [atMs(random.integer(10, 100), 'its start'), ...during, ...after.map((ms) => atMs(ms, 'its end'))];
  });
}

describe(`a key, an upstream or a provider that is deleted around a call (seed ${SEED})`, () => {
  let stage: MoneyStage;
  let gateway: TestGateway;
  let tenantId: string;
  let made = 0;

  beforeAll(async () => {
    stage = await MoneyStage.open();
    gateway = await stage.startGateway();
    ({ tenantId } = await stage.paidModel(gateway, {
      model: 'everlasting',
      tenant: { initial_balance_usd: '100', daily_quota: null, monthly_quota: null },
    }));
  }, 60_000);

  afterAll(() => stage.close(), 30_000);

  async function footing(): Promise<Footing> {
    made += 1;
    const names = { api_key_name: `key ${made}`, upstream_name: `upstream ${made}`, provider_name: `provider ${made}` };
    const model = `model-${made}`;
    const [{ id: keyId, key }, providerId] = await Promise.all([
      createApiKey(gateway, tenantId, { name: names.api_key_name }),
      createProvider(gateway, { base_url: `${stage.simulator.url}/v1`, name: names.provider_name }),
      createPrice(gateway, { model, per_request_usd: '0.0001' }),
    ]);
    const upstreamId = await createUpstream(gateway, { provider_id: providerId, model, name: names.upstream_name });
    return { model, key, names, ids: { 'api-keys': keyId, upstreams: upstreamId, providers: providerId } };
  }

  function start({ key, model }: Footing, isStream: boolean): RunningCall {
    const script = { tokens: TOKENS, headersDelayMs: HEADERS_MS, ...(isStream ? { paceMs: PACE_MS } : {}) };
    return stage.clients.start(gateway.url, { key, model, isStream, fields: { x_simulate: script } });
  }

  /** What is kept of the call, once its log is written and the deletion has reached it. */
  async function keptOf(traceId: string, isThere: Readonly<Record<Subject, boolean>>): Promise<unknown> {
    let kept: unknown;
    const wanted = [isThere['api-keys'], isThere.upstreams && isThere.providers];
    await until(
      async () => {
        const { rows } = await stage.pool.query<{ has_key: boolean; has_upstream: boolean | null; kept: unknown }>(
          `select l.api_key_id is not null as has_key, a.upstream_id is not null as has_upstream,
                  json_build_object('status', b.status, 'api_key_name', b.api_key_name, 'upstream_name', b.upstream_name,
                    'provider_name', b.provider_name, 'of_attempt', json_build_array(a.upstream_name, a.provider_name),
                    'is_paid', b.amount_nano_usd > 0) as kept
             from request_log l join billing_transaction b on b.trace_id = l.id
             join request_attempt a on a.request_id = l.id where l.id = $1`,
          [traceId],
        );
        kept = rows[0] ?? 'no log';
        const [row] = rows;
        if (row === undefined || JSON.stringify([row.has_key, row.has_upstream]) !== JSON.stringify(wanted))
          return false;
        kept = row.kept;
        return true;
      },
      10_000,
      () => `kept is ${JSON.stringify(kept)}, the ids there should be ${JSON.stringify(wanted)}`,
    );
    return kept;
  }

  /** Answers whether the call was admitted. */
  async function deleteAround({ subject, isStream, moment, when, mayRefuse }: Deletion): Promise<boolean> {
    const what = `${subject} ${moment}, ${isStream ? 'stream' : 'whole'}`;
    const stand = await footing();
    const call = start(stand, isStream);
    await when(call);
    await adminCall(gateway, 'DELETE', `${subject}/${stand.ids[subject]}`);
    const { traceId, outcome, body } = await call.done;
    if (mayRefuse && outcome === 'refused') return false;
    expect({ what, outcome, body }).toEqual({ what, outcome: 'answered', body });
    if (traceId === undefined) throw new Error(`${what}: no trace id`);
    const isThere = { 'api-keys': true, upstreams: true, providers: true, [subject]: false };
    const { names } = stand;
    expect({ what, kept: await keptOf(traceId, isThere) }).toEqual({
      what,
      kept: { status: 'COMMITTED', ...names, of_attempt: [names.upstream_name, names.provider_name], is_paid: true },
    });
    expect(await adminCall(gateway, 'GET', `receipts/${traceId}`)).toMatchObject({
      ...names,
      attempts: [{ upstream_name: names.upstream_name, provider_name: names.provider_name, is_served: true }],
    });
    return true;
  }

  it('costs no row and no name: the call is answered and charged, ids become null', async () => {
    const deletions = deletionsOf(new Seeded(SEED));
    const admitted: boolean[] = [];
    for (let from = 0; from < deletions.length; from += WIDTH) {
      admitted.push(
        ...(await Promise.all(deletions.slice(from, from + WIDTH).map((deletion) => deleteAround(deletion)))),
      );
    }
    expect(admitted.filter(Boolean).length).toBeGreaterThanOrEqual(deletions.filter((d) => !d.mayRefuse).length);
    expect(stage.clients.records).toHaveLength(deletions.length);
    expect([...(await metricOf(gateway, 'tollgate_request_log_dropped_total')).values()]).toEqual([0]);
  }, 120_000);

  it('refuses the next call before it costs anything', async () => {
    for (const subject of SUBJECTS) {
      const stand = await footing();
      await adminCall(gateway, 'DELETE', `${subject}/${stand.ids[subject]}`);
      await until(
        async () => {
          const record = await start(stand, false).done;
          return record.outcome === 'refused';
        },
        5_000,
        () => `a call without its ${subject} still passes`,
      );
    }
  }, 30_000);

  it('leaves every invariant standing and the three logs clean', async () => {
    await stage.quiet([tenantId]);
    expect(await invariantsOf(gateway)).toEqual(ALL_HOLD);
    expect((await stage.threeLogs([tenantId])).violations).toEqual([]);
  }, 60_000);
});
