import { setTimeout as delay } from 'node:timers/promises';

/** Asks again until there is an answer, and throws after the deadline: for what the product does behind an answer. */
export async function eventually<T>(
  what: string,
  ask: () => T | undefined | Promise<T | undefined>,
  withinMs = 10_000,
): Promise<T> {
  for (const deadline = performance.now() + withinMs; ;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (performance.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}`);
    await delay(10);
  }
}
