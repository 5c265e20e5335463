import { Inject, Injectable, Logger, type OnModuleInit } from '@nestjs/common';
import type { Pool, QueryResult } from 'pg';
import { CLOCK, type Clock } from '../kernel/clock';
import { type NanoUsd, nanoUsd } from '../kernel/money';
import { Settings } from '../platform/config/settings';
import { SecretBox } from '../platform/crypto/secret-box';
import { ChangeFeed } from '../platform/database/change-feed';
import { PG_POOL } from '../platform/database/pg-pool';
import { type AliasRow, type FallbackRow, ModelNames } from './model-names';
import { StoredTarget } from './stored-target';
import type { ApiDialect, ProviderKind, UpstreamTarget } from './upstream.port';

/** Without a live change feed what was read may be believed for this long; a model nobody knows is looked up as often. */
const BELIEVED_MS = 1_000;

export interface RoutableUpstream {
  readonly target: UpstreamTarget;
  readonly kind: ProviderKind;
  /** What its provider speaks. */
  readonly dialects: readonly ApiDialect[];
  /** Lower numbers are tried first. */
  readonly priority: number;
  /** Share of the calls within the priority; 0: only when nothing else is left. */
  readonly weight: number;
  /** Calls under way in this process; null is no limit. */
  readonly maxConcurrency: number | null;
  readonly region: string | null;
  /** What the provider charges us. */
  readonly costInputNanoUsdPerMtok: NanoUsd;
  readonly costOutputNanoUsdPerMtok: NanoUsd;
  readonly costCachedInputNanoUsdPerMtok: NanoUsd;
  readonly costCacheWriteNanoUsdPerMtok: NanoUsd;
}

export interface ListedModel {
  /** What clients ask for: a model's own name, or an alias. */
  readonly model: string;
  /** The model that is served: itself, unless it is an alias. */
  readonly servedModel: string;
  /** Since when an enabled upstream offers it, milliseconds since the Unix epoch. */
  readonly sinceMs: number;
}

interface Snapshot {
  /** Sorted by priority; empty where every upstream of the model is disabled or unusable. */
  readonly byModel: ReadonlyMap<string, readonly RoutableUpstream[]>;
  readonly models: readonly ListedModel[];
  readonly names: ModelNames;
  /** How many changes had been heard when the read began. */
  readonly changes: number;
  readonly readAtMs: number;
}

interface Row {
  readonly id: string;
  readonly name: string;
  readonly model: string;
  readonly upstream_model: string;
  readonly priority: number;
  readonly weight: number;
  readonly timeout_ms: number | null;
  readonly max_concurrency: number | null;
  readonly region: string | null;
  readonly enabled: boolean;
  readonly cost_input: string;
  readonly cost_output: string;
  readonly cost_cached_input: string;
  readonly cost_cache_write: string;
  readonly created_at: Date;
  readonly provider_id: string;
  readonly provider_name: string;
  readonly kind: ProviderKind;
  readonly dialects: readonly ApiDialect[];
  readonly base_url: string;
  readonly api_key_encrypted: Buffer;
}

const UPSTREAMS = `
select u.id, u.name, u.model, u.upstream_model, u.priority, u.weight, u.timeout_ms, u.max_concurrency, u.region,
       u.enabled, u.created_at,
       u.cost_input_nano_usd_per_mtok as cost_input, u.cost_output_nano_usd_per_mtok as cost_output,
       coalesce(u.cost_cached_input_nano_usd_per_mtok, u.cost_input_nano_usd_per_mtok) as cost_cached_input,
       coalesce(u.cost_cache_write_nano_usd_per_mtok, u.cost_input_nano_usd_per_mtok) as cost_cache_write,
       p.id as provider_id, p.name as provider_name, p.kind, p.dialects, p.base_url, p.api_key_encrypted
  from upstream u join provider p on p.id = u.provider_id`;

