import { committedCharge, type WrittenCharge } from './committed-charge';
import { type Answer, ControlPlane } from './control-plane-harness';
import type { FrozenPrice, TokenCounts } from '../../src/catalogue/price';
import { PriceBook } from '../../src/catalogue/price-book';

/** In nano-USD a token, as the tests count. */
interface PerToken {
  readonly input: number;
  readonly output: number;
}

/** What the control plane answers of a re-rating, as far as tests look. */
export interface Plan {
  readonly id: string;
  readonly status: string;
  readonly totals: Readonly<Record<string, unknown>>;
  readonly data: readonly Readonly<Record<string, unknown>>[];
  readonly next_cursor: string | null;
}

export const WHOLE_TIME = { from: '2020-01-01T00:00:00Z', to: '2100-01-01T00:00:00Z' };

/** A control plane, and charges of a model of its own for each test. */
export class ReRatingStage {
  private constructor(readonly plane: ControlPlane) {}

  static async open(): Promise<ReRatingStage> {
    return new ReRatingStage(await ControlPlane.start());
  }

  close(): Promise<void> {
    return this.plane.stop();
  }

  /** A new version of the model's price; `fields` as the API takes them. */
  async price(model: string, { input, output }: PerToken, fields: object = {}): Promise<FrozenPrice> {
    const usd = (nano: number): string => `${nano / 1_000}`;
    const body = { model, input_usd_per_mtok: usd(input), output_usd_per_mtok: usd(output), ...fields };
    const { id } = await this.plane.expectAdmin(201, 'POST', 'prices', body);
    const version = await this.plane.app.get(PriceBook).versionOf(String(id));
    if (!version) throw new Error('no such price');
    return version.price;
  }

  /** Of a tenant, at a price; answers its id. */
  charge(
    tenantId: string,
    price: FrozenPrice,
    tokens: Partial<TokenCounts>,
    row: NonNullable<WrittenCharge['row']>,
  ): Promise<string> {
    return committedCharge(this.plane.app, tenantId, { price, tokens, row });
  }

  reRate(body: object): Promise<Answer> {
    return this.plane.admin('POST', 'prices/re-rate', body);
  }

  async plan(model: string, to: FrozenPrice, fields: object = {}): Promise<Plan> {
    const answer = await this.reRate({ model, ...WHOLE_TIME, price_version: to.version, ...fields });
    if (answer.status !== 200 || answer.body.status !== 'planned') throw new Error(answer.text);
    return answer.body as unknown as Plan;
  }

  async apply({ id }: Plan): Promise<Plan> {
    const answer = await this.reRate({ dry_run: false, plan_id: id });
    if (answer.status !== 200) throw new Error(answer.text);
    return answer.body as unknown as Plan;
  }

  async balances(tenantId: string): Promise<Record<string, string>> {
    const rows = await this.plane.query<{ name: string; posted: string }>(
      `select name, posted_nano_usd as posted from ledger_account where tenant_id = $1`,
      [tenantId],
    );
    return Object.fromEntries(rows.map(({ name, posted }) => [name, posted]));
  }

  /** What is booked for a charge. */
  linkedTo(id: string): Promise<object[]> {
    return this.plane.query<object>(
      `select type, amount_nano_usd::int as amount, reason_code, description from billing_transaction
        where original_transaction_id = $1 order by id`,
      [id],
    );
  }

  /** Everything that a booking writes. */
  written(): Promise<unknown[]> {
    return this.plane.query(
      `select (select count(*) from billing_transaction) as rows, (select count(*) from ledger_transfer) as transfers,
              (select count(*) from audit_log) as audited`,
    );
  }

  async expectProof(): Promise<void> {
    const { data } = await this.plane.expectAdmin(200, 'GET', 'invariants');
    const broken = (data as { violations: number }[]).filter(({ violations }) => violations > 0);
    expect(broken).toEqual([]);
  }
}
