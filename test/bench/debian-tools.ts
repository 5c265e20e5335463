import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface DebianTools {
  readonly nginx: string;
  readonly echoModule: string;
  readonly wrk: string;
  readonly libraryPath: string;
}

const PACKAGES = ['nginx', 'libnginx-mod-http-echo', 'wrk', 'libluajit-5.1-2'];

/**
 * A compiled mock upstream and load generator from Debian's packages, unpacked beside the project without root.
 * @returns why not, where they cannot be had: the caller falls back to Node and says so.
 */
export async function findDebianTools(folder: string): Promise<DebianTools | { readonly missing: string }> {
  try {
    if (!existsSync(folder)) await unpack(folder);
    const tools = locate(folder);
    const env = { LD_LIBRARY_PATH: tools.libraryPath };
    await run(tools.nginx, ['-v'], { env });
    // wrk -v exits 1 by design; what counts is that it runs at all.
    await run(tools.wrk, ['-v'], { env }).catch((error: unknown) => {
      if (!String((error as { stdout?: unknown }).stdout).includes('wrk')) throw error;
    });
    return tools;
  } catch (error) {
    return { missing: (error instanceof Error ? error.message : String(error)).split('\n')[0] ?? 'unknown' };
  }
}

function locate(folder: string): DebianTools {
  const libraries = join(folder, 'usr', 'lib');
  const paths = [libraries, ...readdirSync(libraries).map((name) => join(libraries, name))];
  const tools = {
    nginx: join(folder, 'usr', 'sbin', 'nginx'),
    echoModule: join(libraries, 'nginx', 'modules', 'ngx_http_echo_module.so'),
    wrk: join(folder, 'usr', 'bin', 'wrk'),
    libraryPath: paths.join(':'),
  };
  for (const file of [tools.nginx, tools.echoModule, tools.wrk]) {
    if (!existsSync(file)) throw new Error(`${file} is missing`);
  }
  return tools;
}

async function unpack(folder: string): Promise<void> {
  const partial = `${folder}.${process.pid}`;
  mkdirSync(partial, { recursive: true });
  try {
    await download(partial);
    for (const file of readdirSync(partial).filter((name) => name.endsWith('.deb'))) {
      await run('dpkg-deb', ['-x', join(partial, file), partial]);
    }
    renameSync(partial, folder);
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
}

async function download(folder: string): Promise<void> {
  const get = (): Promise<unknown> =>
    run('apt-get', ['-qq', 'download', ...PACKAGES], { cwd: folder, timeout: 120_000 });
  try {
    await get();
  } catch (error) {
    if (process.getuid?.() !== 0) throw error;
    await run('apt-get', ['-qq', 'update'], { timeout: 120_000 });
    await get();
  }
}
