import { processCpuMicros } from './cpu-clock';
import { type DebianTools } from './debian-tools';
import { type LoadResult, type LoadTarget, runLoad } from './load';
import { type Sample } from './report';
import { type Scenario } from './scenarios';
import { type Subject } from './subjects/subject';

export interface Bench {
  readonly tools: DebianTools | undefined;
  readonly folder: string;
  readonly loadCore: number;
}

/** One loaded run of one subject; the proof is part of it: a figure for money that was lost is worth nothing. */
export async function measure(
  bench: Bench,
  subject: Subject,
  scenario: Scenario,
  run: {
    readonly round: number;
    readonly seconds: number;
    readonly concurrency: number;
    /** See LoadOptions. */
    readonly pauseMs?: number;
  },
): Promise<Sample> {
  const target = subject.target(scenario);
  const helpersBefore = subject.helpersCpuMicros();
  const before = processCpuMicros(subject.pid);
  const result = await runLoad(bench.tools, bench.folder, target, { ...run, core: bench.loadCore });
  const usedMicros = processCpuMicros(subject.pid) - before;
  const helpersAfter = subject.helpersCpuMicros();
  await refuseErrors(subject, scenario, result);
  const proof = await subject.prove(scenario, result.answers);
  return {
    scenario: scenario.name,
    subject: subject.name,
    round: run.round,
    answers: result.answers,
    answersPerSecond: result.answers / run.seconds,
    cpuMicrosPerRequest: usedMicros / result.answers,
    gatewayUtilisation: usedMicros / (run.seconds * 1_000_000),
    helpersCpuMicrosPerRequest: Object.fromEntries(
      Object.entries(helpersAfter).map(([name, micros]) => [
        name,
        (micros - (helpersBefore[name] ?? 0)) / result.answers,
      ]),
    ),
    p50Ms: result.p50Ms,
    p99Ms: result.p99Ms,
    proof,
  };
}

async function refuseErrors(subject: Subject, scenario: Scenario, result: LoadResult): Promise<void> {
  if (result.answersNot2xx === 0 && result.socketErrors === 0 && result.answers > 0) return;
  const now = await callOnce(subject.target(scenario)).catch((error: unknown) => ({ status: 0, text: String(error) }));
  throw new Error(
    `${subject.name} ${scenario.name}: ${result.answers} answers, ${result.answersNot2xx} of them not 2xx, ` +
      `${result.socketErrors} socket errors: not a measurement. One more call: ${now.status} ${now.text.slice(0, 400)}`,
  );
}

/** One call read in full, so that a fast wrong answer is never measured; it counts in the proof as every other. */
export async function checkAnswer(subject: Subject, scenario: Scenario): Promise<void> {
  const { status, text } = await callOnce(subject.target(scenario));
  const isRight = scenario.isStream
    ? text.trimEnd().endsWith('data: [DONE]') && text.split('\ndata: ').length >= scenario.answerParts.length
    : text === scenario.answerParts[0] || hasSameAnswer(text, scenario);
  if (status !== 200 || !isRight) {
    throw new Error(`${subject.name} ${scenario.name} answers ${status}: ${text.slice(0, 600)} … ${text.slice(-300)}`);
  }
  await subject.prove(scenario, 1);
}

async function callOnce(target: LoadTarget): Promise<{ status: number; text: string }> {
  const response = await fetch(target.url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: target.authorization },
    body: target.body,
  });
  return { status: response.status, text: await response.text() };
}

function hasSameAnswer(text: string, scenario: Scenario): boolean {
  const choicesOf = (json: string): string => JSON.stringify((JSON.parse(json) as { choices?: unknown }).choices);
  return choicesOf(text) === choicesOf(scenario.answerParts.join(''));
}
