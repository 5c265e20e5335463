import { type LoadTarget } from '../load';
import { type SubjectName } from '../options';
import { type Scenario } from '../scenarios';

/** What is measured: a running gateway. */
export interface Subject {
  readonly name: SubjectName;
  readonly pid: number;
  target(scenario: Scenario): LoadTarget;
  /** CPU microseconds used so far by what the gateway needs beside itself, by name. */
  helpersCpuMicros(): Readonly<Record<string, number>>;
  /** Its own metrics as text; undefined where it has none. */
  scrape(): Promise<string> | undefined;
  /**
   * Called after each run with the number of 2xx answers clients have had from it in that run.
   * @throws Error where what the subject recorded does not agree.
   */
  prove(scenario: Scenario, answers: number): Promise<Proof | undefined>;
  stop(): Promise<void>;
}

export interface Proof {
  /** 2xx answers of this tenant since the start, each of them accounted for. */
  readonly answers: number;
  /** Rows COMMITTED for them. */
  readonly charges: number;
  readonly chargedNanoUsd: string;
  readonly balanceNanoUsd: string;
  /** The same in words. */
  readonly says: string;
  readonly invariants: string;
}
