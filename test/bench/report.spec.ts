import { parseOptions } from './options';
import { nanoUsd } from '../../src/kernel/money';
import { scopeCount, scopeRows } from './quota-cost/scope-rows';
import { median, ratiosByRound, renderTable, type Sample } from './report';
import { amountNanoUsd, SCENARIOS } from './scenarios';

const sample = (subject: Sample['subject'], round: number, cpuMicrosPerRequest: number): Sample => ({
  scenario: 'S1',
  subject,
  round,
  answers: 100,
  answersPerSecond: 20,
  cpuMicrosPerRequest,
  gatewayUtilisation: 0.5,
  helpersCpuMicrosPerRequest: {},
  p50Ms: 1,
  p99Ms: 2,
  proof: undefined,
});

describe('bench report', () => {
  it('takes ratios within a round, not between the medians of rounds', () => {
    const samples = [
      sample('fastify', 1, 50),
      sample('tollgate', 1, 100),
      sample('fastify', 2, 100),
      sample('tollgate', 2, 300),
    ];
    expect(ratiosByRound(samples, 'S1', 'tollgate', 'fastify')).toEqual([2, 3]);
    expect(renderTable(samples, parseOptions(['--scenario', 'S1', '--subjects', 'fastify,tollgate']))).toContain(
      'tollgate / fastify: median 2.50 (by round 2.00 3.00)',
    );
  });

  it('compares every scope with none within a subject and round', () => {
    const samples = [
      sample('tollgate', 1, 100),
      sample('tollgate', 2, 200),
      { ...sample('tollgate', 1, 120), scenario: 'S1-scopes' as const },
      { ...sample('tollgate', 2, 280), scenario: 'S1-scopes' as const },
    ].map((each) => (each.scenario === 'S1' ? { ...each, scenario: 'S1-full' as const } : each));
    expect(renderTable(samples, parseOptions(['--scenario', 'S1-full,S1-scopes', '--subjects', 'tollgate']))).toContain(
      'tollgate: every scope / none (S1-full): median 1.30 (by round 1.20 1.40)',
    );
  });

  it('leaves out rounds in which one of the two was not measured', () => {
    expect(ratiosByRound([sample('tollgate', 1, 100)], 'S1', 'tollgate', 'floor')).toEqual([]);
  });

  it('computes medians of odd and even counts', () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 3, 2])).toBe(2.5);
  });
});

describe('bench options', () => {
  it.each([
    [['--scenario', 'S9'], '--scenario'],
    [['--seconds', '0'], '--seconds'],
    [['--rounds', 'x'], '--rounds'],
    [['--nonsense'], '--nonsense'],
    [['--subjects', 'nginx'], '--subjects'],
    [['--calls', '-1'], '--calls'],
    [['--quota', '--half-load'], '--quota and --half-load'],
  ])('refuses %j, naming the flag', (args, flag) => {
    expect(() => parseOptions(args)).toThrow(flag);
  });
});

describe('bench modes', () => {
  it('compare what the money costs unless asked otherwise', () => {
    expect(parseOptions([])).toMatchObject({
      mode: 'compare',
      subjects: ['floor', 'fastify', 'tollgate', 'tollgate-simple'],
    });
  });

  it('look at half load where Redis and where Postgres decides', () => {
    expect(parseOptions(['--half-load'])).toMatchObject({
      mode: 'half-load',
      subjects: ['tollgate', 'tollgate-postgres'],
    });
  });
});

describe('bench rows of limits', () => {
  const rows = scopeRows().map(({ name, limits }) => {
    const caller = { tenantId: 't', timezone: 'UTC', creditLimit: nanoUsd(0n), ...limits };
    return [name, scopeCount(caller, { hasRolling: true }), scopeCount(caller, { hasRolling: false })];
  });

  it('have none, one of each kind of window, and all that one call can meet', () => {
    expect(rows).toEqual([
      ['none', 0, 0],
      ['calendar', 1, 1],
      ['first use', 1, 1],
      ['lifetime', 1, 1],
      ['rolling', 1, 0],
      ['open', 1, 1],
      ['all', 15, 11],
    ]);
  });
});

describe('bench scenarios', () => {
  it('send the sizes they promise', () => {
    for (const scenario of Object.values(SCENARIOS)) {
      expect(Buffer.byteLength(scenario.requestBody)).toBeGreaterThan(900);
      expect(Buffer.byteLength(scenario.requestBody)).toBeLessThan(1_100);
      expect(scenario.answerParts).toHaveLength(scenario.isStream ? 100 : 1);
    }
    expect(Buffer.byteLength(SCENARIOS.S1.answerParts.join(''))).toBeGreaterThan(900);
  });

  it('cost what their usage says: 230 × 2.5 and 120 × 10 USD per million are 1,775,000 nano-USD', () => {
    expect(amountNanoUsd(SCENARIOS.S1)).toBe(1_775_000n);
    expect(amountNanoUsd(SCENARIOS.S2)).toBe(1_545_000n);
  });
});
