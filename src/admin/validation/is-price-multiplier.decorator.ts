import { registerDecorator, type ValidationArguments } from 'class-validator';
import { multiplierMillionthsOf } from '../../catalogue/price-multiplier';

/** How many times its price a call costs, as a decimal string: a JSON number has been a float by the time it is read. */
export function IsPriceMultiplier(): PropertyDecorator {
  return (target, propertyKey) => {
    registerDecorator({
      name: 'isPriceMultiplier',
      target: target.constructor,
      propertyName: String(propertyKey),
      validator: {
        validate: (value: unknown) => isMultiplier(value),
        defaultMessage: (args?: ValidationArguments) =>
          `${args?.property ?? 'it'} must be a decimal string such as "0.85", above 0 and up to 100, with at most 6 decimals`,
      },
    });
  };
}

function isMultiplier(value: unknown): boolean {
  if (typeof value !== 'string') return false;
  try {
    multiplierMillionthsOf(value);
    return true;
  } catch {
    return false;
  }
}
