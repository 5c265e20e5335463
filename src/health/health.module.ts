import { Module } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { QuotaModule } from '../quota/quota.module';
import { DatabaseCheck } from './database.check';
import { HealthController } from './health.controller';
import { LuaScriptsCheck } from './lua-scripts.check';
import { QuotaAuthority } from './quota-authority';
import { RedisCheck } from './redis.check';

/** Probes: live, ready, and everything. Who owns a connection logs its loss; a failed probe is no news of its own. */
@Module({
  imports: [TerminusModule.forRoot({ logger: false }), QuotaModule],
  controllers: [HealthController],
  providers: [DatabaseCheck, RedisCheck, LuaScriptsCheck, QuotaAuthority],
})
export class HealthModule {}
