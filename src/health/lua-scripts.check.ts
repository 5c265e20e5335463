import { Injectable } from '@nestjs/common';
import { RedisConnection } from '../platform/redis/redis-connection';
import { ScriptRegistry } from '../platform/redis/script-registry';
import type { DependencyCheck } from './dependency-check';

/** The scripts are bound, and there is a checked server to run them on: one that forgot them is sent them again. */
@Injectable()
export class LuaScriptsCheck implements DependencyCheck {
  readonly name = 'lua_scripts';

  constructor(
    private readonly redis: RedisConnection,
    private readonly scripts: ScriptRegistry,
  ) {}

  check(): Promise<{ scripts: readonly string[] }> {
    const scripts = this.scripts.names();
    if (scripts.length === 0) return Promise.reject(new Error('no script is bound'));
    if (!this.redis.isReady) return Promise.reject(new Error('there is no server to run them on'));
    return Promise.resolve({ scripts });
  }
}
