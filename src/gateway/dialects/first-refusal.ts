import type { Refusal } from '../../kernel/errors';
import type { JsonObject } from '../../kernel/json-object';
import { invalid } from './invalid-request';
import { isAbsent } from './json-value';

/** What is wrong with a request that is read to its end all the same: the first of all there is, by place in the body. */
export class FirstRefusal {
  private noted: Refusal | undefined;

  get refusal(): Refusal | undefined {
    return this.noted;
  }

  note(param: string, reason: string): void {
    this.noted ??= invalid(param, reason);
  }

  /** Fields beside those that are known have a meaning that would be lost. */
  unknownFields(object: JsonObject, path: string, known: ReadonlySet<string>): void {
    for (const [name, value] of Object.entries(object)) {
      if (!known.has(name) && !isAbsent(value)) {
        this.note(path === '' ? name : `${path}.${name}`, 'is not known to the provider of this model');
      }
    }
  }
}
