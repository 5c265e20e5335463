import { parseArgs } from 'node:util';
import { SCENARIOS, type ScenarioName } from './scenarios';

export const SUBJECTS = ['floor', 'fastify', 'tollgate', 'tollgate-simple', 'tollgate-postgres'] as const;
export type SubjectName = (typeof SUBJECTS)[number];

/**
 * - compare: CPU a request of several subjects;
 * - profile: where it goes in `tollgate`;
 * - quota: what a reservation costs Redis and Postgres, scope by scope;
 * - half-load: how long a quota check and a call take while the gateway's core is half busy.
 */
export type BenchMode = 'compare' | 'profile' | 'quota' | 'half-load';

export interface BenchOptions {
  readonly mode: BenchMode;
  readonly subjects: readonly SubjectName[];
  readonly scenarios: readonly ScenarioName[];
  /** Length of one sample. /proc counts CPU in ticks of 10 ms: below 5 s the figure is coarse. */
  readonly seconds: number;
  readonly rounds: number;
  /** Open calls; undefined: the scenario's own number. */
  readonly concurrency: number | undefined;
  /** Reservations in Redis a row and round of `--quota`. */
  readonly calls: number;
  /** Given to the node of every subject alike, such as --max-semi-space-size=32. */
  readonly nodeArguments: readonly string[];
}

export const USAGE = `npm run bench -- [--subjects ${SUBJECTS.join(',')}]
                 [--scenario S1,S1-full,S1-scopes,S2,S2-burst] [--seconds 5] [--rounds 3] [--concurrency N]
                 [--node-arguments=--max-semi-space-size=32] [--profile]
npm run bench -- --quota [--calls 20000] [--rounds 3] [--concurrency 32]
npm run bench -- --half-load [--subjects tollgate,tollgate-postgres] [--seconds 5] [--rounds 3]`;

const DEFAULT_SUBJECTS: Readonly<Record<BenchMode, string>> = {
  compare: 'floor,fastify,tollgate,tollgate-simple',
  profile: 'tollgate',
  quota: 'tollgate',
  'half-load': 'tollgate,tollgate-postgres',
};

/** @throws Error with one line that names the flag. */
export function parseOptions(args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      subjects: { type: 'string' },
      scenario: { type: 'string', default: 'S1,S1-full,S2' },
      seconds: { type: 'string', default: '5' },
      rounds: { type: 'string', default: '3' },
      concurrency: { type: 'string' },
      calls: { type: 'string', default: '20000' },
      'node-arguments': { type: 'string', default: '' },
      profile: { type: 'boolean', default: false },
      quota: { type: 'boolean', default: false },
      'half-load': { type: 'boolean', default: false },
    },
  });
  const modes = (['profile', 'quota', 'half-load'] as const).filter((name) => values[name]);
  if (modes.length > 1) throw new Error(`--${modes.join(' and --')}: one at a time`);
  const [mode = 'compare'] = modes;
  return {
    mode,
    subjects: listOf('subjects', values.subjects ?? DEFAULT_SUBJECTS[mode], SUBJECTS),
    scenarios: listOf('scenario', values.scenario, Object.keys(SCENARIOS) as ScenarioName[]),
    seconds: integer('seconds', values.seconds, 120),
    rounds: integer('rounds', values.rounds, 50),
    concurrency: values.concurrency === undefined ? undefined : integer('concurrency', values.concurrency, 2_000),
    calls: integer('calls', values.calls, 1_000_000),
    nodeArguments: values['node-arguments'].split(' ').filter((argument) => argument !== ''),
  };
}

function listOf<T extends string>(flag: string, text: string, allowed: readonly T[]): T[] {
  return text.split(',').map((name) => {
    const found = allowed.find((candidate) => candidate === name.trim());
    if (found === undefined) throw new Error(`--${flag}: "${name}" is not one of ${allowed.join(', ')}`);
    return found;
  });
}

function integer(flag: string, text: string, max: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > max)
    throw new Error(`--${flag}: a whole number from 1 to ${max}`);
  return value;
}
