import { readdirSync, readFileSync } from 'node:fs';

/** Linux counts CPU time for user space in ticks of 1/100 s on every architecture. */
const MICROS_PER_TICK = 10_000;

interface Stat {
  readonly parent: number;
  readonly ownTicks: number;
  /** Of children that have ended and were waited for. */
  readonly endedChildrenTicks: number;
}

function readStat(pid: number): Stat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in parentheses may hold anything: fields count from behind it (field 3 is the state).
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    const field = (number: number): number => Number(fields[number - 3]);
    return { parent: field(4), ownTicks: field(14) + field(15), endedChildrenTicks: field(16) + field(17) };
  } catch {
    return undefined;
  }
}

/** CPU microseconds (user + system, all threads) that a process has used; 10 ms resolution. */
export function processCpuMicros(pid: number): number {
  const stat = readStat(pid);
  if (stat === undefined) throw new Error(`process ${pid} is gone`);
  return stat.ownTicks * MICROS_PER_TICK;
}

/** The same for a process, all its living descendants and those that have ended. */
export function treeCpuMicros(rootPid: number): number {
  const stats = new Map<number, Stat>();
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    const stat = Number.isInteger(pid) ? readStat(pid) : undefined;
    if (stat !== undefined) stats.set(pid, stat);
  }
  const isInTree = (pid: number): boolean => {
    for (let at: number | undefined = pid; at !== undefined && at > 1; at = stats.get(at)?.parent) {
      if (at === rootPid) return true;
    }
    return false;
  };
  let ticks = 0;
  for (const [pid, stat] of stats) {
    if (isInTree(pid)) ticks += stat.ownTicks + stat.endedChildrenTicks;
  }
  return ticks * MICROS_PER_TICK;
}

export interface CoreTicks {
  readonly busy: number;
  readonly all: number;
}

/** What a core has done since boot, whoever used it. */
export function coreTicks(core: number): CoreTicks {
  const line = new RegExp(`^cpu${core} (.*)$`, 'm').exec(readFileSync('/proc/stat', 'utf8'))?.[1];
  if (line === undefined) throw new Error(`/proc/stat does not tell of core ${core}`);
  // user nice system idle iowait irq softirq steal; guest times are in user already.
  const ticks = line.split(' ').slice(0, 8).map(Number);
  const all = ticks.reduce((sum, value) => sum + value, 0);
  return { busy: all - (ticks[3] ?? 0) - (ticks[4] ?? 0), all };
}

/** Share of the time between two readings. */
export function busyShare(before: CoreTicks, after: CoreTicks): number {
  return (after.busy - before.busy) / Math.max(1, after.all - before.all);
}
