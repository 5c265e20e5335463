import { Module, RequestMethod } from '@nestjs/common';
import { LoggerModule, type Params } from 'nestjs-pino';
import { Settings } from '../config/settings';
import { GatewayLogger } from './gateway-logger';
import { REDACTED_PATHS } from './redaction';

/**
 * JSON lines on standard output. Only the control plane has an access log: on /v1 a line a request would cost more
 * than the request, and request_log has it anyway.
 */
@Module({
  imports: [LoggerModule.forRootAsync({ inject: [Settings], useFactory: loggerOptions })],
  providers: [GatewayLogger],
  exports: [GatewayLogger],
})
export class LoggingModule {}

export function loggerOptions(settings: Settings): Params {
  return {
    pinoHttp: {
      level: settings.logLevel,
      redact: { paths: [...REDACTED_PATHS], censor: '[redacted]' },
      quietReqLogger: true,
      customAttributeKeys: { reqId: 'traceId' },
      serializers: {
        req: ({ id, method, url }: { id: unknown; method: string; url: string }) => ({ id, method, path: pathOf(url) }),
        res: ({ statusCode }: { statusCode: number }) => ({ statusCode }),
      },
    },
    forRoutes: [{ path: '/admin/{*splat}', method: RequestMethod.ALL }],
  };
}

/** A query may carry what a caller took for a good place for a key. */
function pathOf(url: string): string {
  return url.split('?', 1)[0] ?? '';
}
