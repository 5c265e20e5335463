import { createServer } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { type Scenario, SCENARIOS } from '../scenarios';

/** Stands in for nginx where Debian's packages cannot be had. */
const byPath = new Map<string, Scenario>(
  Object.values(SCENARIOS).map((scenario) => [`/${scenario.name}/v1/chat/completions`, scenario]),
);

const server = createServer((request, response) => {
  request.resume();
  const scenario = byPath.get(request.url ?? '');
  if (scenario === undefined) {
    response.writeHead(404).end();
    return;
  }
  const head = { 'content-type': scenario.isStream ? 'text/event-stream' : 'application/json' };
  if (scenario.pauseMs === 0 && scenario.thinkMs === 0) {
    response.writeHead(200, head).end(scenario.answerParts.join(''));
    return;
  }
  void (async () => {
    await delay(scenario.thinkMs);
    response.writeHead(200, head);
    if (scenario.pauseMs === 0) {
      response.end(scenario.answerParts.join(''));
      return;
    }
    for (const part of scenario.answerParts) {
      response.write(part);
      await delay(scenario.pauseMs);
    }
    response.end();
  })();
});
server.keepAliveTimeout = 600_000;
server.listen(Number(process.env.PORT), '127.0.0.1', () => process.stdout.write('listening\n'));
process.once('SIGTERM', () => process.exit(0));
