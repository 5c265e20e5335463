import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type DebianTools } from './debian-tools';

const run = promisify(execFile);

export interface LoadTarget {
  readonly url: string;
  readonly authorization: string;
  readonly body: string;
}

export interface LoadResult {
  /** Answers read to their end. */
  readonly answers: number;
  readonly answersNot2xx: number;
  readonly socketErrors: number;
  readonly bytes: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** After the last call has been sent the generator waits this long, so that every call is answered and counted. */
const DRAIN_SECONDS = 2;

export interface LoadOptions {
  readonly seconds: number;
  readonly concurrency: number;
  readonly core: number;
  /**
   * Mean pause of a connection between two calls, exponentially distributed, so that many of them call like people who
   * know nothing of each other; 0, as unless given: the next call follows at once.
   */
  readonly pauseMs?: number;
}

/**
 * Closed loop for `seconds`, then no new calls, and the open ones are read to their end: N answers are N calls.
 */
export async function runLoad(
  tools: DebianTools | undefined,
  folder: string,
  target: LoadTarget,
  options: LoadOptions,
): Promise<LoadResult> {
  const pin = ['-c', String(options.core)];
  const limits = { maxBuffer: 10_000_000, timeout: (options.seconds + DRAIN_SECONDS + 20) * 1000 };
  if (tools === undefined) {
    const program = join(__dirname, 'fallback', 'load-program.js');
    const { seconds, concurrency, pauseMs = 0 } = options;
    const job = JSON.stringify({ ...target, seconds, concurrency, pauseMs });
    const { stdout } = await run('taskset', [...pin, process.execPath, program, job], limits);
    return resultOf(stdout);
  }
  const script = join(folder, 'load.lua');
  writeFileSync(script, luaScript(target), { mode: 0o600 });
  const args = [
    ...pin,
    tools.wrk,
    '-t1',
    `-c${options.concurrency}`,
    `-d${options.seconds + DRAIN_SECONDS}s`,
    '--timeout',
    '20s',
    '-s',
    script,
    target.url,
    '--',
    String(options.seconds),
    String(options.pauseMs ?? 0),
  ];
  const env = { ...process.env, LD_LIBRARY_PATH: tools.libraryPath };
  const { stdout } = await run('taskset', args, { ...limits, env });
  return resultOf(stdout);
}

function resultOf(stdout: string): LoadResult {
  const json = /^RESULT (.*)$/m.exec(stdout)?.[1];
  if (json === undefined) throw new Error(`the load generator said: ${stdout.slice(0, 500)}`);
  return JSON.parse(json) as LoadResult;
}

/** wrk tears open calls at its end; `delay` holds back new ones before that, so that none is open then. */
function luaScript(target: LoadTarget): string {
  return `
local ffi = require("ffi")
ffi.cdef[[ typedef struct { long s; long ns; } bench_time; int clock_gettime(int clock, bench_time *t); ]]
local t = ffi.new("bench_time")
local function now() ffi.C.clock_gettime(1, t); return tonumber(t.s) + tonumber(t.ns) / 1e9 end
local stop_at
wrk.method = "POST"
wrk.body = [==[${target.body}]==]
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "${target.authorization}"
local pause_ms
function init(args) stop_at = now() + tonumber(args[1]) pause_ms = tonumber(args[2]) end
function delay()
  local pause = pause_ms == 0 and 0 or math.floor(-math.log(1 - math.random()) * pause_ms + 0.5)
  if now() + pause / 1000 >= stop_at then return 3600000 end
  return pause
end
function done(s, l)
  io.write(string.format(
    'RESULT {"answers":%d,"answersNot2xx":%d,"socketErrors":%d,"bytes":%d,"p50Ms":%.3f,"p99Ms":%.3f}\\n',
    s.requests, s.errors.status, s.errors.connect + s.errors.read + s.errors.write + s.errors.timeout, s.bytes,
    l:percentile(50) / 1000, l:percentile(99) / 1000))
end
`;
}
