import { registerDecorator } from 'class-validator';

/** A URL of one of the protocols that also parses: drivers print what they cannot parse, with the password in it. */
export function IsConnectionUrl(...protocols: string[]): PropertyDecorator {
  return (target, propertyKey) => {
    registerDecorator({
      name: 'isConnectionUrl',
      target: target.constructor,
      propertyName: String(propertyKey),
      options: {
        message: `$property must be a URL that starts with ${protocols.map((name) => `${name}://`).join(' or ')}`,
      },
      validator: {
        validate: (value: unknown) =>
          typeof value === 'string' && protocols.some((name) => value.startsWith(`${name}://`)) && URL.canParse(value),
      },
    });
  };
}
