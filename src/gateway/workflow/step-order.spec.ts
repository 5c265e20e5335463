import { orderSteps, WorkflowDefinitionError } from './step-order';

const step = (name: string, ...dependsOn: string[]): { name: string; dependsOn: string[] } => ({ name, dependsOn });
const namesOf = (steps: readonly { name: string }[]): string[] => steps.map(({ name }) => name);

describe('the order of workflow steps', () => {
  it('puts each step after all it depends on, whatever the list says', () => {
    const ordered = orderSteps([step('c', 'b', 'a'), step('b', 'a'), step('a'), step('d')]);
    expect(namesOf(ordered)).toEqual(['a', 'b', 'c', 'd']);
  });

  it('names the steps of a cycle', () => {
    expect(() => orderSteps([step('a', 'c'), step('b', 'a'), step('c', 'b')])).toThrow(
      new WorkflowDefinitionError('workflow steps form a cycle: a → c → b → a'),
    );
    expect(() => orderSteps([step('self', 'self')])).toThrow('self → self');
  });

  it('names an unknown dependency, who wants it and what there is', () => {
    expect(() => orderSteps([step('a'), step('b', 'quota_chek')])).toThrow(
      'workflow step "b" depends on "quota_chek", which does not exist (steps: a, b)',
    );
  });

  it('refuses a name twice', () => {
    expect(() => orderSteps([step('a'), step('a')])).toThrow('two workflow steps are named "a"');
  });
});
