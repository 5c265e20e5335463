import { DataSource } from 'typeorm';
import { LedgerReader } from '../../../src/admin/ledger/ledger-reader';
import { AccountQuery, TransactionQuery, TransferQuery } from '../../../src/admin/ledger/ledger.dto';
import { TransactionsService } from '../../../src/admin/ledger/transactions.service';
import { BillingTransaction } from '../../../src/billing/entities/billing-transaction.entity';
import { LedgerAccount } from '../../../src/billing/entities/ledger-account.entity';
import { LedgerTransfer } from '../../../src/billing/entities/ledger-transfer.entity';
import { RequestBillingSnapshot } from '../../../src/billing/entities/request-billing-snapshot.entity';
import { median } from '../report';
import type { FilledTenant } from './fill';

const TIMES = 10;
/** A page that takes so long is asked for fewer times. */
const SLOW_MS = 2_000;
const LIMIT = 50;

export type PageTimes = Readonly<Record<string, number>>;

/** The control plane's own lists, without HTTP around them: milliseconds a page, the median of some. */
export class Pages {
  private constructor(private readonly dataSource: DataSource) {}

  static async open(url: string): Promise<Pages> {
    const dataSource = new DataSource({
      type: 'postgres',
      url,
      installExtensions: false,
      entities: [BillingTransaction, LedgerAccount, LedgerTransfer, RequestBillingSnapshot],
    });
    return new Pages(await dataSource.initialize());
  }

  async measure({ tenantId, walletId }: FilledTenant): Promise<PageTimes> {
    const transactions = new TransactionsService(this.dataSource);
    const ledger = new LedgerReader(this.dataSource);
    const [all, ofTenant] = [await this.middleOf(), await this.middleOf(tenantId)];
    const lists: Readonly<Record<string, () => Promise<unknown>>> = {
      'transactions, first page': () => transactions.list(of(TransactionQuery, {})),
      'transactions, deep page': () => transactions.list(of(TransactionQuery, { after: all.transaction })),
      'transactions of a tenant, first page': () => transactions.list(of(TransactionQuery, { tenant_id: tenantId })),
      'transactions of a tenant, deep page': () =>
        transactions.list(of(TransactionQuery, { tenant_id: tenantId, after: ofTenant.transaction })),
      'transfers, first page': () => ledger.transfers(of(TransferQuery, {})),
      'transfers, deep page': () => ledger.transfers(of(TransferQuery, { after: all.transfer })),
      'transfers of a tenant, first page': () => ledger.transfers(of(TransferQuery, { tenant_id: tenantId })),
      'transfers of a tenant, deep page': () =>
        ledger.transfers(of(TransferQuery, { tenant_id: tenantId, after: ofTenant.transfer })),
      'transfers of an account, first page': () => ledger.transfers(of(TransferQuery, { account_id: walletId })),
      'transfers of a transaction': () => ledger.transfers(of(TransferQuery, { transaction_id: all.transaction })),
      'accounts, the page with the house’s': () => ledger.accounts(of(AccountQuery, { after: FIRST_TENANT_ID })),
    };
    const times: Record<string, number> = {};
    for (const [name, list] of Object.entries(lists)) times[name] = await timeOf(list);
    return times;
  }

  async close(): Promise<void> {
    await this.dataSource.destroy();
  }

  /** Cursors half-way through the lists, found by counting, which is not measured. */
  private async middleOf(tenantId?: string): Promise<{ transaction: string; transfer: string }> {
    const rows: { transaction: string; transfer: string }[] = await this.dataSource.query(
      `select b.id as transaction, t.id as transfer from (
         select id from billing_transaction where $1::uuid is null or tenant_id = $1 order by id
          offset (select count(*) / 2 from billing_transaction where $1::uuid is null or tenant_id = $1) limit 1) b
         join ledger_transfer t on t.transaction_id = b.id limit 1`,
      [tenantId ?? null],
    );
    const [row] = rows;
    if (!row) throw new Error('there is nothing in the middle');
    return row;
  }
}

/** Ids of the house's accounts are below every tenant's. */
const FIRST_TENANT_ID = '00000000-0000-7000-8000-0000000000ff';

function of<T extends object>(type: new () => T, fields: Partial<T>): T {
  return Object.assign(new type(), { limit: LIMIT, ...fields });
}

async function timeOf(list: () => Promise<unknown>): Promise<number> {
  // The first one fills caches and plans.
  let lastMs = await once(list);
  const tookMs: number[] = [];
  for (let n = 0; n < (lastMs > SLOW_MS ? 2 : TIMES); n++) {
    lastMs = await once(list);
    tookMs.push(lastMs);
  }
  return median(tookMs);
}

async function once(list: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await list();
  return performance.now() - startMs;
}
