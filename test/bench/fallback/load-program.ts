import { Agent, request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { type LoadResult, type LoadTarget } from '../load';

/** Stands in for wrk where Debian's packages cannot be had: the same closed loop, at several times its CPU. */
const job = JSON.parse(process.argv[2] ?? '') as LoadTarget & { seconds: number; concurrency: number; pauseMs: number };
const agent = new Agent({ keepAlive: true, maxSockets: job.concurrency });
const deadline = performance.now() + job.seconds * 1000;
const latenciesMs: number[] = [];
let answersNot2xx = 0;
let socketErrors = 0;
let bytes = 0;

function call(): Promise<void> {
  return new Promise((resolve) => {
    const startedAt = performance.now();
    const fail = (): void => {
      socketErrors += 1;
      resolve();
    };
    const outgoing = request(
      job.url,
      {
        method: 'POST',
        agent,
        headers: {
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(job.body),
          authorization: job.authorization,
        },
      },
      (response) => {
        response.on('data', (chunk: Buffer) => (bytes += chunk.length));
        response.on('error', fail);
        response.on('end', () => {
          if (Math.floor((response.statusCode ?? 0) / 100) !== 2) answersNot2xx += 1;
          latenciesMs.push(performance.now() - startedAt);
          resolve();
        });
      },
    );
    outgoing.on('error', fail);
    outgoing.end(job.body);
  });
}

async function loop(): Promise<void> {
  for (;;) {
    if (job.pauseMs > 0) await delay(-Math.log(1 - Math.random()) * job.pauseMs);
    if (performance.now() >= deadline) return;
    await call();
  }
}

void Promise.all(Array.from({ length: job.concurrency }, loop)).then(() => {
  latenciesMs.sort((a, b) => a - b);
  const percentile = (share: number): number => latenciesMs[Math.floor((latenciesMs.length - 1) * share)] ?? 0;
  const result: LoadResult = {
    answers: latenciesMs.length,
    answersNot2xx,
    socketErrors,
    bytes,
    p50Ms: percentile(0.5),
    p99Ms: percentile(0.99),
  };
  process.stdout.write(`RESULT ${JSON.stringify(result)}\n`);
  process.exit(0);
});
