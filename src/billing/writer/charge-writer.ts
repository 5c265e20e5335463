import { setImmediate as nextTurn } from 'node:timers/promises';
import { Inject, Injectable, Logger, type OnApplicationShutdown } from '@nestjs/common';
import type { Pool, QueryResult } from 'pg';
import { nanoUsd, type NanoUsd } from '../../kernel/money';
import { LedgerCircuit } from '../../platform/circuit/ledger-circuit';
import { DATABASE_ACCESS, type DatabaseAccess } from '../../platform/database/pg-connection';
import { createPgPool } from '../../platform/database/pg-pool';
import { isRefusedData } from '../../platform/database/sql-state';
import { Metrics } from '../../platform/metrics/metrics';
import { type AdmitRow, type EndFields, type EndRow, voidFields } from './charge-rows';
import { ForwardLane } from './forward-lane';
import { Turns } from './turns';
import { AwayLog } from './write-forward';

/** Streams send their first byte only after their row stands: a short window. */
const STREAM_WINDOW_MS = 2;
/**
 * A whole body leaves only after its settle, so its PENDING row serves the sweeper alone: a call that ends within this
 * time needs one row write instead of two.
 */
const BODY_WINDOW_MS = 25;
/** An answer waits for its settle: long enough to share a commit, short beside any model's answer. */
const END_WINDOW_MS = 2;
/** A stream goes on while its hold is raised. */
const EXTEND_WINDOW_MS = 5;
const MAX_BATCH = 500;
/** Rows waiting in one lane before new charges are turned away; endings are bounded by the charges that were admitted. */
const MAX_QUEUED = 20_000;
export const LOCK_TIMEOUT_MS = 250;
/** One connection a lane: each writes one batch at a time. */
const WRITERS = 4;
/** Side lanes have connections of their own: however many tenants are blocked, the lanes keep theirs. */
const SIDE_WRITERS = 2;
/** Short, because blocked tenants share the turns with those whose write will succeed at once. */
const SIDE_LOCK_TIMEOUT_MS = 50;
const STATEMENT_MS = 10_000;
/** Nothing in these fields depends on the charge: Postgres takes them whatever it refused. */
const REFUSED_ROW = voidFields({ reasonCode: 'REFUSED_ROW', endReason: 'refused' });

/** dead: this process has been declared dead, nothing of it is admitted any more. */
export type AdmitOutcome = 'admitted' | 'fenced' | 'voided' | 'rejected' | 'dead';

export type EndOutcome = 'committed' | 'voided' | 'already_committed' | 'already_voided' | 'fenced' | 'missing';

export interface EndResult {
  readonly outcome: EndOutcome;
  /** What the answered statement said, whatever the owner has made of the ending since: what was `committed` is this. */
  readonly sent: EndFields;
  readonly posted: NanoUsd;
  readonly version: bigint;
  /** The charge had ended before, and another call has its idempotency key since: nothing may be answered. */
  readonly isTakenOver?: boolean;
}

/** One charge's PENDING row on its way; owned by the writer until it stands or was taken back. */
export class PendingAdmission {
  state: 'queued' | 'writing' | AdmitOutcome = 'queued';
  private readonly settled = Promise.withResolvers<AdmitOutcome>();
  private readonly answered = Promise.withResolvers<unknown>();

  constructor(readonly row: AdmitRow) {}

  /** Of a row that was written together with its reservation. */
  static ofStandingRow(row: AdmitRow): PendingAdmission {
    const admission = new PendingAdmission(row);
    admission.finish('admitted');
    return admission;
  }

  get done(): Promise<AdmitOutcome> {
    return this.settled.promise;
  }

  /** Settles when Postgres has answered for the row, or for the one that replaced it. */
  get written(): Promise<unknown> {
    return this.answered.promise;
  }

  finish(outcome: AdmitOutcome, replacedBy?: Promise<EndResult>): void {
    this.state = outcome;
    this.settled.resolve(outcome);
    this.answered.resolve(replacedBy?.catch(() => undefined));
  }
}

