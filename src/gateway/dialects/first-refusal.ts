import type { Refusal } from '../../kernel/errors';
import type { JsonObject } from '../../kernel/json-object';
import { unknownFieldIn } from './field-checks';
import { invalid } from './invalid-request';

/** What is wrong with a request that is read to its end all the same: the first of all there is, by place in the body. */
export class FirstRefusal {
  private noted: Refusal | undefined;

  get refusal(): Refusal | undefined {
    return this.noted;
  }

  note(param: string, reason: string): void {
    this.noted ??= invalid(param, reason);
  }

  unknownFields(object: JsonObject, path: string, known: ReadonlySet<string>): void {
    const odd = unknownFieldIn(object, path, known);
    if (odd !== undefined) this.note(odd, 'is not known to the provider of this model');
  }
}
