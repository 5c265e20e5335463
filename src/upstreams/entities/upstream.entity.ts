import { Column, CreateDateColumn, Entity, PrimaryColumn, UpdateDateColumn, type ValueTransformer } from 'typeorm';
import { type NanoUsd, nanoUsd } from '../../kernel/money';

const money: ValueTransformer = {
  to: (value: NanoUsd) => value.toString(),
  from: (value: string) => nanoUsd(value),
};

const moneyOrNull: ValueTransformer = {
  to: (value: NanoUsd | null) => value?.toString() ?? null,
  from: (value: string | null) => (value === null ? null : nanoUsd(value)),
};

/** One provider's offer of one model that clients ask for by `model`. */
@Entity({ name: 'upstream' })
export class Upstream {
  @PrimaryColumn('uuid')
  id!: string;

  @Column({ name: 'provider_id', type: 'uuid' })
  providerId!: string;

  @Column('text')
  name!: string;

  /** What clients ask for and what is priced. */
  @Column('text')
  model!: string;

  /** The provider's own name of it. */
  @Column({ name: 'upstream_model', type: 'text' })
  upstreamModel!: string;

  /** Lower numbers are tried first. */
  @Column('integer')
  priority!: number;

  /** Share of the calls within its priority; 0: only when nothing else of the priority is left. */
  @Column('integer')
  weight!: number;

  /** How long it may take to its first byte; null is UPSTREAM_FIRST_BYTE_MS. */
  @Column({ name: 'timeout_ms', type: 'integer', nullable: true })
  timeoutMs!: number | null;

  /** Calls under way in one gateway process; null is no limit. */
  @Column({ name: 'max_concurrency', type: 'integer', nullable: true })
  maxConcurrency!: number | null;

  /** Where it runs, as a tag: a call may ask for one. */
  @Column({ type: 'text', nullable: true })
  region!: string | null;

  @Column('boolean')
  enabled!: boolean;

  /** What the provider charges us, nano-USD per million tokens. */
  @Column({ name: 'cost_input_nano_usd_per_mtok', type: 'bigint', transformer: money })
  costInputNanoUsdPerMtok!: NanoUsd;

  @Column({ name: 'cost_output_nano_usd_per_mtok', type: 'bigint', transformer: money })
  costOutputNanoUsdPerMtok!: NanoUsd;

  /** Null: as input. */
  @Column({ name: 'cost_cached_input_nano_usd_per_mtok', type: 'bigint', nullable: true, transformer: moneyOrNull })
  costCachedInputNanoUsdPerMtok!: NanoUsd | null;

  /** Null: as input. */
  @Column({ name: 'cost_cache_write_nano_usd_per_mtok', type: 'bigint', nullable: true, transformer: moneyOrNull })
  costCacheWriteNanoUsdPerMtok!: NanoUsd | null;

  @CreateDateColumn({ name: 'created_at', type: 'timestamptz' })
  createdAt!: Date;

  @UpdateDateColumn({ name: 'updated_at', type: 'timestamptz' })
  updatedAt!: Date;
}
