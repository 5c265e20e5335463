import { Module } from '@nestjs/common';
import { RedisConnection } from './redis-connection';
import { ScriptRegistry } from './script-registry';

@Module({ providers: [RedisConnection, ScriptRegistry], exports: [RedisConnection, ScriptRegistry] })
export class RedisModule {}
