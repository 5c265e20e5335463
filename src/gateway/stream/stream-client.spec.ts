import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo } from 'node:net';

import { SystemClock } from '../../kernel/clock';
import { ChatStreamReading } from '../dialects/openai-chat/chat-stream';
import { ChatWriter } from './chat-writer';
import { renderFrame } from './sse-frame';
import { StreamPump } from './stream-pump';
import { NodeStreamClient } from './stream-client';
import { ScriptedCall } from '../../../test/support/pump-harness';

const FRAME = Buffer.from(
  `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: 'x'.repeat(16_000) } }] })}\n\n`,
);

let server: Server;
let respond: (response: ServerResponse) => void;

beforeEach(async () => {
  server = createServer((_, response) => {
    respond(response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});

afterEach(async () => {
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
});

/** Calls the server; the response stands paused until it is read. */
async function call(): Promise<{ incoming: IncomingMessage; response: ServerResponse; client: NodeStreamClient }> {
  const { port } = server.address() as AddressInfo;
  const made = new Promise<{ response: ServerResponse; client: NodeStreamClient }>((resolve) => {
    respond = (response) => {
      const client = new NodeStreamClient(response, () => ({ 'content-type': 'text/event-stream', 'x-late': 'yes' }));
      client.write(Buffer.from(': hello\n\n'));
      resolve({ response, client });
    };
  });
  const outgoing = request({ port, host: '127.0.0.1', agent: false });
  outgoing.end();
  const [[incoming]] = (await Promise.all([once(outgoing, 'response'), made])) as [[IncomingMessage], unknown];
  return { incoming, ...(await made) };
}

function pumpTo(client: NodeStreamClient): { pump: StreamPump; upstream: ScriptedCall } {
  const reading = new ChatStreamReading(1);
  const pump = new StreamPump({
    client,
    reading,
    writer: new ChatWriter(reading, false, undefined),
    disconnectPolicy: 'cut',
    drainMs: 0,
    clock: new SystemClock(),
    firstByteGate: Promise.resolve(undefined),
    renderError: () => renderFrame('{}'),
  });
  const upstream = new ScriptedCall();
  pump.attach(upstream);
  return { pump, upstream };
}

describe('NodeStreamClient on a real socket', () => {
  it('sends its head with the first bytes, once', async () => {
    const { incoming, client } = await call();
    expect(client.isOpened).toBe(true);
    expect(incoming.statusCode).toBe(200);
    expect(incoming.headers).toMatchObject({ 'content-type': 'text/event-stream', 'x-late': 'yes' });
    client.end(Buffer.from('data: [DONE]\n\n'));
    incoming.setEncoding('utf8');
    let body = '';
    for await (const text of incoming) body += String(text);
    expect(body).toBe(': hello\n\ndata: [DONE]\n\n');
    expect(client.isGone).toBe(false);
  });

  it('holds a fast upstream to the pace of a slow reader, and loses nothing', async () => {
    const { incoming, response, client } = await call();
    const { pump, upstream } = pumpTo(client);
    const frames = 2000;
    let sent = 0;
    let mostBuffered = 0;
    // The upstream sends as long as it is not paused.
    const run = (): void => {
      while (sent < frames && upstream.asked.at(-1) !== 'pause') {
        pump.onData(Buffer.from(FRAME));
        sent++;
        mostBuffered = Math.max(mostBuffered, response.writableLength);
      }
      if (sent === frames) pump.onData(Buffer.from('data: [DONE]\n\n'));
    };
    await new Promise((resolve) => setImmediate(resolve));
    run();
    expect(upstream.asked).toEqual(['pause']);
    expect(sent).toBeLessThan(frames / 2);
    response.on('drain', run);
    void pump.ended.then(() => pump.finish());
    let received = 0;
    for await (const chunk of incoming) received += (chunk as Buffer).length;
    expect(received).toBe(': hello\n\n'.length + frames * FRAME.length + 'data: [DONE]\n\n'.length);
    expect(mostBuffered).toBeLessThan(1024 * 1024);
    expect(upstream.asked.filter((asked) => asked === 'pause').length).toBeGreaterThan(1);
  });

  it('tells of a client that hung up, and writes to it no more', async () => {
    const { incoming, client } = await call();
    const { pump, upstream } = pumpTo(client);
    await new Promise((resolve) => setImmediate(resolve));
    pump.onData(FRAME);
    incoming.destroy();
    expect((await pump.ended).reason).toBe('client_left');
    expect(upstream.asked.at(-1)).toBe('abort');
    expect(client.isGone).toBe(true);
    expect(client.write(FRAME)).toBe(true);
    client.end();
  });

  it('is not gone by its own end', async () => {
    const { incoming, response, client } = await call();
    const onClose = jest.fn();
    client.listen({ onDrain: () => undefined, onClose });
    const closed = once(response, 'close');
    client.end();
    incoming.resume();
    await closed;
    expect(onClose).not.toHaveBeenCalled();
    expect(client.isGone).toBe(false);
  });

  it('breaks the connection when destroyed, which the reader sees', async () => {
    const { incoming, client } = await call();
    incoming.resume();
    const failed = once(incoming, 'error');
    client.destroy();
    expect(((await failed) as [NodeJS.ErrnoException])[0].code).toBe('ECONNRESET');
  });
});
