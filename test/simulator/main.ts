import { startSimulator } from './simulator';

// A program of its own, outside the product: it has one setting and no module that reads it.
const port = Number(process.env.PORT ?? '0');

/** Reads like a person typing; what the demo of `npm start` shows. */
const DEMO_PACE_MS = 25;

startSimulator({ port, defaults: { paceMs: DEMO_PACE_MS } }).then(
  (simulator) => {
    process.stdout.write(`simulator listening on ${simulator.url}\n`);
    const stop = (): void => {
      void simulator.close().then(() => process.exit(0));
    };
    process.once('SIGTERM', stop);
    process.once('SIGINT', stop);
    process.once('disconnect', stop);
  },
  (error: unknown) => {
    process.stderr.write(`simulator: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  },
);
