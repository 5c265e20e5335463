import { type Behaviour, type HttpFailure } from './behaviour';

/** Scripted behaviours by model name; `*` answers for every model without one of its own. */
export class ScriptBook {
  private readonly scripts = new Map<string, Behaviour[]>();
  private readonly storms = new Map<string, number>();

  /** Each call of the model consumes one behaviour; the last one stays. No behaviours: the script is removed. */
  set(model: string, behaviours: readonly Behaviour[]): void {
    if (behaviours.length === 0) this.scripts.delete(model);
    else this.scripts.set(model, [...behaviours]);
  }

  next(model: string): Behaviour {
    const queue = this.scripts.get(model) ?? this.scripts.get('*');
    if (queue === undefined) return {};
    return (queue.length > 1 ? queue.shift() : queue[0]) ?? {};
  }

  /** Consumes nothing that is not of this very name. */
  nextOf(name: string): Behaviour {
    return this.scripts.has(name) ? this.next(name) : {};
  }

  /** Counts the call towards the storm and says whether it is one of those that fail. */
  failsNow(model: string, failure: HttpFailure): boolean {
    if (failure.firstCalls === undefined) return true;
    const key = `${model}\n${failure.stormKey ?? ''}`;
    const earlier = this.storms.get(key) ?? 0;
    this.storms.set(key, earlier + 1);
    return earlier < failure.firstCalls;
  }

  models(): string[] {
    return [...this.scripts.keys()].filter((model) => model !== '*');
  }

  clear(): void {
    this.scripts.clear();
    this.storms.clear();
  }
}
