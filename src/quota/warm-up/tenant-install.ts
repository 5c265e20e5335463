import type { PoolClient } from 'pg';
import type { Clock } from '../../kernel/clock';
import { newId } from '../../kernel/ids';
import type { RedisConnection } from '../../platform/redis/redis-connection';
import type { ScriptRegistry } from '../../platform/redis/script-registry';
import { holdsKey, quotaKey } from '../quota-keys';
import { ServerDeadline } from '../redis/server-deadline';
import type { TenantBalanceRow } from '../tenant-balance';

/** Counters and holds in one script call: no other tenant waits long for it, however much this one has. */
const ITEMS_A_CALL = 200;

/**
 * A part of a projection; see redis-scripts/quota_lay.lua.
 * - counter: start:end:used of its committed charges
 * - open: a hold whose charge is open in the ledger; rowless: one that has no row, it stays as long as nobody releases it
 * - ended: a hold whose charge has ended
 */
export interface LaidItem {
  readonly kind: 'counter' | 'open' | 'rowless' | 'ended';
  readonly name: string;
  readonly value: string;
}

const KINDS: Readonly<Record<LaidItem['kind'], string>> = { counter: 'c', open: 'o', rowless: 'r', ended: 'e' };

/** What laying came to: held now, and holds that Redis did not have, or no longer has. */
export interface Laid {
  readonly held: string;
  readonly holdsAdded: number;
  readonly holdsRemoved: number;
}

export type TakenApart =
  | {
      readonly state: 'taken';
      readonly before: { readonly posted: string; readonly held: string };
      /** Entries by hold id, as they were. */
      readonly holds: ReadonlyMap<string, string>;
    }
  /** `found` is '' where there is no active projection; `waiting` names the install that is not active yet, or is ''. */
  | { readonly state: 'epoch'; readonly found: string; readonly waiting: string }
  | { readonly state: 'damaged' | 'late' };

export function waitingOf(epoch: bigint, installId: string): string {
  return `${epoch}:${installId}`;
}

/**
 * One tenant's projection as it is laid in Redis from the ledger, under the tenant's wallet row:
 *
 *   begin | take apart ─► lay … lay ─► mark; commit ─► activate
 *
 * Every call names this install and until when it may begin, so that what arrives late, or after another install has taken
 * its place, changes nothing. What is laid is used only once it is activated; an install that does not get there is lost,
 * see TenantWarmUp.
 */
export class TenantInstall {
  readonly id = newId();
  private readonly deadline: ServerDeadline;

  constructor(
    private readonly connection: RedisConnection,
    private readonly scripts: ScriptRegistry,
    private readonly tenantId: string,
    private readonly epoch: bigint,
    clock: Clock,
  ) {
    this.deadline = new ServerDeadline(clock);
  }

  /** First of all: by the server's clock it is decided what is late. */
  async readServerClock(): Promise<void> {
    const [seconds, micros] = await this.connection.client.time();
    this.deadline.learn(this.connection.server, Number(seconds) * 1000 + Math.floor(Number(micros) / 1000));
  }

  /** Lays the balance and nothing else, over whatever is there. */
  async begin(balance: TenantBalanceRow): Promise<void> {
    const [outcome] = await this.run('quota_install', [
      this.epoch.toString(),
      this.id,
      this.notAfter,
      balance.posted_nano_usd,
      balance.version,
    ]);
    if (outcome !== 'INSTALLED') throw new Error(`quota_install answered ${String(outcome)}`);
  }

  /** Makes the current projection one to be laid anew: its holds stay, and count nothing until they are laid. */
  async takeApart(balance: TenantBalanceRow): Promise<TakenApart> {
    const holds = new Map<string, string>();
    const before = { posted: '0', held: '0' };
    for (let cursor = ''; cursor !== '0';) {
      const [outcome, ...rest] = await this.run('quota_rebuild', [
        this.epoch.toString(),
        this.id,
        this.notAfter,
        balance.posted_nano_usd,
        balance.version,
        cursor,
      ]);
      const [first = '', second = '', third = '', ...met] = rest;
      if (outcome === 'EPOCH') return { state: 'epoch', found: first, waiting: second };
      if (outcome === 'DAMAGED') return { state: 'damaged' };
      if (outcome === 'LATE' && cursor === '') return { state: 'late' };
      if (outcome !== 'TAKEN') throw new Error(`quota_rebuild answered ${String(outcome)}`);
      if (cursor === '') Object.assign(before, { posted: second, held: third });
      for (let at = 0; at < met.length; at += 2) {
        const [id = '', entry = ''] = met.slice(at, at + 2);
        if (!holds.has(id)) holds.set(id, entry);
      }
      cursor = first;
    }
    return { state: 'taken', before, holds };
  }

  /** Counters before the holds that count in them. */
  async lay(items: readonly LaidItem[]): Promise<Laid> {
    let laid: Laid = { held: '0', holdsAdded: 0, holdsRemoved: 0 };
    for (let at = 0; at < items.length; at += ITEMS_A_CALL) {
      const [outcome, added, removed, held = ''] = await this.run('quota_lay', [
        waitingOf(this.epoch, this.id),
        this.notAfter,
        ...items.slice(at, at + ITEMS_A_CALL).flatMap(({ kind, name, value }) => [KINDS[kind], name, value]),
      ]);
      if (outcome !== 'LAID') throw new Error(`quota_lay answered ${String(outcome)}`);
      laid = {
        held,
        holdsAdded: laid.holdsAdded + Number(added),
        holdsRemoved: laid.holdsRemoved + Number(removed),
      };
    }
    return laid;
  }

  /** In the transaction that holds the wallet row: once it is committed, this install may be activated by anybody. */
  async mark(client: PoolClient): Promise<void> {
    await client.query(
      `insert into tenant_projection (tenant_id, epoch, install_id) values ($1, $2, $3)
         on conflict (tenant_id) do update set epoch = $2, install_id = $3, installed_at = now()`,
      [this.tenantId, this.epoch.toString(), this.id],
    );
  }

  private get notAfter(): string {
    return this.deadline.notAfterMs(this.connection.server).toFixed(0);
  }

  private async run(script: string, args: readonly string[]): Promise<readonly string[]> {
    const reply = await this.scripts.bind(script)(2, quotaKey(this.tenantId), holdsKey(this.tenantId), ...args);
    return typeof reply === 'number' ? [] : reply;
  }
}

/** The install of the tenant's projection whose mark is committed. */
export async function markOf(
  client: PoolClient,
  tenantId: string,
): Promise<{ readonly epoch: bigint; readonly installId: string } | undefined> {
  const { rows } = await client.query<{ epoch: string; install_id: string }>(
    `select epoch, install_id from tenant_projection where tenant_id = $1`,
    [tenantId],
  );
  return rows[0] && { epoch: BigInt(rows[0].epoch), installId: rows[0].install_id };
}

/** Only an install whose mark is committed. What it does not find, another one has activated, or the next use finds lost. */
export async function activate(
  scripts: ScriptRegistry,
  tenantId: string,
  epoch: bigint,
  installId: string,
): Promise<void> {
  await scripts.bind('quota_activate')(1, quotaKey(tenantId), epoch.toString(), installId);
}
