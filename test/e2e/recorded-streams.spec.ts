import { Pool } from 'undici';
import { createPaidModel } from '../factories/paid-model';
import { createPrice, createUpstream } from '../factories/upstreams';
import { assemble, readEvents } from '../support/assembled-answer';
import { extent } from '../support/extent';
import { brokenInvariants, type GatewayStack, startGatewayStack } from '../support/gateway-stack';
import { openAiClient, traceIdOf } from '../support/openai-caller';
import { type RecordedStream, recordedChatBodies, recordedChatStreams } from '../support/recorded-streams';
import { seeded } from '../support/seeded';

/** Prices that divide nothing evenly, so that the one rounding up shows. Nano-USD per million: the digits, × 10³. */
const PRICE = {
  input_usd_per_mtok: '1.234567',
  cached_input_usd_per_mtok: '0.123457',
  output_usd_per_mtok: '4.937001',
  reasoning_usd_per_mtok: '7.654321',
  per_request_usd: '0.000001',
};

interface HandCharge {
  readonly tokens: Readonly<Record<string, number>>;
  /** (Σ tokens × price + 0.000001 USD), rounded up once to nano-USD. */
  readonly amountNanoUsd: bigint;
}

/** By hand, from the last usage in each file: see the quirk beside each. */
const STREAM_CHARGES: Readonly<Record<string, HandCharge>> = {
  // 13 prompt, 400 completion: 13 × 1,234.567 + 400 × 4,937.001 + 1,000 = 1,991,849.771
  'deepseek-text': { tokens: { input_uncached: 13, output: 400 }, amountNanoUsd: 1_991_850n },
  // 339 prompt with 320 cached, 83 completion with 39 reasoning: 579,709.576
  'deepseek-tool-call': {
    tokens: { input_uncached: 19, input_cached: 320, output: 44, reasoning: 39 },
    amountNanoUsd: 579_710n,
  },
  // 171 prompt with 128 cached, 14 completion, on the finish chunk: 139,006.891
  'mistral-incremental-tool-call': {
    tokens: { input_uncached: 43, input_cached: 128, output: 14 },
    amountNanoUsd: 139_007n,
  },
  // 13 prompt, 8 completion: 56,545.379
  'mistral-text': { tokens: { input_uncached: 13, output: 8 }, amountNanoUsd: 56_546n },
  // 16 prompt, 300 completion: 1,501,853.372
  'openai-text': { tokens: { input_uncached: 16, output: 300 }, amountNanoUsd: 1_501_854n },
  // 12 prompt with 11 cached; 2 completion and, beside them, 340 reasoning = 354 in all: 2,615,935.736
  'xai-text': {
    tokens: { input_uncached: 1, input_cached: 11, output: 2, reasoning: 340 },
    amountNanoUsd: 2_615_936n,
  },
  // 307 prompt with 306 cached; 26 completion and, beside them, 227 reasoning = 560 in all: 1,905,905.302
  'xai-tool-call': {
    tokens: { input_uncached: 1, input_cached: 306, output: 26, reasoning: 227 },
    amountNanoUsd: 1_905_906n,
  },
};

const BODY_CHARGES: Readonly<Record<string, HandCharge>> = {
  // 1,498,149.671
  'deepseek-text': { tokens: { input_uncached: 13, output: 300 }, amountNanoUsd: 1_498_150n },
  // 339 with 320 cached, 92 with 48 reasoning: 648,598.465
  'deepseek-tool-call': {
    tokens: { input_uncached: 19, input_cached: 320, output: 44, reasoning: 48 },
    amountNanoUsd: 648_599n,
  },
  // 2,159,707.805
  'mistral-text': { tokens: { input_uncached: 13, output: 434 }, amountNanoUsd: 2_159_708n },
  // 1,812,884.435
  'openai-text': { tokens: { input_uncached: 16, output: 363 }, amountNanoUsd: 1_812_885n },
  // 12 with 2 cached; 2 + 320 reasoning = 334 in all: 2,472,849.306
  'xai-text': { tokens: { input_uncached: 10, input_cached: 2, output: 2, reasoning: 320 }, amountNanoUsd: 2_472_850n },
  // 307 with 244 cached; 26 + 255 reasoning = 588 in all: 2,189,115.11
  'xai-tool-call': {
    tokens: { input_uncached: 63, input_cached: 244, output: 26, reasoning: 255 },
    amountNanoUsd: 2_189_116n,
  },
};

