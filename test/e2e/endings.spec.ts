import { createPaidModel, type PaidModel } from '../factories/paid-model';
import { createPrice, createUpstream } from '../factories/upstreams';
import type { ServedRecord } from '../simulator/served-log';
import { readEvents } from '../support/assembled-answer';
import type { BookedCharge } from '../support/charge-book';
import { type Bill, type Ending, ENDINGS, TEXT } from '../support/endings';
import { eventually } from '../support/eventually';
import { brokenInvariants, type GatewayStack, startGatewayStack } from '../support/gateway-stack';
import type { TestGateway } from '../support/test-gateway';

/** 1 USD a million input tokens, 2 USD a million output tokens. */
const INPUT_NANO_USD = 1_000n;
const OUTPUT_NANO_USD = 2_000n;
/** By the tokenizer: `user`, `Hello`, and three for the frame of each message and of the answer. */
const PROMPT_TOKENS = 8n;
const INITIAL_NANO_USD = 10_000_000_000n;

/** What a client made of its call. A stream that stops without `[DONE]` and without an error is `torn`. */
interface Seen {
  readonly end: 'whole' | 'error' | 'torn' | 'hung up';
  readonly status?: number;
  readonly code?: string;
  readonly text: string;
}

const cases = ENDINGS.map((ending, index) => ({ ...ending, mode: ending.isStream ? 'stream' : 'whole', index }));

describe('however a call ends', () => {
  let stack: GatewayStack;
  let paid: PaidModel;
  let gateways: Record<Ending['on'], TestGateway>;
  let spentNanoUsd = 0n;

  beforeAll(async () => {
    stack = await startGatewayStack([
      { DISCONNECT_POLICY: 'drain', BROKEN_STREAM_POLICY: 'delivered' },
      { DISCONNECT_POLICY: 'cut', BROKEN_STREAM_POLICY: 'void' },
      { UPSTREAM_FIRST_BYTE_MS: '700', UPSTREAM_IDLE_MS: '700', DISCONNECT_DRAIN_MS: '300' },
    ]);
    const [patient, strict, hasty] = stack.gateways;
    if (!patient || !strict || !hasty) throw new Error('three gateways were asked for');
    gateways = { patient, strict, hasty };
    paid = await createPaidModel(patient, { baseUrl: `${stack.simulator.url}/v1` });
    const provider = { provider_id: paid.providerId };
    for (const { index, upstreams } of cases) {
      for (const priority of upstreams.keys()) {
        const order = { priority, upstream_model: `${modelOf(index)}-${priority}` };
        await createUpstream(patient, { ...provider, model: modelOf(index), ...order });
      }
      await createPrice(patient, { model: modelOf(index) });
    }
    for (const gateway of stack.gateways) await knowsModels(gateway, cases.length);
  }, 120_000);

  afterAll(() => stack.close());

  it.each(cases)('$what, $mode: $expected.bill', async (ending) => {
    const model = modelOf(ending.index);
    for (const [priority, behaviour] of ending.upstreams.entries()) {
      stack.simulator.script(`${model}-${priority}`, behaviour);
    }
    const seen = await call(gateways[ending.on], model, ending);
    const charges = await stack.book.endedOfModel(model);
    const { client, words, bill, attempts, served } = ending.expected;

    const isSomePrefix = words === 'a prefix' && TEXT.startsWith(seen.text);
    expect(seen).toEqual({ ...client, text: isSomePrefix ? seen.text : words });
    expect(charges).toHaveLength(1);
    expect(charges.map(found)).toEqual([expectedCharge(bill, seen.text)]);
    if (attempts) expect(await outcomesOf(charges[0])).toEqual(attempts);
    if (served) expect(servedOf(model).map(({ outcome }) => outcome)).toEqual(served);
    spentNanoUsd += expectedCharge(bill, seen.text).amountNanoUsd;
  });

  it('a storm of 429 passes: those that met it are not charged, those after it are, once each', async () => {
    const [model, calls, stormy] = ['stormy', 20, 12];
    await createUpstream(gateways.patient, { provider_id: paid.providerId, model });
    await createPrice(gateways.patient, { model });
    // Without Retry-After: those that come after it would wait, and be told so.
    const fail = { status: 429, firstCalls: stormy };
    stack.simulator.script(model, { text: TEXT, promptTokens: 100, completionTokens: 50, fail });
    const seen = await Promise.all(
      Array.from({ length: calls }, (_, index) => call(gateways.patient, model, { isStream: index % 2 === 0 })),
    );
    expect(seen.filter(({ end, text }) => end === 'whole' && text === TEXT)).toHaveLength(calls - stormy);
    expect(seen.filter(({ status, code }) => status === 429 && code === 'UPSTREAM_RATE_LIMITED')).toHaveLength(stormy);
    expect(await stack.book.outcomesOfModel(model)).toEqual([
      { outcome: 'COMMITTED 200000 200000 usage', charges: calls - stormy },
      { outcome: 'VOIDED 0 0 -', charges: stormy },
    ]);
    spentNanoUsd += BigInt(calls - stormy) * 200_000n;
  });

  it('leaves nothing open: the wallet has paid the sum above, nothing is held, every invariant holds', async () => {
    for (const gateway of stack.gateways) {
      expect(await brokenInvariants(gateway)).toEqual([]);
      // pino's error and fatal: however a provider or a client behaves, nothing fails inside the gateway.
      expect(
        gateway
          .logs()
          .split('\n')
          .filter((line) => /"level":(50|60|"error"|"fatal")/.test(line)),
      ).toEqual([]);
    }
    const charges = await stack.book.ofTenant(paid.tenantId);
    expect(charges.length).toBe(cases.length + 20);
    expect(charges.filter(({ status }) => status === 'PENDING')).toEqual([]);
    expect(await stack.book.walletNanoUsd(paid.tenantId)).toBe(INITIAL_NANO_USD - spentNanoUsd);
    const balance = await fetch(`${gateways.patient.url}/v1/balance`, { headers: { 'x-api-key': paid.key } });
    expect(await balance.json()).toMatchObject({ held_usd: '0.000000000' });
  });

  async function call(
    gateway: TestGateway,
    model: string,
    { isStream, hangUp }: Pick<Ending, 'isStream' | 'hangUp'>,
  ): Promise<Seen> {
    const leaving = new AbortController();
    const asked = fetch(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${paid.key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model, messages: [{ role: 'user', content: 'Hello' }], stream: isStream }),
      signal: leaving.signal,
    });
    if (hangUp === 'before the answer') {
      await eventually('the call is upstream', () => (servedOf(model).length > 0 ? true : undefined));
      leaving.abort();
      return asked.then(
        () => ({ end: 'torn', text: '' }),
        () => ({ end: 'hung up', text: '' }),
      );
    }
    const response = await asked;
    if (!isStream || response.status !== 200) return readWhole(response);
    return readStream(response, hangUp?.afterWords, leaving);
  }

  function servedOf(model: string): ServedRecord[] {
    return stack.simulator.served().filter((record) => record.model.startsWith(`${model}-`));
  }

  async function outcomesOf(charge: BookedCharge | undefined): Promise<readonly string[]> {
    return (await stack.book.attempts(charge?.traceId ?? '')).map(({ outcome }) => outcome);
  }

  async function knowsModels(gateway: TestGateway, count: number): Promise<void> {
    await eventually('the gateway knows every model', async () => {
      const response = await fetch(`${gateway.url}/v1/models`, { headers: { 'x-api-key': paid.key } });
      const { data } = (await response.json()) as { data: unknown[] };
      return data.length > count ? true : undefined;
    });
  }
});