/** One round trip, and one picture for a call: three results. */
const EVERYTHING = `${UPSTREAMS} order by u.priority, u.id;
select alias, model from model_alias order by alias;
select model, fallback_model from model_fallback order by model, position`;

const ONE_UPSTREAM = `${UPSTREAMS} where u.id = $1`;

/**
 * Upstreams by the model that clients ask for, aliases and fallbacks of models, from memory. Every change (this or another process) makes the picture
 * void at once; whoever asks next waits for a read that began after it, one read at a time for all. Methods answer
 * without a promise while the picture holds; a promise rejects where Postgres does not answer.
 */
@Injectable()
export class UpstreamDirectory implements OnModuleInit {
  private readonly logger = new Logger(UpstreamDirectory.name);
  private snapshot: Snapshot | undefined;
  private reading: Promise<Snapshot> | undefined;
  private changes = 0;
  /** Providers already complained about, so that a bad key is logged once and not with every read. */
  private unusable = new Set<string>();

  constructor(
    @Inject(PG_POOL) private readonly pool: Pool,
    private readonly feed: ChangeFeed,
    private readonly secrets: SecretBox,
    private readonly settings: Settings,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  onModuleInit(): void {
    const invalidate = (): void => {
      this.invalidate();
    };
    for (const table of ['provider', 'upstream', 'model_alias', 'model_fallback']) {
      this.feed.subscribe(table, { changed: invalidate, lost: invalidate });
    }
  }

  /** For who just committed a change and wants its next question answered by it, without waiting for the feed. */
  invalidate(): void {
    this.changes += 1;
  }

  /** Undefined: no upstream has this model. Empty: all that have it are disabled or unusable. */
  candidatesOf(
    model: string,
  ): readonly RoutableUpstream[] | undefined | Promise<readonly RoutableUpstream[] | undefined> {
    const snapshot = this.current();
    const known = snapshot?.byModel.get(model);
    if (known || (snapshot && this.clock.monotonicMs() - snapshot.readAtMs < BELIEVED_MS)) return known;
    return this.read().then(({ byModel }) => byModel.get(model));
  }

  /** The model that a name means, from what clients call it: itself unless it is an alias. Of one nobody has: itself. */
  modelOf(asked: string): string | Promise<string> {
    const snapshot = this.current();
    return snapshot ? snapshot.names.resolve(asked) : this.read().then(({ names }) => names.resolve(asked));
  }

  /**
   * Which models stand in for one that nobody can serve (a model or an alias), in their order. As of the last read: asked
   * where a call has failed, for which nothing is read again.
   */
  fallbacksOf(asked: string): readonly string[] {
    return this.snapshot?.names.fallbacksOf(asked) ?? [];
  }

  /** One upstream as it stands in the database, also a disabled one. Rejects where its provider's key does not open. */
  async readOne(upstreamId: string): Promise<RoutableUpstream | undefined> {
    const { rows } = await this.pool.query<Row>({ name: 'one-upstream', text: ONE_UPSTREAM, values: [upstreamId] });
    const [row] = rows;
    return row && this.routable(row, this.secrets.open(row.api_key_encrypted, row.provider_id));
  }

  /** Models with an enabled upstream and their aliases, by name. */
  listModels(): readonly ListedModel[] | Promise<readonly ListedModel[]> {
    return this.current()?.models ?? this.read().then(({ models }) => models);
  }

  private current(): Snapshot | undefined {
    const { snapshot } = this;
    if (snapshot?.changes !== this.changes) return undefined;
    if (this.feed.isLive) return snapshot;
    return this.clock.monotonicMs() - snapshot.readAtMs < BELIEVED_MS ? snapshot : undefined;
  }

  private async read(): Promise<Snapshot> {
    const changes = this.changes;
    let snapshot: Snapshot;
    do {
      // A read under way may have begun before the change that made us ask; the one after it has not.
      this.reading ??= this.readAll().finally(() => {
        this.reading = undefined;
      });
      snapshot = await this.reading;
    } while (snapshot.changes < changes);
    return snapshot;
  }

  private async readAll(): Promise<Snapshot> {
    const { changes } = this;
    const readAtMs = this.clock.monotonicMs();
    // Of several statements the driver gives several results, which its types do not say.
    const results = (await this.pool.query(EVERYTHING)) as unknown as [
      QueryResult<Row>,
      QueryResult<AliasRow>,
      QueryResult<FallbackRow>,
    ];
    const [upstreams, aliases, fallbacks] = results;
    this.snapshot = { ...this.picture(upstreams.rows, aliases.rows, fallbacks.rows), changes, readAtMs };
    return this.snapshot;
  }

  private picture(
    rows: readonly Row[],
    aliases: readonly AliasRow[],
    fallbacks: readonly FallbackRow[],
  ): Pick<Snapshot, 'byModel' | 'models' | 'names'> {
    const byModel = new Map<string, RoutableUpstream[]>();
    const sinceMs = new Map<string, number>();
    const keys = this.openKeys(rows);
    for (const row of rows) {
      const offers = byModel.get(row.model) ?? [];
      byModel.set(row.model, offers);
      const apiKey = keys.get(row.provider_id);
      if (!row.enabled || apiKey === undefined) continue;
      offers.push(this.routable(row, apiKey));
      sinceMs.set(row.model, Math.min(row.created_at.getTime(), sinceMs.get(row.model) ?? Infinity));
    }
    const names = new ModelNames(aliases, fallbacks, (name) => byModel.has(name));
    const models = [...sinceMs].map(([model, since]) => ({ model, servedModel: model, sinceMs: since }));
    for (const { alias, model } of names.aliases()) {
      const since = sinceMs.get(model);
      if (since !== undefined) models.push({ model: alias, servedModel: model, sinceMs: since });
    }
    return { byModel, names, models: models.sort((a, b) => (a.model < b.model ? -1 : 1)) };
  }

  private routable(row: Row, apiKey: string): RoutableUpstream {
    const firstByteMs = row.timeout_ms ?? this.settings.upstreamFirstByteMs;
    return {
      target: new StoredTarget(
        {
          upstreamId: row.id,
          upstreamName: row.name,
          providerId: row.provider_id,
          providerName: row.provider_name,
          baseUrl: row.base_url,
          upstreamModel: row.upstream_model,
          deadlines: {
            firstByteMs,
            idleMs: this.settings.upstreamIdleMs,
            totalMs: Math.max(firstByteMs, this.settings.upstreamTotalMs),
          },
        },
        apiKey,
      ),
      kind: row.kind,
      dialects: row.dialects,
      priority: row.priority,
      weight: row.weight,
      maxConcurrency: row.max_concurrency,
      region: row.region,
      costInputNanoUsdPerMtok: nanoUsd(row.cost_input),
      costOutputNanoUsdPerMtok: nanoUsd(row.cost_output),
      costCachedInputNanoUsdPerMtok: nanoUsd(row.cost_cached_input),
      costCacheWriteNanoUsdPerMtok: nanoUsd(row.cost_cache_write),
    };
  }

  /** Keys by provider, of those that have an enabled upstream. One provider that cannot be used must not take the others along. */
  private openKeys(rows: readonly Row[]): Map<string, string> {
    const keys = new Map<string, string>();
    const unusable = new Set<string>();
    for (const row of rows) {
      const id = row.provider_id;
      if (!row.enabled || keys.has(id) || unusable.has(id)) continue;
      try {
        if (!URL.canParse(row.base_url)) throw new Error('its base URL is not valid');
        keys.set(id, this.secrets.open(row.api_key_encrypted, id));
      } catch (error) {
        unusable.add(id);
        const reason = error instanceof Error ? error.message : 'unknown';
        if (!this.unusable.has(id)) this.logger.error(`provider ${row.provider_name} (${id}) is left out: ${reason}`);
      }
    }
    this.unusable = unusable;
    return keys;
  }
}
