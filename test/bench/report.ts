import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { type BenchOptions, type SubjectName } from './options';
import { type ScenarioName } from './scenarios';
import { type Proof } from './subjects/subject';

export interface Sample {
  readonly scenario: ScenarioName;
  readonly subject: SubjectName;
  readonly round: number;
  readonly answers: number;
  readonly answersPerSecond: number;
  /** Of the gateway process, user + system, all threads. */
  readonly cpuMicrosPerRequest: number;
  /** Of its core, while load was on. */
  readonly gatewayUtilisation: number;
  /** Of Redis and Postgres, each beside the gateway. */
  readonly helpersCpuMicrosPerRequest: Readonly<Record<string, number>>;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly proof: Proof | undefined;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
  const lower = sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN;
  return (lower + upper) / 2;
}

/** Ratios are taken within a round, where both subjects met the same noise, and only then reduced to a median. */
export function ratiosByRound(
  samples: readonly Sample[],
  scenario: ScenarioName,
  subject: SubjectName,
  base: SubjectName,
): number[] {
  return ratios(costsByRound(samples, scenario, subject), costsByRound(samples, scenario, base));
}

function costsByRound(
  samples: readonly Sample[],
  scenario: ScenarioName,
  subject: SubjectName,
): ReadonlyMap<number, number> {
  return new Map(
    samples
      .filter((sample) => sample.scenario === scenario && sample.subject === subject)
      .map((sample) => [sample.round, sample.cpuMicrosPerRequest]),
  );
}

function ratios(costs: ReadonlyMap<number, number>, bases: ReadonlyMap<number, number>): number[] {
  return [...costs].flatMap(([round, micros]) => {
    const baseMicros = bases.get(round);
    return baseMicros === undefined ? [] : [micros / baseMicros];
  });
}

export function renderTable(samples: readonly Sample[], options: BenchOptions): string {
  const lines: string[] = [];
  for (const scenario of options.scenarios) {
    const columns = [
      'subject',
      'req/s',
      'gw µs/req med',
      'min',
      'max',
      'core busy',
      'redis µs',
      'postgres µs',
      'p50 ms',
      'p99 ms',
    ];
    const rows = options.subjects.map((subject) =>
      rowOf(
        subject,
        samples.filter((sample) => sample.scenario === scenario && sample.subject === subject),
      ),
    );
    lines.push('', scenario, ...align([columns, ...rows]));
    for (const [subject, base] of [
      ['tollgate', 'fastify'],
      ['tollgate', 'floor'],
      ['tollgate', 'tollgate-simple'],
      ['tollgate-postgres', 'tollgate'],
      ['fastify', 'floor'],
    ] as const) {
      lines.push(...ratioLine(`${subject} / ${base}`, ratiosByRound(samples, scenario, subject, base)));
    }
    if (scenario !== 'S1-scopes') continue;
    for (const subject of options.subjects) {
      const each = ratios(costsByRound(samples, scenario, subject), costsByRound(samples, 'S1-full', subject));
      lines.push(...ratioLine(`${subject}: every scope / none (S1-full)`, each));
    }
  }
  return lines.join('\n');
}

function ratioLine(name: string, byRound: readonly number[]): string[] {
  if (byRound.length === 0) return [];
  const each = byRound.map((ratio) => ratio.toFixed(2)).join(' ');
  return [`  ${name}: median ${median(byRound).toFixed(2)} (by round ${each})`];
}

function rowOf(subject: SubjectName, samples: readonly Sample[]): string[] {
  const costs = samples.map((sample) => sample.cpuMicrosPerRequest);
  const middle = (pick: (sample: Sample) => number | undefined, digits: number): string => {
    const values = samples.map(pick).filter((value) => value !== undefined);
    return values.length === 0 ? '–' : median(values).toFixed(digits);
  };
  return [
    subject,
    middle((sample) => sample.answersPerSecond, 0),
    median(costs).toFixed(1),
    Math.min(...costs).toFixed(1),
    Math.max(...costs).toFixed(1),
    `${middle((sample) => sample.gatewayUtilisation * 100, 0)} %`,
    middle((sample) => sample.helpersCpuMicrosPerRequest.redis, 1),
    middle((sample) => sample.helpersCpuMicrosPerRequest.postgres, 1),
    middle((sample) => sample.p50Ms, 1),
    middle((sample) => sample.p99Ms, 1),
  ];
}

/** A difference with its sign. */
export function signed(value: number, digits: number): string {
  return `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(digits)}`;
}

/** Cells as columns: the first to the left, the others to the right. */
export function align(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  ')
      .replace(/^/, '  '),
  );
}

/** @returns the file written. */
export function writeResults(
  projectFolder: string,
  options: BenchOptions,
  tools: string,
  samples: readonly object[],
): string {
  const folder = join(projectFolder, 'bench-results');
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${new Date().toISOString().replace(/[:.]/g, '-')}.json`);
  const machine = { node: process.version, cpu: cpus()[0]?.model, cores: cpus().length };
  writeFileSync(file, `${JSON.stringify({ machine, tools, options, samples }, null, 2)}\n`);
  return file;
}
