/**
 * Runs a task once for all callers that ask for the same key while it is under way. Nothing is cached: the next caller
 * after it ended starts it anew. A rejection reaches every waiter.
 */
export class Singleflight<T> {
  private readonly running = new Map<string, Promise<T>>();

  run(key: string, task: () => Promise<T>): Promise<T> {
    const current = this.running.get(key);
    if (current) return current;
    const started = task().finally(() => this.running.delete(key));
    this.running.set(key, started);
    return started;
  }
}
