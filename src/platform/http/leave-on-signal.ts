import { Logger } from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { Settings } from '../config/settings';
import { Drain } from './drain';

/** What cut streams have to be settled. */
const SETTLE_MS = 5_000;
/**
 * What the process has to close before it ends all the same: the writer's drain (10 s), refunds and projection (2 s), a
 * raise of the epoch that is owed (2 s), the rest.
 */
const CLOSE_MS = 16_000;

/** On SIGTERM or SIGINT: drain, close (writers flush in their shutdown hooks), exit 0. A second signal exits at once. */
export function leaveOnSignal(app: NestFastifyApplication): void {
  let isLeaving = false;
  const leave = (signal: NodeJS.Signals): void => {
    if (isLeaving) process.exit(1);
    isLeaving = true;
    void drainAndClose(app, signal).then((exitCode) => process.exit(exitCode));
  };
  process.on('SIGTERM', leave);
  process.on('SIGINT', leave);
}

async function drainAndClose(app: NestFastifyApplication, signal: NodeJS.Signals): Promise<number> {
  const logger = new Logger('Shutdown');
  const settings = app.get(Settings);
  const drain = app.get(Drain);
  logger.log(`${signal}: draining, ${drain.inFlight} requests in flight`);
  const left = await drain.run({
    graceMs: settings.drainGraceMs,
    deadlineMs: settings.drainDeadlineMs,
    settleMs: SETTLE_MS,
  });
  if (left > 0) logger.error(`${left} requests did not end in time`);
  setTimeout(() => {
    logger.error(`the process did not close within ${CLOSE_MS} ms`);
    process.exit(1);
  }, CLOSE_MS).unref();
  try {
    await app.close();
  } catch (error) {
    logger.error({ err: error }, 'closing failed');
    return 1;
  }
  logger.log('drained and closed');
  return left > 0 ? 1 : 0;
}
