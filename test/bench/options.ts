import { parseArgs } from 'node:util';
import { SCENARIOS, type ScenarioName } from './scenarios';

export const SUBJECTS = ['floor', 'fastify', 'tollgate'] as const;
export type SubjectName = (typeof SUBJECTS)[number];

export interface BenchOptions {
  readonly subjects: readonly SubjectName[];
  readonly scenarios: readonly ScenarioName[];
  /** Length of one sample. /proc counts CPU in ticks of 10 ms: below 5 s the figure is coarse. */
  readonly seconds: number;
  readonly rounds: number;
  /** Open calls; undefined: the scenario's own number. */
  readonly concurrency: number | undefined;
  readonly isProfile: boolean;
  /** Given to the node of every subject alike, such as --max-semi-space-size=32. */
  readonly nodeArguments: readonly string[];
}

export const USAGE = `npm run bench -- [--subjects floor,fastify,tollgate] [--scenario S1,S1-full,S2,S2-burst] [--seconds 5]
                 [--rounds 3] [--concurrency N] [--node-arguments=--max-semi-space-size=32] [--profile]`;

/** @throws Error with one line that names the flag. */
export function parseOptions(args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      subjects: { type: 'string', default: SUBJECTS.join(',') },
      scenario: { type: 'string', default: 'S1,S1-full,S2' },
      seconds: { type: 'string', default: '5' },
      rounds: { type: 'string', default: '3' },
      concurrency: { type: 'string' },
      'node-arguments': { type: 'string', default: '' },
      profile: { type: 'boolean', default: false },
    },
  });
  return {
    subjects: listOf('subjects', values.subjects, SUBJECTS),
    scenarios: listOf('scenario', values.scenario, Object.keys(SCENARIOS) as ScenarioName[]),
    seconds: integer('seconds', values.seconds, 120),
    rounds: integer('rounds', values.rounds, 50),
    concurrency: values.concurrency === undefined ? undefined : integer('concurrency', values.concurrency, 2_000),
    isProfile: values.profile,
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