/** How a charge ends. Until that is written its owner may replace the fields: each attempt reads them anew. */
export interface Ending {
  fields: EndFields;
}

/** What of a row stays whatever its ending. */
type RowHead = Omit<EndRow, keyof EndFields>;

interface EndItem {
  readonly head: RowHead;
  readonly ending: Ending;
  /** What the last statement that left said. */
  sent: EndFields;
  readonly askedMs: number;
  readonly resolve: (result: EndResult) => void;
  readonly reject: (error: unknown) => void;
}

/** A hold that was raised, with the epoch in which it was. */
export interface ExtendRow {
  readonly id: string;
  readonly tenant_id: string;
  readonly hold_nano_usd: string;
  readonly epoch: string;
}

interface ExtendItem {
  readonly row: ExtendRow;
  readonly resolve: (isExtended: boolean) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The group-commit writer of charges. Every row it was given is written, retried forward while Postgres is away; a row
 * that Postgres will never take (SQLSTATE 22, 23) is split off by halves and refused alone; a tenant whose row somebody
 * else has locked waits in a side lane. See README.md.
 */
@Injectable()
export class ChargeWriter implements OnApplicationShutdown {
  private readonly logger = new Logger(ChargeWriter.name);
  private readonly pool: Pool;
  private readonly sidePool: Pool;
  private readonly stopping = new AbortController();
  private readonly forward = {
    maxBatch: MAX_BATCH,
    signal: this.stopping.signal,
    log: new AwayLog(this.logger),
  };
  /** Side lanes share the side pool's connections: whoever waits for one waits here, where nothing times out. */
  private readonly sideTurns = new Turns(SIDE_WRITERS);
  private readonly streamAdmissions = this.admitLane(STREAM_WINDOW_MS);
  private readonly bodyAdmissions = this.admitLane(BODY_WINDOW_MS);
  private readonly endings = this.endLane();
  private readonly extensions = this.extendLane();
  private readonly lanes = [this.streamAdmissions, this.bodyAdmissions, this.endings, this.extensions];

  constructor(
    @Inject(DATABASE_ACCESS) access: DatabaseAccess,
    private readonly metrics: Metrics,
    private readonly circuit: LedgerCircuit,
  ) {
    const limits = { applicationName: 'tollgate-writer', statementMs: STATEMENT_MS };
    this.pool = createPgPool(access, WRITERS, { ...limits, lockMs: LOCK_TIMEOUT_MS });
    this.sidePool = createPgPool(access, SIDE_WRITERS, { ...limits, lockMs: SIDE_LOCK_TIMEOUT_MS });
  }

  get depth(): { readonly admissions: number; readonly endings: number; readonly extensions: number } {
    return {
      admissions: this.streamAdmissions.depth + this.bodyAdmissions.depth,
      endings: this.endings.depth,
      extensions: this.extensions.depth,
    };
  }

  /**
   * Queues a PENDING row; undefined where the queue is full, or Postgres keeps not taking rows in time: nobody waits for it
   * then (the caller releases its hold).
   */
  admit(row: AdmitRow): PendingAdmission | undefined {
    const lane = row.is_stream ? this.streamAdmissions : this.bodyAdmissions;
    if (lane.depth >= MAX_QUEUED || !this.circuit.takesWork) return undefined;
    const admission = new PendingAdmission(row);
    lane.push(admission);
    this.circuit.watch(admission.written);
    return admission;
  }

