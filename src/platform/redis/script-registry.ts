import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Injectable } from '@nestjs/common';
import { findProjectRoot } from '../config/project-root';
import { RedisConnection } from './redis-connection';

/** Replies of our scripts: flat arrays of strings (money is never a number), or a count. */
export type ScriptReply = readonly string[] | number;

type BoundScript = (numberOfKeys: number, ...keysAndArguments: string[]) => Promise<ScriptReply>;

/**
 * Gives the scripts of redis-scripts/ by file name: EVALSHA, and EVAL where the server answers NOSCRIPT, so that a
 * SCRIPT FLUSH or a fresh server needs no loading step. Not ioredis' defineCommand: under auto-pipelining its own
 * SCRIPT LOAD leaves commands of the same tick without a reply.
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
    const sha = createHash('sha1').update(lua).digest('hex');
    const { client } = this.connection;
    const script: BoundScript = (numberOfKeys, ...rest) =>
      client.evalsha(sha, numberOfKeys, ...rest).catch((error: unknown) => {
        if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error;
        return client.eval(lua, numberOfKeys, ...rest);
      }) as Promise<ScriptReply>;
    this.bound.set(name, script);
    return script;
  }

  names(): readonly string[] {
    return [...this.bound.keys()];
  }
}
