import { registerDecorator } from 'class-validator';
import { isTimeZone } from '../../kernel/windows';

/** An IANA zone name that this runtime knows, such as `Asia/Shanghai`. */
export function IsTimeZone(): PropertyDecorator {
  return (target, propertyKey) => {
    registerDecorator({
      name: 'isTimeZone',
      target: target.constructor,
      propertyName: String(propertyKey),
      options: { message: '$property must be an IANA time zone such as Asia/Shanghai' },
      validator: { validate: (value: unknown) => typeof value === 'string' && isTimeZone(value) },
    });
  };
}
