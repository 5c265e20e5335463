import {
  type BeforeApplicationShutdown,
  Inject,
  Injectable,
  Logger,
  type OnApplicationBootstrap,
} from '@nestjs/common';
import type { Pool } from 'pg';
import { PG_POOL } from '../../platform/database/pg-pool';
import { AwayLog } from '../writer/write-forward';
import { Charges } from './charges';
import type { OpenCharge } from './open-charge';

/** DI token: how often open streams are checkpointed, milliseconds. */
export const CHECKPOINT_EVERY_MS = Symbol('CheckpointEveryMs');
/** Rows in one statement: a settle that comes meanwhile waits for their locks. */
const MAX_ROWS = 1_000;

/**
 * Writes every few seconds what each open stream has delivered into its row, for the sweeper, should this process die. One
 * statement for all of them, never two at once. It promises nothing: what Postgres does not take now is newer next time.
 */
@Injectable()
export class Checkpoints implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly logger = new Logger(Checkpoints.name);
  private readonly log = new AwayLog(this.logger);
  /** Streams of which it was said that they cannot tell what they have delivered. */
  private readonly mute = new WeakSet<OpenCharge>();
  private timer: NodeJS.Timeout | undefined;
  private round: Promise<void> | undefined;

  constructor(
    @Inject(PG_POOL) private readonly pool: Pool,
    private readonly charges: Charges,
    @Inject(CHECKPOINT_EVERY_MS) private readonly everyMs: number,
  ) {}

  onApplicationBootstrap(): void {
    this.timer = setInterval(() => void this.write(), this.everyMs).unref();
  }

  async beforeApplicationShutdown(): Promise<void> {
    clearInterval(this.timer);
    await this.round;
  }

  /** One round over what has changed since it was last kept; the one under way, where there is one. Never rejects. */
  write(): Promise<void> {
    this.round ??= this.writeAll().finally(() => (this.round = undefined));
    return this.round;
  }

  private async writeAll(): Promise<void> {
    const changed = [...this.charges.all()].flatMap((charge) => {
      const checkpoint = this.checkpointOf(charge);
      return checkpoint === undefined ? [] : [{ charge, checkpoint }];
    });
    for (let at = 0; at < changed.length; at += MAX_ROWS) {
      try {
        await this.keep(changed.slice(at, at + MAX_ROWS));
        this.log.taken();
      } catch (error) {
        this.log.away(error);
        return;
      }
    }
  }

  /** A stream that cannot tell must not cost the others theirs. */
  private checkpointOf(charge: OpenCharge): string | undefined {
    try {
      return charge.checkpoint();
    } catch (error) {
      if (!this.mute.has(charge)) {
        this.logger.error(`charge ${charge.held.holdId} cannot tell what it has delivered: ${String(error)}`);
      }
      this.mute.add(charge);
      return undefined;
    }
  }

  private async keep(changed: readonly { charge: OpenCharge; checkpoint: string }[]): Promise<void> {
    const rows = changed.map(({ charge, checkpoint }) => `{"id":"${charge.held.holdId}","checkpoint":${checkpoint}}`);
    const { rows: kept } = await this.pool.query<{ id: string }>({
      name: 'billing_checkpoint',
      text: 'select id from billing_checkpoint($1::json)',
      values: [`[${rows.join()}]`],
    });
    const ids = new Set(kept.map(({ id }) => id));
    for (const { charge, checkpoint } of changed) {
      if (ids.has(charge.held.holdId)) charge.keptCheckpoint(checkpoint);
    }
  }
}
