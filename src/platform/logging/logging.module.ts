import { Module } from '@nestjs/common';
import { LoggerModule } from 'nestjs-pino';
import { Settings } from '../config/settings';
import { loggerOptions } from './logger-options';

/**
 * JSON lines on standard output. Only the control plane has an access log: on /v1 a line a request would cost more
 * than the request, and request_log has it anyway.
 */
@Module({ imports: [LoggerModule.forRootAsync({ inject: [Settings], useFactory: loggerOptions })] })
export class LoggingModule {}
