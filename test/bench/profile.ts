import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

interface CpuProfile {
  readonly startTime: number;
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** Moments on CLOCK_MONOTONIC in microseconds, which is what V8 stamps samples with. */
export interface Window {
  readonly fromMicros: number;
  readonly toMicros: number;
}

export const monotonicMicros = (): number => Number(process.hrtime.bigint() / 1000n);

const TOP = 45;

/** Self time within the window, by module and by function, as shares of the busy time and as µs a request. */
export function summariseProfile(folder: string, window: Window, cpuMicrosPerRequest: number): string {
  const file = readdirSync(folder).find((name) => name.endsWith('.cpuprofile'));
  if (file === undefined) throw new Error(`no profile in ${folder}: the gateway did not end by itself`);
  const profile = JSON.parse(readFileSync(join(folder, file), 'utf8')) as CpuProfile;
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const byModule = new Map<string, number>();
  const byFunction = new Map<string, number>();
  let busy = 0;
  let at = profile.startTime;
  profile.samples.forEach((id, i) => {
    const delta = profile.timeDeltas[i] ?? 0;
    at += delta;
    const frame = nodes.get(id)?.callFrame;
    if (frame === undefined || at < window.fromMicros || at > window.toMicros || frame.functionName === '(idle)')
      return;
    const owner = moduleOf(frame.functionName, frame.url);
    const where = `${owner}  ${frame.functionName || '(anonymous)'} ${shortPath(frame.url)}:${frame.lineNumber + 1}`;
    busy += delta;
    byModule.set(owner, (byModule.get(owner) ?? 0) + delta);
    byFunction.set(where, (byFunction.get(where) ?? 0) + delta);
  });
  const lines = (title: string, times: Map<string, number>, count: number): string[] => [
    title,
    ...[...times]
      .sort(([, a], [, b]) => b - a)
      .slice(0, count)
      .map(([name, micros]) => {
        const share = micros / busy;
        const cost = (share * cpuMicrosPerRequest).toFixed(1);
        return `  ${(share * 100).toFixed(1).padStart(5)} %  ${cost.padStart(7)} µs/req  ${name}`;
      }),
  ];
  return [
    `${join(folder, file)}: ${(busy / 1e6).toFixed(1)} s of busy samples`,
    ...lines('Self time by module', byModule, 40),
    ...lines('Self time by function', byFunction, TOP),
  ].join('\n');
}

/** A package of node_modules, a folder of the product, a built-in of Node, or V8 itself. */
function moduleOf(functionName: string, url: string): string {
  const packageName = /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1];
  if (packageName !== undefined) return packageName;
  const product = /\/(src\/(?:[^/]+\/)?[^/]+)(?=\/)/.exec(url)?.[1];
  if (product !== undefined) return product;
  if (url.startsWith('node:')) return url.replace(/^(node:(?:internal\/)?[^/]+).*$/, '$1');
  if (url === '') return functionName.startsWith('(') ? `V8 ${functionName}` : 'native';
  return 'other';
}

function shortPath(url: string): string {
  return url.replace(/^file:\/\//, '').replace(/^.*\/(?:node_modules\/|(?=src\/))/, '');
}
