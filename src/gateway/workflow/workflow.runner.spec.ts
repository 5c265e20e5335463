import { Logger } from '@nestjs/common';
import { refuse, type Refusal } from '../../kernel/errors';
import { WorkflowContext } from './workflow.context';
import { WorkflowRunner } from './workflow.runner';
import { ANSWERED, type StepOutcome, type WorkflowStep } from './workflow-step';

const REFUSAL = refuse('QUOTA_BALANCE_EXCEEDED');

function contextOf(): WorkflowContext {
  return new WorkflowContext({ traceId: 'trace' } as WorkflowContext['request']);
}

describe('the workflow runner', () => {
  let events: string[];

  beforeAll(() => {
    Logger.overrideLogger(false);
  });

  beforeEach(() => {
    events = [];
  });

  function step(
    name: string,
    dependsOn: readonly string[] = [],
    execute: (context: WorkflowContext) => StepOutcome | Promise<StepOutcome> = () => undefined,
  ): WorkflowStep {
    return {
      name,
      dependsOn,
      execute: (context) => {
        events.push(name);
        return execute(context);
      },
      compensate: () => {
        events.push(`undo ${name}`);
      },
    };
  }

  it('runs each step once, after all it depends on', async () => {
    const runner = new WorkflowRunner([
      step('c', ['a', 'b']),
      step('b', ['a'], () => Promise.resolve(undefined)),
      step('a'),
    ]);
    expect(await runner.run(contextOf())).toBeUndefined();
    expect(events).toEqual(['a', 'b', 'c']);
    expect(runner.order).toEqual(['a', 'b', 'c']);
  });

  it('runs independent steps side by side', async () => {
    const left = Promise.withResolvers<undefined>();
    const right = Promise.withResolvers<undefined>();
    const runner = new WorkflowRunner([
      // Each waits for the other: one after the other would never end.
      step('left', [], () => {
        right.resolve(undefined);
        return left.promise;
      }),
      step('right', [], () => {
        left.resolve(undefined);
        return right.promise;
      }),
      step('both', ['left', 'right']),
    ]);
    await runner.run(contextOf());
    expect(events).toEqual(['left', 'right', 'both']);
  });

  it('compensates what was done, in reverse, and answers the refusal', async () => {
    const runner = new WorkflowRunner([step('a'), step('b', ['a']), step('c', ['b'], () => REFUSAL), step('d', ['c'])]);
    expect(await runner.run(contextOf())).toBe(REFUSAL);
    expect(events).toEqual(['a', 'b', 'c', 'undo b', 'undo a']);
  });

  it('awaits what runs beside a refusal, and compensates that too', async () => {
    const slow = Promise.withResolvers<undefined>();
    const runner = new WorkflowRunner([step('slow', [], () => slow.promise), step('fails', [], () => REFUSAL)]);
    const ended = runner.run(contextOf());
    expect(events).toEqual(['slow', 'fails']);
    slow.resolve(undefined);
    await ended;
    expect(events).toEqual(['slow', 'fails', 'undo slow']);
  });

  it.each<[string, () => Promise<StepOutcome>]>([
    [
      'throws',
      () => {
        throw new Error('boom');
      },
    ],
    ['rejects', () => Promise.reject(new Error('boom'))],
  ])('a step that %s is an internal error, compensated like a refusal', async (_, execute) => {
    const runner = new WorkflowRunner([step('a'), step('b', ['a'], execute)]);
    expect((await runner.run(contextOf()))?.code).toBe('INTERNAL_ERROR');
    expect(events).toEqual(['a', 'b', 'undo a']);
  });

  it('compensates nothing past the point of no return', async () => {
    const runner = new WorkflowRunner([
      step('a', [], (context) => {
        context.isPastNoReturn = true;
        return undefined;
      }),
      step('b', ['a'], () => REFUSAL),
    ]);
    expect(await runner.run(contextOf())).toBe(REFUSAL);
    expect(events).toEqual(['a', 'b']);
  });

  it('goes on compensating when one compensation fails', async () => {
    const broken: WorkflowStep = { ...step('b', ['a']), compensate: () => Promise.reject(new Error('boom')) };
    const runner = new WorkflowRunner([step('a'), broken, step('c', ['b'], () => REFUSAL)]);
    expect(await runner.run(contextOf())).toBe(REFUSAL);
    expect(events).toEqual(['a', 'b', 'c', 'undo a']);
  });

  it('starts nothing more once a step has answered the call, and compensates nothing', async () => {
    const runner = new WorkflowRunner([step('a'), step('b', ['a'], () => ANSWERED), step('c', ['b'])]);
    expect(await runner.run(contextOf())).toBeUndefined();
    expect(events).toEqual(['a', 'b']);
  });

  it('starts nothing beside a step that has answered either', async () => {
    const runner = new WorkflowRunner([
      step('a'),
      step('answers', ['a'], () => ANSWERED),
      step('refuses', ['a'], () => Promise.resolve(REFUSAL)),
      step('c', ['answers']),
    ]);
    expect(await runner.run(contextOf())).toBeUndefined();
    expect(events).toEqual(['a', 'answers']);
  });

  it('hands the cause to the compensation', async () => {
    const causes: Refusal[] = [];
    const holder: WorkflowStep = { ...step('a'), compensate: (_, cause) => void causes.push(cause) };
    await new WorkflowRunner([holder, step('b', ['a'], () => REFUSAL)]).run(contextOf());
    expect(causes).toEqual([REFUSAL]);
  });
});

describe('the workflow context', () => {
  it('get and set by step and key are the same data as the section', () => {
    const context = contextOf();
    context.quotaCheck = { balanceBefore: 5n } as WorkflowContext['quotaCheck'];
    expect(context.get('quota_check', 'balance_before')).toBe(5n);
    context.set('quota_check', 'balance_before', 7n as WorkflowContext['quotaCheck']['balanceBefore']);
    expect(context.quotaCheck.balanceBefore).toBe(7n);
  });

  it('names a section that is read before its step has run', () => {
    expect(() => contextOf().quotaCheck).toThrow('workflow section "quotaCheck" is read before its step has run');
    expect(() => contextOf().get('upstream_call', 'ttft_ms')).toThrow('upstreamCall');
  });
});
