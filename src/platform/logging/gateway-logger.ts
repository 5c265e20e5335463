import { Logger, PinoLogger } from 'nestjs-pino';
import { Settings } from '../config/settings';
import { loggerOptions } from './logger-options';

/** Where Nest tells of every module and route it sets up. */
const BOOT_CHATTER: ReadonlySet<unknown> = new Set([
  'InstanceLoader',
  'NestApplication',
  'NestFactory',
  'RouterExplorer',
  'RoutesResolver',
]);

/** Where Nest tells why it could not boot, before it throws the same to main.ts, which says it in words. */
const BOOT_FAILURE = 'ExceptionHandler';

/**
 * nestjs-pino's logger from the first line on, with the framework's boot at debug: a boot is a few lines that somebody
 * wants to read.
 */
export class GatewayLogger extends Logger {
  static of(settings: Settings): GatewayLogger {
    const options = loggerOptions(settings);
    return new GatewayLogger(new PinoLogger(options), options);
  }

  override log(message: unknown, ...optionalParams: unknown[]): void {
    if (BOOT_CHATTER.has(optionalParams.at(-1))) this.debug(message, ...optionalParams);
    else super.log(message, ...optionalParams);
  }

  override error(message: unknown, ...optionalParams: unknown[]): void {
    if (optionalParams.at(-1) === BOOT_FAILURE) this.debug(message, ...optionalParams);
    else super.error(message, ...optionalParams);
  }
}