  /**
   * Ends a charge. Its PENDING row, if it has not left yet, is replaced by the final one; if it is on its way, it is
   * awaited first. Resolves when the ending is committed (or found so). Rejects for a row Postgres never takes, which is
   * then VOIDED (REFUSED_ROW) where it was to be committed, and for one still unwritten when the process has to stop.
   */
  async end(admission: PendingAdmission, ending: Ending): Promise<EndResult> {
    const { row } = admission;
    const lane = row.is_stream ? this.streamAdmissions : this.bodyAdmissions;
    if (admission.state === 'queued' && lane.remove(admission)) {
      const ended = this.endOrVoid({ ...row, is_new: true }, ending);
      admission.finish('admitted', ended);
      return ended;
    }
    const outcome = admission.state === 'writing' ? await admission.done : admission.state;
    // No row stands, so the ending brings its own. A void is always taken, a commit is fenced again.
    const isNew = outcome === 'fenced' || outcome === 'rejected' || outcome === 'dead';
    if (isNew) return this.endOrVoid({ ...row, is_new: true }, ending);
    const { id, tenant_id, credit_limit_nano_usd } = row;
    const result = await this.endOrVoid({ id, tenant_id, credit_limit_nano_usd, is_new: false }, ending);
    if (result.outcome !== 'missing') return result;
    this.logger.error(`the PENDING row of charge ${id} has vanished; its ending is written whole`);
    return this.endOrVoid({ ...row, is_new: true }, ending);
  }

  /**
   * Makes a raised hold durable in its row, which stands; at most one of a charge at a time. False where the epoch it was
   * raised in is over, or its charge has ended. Rejects as `end` does.
   */
  extend(row: ExtendRow): Promise<boolean> {
    return new Promise((resolve, reject) => {
      this.extensions.push({ row, resolve, reject });
    });
  }

  /** Ends a charge of which only the row is known (sweeper, corrections). */
  write(row: EndRow): Promise<EndResult> {
    return this.push(row, { fields: row }).answered;
  }

  /** Resolves when everything queued is written; gives up what Postgres does not take within `withinMs`. */
  async drain(withinMs: number): Promise<void> {
    const giveUp = setTimeout(() => {
      this.stopping.abort();
    }, withinMs);
    do {
      await Promise.all(this.lanes.map((lane) => lane.drain()));
      // An ending that awaited its PENDING row joins its lane only now.
      await nextTurn();
    } while (!this.lanes.every((lane) => lane.isIdle));
    clearTimeout(giveUp);
  }

  async onApplicationShutdown(): Promise<void> {
    await Promise.all([this.pool.end(), this.sidePool.end()]);
  }

  private push(head: RowHead, ending: Ending): { readonly item: EndItem; readonly answered: Promise<EndResult> } {
    const { promise, resolve, reject } = Promise.withResolvers<EndResult>();
    const item = { head, ending, sent: ending.fields, askedMs: performance.now(), resolve, reject };
    this.endings.push(item);
    return { item, answered: promise };
  }

  /** A commit that is refused for ever must not leave its row PENDING while this process lives. */
  private async endOrVoid(head: RowHead, ending: Ending): Promise<EndResult> {
    const { item, answered } = this.push(head, ending);
    try {
      return await answered;
    } catch (error) {
      if (isRefusedData(error) && item.sent.is_commit) await this.voidRefused(head, error);
      throw error;
    }
  }

  private async voidRefused(head: RowHead, refusal: unknown): Promise<void> {
    try {
      const { outcome } = await this.push(head, { fields: REFUSED_ROW }).answered;
      this.logger.error(
        `charge ${head.id} is ${outcome}, uncharged: Postgres refused to commit it: ${String(refusal)}`,
      );
    } catch (error) {
      this.logger.error(`charge ${head.id} could not even be voided: ${String(error)}`);
    }
  }

  private admitLane(windowMs: number): ForwardLane<PendingAdmission> {
    return new ForwardLane<PendingAdmission>({
      ...this.forward,
      windowMs,
      tenantOf: (admission) => admission.row.tenant_id,
      write: (batch, isAside) => this.writeAdmissions(batch, isAside),
      refused: (admission, error) => {
        this.metrics.billingDeductFailure.of('invalid_row').inc();
        this.logger.error(`Postgres refuses the PENDING row of charge ${admission.row.id}: ${String(error)}`);
        admission.finish('rejected');
      },
    });
  }

  private endLane(): ForwardLane<EndItem> {
    return new ForwardLane<EndItem>({
      ...this.forward,
      windowMs: END_WINDOW_MS,
      tenantOf: (item) => item.head.tenant_id,
      write: (batch, isAside) => this.writeEndings(batch, isAside),
      refused: (item, error) => {
        this.metrics.billingDeductFailure.of('invalid_row').inc();
        this.logger.error(`Postgres refuses the ending of charge ${item.head.id}: ${String(error)}`);
        item.reject(error);
      },
    });
  }

