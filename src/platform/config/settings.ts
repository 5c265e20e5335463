import 'reflect-metadata';
import { Transform, Type } from 'class-transformer';
import { IsBoolean, IsIn, IsInt, IsOptional, IsString, Length, Matches, Max, Min, ValidateIf } from 'class-validator';
import { IsConnectionUrl } from './is-connection-url.decorator';
import { IsTimeZone } from './is-time-zone.decorator';

const toBoolean = ({ value }: { value: unknown }): unknown =>
  value === 'true' || value === '1' ? true : value === 'false' || value === '0' ? false : value;

/**
 * Every setting of the product, read once from the environment (loadSettings). Field names are camelCase of the
 * variables: `keyPepper` is KEY_PEPPER. A bad value stops the boot and names the variable, never its value.
 * Durations end in Ms and are milliseconds.
 */
export class Settings {
  @IsIn(['development', 'production', 'test'])
  nodeEnv: 'development' | 'production' | 'test' = 'development';

  @Type(() => Number)
  @IsInt()
  @Min(0)
  @Max(65_535)
  port = 3000;

  @IsString()
  host = '127.0.0.1';

  /** The launcher sets it to the embedded Postgres where the user gave none. */
  @IsConnectionUrl('postgres', 'postgresql')
  databaseUrl!: string;

  /** Connections of the hot path's pool; the control plane has as many again. */
  @Type(() => Number)
  @IsInt()
  @Min(2)
  @Max(1_000)
  databasePoolSize = 10;

  /** Postgres ends a statement of the gateway after this long. Migrations are exempt. */
  @Type(() => Number)
  @IsInt()
  @Min(100)
  databaseStatementMs = 10_000;

  /** The launcher sets it to the embedded Redis where the user gave none. `none`: Postgres decides over quota. */
  @ValidateIf((settings: Settings) => settings.redisUrl !== 'none')
  @IsConnectionUrl('redis', 'rediss')
  redisUrl!: string;

  /** Bearer token of the control plane. The launcher generates one for development. */
  @IsString()
  @Length(16, 512)
  adminToken!: string;

  /** HMAC-SHA-256 pepper of API keys: at least 32 characters. Changing it voids every key. */
  @IsString()
  @Length(32, 512)
  keyPepper!: string;

  /** 32 bytes in base64 or 64 hex digits: AES-256-GCM key of provider credentials and kept answers at rest. */
  @Matches(/^([0-9a-fA-F]{64}|[A-Za-z0-9+/]{43}=)$/, {
    message: '$property must be 32 bytes: 64 hex digits, or 44 characters of base64',
  })
  encryptionKey!: string;

