import { Logger } from '@nestjs/common';
import { Circuit, CircuitOpenError } from './circuit';

class Away extends Error {}

const OPEN_MS = 10_000;

describe('a circuit', () => {
  let circuit: Circuit;
  let tried: number;

  beforeEach(() => {
    jest.useFakeTimers({ doNotFake: ['queueMicrotask', 'nextTick', 'setImmediate'] });
    Logger.overrideLogger(false);
    tried = 0;
    circuit = new Circuit({
      name: 'the store',
      failures: 3,
      openMs: OPEN_MS,
      isFailure: (error) => error instanceof Away,
    });
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  const work = (outcome: 'answers' | 'is away' | 'refuses') => (): Promise<string> => {
    tried += 1;
    if (outcome === 'answers') return Promise.resolve('answer');
    return Promise.reject(outcome === 'is away' ? new Away() : new Error('refused'));
  };

  async function fail(times: number): Promise<void> {
    for (let time = 0; time < times; time += 1) await expect(circuit.run(work('is away'))).rejects.toThrow(Away);
  }

  it('opens after so many failures in a row, and then tries nothing', async () => {
    await fail(2);
    expect(await circuit.run(work('answers'))).toBe('answer');
    await fail(2);
    expect({ level: circuit.level, takesWork: circuit.takesWork }).toEqual({ level: 0, takesWork: true });
    await fail(1);
    expect({ level: circuit.level, takesWork: circuit.takesWork }).toEqual({ level: 2, takesWork: false });
    const before = tried;
    await expect(circuit.run(work('answers'))).rejects.toThrow(CircuitOpenError);
    expect(tried).toBe(before);
  });

  it('takes a refusal for an answer', async () => {
    for (let time = 0; time < 10; time += 1) await expect(circuit.run(work('refuses'))).rejects.toThrow('refused');
    expect(circuit.level).toBe(0);
  });

  it('lets one call try after its time, turns the others away meanwhile, and closes when that one succeeds', async () => {
    await fail(3);
    jest.advanceTimersByTime(OPEN_MS);
    expect(circuit.takesWork).toBe(true);
    const answer = Promise.withResolvers<string>();
    const probe = circuit.run(() => answer.promise);
    expect({ level: circuit.level, takesWork: circuit.takesWork }).toEqual({ level: 1, takesWork: false });
    await expect(circuit.run(work('answers'))).rejects.toThrow(CircuitOpenError);
    answer.resolve('late answer');
    expect(await probe).toBe('late answer');
    expect(circuit.level).toBe(0);
  });

  it('opens again for its whole time when the one that tries fails', async () => {
    await fail(3);
    jest.advanceTimersByTime(OPEN_MS);
    await fail(1);
    jest.advanceTimersByTime(OPEN_MS - 1);
    expect(circuit.takesWork).toBe(false);
    jest.advanceTimersByTime(1);
    expect(await circuit.run(work('answers'))).toBe('answer');
    expect(circuit.level).toBe(0);
  });

  it('begins anew when it is reset, whatever still fails of the time before', async () => {
    await fail(2);
    const late = Promise.withResolvers<string>();
    const old = circuit.run(() => late.promise);
    circuit.reset();
    late.reject(new Away());
    await expect(old).rejects.toThrow(Away);
    expect(circuit.level).toBe(0);
    await fail(2);
    expect(circuit.level).toBe(0);
  });

  it('says once that it opens and once that it closes', async () => {
    const lines: string[] = [];
    const record = (line: unknown): void => void lines.push(String(line));
    jest.spyOn(Logger.prototype, 'warn').mockImplementation(record);
    jest.spyOn(Logger.prototype, 'log').mockImplementation(record);
    await fail(3);
    for (let time = 0; time < 5; time += 1)
      await expect(circuit.run(work('answers'))).rejects.toThrow(CircuitOpenError);
    jest.advanceTimersByTime(OPEN_MS);
    await circuit.run(work('answers'));
    await circuit.run(work('answers'));
    expect(lines).toEqual(['the store is not asked for 10000 ms: it keeps failing', 'the store is asked again']);
  });
});