function modelOf(index: number): string {
  return `ending-${index}`;
}

async function readWhole(response: Response): Promise<Seen> {
  const answer = (await response.json()) as {
    choices?: { message: { content: string } }[];
    error?: { code: string };
  };
  const text = answer.choices?.[0]?.message.content ?? '';
  if (answer.error) return { end: 'error', status: response.status, code: answer.error.code, text };
  return { end: 'whole', status: response.status, text };
}

async function readStream(response: Response, leaveAfter: number | undefined, leaving: AbortController): Promise<Seen> {
  const decoder = new TextDecoder();
  let received = '';
  try {
    for await (const part of response.body ?? []) {
      received += decoder.decode(part as Uint8Array, { stream: true });
      const words = textOf(readEvents(received.slice(0, received.lastIndexOf('\n\n') + 2)).events);
      if (leaveAfter !== undefined && words.split(' ').length >= leaveAfter) leaving.abort();
    }
  } catch {
    return { end: leaving.signal.aborted ? 'hung up' : 'torn', text: textOf(readEvents(received).events) };
  }
  const { events, isDone } = readEvents(received);
  const last = parsed(events.at(-1));
  const text = textOf(events);
  if (last?.error) return { end: isDone ? 'torn' : 'error', status: response.status, code: last.error.code, text };
  return { end: isDone ? 'whole' : 'torn', status: response.status, text };
}

interface Event {
  readonly choices?: readonly { delta: { content?: string | null } }[];
  readonly error?: { code: string };
}

function textOf(events: readonly string[]): string {
  return events.map((event) => parsed(event)?.choices?.[0]?.delta.content ?? '').join('');
}

/** Undefined for the garbage that a provider may send. */
function parsed(event: string | undefined): Event | undefined {
  try {
    return JSON.parse(event ?? 'null') as Event;
  } catch {
    return undefined;
  }
}

type ChargeEnd = Pick<BookedCharge, 'status' | 'amountNanoUsd' | 'transferredNanoUsd' | 'method' | 'endReason'>;

function found({ status, amountNanoUsd, transferredNanoUsd, method, endReason, reasonCode }: BookedCharge): ChargeEnd {
  return { status, amountNanoUsd, transferredNanoUsd, method, endReason: reasonCode ?? endReason };
}

function expectedCharge(bill: Bill, seenText: string): ChargeEnd {
  if ('voided' in bill) {
    return { status: 'VOIDED', amountNanoUsd: 0n, transferredNanoUsd: 0n, method: null, endReason: bill.voided };
  }
  const words = BigInt(seenText.split(' ').filter(Boolean).length);
  const amount =
    bill.nanoUsd === 'the words seen' ? PROMPT_TOKENS * INPUT_NANO_USD + words * OUTPUT_NANO_USD : bill.nanoUsd;
  const { method, endReason } = bill;
  return { status: 'COMMITTED', amountNanoUsd: amount, transferredNanoUsd: amount, method, endReason };
}