  @IsIn(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
  logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent' = 'info';

  @IsTimeZone()
  defaultTimezone = 'UTC';

  /** Calls a calendar month that cost a new tenant nothing, by service: `chat=100`. Which services there are, auth knows. */
  @Matches(/^([a-z_]{1,64}=\d{1,12}(,[a-z_]{1,64}=\d{1,12})*)?$/, {
    message: '$property must be services with calls a month such as chat=100, separated by commas',
  })
  freeAllowances = '';

  /** Upstreams on private and loopback addresses. Unset: allowed outside production (see allowsPrivateUpstreams). */
  @IsOptional()
  @Transform(toBoolean)
  @IsBoolean()
  upstreamAllowPrivate?: boolean;

  @IsIn(['drain', 'cut'])
  disconnectPolicy: 'drain' | 'cut' = 'drain';

  /** How long a stream whose client left is still read, to bill what the upstream reports. */
  @Type(() => Number)
  @IsInt()
  @Min(0)
  disconnectDrainMs = 30_000;

  /** What a stream that the upstream breaks after its first byte costs: the delivered tokens, or nothing. */
  @IsIn(['delivered', 'void'])
  brokenStreamPolicy: 'delivered' | 'void' = 'delivered';

  /** What becomes of a stream that outgrows its hold where more is refused. */
  @IsIn(['cut', 'finish', 'overdraft'])
  streamGuard: 'cut' | 'finish' | 'overdraft' = 'cut';

  /** Decimal USD that a stream may cost beyond its hold under STREAM_GUARD=overdraft. */
  @Matches(/^\d{1,6}(\.\d{1,9})?$/, { message: '$property must be decimal USD with at most 9 decimals, such as 0.25' })
  streamGuardOverdraftUsd = '1';

  @Type(() => Number)
  @IsInt()
  @Min(1)
  upstreamFirstByteMs = 120_000;

  @Type(() => Number)
  @IsInt()
  @Min(1)
  upstreamIdleMs = 60_000;

  @Type(() => Number)
  @IsInt()
  @Min(1)
  upstreamTotalMs = 900_000;

  /** So many failures of an upstream in a row, and it is left alone for UPSTREAM_BREAKER_OPEN_MS. 0: never. */
  @Type(() => Number)
  @IsInt()
  @Min(0)
  @Max(1_000)
  upstreamBreakerFailures = 5;

  /** After this one call tries it again; each trial that fails doubles the time, up to six times this. */
  @Type(() => Number)
  @IsInt()
  @Min(100)
  @Max(600_000)
  upstreamBreakerOpenMs = 10_000;

  /** Failed attempts that are tried again elsewhere, of the calls of the last ten seconds; 10 a second in any case. 0: none. */
  @Type(() => Number)
  @IsInt()
  @Min(0)
  @Max(100)
  upstreamRetryPercent = 20;

  /** A call that names a session waits so long to hear which upstream the session has. */
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(5_000)
  affinityWaitMs = 250;

  /** How often a live process writes its beat, and after how long without one the sweeper takes it for dead. */
  @Type(() => Number)
  @IsInt()
  @Min(50)
  processBeatMs = 5_000;

  @Type(() => Number)
  @IsInt()
  @Min(200)
  processDeadMs = 60_000;

  /** What a dead process' charge without a checkpoint costs: nothing, or its input as it was estimated. */
  @IsIn(['void', 'charge_input'])
  deadChargePolicy: 'void' | 'charge_input' = 'void';

  /** How long a new call waits for its PENDING row, and a terminal frame for its settle. */
  @Type(() => Number)
  @IsInt()
  @Min(10)
  billingWaitMs = 2_000;

  /** How long an Idempotency-Key keeps its answer, from its first request on. */
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(168)
  idempotencyTtlHours = 24;

  /** simple: no money checks and no charges, usage goes to the request log alone. */
  @IsIn(['standard', 'simple'])
  runMode: 'standard' | 'simple' = 'standard';

  /** False is shadow mode: what a limit or the balance refuses is counted, passes and is charged. */
  @Transform(toBoolean)
  @IsBoolean()
  billingBlockOnInsufficient = true;

  /** So many failures in a row, of Redis or of the ledger, and it is not asked for BILLING_CIRCUIT_OPEN_MS. */
  @Type(() => Number)
  @IsInt()
  @Min(1)
  billingCircuitFailures = 5;

  /** After this one call may try again whether it answers. */
  @Type(() => Number)
  @IsInt()
  @Min(10)
  billingCircuitOpenMs = 30_000;

  /** Postgres decides over quota until every living process has seen the same Redis server for this long. */
  @Type(() => Number)
  @IsInt()
  @Min(0)
  quotaHandBackMs = 30_000;

  /** SIGTERM: readiness fails for this long before new connections are refused. */
  @Type(() => Number)
  @IsInt()
  @Min(0)
  drainGraceMs = 0;

  /** SIGTERM: running streams may finish for this long; the rest is settled by what was delivered. */
  @Type(() => Number)
  @IsInt()
  @Min(0)
  drainDeadlineMs = 25_000;

  /** Metrics on a port of their own; unset: on the main port behind the admin token. */
  @ValidateIf((settings: Settings) => settings.metricsPort !== undefined)
  @Type(() => Number)
  @IsInt()
  @Min(0)
  @Max(65_535)
  metricsPort?: number;

  /** Swagger UI and OpenAPI documents. Unset: on outside production. */
  @IsOptional()
  @Transform(toBoolean)
  @IsBoolean()
  docsEnabled?: boolean;

  /** Moves the clock, so that tests reach the boundary of a window. Refused unless NODE_ENV is test. */
  @IsOptional()
  @Type(() => Number)
  @IsInt()
  testClockOffsetMs?: number;

  get isProduction(): boolean {
    return this.nodeEnv === 'production';
  }

  get allowsPrivateUpstreams(): boolean {
    return this.upstreamAllowPrivate ?? !this.isProduction;
  }

  get showsDocs(): boolean {
    return this.docsEnabled ?? !this.isProduction;
  }
}
