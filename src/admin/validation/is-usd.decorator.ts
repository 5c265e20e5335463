import { registerDecorator, type ValidationArguments } from 'class-validator';
import { nanoUsdOfPrice } from '../../catalogue/usd-price';
import { MAX_TENANT_NANO_USD, type NanoUsd, nanoUsdFromDecimal } from '../../kernel/money';

/**
 * An amount as a decimal USD string, within ±9,000,000. A JSON number is refused however round it is: by the time it is
 * read it has been a float.
 */
export function IsUsd({ mayBeNegative }: { mayBeNegative: boolean }): PropertyDecorator {
  return moneyDecorator('isUsd', mayBeNegative ? '"-12.50"' : '"12.50"', (text) => {
    const amount = BigInt(nanoUsdFromDecimal(text));
    if (amount < 0n && !mayBeNegative) return 'must not be negative';
    const magnitude = amount < 0n ? -amount : amount;
    return magnitude > MAX_TENANT_NANO_USD ? 'must lie within ±9,000,000 USD' : undefined;
  });
}

/** A price as a decimal USD string: per million tokens, or per request. */
export function IsUsdPrice(): PropertyDecorator {
  return moneyDecorator('isUsdPrice', '"2.50"', (text) => {
    nanoUsdFromDecimal(text);
    return isPrice(text) ? undefined : 'must lie between 0 and 100,000 USD';
  });
}

/** A money field that has passed IsUsd or IsUsdPrice. */
export function amountOf(text: string): NanoUsd {
  return nanoUsdFromDecimal(text);
}

function isPrice(text: string): boolean {
  try {
    nanoUsdOfPrice(text);
    return true;
  } catch {
    return false;
  }
}

/** `problemOf` throws where the text is no decimal USD string, else says what is wrong with the amount. */
function moneyDecorator(
  name: string,
  example: string,
  problemOf: (text: string) => string | undefined,
): PropertyDecorator {
  const describe = (value: unknown): string | undefined => {
    if (typeof value === 'number') return `must be a string such as ${example}, not a JSON number`;
    const expectation = `must be a decimal USD string such as ${example} with at most 9 decimals`;
    if (typeof value !== 'string') return expectation;
    try {
      return problemOf(value);
    } catch {
      return expectation;
    }
  };
  return (target, propertyKey) => {
    registerDecorator({
      name,
      target: target.constructor,
      propertyName: String(propertyKey),
      validator: {
        validate: (value: unknown) => describe(value) === undefined,
        defaultMessage: (args?: ValidationArguments) => `${args?.property ?? 'it'} ${describe(args?.value) ?? ''}`,
      },
    });
  };
}
