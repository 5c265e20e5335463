import { once } from 'node:events';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { ControlPlane } from '../../../test/support/control-plane-harness';
import { TEST_SECRETS } from '../../../test/support/test-settings';

const MEGABYTE = 1024 * 1024;
const BODY_BYTES = 30 * MEGABYTE;
const PIECES_A_LOOK = 5;
const MOST_KEPT = BODY_BYTES / 2;
const GIVEN_BACK_WITHIN_MS = 5_000;
const ADMIN = `authorization: Bearer ${TEST_SECRETS.ADMIN_TOKEN}`;

describe('a large body that nobody asked for', () => {
  let plane: ControlPlane;
  let port: number;

  beforeAll(async () => {
    plane = await ControlPlane.start();
    await plane.app.listen(0, '127.0.0.1');
    ({ port } = plane.app.getHttpServer().address() as AddressInfo);
  });
  afterAll(() => plane.stop());

  /** A connection that has sent the head of a request and nothing of its body, and what has come back on it. */
  async function announce(path: string, method: string, headers: readonly string[]): Promise<Upload> {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    const upload = new Upload(socket);
    socket.write(
      [
        `${method} ${path} HTTP/1.1`,
        'host: gateway',
        'content-type: application/json',
        `content-length: ${BODY_BYTES}`,
        ...headers,
        '\r\n',
      ].join('\r\n'),
    );
    return upload;
  }

  const REFUSED: readonly [string, string, string, readonly string[], number, string][] = [
    ['without the admin token', '/admin/v1/tenants', 'POST', [], 401, 'ADMIN_TOKEN_INVALID'],
    ['with a wrong one', '/admin/v1/prices', 'POST', ['authorization: Bearer x'], 401, 'ADMIN_TOKEN_INVALID'],
    ['to a path spelled with escapes', '/%61dmin/v1/tenants', 'POST', [], 401, 'ADMIN_TOKEN_INVALID'],
    ['without a key', '/v1/chat/completions', 'POST', [], 401, 'INVALID_API_KEY'],
    ['to no route', '/v2/nothing', 'POST', [ADMIN], 404, 'NOT_FOUND'],
    ['to no route of the control plane', '/admin/v1/nothing', 'PUT', [ADMIN], 404, 'NOT_FOUND'],
    ['with a method the path does not take', '/admin/v1/invariants', 'POST', [ADMIN], 405, 'METHOD_NOT_ALLOWED'],
    ['to an administrator’s route, with the token', '/admin/v1/tenants', 'POST', [ADMIN], 413, 'BODY_TOO_LARGE'],
  ];

  it.each(REFUSED)('%s is answered before any of it is sent', async (_, path, method, headers, status, code) => {
    const upload = await announce(path, method, headers);
    const answer = await upload.answer();
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(answer).toContain(`"code":"${code}"`);
    upload.destroy();
  });

  it.each(REFUSED)('%s does not stay in memory while it comes', async (_, path, method, headers) => {
    const upload = await announce(path, method, headers);
    const before = bytesKept();
    let isKept = false;
    const piece = Buffer.alloc(2 * MEGABYTE, 0x20);
    for (let sent = 0; sent < BODY_BYTES && !upload.isClosed; sent += piece.length) {
      await upload.write(piece);
      // Not after each piece: a collection takes long in a worker that has run other specs.
      if ((sent / piece.length) % PIECES_A_LOOK === PIECES_A_LOOK - 1) isKept ||= await staysAbove(before + MOST_KEPT);
    }
    expect(isKept).toBe(false);
    upload.destroy();
  });

  it('names the limit that was passed', async () => {
    const upload = await announce('/admin/v1/tenants', 'POST', [ADMIN]);
    expect(await upload.answer()).toContain(String(MEGABYTE));
    upload.destroy();
  });

  it('of a method the path does not take is told which it takes', async () => {
    const upload = await announce('/admin/v1/invariants', 'POST', [ADMIN]);
    expect((await upload.answer()).toLowerCase()).toMatch(/^allow: get, head\r$/m);
    upload.destroy();
  });
});

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** What buffers hold in this process, the server's and ours, without those that nobody refers to. */
function bytesKept(): number {
  collectGarbage();
  return process.memoryUsage().arrayBuffers;
}

/** Whether that much is still kept a while later: memory nobody refers to is given back behind the collector's back. */
async function staysAbove(bytes: number): Promise<boolean> {
  for (const deadline = performance.now() + GIVEN_BACK_WITHIN_MS; bytesKept() >= bytes;) {
    if (performance.now() > deadline) return true;
    await delay(20);
  }
  return false;
}

class Upload {
  isClosed = false;
  private received = '';

  constructor(private readonly socket: Socket) {
    socket.on('data', (chunk) => (this.received += chunk.toString()));
    // A server that has answered may close on who goes on sending.
    socket.on('error', () => undefined);
    socket.on('close', () => (this.isClosed = true));
  }

  /** The whole answer, as far as it fits one message of its announced length. */
  async answer(): Promise<string> {
    while (!this.hasAnswer() && !this.isClosed) await once(this.socket, 'data');
    return this.received;
  }

  async write(bytes: Buffer): Promise<void> {
    await new Promise<void>((resolve) => {
      this.socket.write(bytes, () => {
        resolve();
      });
    });
  }

  destroy(): void {
    this.socket.destroy();
  }

  private hasAnswer(): boolean {
    const length = /content-length: (\d+)/i.exec(this.received)?.[1];
    const bodyAt = this.received.indexOf('\r\n\r\n') + 4;
    return length !== undefined && bodyAt > 3 && Buffer.byteLength(this.received.slice(bodyAt)) >= Number(length);
  }
}
