import { Controller, Get, ServiceUnavailableException, UseFilters } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import {
  HealthCheck,
  HealthCheckService,
  HealthIndicatorService,
  type HealthCheckResult,
  type HealthIndicatorResult,
} from '@nestjs/terminus';
import type { QuotaMode } from '../quota/authority-row';
import { Drain } from '../platform/http/drain';
import { DatabaseCheck } from './database.check';
import { type DependencyCheck, PublicReason } from './dependency-check';
import { HealthFilter } from './health.filter';
import { LuaScriptsCheck } from './lua-scripts.check';
import { QuotaAuthority } from './quota-authority';
import { RedisCheck } from './redis.check';

/** What a dependency may take: less than any prober's own patience. */
const CHECK_MS = 2_000;
/** These pages ask for no key: however often they are read, a dependency is asked this seldom. */
const REMEMBER_MS = 500;

type HealthReport = HealthCheckResult & { readonly mode: QuotaMode };

@ApiTags('health')
@Controller('health')
@UseFilters(HealthFilter)
export class HealthController {
  constructor(
    private readonly health: HealthCheckService,
    private readonly indicators: HealthIndicatorService,
    private readonly drain: Drain,
    private readonly database: DatabaseCheck,
    private readonly redis: RedisCheck,
    private readonly luaScripts: LuaScriptsCheck,
    private readonly quota: QuotaAuthority,
  ) {}

  /** The event loop turns: nothing else, or a sick database would have every process killed. */
  @Get('live')
  live(): { status: 'ok' } {
    return { status: 'ok' };
  }

  /** Whether this process should be sent requests: Postgres answers and it is not shutting down. Redis does not count. */
  @Get('ready')
  @HealthCheck()
  ready(): Promise<HealthCheckResult> {
    return this.health.check([() => this.service(), () => this.ask(this.database)]);
  }

  /** Everything the gateway leans on, and who decides over quota: `mode` is also told where something is down. */
  @Get()
  @HealthCheck()
  async everything(): Promise<HealthReport> {
    const dependencies = this.quota.hasRedis ? [this.database, this.redis, this.luaScripts] : [this.database];
    const checks = [() => this.service(), ...dependencies.map((dependency) => () => this.ask(dependency))];
    const { mode } = this.quota;
    try {
      return { ...(await this.health.check(checks)), mode };
    } catch (error) {
      if (!(error instanceof ServiceUnavailableException)) throw error;
      const report = error.getResponse();
      throw typeof report === 'object' ? new ServiceUnavailableException({ ...report, mode }) : error;
    }
  }

  private service(): HealthIndicatorResult {
    const service = this.indicators.check('service');
    return this.drain.isDraining ? service.down('shutting down') : service.up();
  }

  private ask(dependency: DependencyCheck): PromiseLike<HealthIndicatorResult> {
    return this.indicators
      .check(dependency.name)
      .attempt(() =>
        dependency.check().catch((error: unknown) => {
          // Any other reason stays in the log of whoever owns the connection.
          throw error instanceof PublicReason ? error : new Error('unavailable');
        }),
      )
      .withTimeout(CHECK_MS)
      .cacheFor(REMEMBER_MS);
  }
}
