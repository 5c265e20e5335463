import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Injectable } from '@nestjs/common';
import type { Redis } from 'ioredis';
import { RedisConnection } from './redis-connection';
import { findProjectRoot } from '../config/project-root';

/** Replies of our scripts: flat arrays of strings (money is never a number), or a count. */
export type ScriptReply = readonly string[] | number;

type BoundScript = (numberOfKeys: number, ...keysAndArguments: string[]) => Promise<ScriptReply>;

/**
 * Gives the scripts of redis-scripts/ by file name. ioredis sends EVALSHA and falls back to EVAL on NOSCRIPT, so a
 * SCRIPT FLUSH or a fresh server needs no loading step.
 */
@Injectable()
export class ScriptRegistry {
  private readonly bound = new Map<string, BoundScript>();

  constructor(private readonly connection: RedisConnection) {}

  /** Reads and binds `redis-scripts/<name>.lua`; throws where the file is missing. */
  bind(name: string): BoundScript {
    const existing = this.bound.get(name);
    if (existing) return existing;
    const lua = readFileSync(join(findProjectRoot(), 'redis-scripts', `${name}.lua`), 'utf8');
    const client = this.connection.client as Redis & Record<string, BoundScript | undefined>;
    client.defineCommand(name, { lua });
    const command = client[name];
    if (!command) throw new Error(`Redis script ${name} could not be bound`);
    const script = command.bind(client);
    this.bound.set(name, script);
    return script;
  }

  names(): readonly string[] {
    return [...this.bound.keys()];
  }
}
