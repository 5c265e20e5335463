import { Redis } from 'ioredis';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { holdsKey } from '../../../src/quota/quota-keys';
import { amountNanoUsd, type Scenario } from '../scenarios';
import { type BenchTenant, INITIAL_BALANCE_NANO_USD } from './bench-tenants';
import { scenarioOf } from './proof';
import { type Proof } from './subject';

interface LoggedSum {
  readonly model: string;
  readonly status: number;
  readonly input: string | null;
  readonly output: string | null;
  readonly cost: string | null;
  readonly rows: string;
}

/** The request log is written behind the answers: the last of them may be this long on their way. */
const LOGGED_WITHIN_MS = 10_000;
const POLL_MS = 100;

/**
 * The same for RUN_MODE=simple. Contract: N answers with a 2xx are N rows of the request log with the usage that the mock
 * reports and what it is worth; the ledger has not moved, and nothing was held.
 */
export class SimpleProof {
  private readonly answers = new Map<string, number>();

  constructor(
    private readonly databaseUrl: string,
    private readonly redisUrl: string,
    private readonly tenant: BenchTenant,
    private readonly readInvariants: () => Promise<string>,
  ) {}

  async prove(scenario: Scenario, answers: number): Promise<Proof> {
    this.answers.set(scenario.model, (this.answers.get(scenario.model) ?? 0) + answers);
    const client = new Client({ connectionString: this.databaseUrl });
    await client.connect();
    try {
      const rows = await this.proveLog(client);
      await this.proveUntouched(client);
      await this.proveNothingHeld();
      return {
        answers: rows,
        charges: 0,
        chargedNanoUsd: '0',
        balanceNanoUsd: String(INITIAL_BALANCE_NANO_USD),
        says: `${rows} answers with 2xx = ${rows} rows of the request log with usage; no charge, no transfer, no hold`,
        invariants: await this.readInvariants(),
      };
    } finally {
      await client.end();
    }
  }

  private async proveLog(client: Client): Promise<number> {
    const expected = [...this.answers]
      .filter(([, answers]) => answers > 0)
      .map(([model, answers]) => {
        const { promptTokens, completionTokens } = scenarioOf(model);
        return describe({
          model,
          status: 200,
          input: String(promptTokens),
          output: String(completionTokens),
          cost: String(amountNanoUsd(scenarioOf(model))),
          rows: String(answers),
        });
      })
      .sort()
      .join('; ');
    const deadlineMs = performance.now() + LOGGED_WITHIN_MS;
    for (;;) {
      const actual = (await this.logged(client)).map(describe).sort().join('; ');
      if (actual === expected) return [...this.answers.values()].reduce((sum, answers) => sum + answers, 0);
      if (performance.now() > deadlineMs) {
        throw new Error(`request log: expected ${expected}; the database has ${actual || 'nothing'}`);
      }
      await delay(POLL_MS);
    }
  }

  private async logged(client: Client): Promise<LoggedSum[]> {
    const { rows } = await client.query<LoggedSum>(
      `select model, status, usage -> 'tokens' ->> 'input_uncached' as input, usage -> 'tokens' ->> 'output' as output,
              usage ->> 'cost_nano_usd' as cost, count(*) as rows
         from request_log where tenant_id = $1 group by 1, 2, 3, 4, 5`,
      [this.tenant.tenantId],
    );
    return rows;
  }

  private async proveUntouched(client: Client): Promise<void> {
    const { rows } = await client.query<{ charges: string; transfers: string; posted: string }>(
      `select (select count(*) from billing_transaction where tenant_id = $1 and type = 'charge') as charges,
              (select count(*) from ledger_transfer where kind = 'charge') as transfers,
              (select posted_nano_usd from ledger_account where tenant_id = $1 and name = 'wallet') as posted`,
      [this.tenant.tenantId],
    );
    const [found] = rows;
    if (found?.charges !== '0' || found.transfers !== '0' || found.posted !== String(INITIAL_BALANCE_NANO_USD)) {
      throw new Error(`expected an untouched ledger, found ${JSON.stringify(found)}`);
    }
  }

  private async proveNothingHeld(): Promise<void> {
    const redis = new Redis(this.redisUrl);
    try {
      if ((await redis.exists(holdsKey(this.tenant.tenantId))) !== 0) throw new Error('expected no hold, found some');
    } finally {
      redis.disconnect();
    }
  }
}

function describe({ model, status, input, output, cost, rows }: LoggedSum): string {
  return `${rows} ${model} of status ${status} with ${input ?? 'no'} + ${output ?? 'no'} tokens worth ${cost ?? 'nothing'}`;
}