  private extendLane(): ForwardLane<ExtendItem> {
    return new ForwardLane<ExtendItem>({
      ...this.forward,
      windowMs: EXTEND_WINDOW_MS,
      tenantOf: (item) => item.row.tenant_id,
      write: (batch, isAside) => this.writeExtensions(batch, isAside),
      refused: (item, error) => {
        this.logger.error(`Postgres refuses the extension of charge ${item.row.id}: ${String(error)}`);
        item.reject(error);
      },
    });
  }

  private async writeAdmissions(batch: readonly PendingAdmission[], isAside: boolean): Promise<void> {
    for (const admission of batch) admission.state = 'writing';
    const rowsNow = (): AdmitRow[] => batch.map((admission) => admission.row);
    const found = await this.call<{ id: string; status: string }>('billing_admit', rowsNow, isAside);
    const statusOf = new Map(found.map((row) => [row.id, row.status]));
    for (const admission of batch) {
      const status = statusOf.get(admission.row.id);
      if (status === 'PENDING' && admission.row.is_stream) this.metrics.billingStreamPendingCreated.inc();
      admission.finish(admitOutcome(status));
    }
  }

  private async writeEndings(batch: readonly EndItem[], isAside: boolean): Promise<void> {
    const rowsNow = (): EndRow[] =>
      batch.map((item) => {
        item.sent = item.ending.fields;
        return { ...item.head, ...item.sent };
      });
    const found = await this.call<EndReply>('billing_end', rowsNow, isAside);
    const replyOf = new Map(found.map((reply) => [reply.id, reply]));
    for (const item of batch) {
      const reply = replyOf.get(item.head.id);
      if (reply?.outcome.startsWith('already')) this.metrics.billingIdempotentHit.inc();
      if (reply) item.resolve(resultOf(reply, item.sent));
      else item.reject(new Error(`billing_end did not answer for charge ${item.head.id}`));
    }
    const [oldest] = batch;
    if (oldest) this.metrics.billingSeconds.observe((performance.now() - oldest.askedMs) / 1000);
  }

  private async writeExtensions(batch: readonly ExtendItem[], isAside: boolean): Promise<void> {
    const rowsNow = (): ExtendRow[] => batch.map((item) => item.row);
    const found = await this.call<{ id: string }>('billing_extend', rowsNow, isAside);
    const extended = new Set(found.map(({ id }) => id));
    for (const { row, resolve } of batch) resolve(extended.has(row.id));
  }

  /** `rowsNow` is read when the statement leaves: what waits for a turn may be ended otherwise meanwhile. */
  private async call<R extends object>(
    name: 'billing_admit' | 'billing_end' | 'billing_extend',
    rowsNow: () => readonly object[],
    isAside: boolean,
  ): Promise<R[]> {
    const send = (pool: Pool): Promise<QueryResult<R>> =>
      pool.query<R>({ name, text: `select * from ${name}($1::json)`, values: [JSON.stringify(rowsNow())] });
    const { rows } = await (isAside ? this.sideTurns.run(() => send(this.sidePool)) : send(this.pool));
    return rows;
  }
}

/** From the answer of billing_admit; it leaves out what the epoch fenced off. */
function admitOutcome(status: string | undefined): AdmitOutcome {
  if (status === undefined) return 'fenced';
  if (status === 'PENDING') return 'admitted';
  return status === 'DEAD' ? 'dead' : 'voided';
}

interface EndReply {
  readonly id: string;
  readonly outcome: EndOutcome;
  readonly posted_nano_usd: string | null;
  readonly version: string | null;
}

function resultOf(reply: EndReply, sent: EndFields): EndResult {
  return {
    outcome: reply.outcome,
    sent,
    posted: nanoUsd(reply.posted_nano_usd ?? '0'),
    version: BigInt(reply.version ?? '0'),
  };
}
