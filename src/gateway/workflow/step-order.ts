/** What the order is made from; see WorkflowStep. */
export interface Ordered {
  readonly name: string;
  readonly dependsOn: readonly string[];
}

/** The list of steps cannot run; the message names the steps. Stops the boot. */
export class WorkflowDefinitionError extends Error {
  override readonly name = 'WorkflowDefinitionError';
}

/**
 * Steps sorted so that each follows all it depends on; steps of equal rank keep their place in the list. Throws
 * WorkflowDefinitionError for a name twice, an unknown name or a cycle.
 */
export function orderSteps<S extends Ordered>(steps: readonly S[]): readonly S[] {
  const byName = new Map<string, S>();
  for (const step of steps) {
    if (byName.has(step.name)) throw new WorkflowDefinitionError(`two workflow steps are named "${step.name}"`);
    byName.set(step.name, step);
  }
  const ordered: S[] = [];
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (step: S): void => {
    if (done.has(step.name)) return;
    const from = path.indexOf(step.name);
    if (from >= 0) {
      throw new WorkflowDefinitionError(`workflow steps form a cycle: ${[...path.slice(from), step.name].join(' → ')}`);
    }
    path.push(step.name);
    for (const name of step.dependsOn) {
      const dependency = byName.get(name);
      if (!dependency) {
        const known = [...byName.keys()].join(', ');
        throw new WorkflowDefinitionError(
          `workflow step "${step.name}" depends on "${name}", which does not exist (steps: ${known})`,
        );
      }
      visit(dependency);
    }
    path.pop();
    done.add(step.name);
    ordered.push(step);
  };
  steps.forEach(visit);
  return ordered;
}
