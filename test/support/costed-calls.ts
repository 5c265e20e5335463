import { randomUUID } from 'node:crypto';
import { adminCall } from '../factories/admin-client';
import { createPrice, createProvider, createUpstream } from '../factories/upstreams';
import type { Behaviour } from '../simulator/behaviour';
import { eventually } from './eventually';
import { type GatewayStack, startGatewayStack } from './gateway-stack';
import type { TestGateway } from './test-gateway';

/** What each upstream of a costed model costs us: nano-USD a token, of input and of output, in the order of attempts. */
export const COSTS = [
  { input: 300n, output: 600n },
  { input: 500n, output: 1_000n },
] as const;

const COST_FIELDS = [
  { cost_input_usd_per_mtok: '0.3', cost_output_usd_per_mtok: '0.6' },
  { cost_input_usd_per_mtok: '0.5', cost_output_usd_per_mtok: '1' },
];

export interface Line {
  readonly kind: string;
  readonly amount_usd: string;
  readonly [field: string]: unknown;
}

export interface Receipt {
  readonly status: string;
  readonly cost_usd: string | null;
  readonly net_cost_usd: string | null;
  readonly lines: readonly Line[];
  readonly funding: readonly { readonly account: string; readonly amount_usd: string }[];
  readonly attempts: readonly Readonly<Record<string, unknown>>[];
  readonly [field: string]: unknown;
}

/** What a call answered: everything of it a client can know. */
export interface CalledBack {
  readonly status: number;
  readonly traceId: string;
  readonly text: string;
  readonly headers: Headers;
}

/** Models with two upstreams of known cost, on gateways with the broken-stream policies `delivered` and `void`. */
export class CostedCalls {
  private made = 0;

  private constructor(
    readonly stack: GatewayStack,
    private readonly providerId: string,
  ) {}

  static async open(): Promise<CostedCalls> {
    const stack = await startGatewayStack([
      { BROKEN_STREAM_POLICY: 'delivered' },
      {
        BROKEN_STREAM_POLICY: 'void',
        UPSTREAM_TOTAL_MS: '1500',
        UPSTREAM_FIRST_BYTE_MS: '1500',
        UPSTREAM_IDLE_MS: '1500',
      },
    ]);
    const providerId = await createProvider(stack.gateway, { base_url: `${stack.simulator.url}/v1` });
    return new CostedCalls(stack, providerId);
  }

  get gateway(): TestGateway {
    return this.stack.gateway;
  }

  /** Breaks the total deadline soon, and makes broken streams free. */
  get strict(): TestGateway {
    const strict = this.stack.gateways[1];
    if (!strict) throw new Error('there are two gateways');
    return strict;
  }

  /** One more model at 1 and 2 USD a million tokens, with an upstream for each behaviour, tried in this order. */
  async model(behaviours: readonly Behaviour[]): Promise<{ name: string; upstreamIds: readonly string[] }> {
    this.made += 1;
    const name = `costed-${this.made}`;
    const upstreamIds: string[] = [];
    for (const [priority, behaviour] of behaviours.entries()) {
      const upstream_model = `${name}-${priority}`;
      this.stack.simulator.script(upstream_model, behaviour);
      const fields = { provider_id: this.providerId, model: name, upstream_model, priority, ...COST_FIELDS[priority] };
      upstreamIds.push(await createUpstream(this.gateway, fields));
    }
    await createPrice(this.gateway, { model: name });
    return { name, upstreamIds };
  }

  async call(
    key: string,
    model: string,
    fields: object = {},
    gateway = this.gateway,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<CalledBack> {
    const ask = (): Promise<Response> =>
      fetch(`${gateway.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers },
        body: JSON.stringify({ model, messages: [{ role: 'user', content: 'Hello' }], ...fields }),
      });
    await this.knows(gateway, key, model);
    const response = await ask();
    const text = await response.text().catch(() => 'torn');
    const traceId = response.headers.get('x-request-id') ?? '';
    return { status: response.status, headers: response.headers, text, traceId };
  }

  /** The tenant's receipt once everything is written: the operational record, and the row of a void, are behind the answer. */
  receipt(key: string, traceId: string): Promise<Receipt> {
    return eventually('the receipt has its attempts', async () => {
      const response = await this.getReceipt(key, traceId);
      if (response.status !== 200) return undefined;
      const receipt = (await response.json()) as Receipt;
      const isAdmitted = receipt.attempts.length > 0;
      const isOver = receipt.error_code !== null || receipt.end_reason === 'replayed';
      const isWhole = isAdmitted ? receipt.transaction_id !== null : isOver;
      return isWhole && receipt.status !== 'pending' ? receipt : undefined;
    });
  }

  getReceipt(key: string, traceId: string): Promise<Response> {
    return fetch(`${this.gateway.url}/v1/receipts/${traceId}`, { headers: { 'x-api-key': key } });
  }

  async adminReceipt(traceId: string): Promise<Receipt> {
    return (await adminCall(this.gateway, 'GET', `receipts/${traceId}`)) as Receipt;
  }

  async refund(transactionId: string, body: object): Promise<void> {
    const response = await fetch(`${this.gateway.url}/admin/v1/transactions/${transactionId}/refunds`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${this.gateway.adminToken}`,
        'content-type': 'application/json',
        'idempotency-key': randomUUID(),
      },
      body: JSON.stringify({ reason_code: 'GOODWILL', ...body }),
    });
    if (!response.ok) throw new Error(`the refund was refused: ${response.status} ${await response.text()}`);
  }

  close(): Promise<void> {
    return this.stack.close();
  }

  private async knows(gateway: TestGateway, key: string, model: string): Promise<void> {
    await eventually(`the gateway knows ${model}`, async () => {
      const response = await fetch(`${gateway.url}/v1/models/${model}`, { headers: { 'x-api-key': key } });
      // Whoever may not ask for it, or asks for what nobody serves, need not wait.
      return response.status === 200 || !model.startsWith('costed-') ? true : undefined;
    });
  }
}

/** In 10⁻³⁰ USD: sums amounts of any number of decimals, by no code of the product. */
export function exactUnits(amountUsd: string): bigint {
  const [, sign, whole = '', fraction = ''] = /^(-?)(\d+)\.(\d+)$/.exec(amountUsd) ?? [];
  const magnitude = BigInt(whole + fraction.padEnd(30, '0'));
  return sign === '-' ? -magnitude : magnitude;
}

export function nanoOf(amountUsd: string): bigint {
  return exactUnits(amountUsd) / 10n ** 21n;
}

/** Decimal USD with nine decimals, as the API gives amounts. */
export function usdOf(nanoUsd: bigint): string {
  const digits = (nanoUsd < 0n ? -nanoUsd : nanoUsd).toString().padStart(10, '0');
  return `${nanoUsd < 0n ? '-' : ''}${digits.slice(0, -9)}.${digits.slice(-9)}`;
}
