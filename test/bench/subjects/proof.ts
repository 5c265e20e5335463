import { Client } from 'pg';
import { amountNanoUsd, type Scenario, SCENARIOS } from '../scenarios';
import { INITIAL_BALANCE_NANO_USD, type BenchTenant } from './bench-tenants';
import { type Proof } from './subject';

interface ChargeSum {
  readonly model: string;
  readonly status: string;
  readonly rows: string;
  readonly amount: string;
  readonly least: string;
  readonly most: string;
  /** Of these rows, those that the free allowance paid. */
  readonly free_rows: string;
  readonly free_amount: string;
}

interface Charged {
  readonly rows: number;
  readonly amountNanoUsd: bigint;
  /** Paid by the house. */
  readonly freeNanoUsd: bigint;
}

/**
 * Holds what clients of one tenant were answered against what the ledger says. Contract: N answers with a 2xx are N
 * COMMITTED charges of exactly the amount computed by hand, at once and not "soon", because an answer ends only after its
 * settle committed.
 */
export class LedgerProof {
  private readonly answers = new Map<string, number>();

  constructor(
    private readonly databaseUrl: string,
    private readonly tenant: BenchTenant,
    private readonly readInvariants: () => Promise<string>,
  ) {}

  async prove(scenario: Scenario, answers: number): Promise<Proof> {
    this.answers.set(scenario.model, (this.answers.get(scenario.model) ?? 0) + answers);
    const client = new Client({ connectionString: this.databaseUrl });
    await client.connect();
    try {
      const charged = await this.proveCharges(client);
      const balance = await this.proveLedger(client, charged);
      const invariants = await this.readInvariants();
      return {
        answers: charged.rows,
        charges: charged.rows,
        chargedNanoUsd: String(charged.amountNanoUsd),
        balanceNanoUsd: String(balance),
        says:
          `${charged.rows} answers with 2xx = ${charged.rows} COMMITTED charges, ${charged.amountNanoUsd} nano-USD ` +
          `(${charged.freeNanoUsd} of it free), balance ${balance} exact`,
        invariants,
      };
    } finally {
      await client.end();
    }
  }

  private async proveCharges(client: Client): Promise<Charged> {
    const { rows } = await client.query<ChargeSum>(
      `select model, status, count(*) as rows, sum(amount_nano_usd::numeric) as amount,
              min(amount_nano_usd) as least, max(amount_nano_usd) as most,
              count(*) filter (where funding = 'allowance') as free_rows,
              coalesce(sum(amount_nano_usd::numeric) filter (where funding = 'allowance'), 0) as free_amount
         from billing_transaction where tenant_id = $1 and type = 'charge' group by model, status`,
      [this.tenant.tenantId],
    );
    let total = 0n;
    let count = 0;
    for (const [model, answers] of this.answers) {
      const each = amountNanoUsd(scenarioOf(model));
      const found = rows.filter((row) => row.model === model);
      const expected = answers === 0 ? '' : describe('COMMITTED', answers, each, each, BigInt(answers) * each);
      const actual = found
        .map((row) => describe(row.status, Number(row.rows), BigInt(row.least), BigInt(row.most), BigInt(row.amount)))
        .join(' and ');
      if (actual !== expected)
        throw new Error(`${model}: expected ${expected}; the database has ${actual || 'nothing'}`);
      total += BigInt(answers) * each;
      count += answers;
    }
    const freeRows = rows.reduce((sum, row) => sum + Number(row.free_rows), 0);
    const expectedFree = Math.min(count, this.tenant.freeCalls);
    if (freeRows !== expectedFree) throw new Error(`${freeRows} free charges, expected ${expectedFree}`);
    const freeNanoUsd = rows.reduce((sum, row) => sum + BigInt(row.free_amount), 0n);
    return { rows: count, amountNanoUsd: total, freeNanoUsd };
  }

  private async proveLedger(client: Client, { amountNanoUsd: charged, freeNanoUsd }: Charged): Promise<bigint> {
    const { rows } = await client.query<{ posted: string; transferred: string; overrun: string }>(
      `select w.posted_nano_usd as posted, coalesce(o.posted_nano_usd, 0) as overrun,
              (select coalesce(sum(amount_nano_usd::numeric), 0) from ledger_transfer
                where kind = 'charge' and debit_account_id = w.id) as transferred
         from ledger_account w
         left join ledger_account o on o.tenant_id = w.tenant_id and o.name = 'overrun'
        where w.tenant_id = $1 and w.name = 'wallet'`,
      [this.tenant.tenantId],
    );
    const [wallet] = rows;
    if (wallet === undefined) throw new Error('the tenant has no wallet');
    const paid = charged - freeNanoUsd;
    const expected = INITIAL_BALANCE_NANO_USD - paid;
    if (BigInt(wallet.posted) !== expected) throw new Error(`balance ${wallet.posted}, expected ${expected}`);
    if (BigInt(wallet.transferred) !== paid) throw new Error(`transfers of ${wallet.transferred}, expected ${paid}`);
    if (BigInt(wallet.overrun) !== 0n) throw new Error(`overrun of ${wallet.overrun}, expected 0`);
    return expected;
  }
}

export function scenarioOf(model: string): Scenario {
  const scenario = Object.values(SCENARIOS).find((candidate) => candidate.model === model);
  if (scenario === undefined) throw new Error(`no scenario asks for ${model}`);
  return scenario;
}

function describe(status: string, rows: number, least: bigint, most: bigint, sum: bigint): string {
  return `${rows} ${status} of ${least}${least === most ? '' : `–${most}`} nano-USD, together ${sum}`;
}
