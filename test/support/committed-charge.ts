import type { INestApplicationContext } from '@nestjs/common';
import { settleFields } from '../../src/billing/writer/charge-rows';
import type { EndRow } from '../../src/billing/writer/charge-rows';
import { ChargeWriter } from '../../src/billing/writer/charge-writer';
import { type FrozenPrice, NO_TOKENS, type TokenCounts } from '../../src/catalogue/price';
import { pricesJson } from '../../src/catalogue/price-json';
import { newId } from '../../src/kernel/ids';
import { PG_POOL } from '../../src/platform/database/pg-pool';
import { ProcessIdentity } from '../../src/platform/process/process-identity';
import type { Pool } from 'pg';
import { ONE_NANO_A_TOKEN, outputOf } from './money-harness';

export interface WrittenCharge {
  readonly tokens?: Partial<TokenCounts>;
  readonly price?: FrozenPrice;
  readonly row?: Partial<EndRow>;
}

/** A COMMITTED charge without a call, written by the gateway's own writer; answers its id. */
export async function committedCharge(
  app: Pick<INestApplicationContext, 'get'>,
  tenantId: string,
  { tokens = {}, price = ONE_NANO_A_TOKEN, row = {} }: WrittenCharge,
): Promise<string> {
  const { rows } = await app.get<Pool>(PG_POOL).query<{ epoch: string }>('select epoch from quota_authority');
  const { amount, ...fields } = settleFields(price, { ...outputOf(0), tokens: { ...NO_TOKENS, ...tokens } });
  const id = newId();
  const { outcome } = await app.get(ChargeWriter).write({
    ...fields,
    amount_nano_usd: amount.toString(),
    id,
    tenant_id: tenantId,
    trace_id: newId(),
    channel: 'external',
    is_stream: false,
    epoch: rows[0]?.epoch ?? '',
    process_id: app.get(ProcessIdentity).id,
    hold_nano_usd: '0',
    credit_limit_nano_usd: '0',
    balance_before_nano_usd: '0',
    balance_after_nano_usd: '0',
    day_window_start_ms: 0,
    month_window_start_ms: 0,
    api_key_id: newId(),
    api_key_name: 'ci',
    model: 'gpt-x',
    price_version: price.version,
    prices: pricesJson(price),
    input_tokens_estimate: 0,
    scopes: null,
    funding: 'wallet',
    is_new: true,
    ...row,
  });
  if (outcome !== 'committed') throw new Error(`the charge was ${outcome}`);
  return row.id ?? id;
}
