import { RequestMethod } from '@nestjs/common';
import type { Params } from 'nestjs-pino';
import { Settings } from '../config/settings';
import { describeError } from './describe-error';
import { REDACTED_PATHS } from './redaction';

/** For nestjs-pino: what is written, what never is, and which requests have a line of their own. */
export function loggerOptions(settings: Settings): Params {
  return {
    pinoHttp: {
      level: settings.logLevel,
      redact: { paths: [...REDACTED_PATHS], censor: '[redacted]' },
      quietReqLogger: true,
      customAttributeKeys: { reqId: 'traceId' },
      serializers: {
        err: describeError,
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
