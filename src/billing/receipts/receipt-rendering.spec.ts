import { pricesJson } from '../../catalogue/price-json';
import { ONE_NANO_A_TOKEN } from '../../../test/support/money-harness';
import type { ChargeOfReceipt, CorrectionOfReceipt, LogOfReceipt, ReceiptSource } from './receipt-reader';
import { renderAdminReceipt, renderReceipt } from './receipt-rendering';

const AT = '2026-11-21T12:00:00.123456+00:00';

function charge(overrides: Partial<ChargeOfReceipt> = {}): ChargeOfReceipt {
  return {
    ...{ id: 'c', tenant_id: 't', status: 'COMMITTED', is_stream: true, model: 'm' },
    ...{ api_key_id: 'k', api_key_name: 'key', upstream_id: 'u', upstream_name: 'upstream', provider_name: 'provider' },
    ...{ price_version: '7', prices: pricesJson(ONE_NANO_A_TOKEN), counting_method: 'usage' },
    ...{ hold_nano_usd: '300', amount_nano_usd: '120', upstream_cost_nano_usd: '40' },
    ...{ end_reason: 'complete', reason_code: null, created_at: AT, ended_at: AT },
    ...{ tokens_input_uncached: '0', tokens_input_cached: '0', tokens_cache_write: '0', tokens_output: '120' },
    ...{ tokens_reasoning: '0', tokens_audio: '0', tokens_image: '0' },
    ...overrides,
  };
}

function log(overrides: Partial<LogOfReceipt> = {}): LogOfReceipt {
  return {
    ...{ tenant_id: 't', model: 'm', is_stream: true, status: 200, error_code: null, end_reason: null },
    ...{ client_request_id: 'mine', created_at: AT },
    ...overrides,
  };
}

function source(overrides: Partial<ReceiptSource> = {}): ReceiptSource {
  return {
    ...{ traceId: 'x', charge: charge(), funding: [], corrections: [], houseCost: '0', attempts: [], log: log() },
    ...overrides,
  };
}

function booked(type: string, amount: string, upstreamCost = '0'): CorrectionOfReceipt {
  return {
    ...{ id: type, type, amount, upstream_cost: upstreamCost, reason_code: 'R', description: null, created_at: AT },
  };
}

describe('a receipt', () => {
  it('of a call that runs knows no cost, and what is held', () => {
    const running = charge({ status: 'PENDING', amount_nano_usd: '0', ended_at: null, counting_method: null });
    expect(renderAdminReceipt(source({ charge: running, log: null }))).toMatchObject({
      ...{ status: 'pending', cost_usd: null, net_cost_usd: null, margin_usd: null, hold_usd: '0.000000300' },
      ...{ lines: [], basis: null, ended_at: null, client_request_id: null, created_at: '2026-11-21T12:00:00.123Z' },
    });
  });

  it.each([
    ['usage', 'provider'],
    ['tokenizer', 'tokenizer'],
    ['estimated', 'estimate'],
  ] as const)('says of tokens known by %s: %s', (counting_method, basis) => {
    expect(renderReceipt(source({ charge: charge({ counting_method }) }))).toMatchObject({ basis });
  });

  it('names the accounts that paid as the tenant knows them', () => {
    const accounts = ['promo', 'wallet', 'overrun', 'granted:allowance', 'granted:subscription'];
    const funding = accounts.map((account) => ({ account, amount: '24' }));
    expect(renderReceipt(source({ funding })).funding.map(({ account }) => account)).toEqual([
      ...['promo', 'wallet', 'overrun', 'allowance', 'subscription'],
    ]);
  });

  it('adds late corrections to the cost and takes off what was given back; a debit is an adjustment below zero', () => {
    const corrections = [
      booked('refund', '120'),
      booked('correction', '150', '10'),
      booked('refund', '30'),
      booked('credit_note', '7'),
      booked('adjustment', '-9'),
    ];
    const receipt = renderAdminReceipt(source({ corrections, houseCost: '5' }));
    expect(receipt.corrections.map(({ amount_usd }) => amount_usd)).toEqual([
      ...['-0.000000120', '0.000000150', '-0.000000030', '-0.000000007', '0.000000009'],
    ]);
    // 120 − 120 + 150 − 30 − 7 + 9; the upstream's 40 and 10 more, and the house's 5
    expect(receipt).toMatchObject({
      ...{ cost_usd: '0.000000120', net_cost_usd: '0.000000122', upstream_cost_usd: '0.000000050' },
      ...{ house_cost_usd: '0.000000005', margin_usd: '0.000000067' },
    });
  });

  it('does not tell the tenant what the call cost the house', () => {
    const attempt = {
      ...{ attempt: 1, upstream_id: 'u', upstream_name: 'upstream', provider_name: 'provider', status: 200 },
      ...{ outcome: '200', is_served: true, ttft_ms: 1, duration_ms: 2, tokens: { output: 120 } },
      ...{ upstream_cost_nano_usd: '40', paid_by: 'tenant' as const },
    };
    const told = source({ attempts: [attempt], houseCost: '5' });
    expect(JSON.stringify(renderReceipt(told))).not.toMatch(/upstream_cost|house_cost|margin|upstream_id/);
    expect(renderAdminReceipt(told).attempts).toMatchObject([{ upstream_id: 'u', upstream_cost_usd: '0.000000040' }]);
  });

  it('has no lines where the prices of its row cannot be read, but the cost that was charged', () => {
    const receipt = renderReceipt(source({ charge: charge({ prices: { input: 'x' } }) }));
    expect(receipt).toMatchObject({ lines: [], multiplier: null, cost_usd: '0.000000120' });
  });

  it.each([
    ['refused, before an upstream was asked', { error_code: 'QUOTA_BALANCE_EXCEEDED' }, 0, 'refused'],
    ['voided, though the row of that is not there yet', { error_code: 'UPSTREAM_ERROR' }, 1, 'voided'],
    ['uncharged, an answer that was given again', { end_reason: 'replayed' }, 0, 'uncharged'],
  ])('without a charge is %s', (_, fields, attempts, status) => {
    const made = Array.from({ length: attempts }, () => ({
      ...{ attempt: 1, upstream_id: null, upstream_name: 'u', provider_name: 'p', status: 500, outcome: '500' },
      ...{ is_served: false, ttft_ms: null, duration_ms: 2, tokens: null, upstream_cost_nano_usd: '0' },
      paid_by: 'nobody' as const,
    }));
    const receipt = renderReceipt(source({ charge: null, attempts: made, log: log(fields) }));
    expect(receipt).toMatchObject({ status, transaction_id: null, cost_usd: '0.000000000', lines: [], ...fields });
  });
});