const SEED = 20_261_121;
const SMALL_BYTES = 20 * 1024;
const SAMPLED_OFFSETS = extent(60, 600);
const PARALLEL_CALLS = 24;
const MESSAGES = [{ role: 'user' as const, content: 'Say it again.' }];

const streams = recordedChatStreams();
const bodies = recordedChatBodies();
/** As clients name it: another name than the provider's, so that every frame is edited on its way. */
const aliasOf = (name: string): string => `ours/${name}`;

if (!streams || !bodies) {
  it.skip('recorded provider answers through the gateway (no recordings beside the project)', () => undefined);
} else {
  describe('recorded provider answers, replayed through the gateway', () => {
    let stack: GatewayStack;
    let key: string;
    let pool: Pool;

    beforeAll(async () => {
      stack = await startGatewayStack();
      const paid = await createPaidModel(stack.gateway, {
        baseUrl: `${stack.simulator.url}/v1`,
        tenant: { initial_balance_usd: '1000', daily_quota: null, monthly_quota: null },
      });
      ({ key } = paid);
      pool = new Pool(stack.gateway.url, { connections: PARALLEL_CALLS });
      const names = [...new Set([...streams.map(({ name }) => name), ...bodies.keys()])];
      // Each under two names: the provider's own, which goes through untouched, and one of ours.
      for (const model of names.flatMap((name) => [name, aliasOf(name)])) {
        const upstream_model = model.replace('ours/', '');
        await createUpstream(stack.gateway, { provider_id: paid.providerId, model, ...{ upstream_model } });
        await createPrice(stack.gateway, { model, ...PRICE });
      }
    }, 120_000);

    afterAll(async () => {
      await pool.close();
      await stack.close();
    });

    beforeEach(() => {
      stack.simulator.reset();
    });

    afterEach(async () => {
      expect(await brokenInvariants(stack.gateway)).toEqual([]);
    });

    it('has a charge computed by hand for each of them', () => {
      expect(streams.map(({ name }) => name).sort()).toEqual(Object.keys(STREAM_CHARGES).sort());
      expect([...bodies.keys()].sort()).toEqual(Object.keys(BODY_CHARGES).sort());
    });

    describe.each(streams)('$name', (recording) => {
      const { name, events, bytes } = recording;
      const charge = chargeIn(STREAM_CHARGES, name);

      it('reaches the official client whole, and costs what its last usage says', async () => {
        stack.simulator.script(name, { frames: events });
        const { data, response } = await openAiClient(stack.gateway, key)
          .client.chat.completions.create({
            model: aliasOf(name),
            messages: MESSAGES,
            stream: true,
            stream_options: { include_usage: true },
          })
          .withResponse();
        const received: string[] = [];
        for await (const chunk of data) received.push(JSON.stringify(chunk));
        expect(assemble(received)).toEqual({ ...assemble(events), model: aliasOf(name) });
        expect(stack.simulator.served()).toMatchObject([{ outcome: 'complete', bytesSent: bytes.length }]);
        await expectCharge(traceIdOf(response), charge);
      });

      it('shows no usage to a client that did not ask, and costs the same', async () => {
        stack.simulator.script(name, { frames: events });
        const { text, traceId } = await call({ model: name, messages: MESSAGES, stream: true });
        const { events: received, isDone } = readEvents(text);
        expect(isDone).toBe(true);
        // Jest takes a member that is undefined for one that is not there.
        expect(assemble(received)).toEqual({ ...assemble(events), usage: undefined });
        await expectCharge(traceId, charge);
      });

      const offsets = offsetsOf(bytes.length);
      const which = offsets.length === bytes.length - 1 ? 'every byte' : `${offsets.length} bytes of seed ${SEED}`;
      it(`does not change when it is cut at ${which}: ${offsets.length} calls`, async () => {
        stack.simulator.script(name, { body: bytes.toString() });
        const model = aliasOf(name);
        const earlier = (await stack.book.ofModel(model)).length;
        const expected = asSeenBy(recording, model);
        const different: string[] = [];
        await inParallel(offsets, async (splitAtByte) => {
          const { text } = await call({
            model,
            messages: MESSAGES,
            stream: true,
            stream_options: { include_usage: true },
            x_simulate: { splitAtByte },
          });
          const [before, comment = '', after] = text.split(/^: (.*)\n\n/m);
          const cost = /^tollgate cost_usd=0\.(\d{9}) /.exec(comment)?.[1];
          const isSame = `${before ?? ''}${after ?? ''}` === expected && BigInt(cost ?? 0) === charge.amountNanoUsd;
          if (!isSame) different.push(`cut at ${splitAtByte}: ${text.slice(-600)}`);
        });
        expect(different).toEqual([]);
        const amount = charge.amountNanoUsd;
        expect(await stack.book.outcomesOfModel(model)).toEqual([
          { outcome: `COMMITTED ${amount} ${amount} usage`, charges: earlier + offsets.length },
        ]);
      }, 120_000);
    });

    it.each([...bodies])('%s as a whole body is the provider’s, and costs what its usage says', async (name, body) => {
      stack.simulator.script(name, { body: body.toString() });
      const charge = chargeIn(BODY_CHARGES, name);
      const theirs = JSON.parse(body.toString()) as object;
      const { data, response } = await openAiClient(stack.gateway, key)
        .client.chat.completions.create({ model: aliasOf(name), messages: MESSAGES })
        .withResponse();
      expect(data).toEqual({ ...theirs, model: aliasOf(name) });
      await expectCharge(traceIdOf(response), charge);
      const untouched = await call({ model: name, messages: MESSAGES });
      expect(untouched.text).toBe(body.toString());
      await expectCharge(untouched.traceId, charge);
    });

    async function expectCharge(traceId: string, { tokens, amountNanoUsd }: HandCharge): Promise<void> {
      expect(await stack.book.ended(traceId)).toMatchObject({
        status: 'COMMITTED',
        method: 'usage',
        amountNanoUsd,
        transferredNanoUsd: amountNanoUsd,
        tokens,
      });
    }

    async function call(body: object): Promise<{ text: string; traceId: string }> {
      const {
        statusCode,
        headers,
        body: answer,
      } = await pool.request({
        method: 'POST',
        path: '/v1/chat/completions',
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
      const text = await answer.text();
      if (statusCode !== 200) throw new Error(`${statusCode}: ${text}`);
      return { text, traceId: String(headers['x-request-id']) };
    }
  });
}

/** What a client that calls the model so must be sent, byte by byte, without the comment that tells the cost. */
function asSeenBy({ events }: RecordedStream, model: string): string {
  const renamed = events.map((event) => event.replace(/"model":"[^"]*"/, `"model":${JSON.stringify(model)}`));
  return [...renamed, '[DONE]'].map((data) => `data: ${data}\n\n`).join('');
}

function chargeIn(charges: Readonly<Record<string, HandCharge>>, name: string): HandCharge {
  const charge = charges[name];
  if (charge === undefined) throw new Error(`no charge was computed by hand for ${name}`);
  return charge;
}

/** Every border between two bytes of a small stream; a seeded sample of a large one's. */
function offsetsOf(length: number): readonly number[] {
  if (length - 1 <= SMALL_BYTES) return Array.from({ length: length - 1 }, (_, index) => index + 1);
  const random = seeded(SEED);
  const offsets = new Set<number>();
  while (offsets.size < SAMPLED_OFFSETS) offsets.add(1 + Math.floor(random() * (length - 1)));
  return [...offsets];
}

async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const queue = items.values();
  const worker = async (): Promise<void> => {
    for (const item of queue) await work(item);
  };
  await Promise.all(Array.from({ length: PARALLEL_CALLS }, worker));
}
