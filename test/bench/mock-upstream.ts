import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from '../../src/platform/embedded/free-port';
import { type Child, startChild } from './child';
import { type DebianTools } from './debian-tools';
import { type Scenario, SCENARIOS } from './scenarios';

export interface MockUpstream extends Child {
  readonly url: string;
}

/** Each scenario has its own path, so that the mock need not read the body: `<url>/S1/v1/chat/completions`. */
export const upstreamBaseUrl = (mock: MockUpstream, scenario: Scenario): string => `${mock.url}/${scenario.name}/v1`;

export async function startMockUpstream(
  tools: DebianTools | undefined,
  folder: string,
  core: number,
): Promise<MockUpstream> {
  const port = await freePort(18_080);
  const url = `http://127.0.0.1:${port}`;
  const logFile = join(folder, 'mock-upstream.log');
  if (tools === undefined) {
    const program = join(__dirname, 'fallback', 'upstream-program.js');
    const child = await startChild(process.execPath, [program], {
      core,
      env: { ...process.env, PORT: String(port) },
      logFile,
      readyLine: /listening/,
    });
    return { ...child, url };
  }
  mkdirSync(join(folder, 'nginx-temp'), { recursive: true });
  const config = join(folder, 'nginx.conf');
  writeFileSync(config, nginxConfig(tools, folder, port));
  const child = await startChild(tools.nginx, ['-e', 'stderr', '-c', config, '-p', folder], {
    core,
    env: { ...process.env, LD_LIBRARY_PATH: tools.libraryPath },
    logFile,
  });
  await untilAnswers(`${url}/ready`, child.ended);
  return { ...child, url };
}

async function untilAnswers(url: string, ended: Promise<number | null>): Promise<void> {
  const gone = new AbortController();
  void ended.then(() => {
    gone.abort();
  });
  for (let attempt = 0; attempt < 100; attempt += 1) {
    try {
      await fetch(url, { signal: gone.signal });
      return;
    } catch {
      if (gone.signal.aborted) break;
      await delay(20);
    }
  }
  throw new Error(`the mock upstream does not answer ${url}`);
}

function nginxConfig(tools: DebianTools, folder: string, port: number): string {
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${join(folder, 'nginx-temp', name)};`,
  );
  return `load_module ${tools.echoModule};
daemon off; master_process off; error_log stderr warn; pid ${join(folder, 'nginx.pid')};
events { worker_connections 4096; }
http {
  access_log off; tcp_nodelay on; keepalive_timeout 600s; keepalive_requests 1000000000; client_body_buffer_size 64k;
  ${temp.join(' ')}
  server {
    listen 127.0.0.1:${port};
    location = /ready { return 200 'ready'; }
${Object.values(SCENARIOS).map(locationOf).join('')}  }
}
`;
}

function locationOf(scenario: Scenario): string {
  const path = `/${scenario.name}/v1/chat/completions`;
  if (!scenario.isStream) {
    const answer = (at: string, more = ''): string =>
      `    location = ${at} { ${more}default_type application/json; return 200 ${quote(scenario.answerParts.join(''))}; }\n`;
    if (scenario.thinkMs === 0) return answer(path);
    // `return` answers at once and with a length; what comes before it must be a location of its own.
    const now = `/${scenario.name}/now`;
    const wait = `    location = ${path} { echo_sleep ${scenario.thinkMs / 1000}; echo_exec ${now}; }\n`;
    return `${wait}${answer(now, 'internal; ')}`;
  }
  // echo_flush makes each event a write of its own; the shortest sleep lets the gateway see each alone.
  const pause = scenario.pauseMs === 0 ? '' : ` echo_flush; echo_sleep ${scenario.pauseMs / 1000};`;
  const lines = scenario.answerParts.map((part) => `      echo -n ${quote(part)};${pause}\n`);
  return `    location = ${path} { default_type text/event-stream;\n${lines.join('')}    }\n`;
}

function quote(text: string): string {
  if (/['\\$]/.test(text)) throw new Error('the mock answers must not hold quotes, backslashes or dollars');
  return `'${text.replaceAll('\n', '\\n')}'`;
}
