import { Param, type PipeTransform } from '@nestjs/common';
import { invalid } from '../refusals';

/** As IsGivenName has it. */
const A_NAME = /^(?!\s)[^\p{Cc}]{1,200}(?<!\s)$/u;

class ModelNamePipe implements PipeTransform<string, string> {
  constructor(private readonly param: string) {}

  transform(name: string): string {
    if (A_NAME.test(name)) return name;
    throw invalid(this.param, 'must be a name of 1 to 200 characters without a blank at either end');
  }
}

/** A model's name or alias in the path; slashes in it are sent as %2F. */
export function ModelNameParam(param: string): ParameterDecorator {
  return Param(param, new ModelNamePipe(param));
}
