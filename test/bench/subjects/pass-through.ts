import { join } from 'node:path';
import { freePort } from '../../../src/platform/embedded/free-port';
import { startChild } from '../child';
import { type MockUpstream } from '../mock-upstream';
import { type Subject } from './subject';

export interface PassThroughOptions {
  readonly folder: string;
  readonly mock: MockUpstream;
  readonly core: number;
  readonly nodeArguments: readonly string[];
}

/** floor and fastify: one program each, beside this file. */
export async function startPassThrough(name: 'floor' | 'fastify', options: PassThroughOptions): Promise<Subject> {
  const { mock, folder, core, nodeArguments } = options;
  const port = await freePort(18_100);
  const child = await startChild(process.execPath, [...nodeArguments, join(__dirname, `${name}-program.js`)], {
    core,
    env: { PATH: process.env.PATH, NODE_ENV: 'production', PORT: String(port), UPSTREAM_ORIGIN: mock.url },
    logFile: join(folder, `${name}.log`),
    readyLine: /listening/,
  });
  return {
    name,
    pid: child.pid,
    target: (scenario) => ({
      url: `http://127.0.0.1:${port}/${scenario.name}/v1/chat/completions`,
      authorization: 'Bearer sk-client',
      body: scenario.requestBody,
    }),
    helpersCpuMicros: () => ({}),
    scrape: () => undefined,
    prove: () => Promise.resolve(undefined),
    stop: () => child.stop(),
  };
}
