import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Server as TcpServer, type Socket } from 'node:net';
import { type Clock, SystemClock } from '../../src/kernel/clock';
import { Settings } from '../../src/platform/config/settings';
import { BaseUrlPolicy, type HostLookup } from '../../src/upstreams/base-url-policy';
import { OpenAiUpstream } from '../../src/upstreams/openai/openai.upstream';
import { UpstreamPools } from '../../src/upstreams/upstream-pools';
import type {
  UpstreamCall,
  UpstreamDeadlines,
  UpstreamFailure,
  UpstreamReader,
  UpstreamTarget,
} from '../../src/upstreams/upstream.port';

export const PATIENT: UpstreamDeadlines = { firstByteMs: 10_000, idleMs: 10_000, totalMs: 20_000 };
export const REQUEST_BODY = Buffer.from('{"model":"m"}');

/** Writes down what it hears, and resolves `over` at the end. */
export class Recorder implements UpstreamReader {
  readonly heard: string[] = [];
  readonly chunks: Buffer[] = [];
  status = 0;
  headers: Readonly<Record<string, string | string[] | undefined>> = {};
  failure: UpstreamFailure | undefined;
  call: UpstreamCall | undefined;
  whenHeaders: () => void = () => undefined;
  whenData: (chunk: Buffer) => void = () => undefined;
  private readonly finished = Promise.withResolvers<this>();
  private readonly firstData = Promise.withResolvers<this>();

  get over(): Promise<this> {
    return this.finished.promise;
  }

  get begun(): Promise<this> {
    return this.firstData.promise;
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString();
  }

  onHeaders(status: number, headers: Readonly<Record<string, string | string[] | undefined>>): void {
    this.heard.push('headers');
    this.status = status;
    this.headers = headers;
    this.whenHeaders();
  }

  onData(chunk: Buffer): void {
    if (this.heard.at(-1) !== 'data') this.heard.push('data');
    this.chunks.push(chunk);
    this.whenData(chunk);
    this.firstData.resolve(this);
  }

  onEnd(): void {
    this.heard.push('end');
    this.finished.resolve(this);
  }

  onFailure(failure: UpstreamFailure): void {
    this.heard.push(failure.kind);
    this.failure = failure;
    this.finished.resolve(this);
  }
}

const resolvesNothing: HostLookup = (_name, done) => {
  done(new Error('ENOTFOUND'), []);
};

/** Stands still until it is moved; timers still fire in real time and find that nothing has passed. */
export class HandClock extends SystemClock {
  ms = 1_000_000;

  override monotonicMs(): number {
    return this.ms;
  }
}

/** Real servers on 127.0.0.1 and a real adapter that calls them. */
export class UpstreamHarness {
  readonly pools: UpstreamPools;
  readonly upstream: OpenAiUpstream;
  private readonly servers: (Server | TcpServer)[] = [];
  private readonly sockets = new Set<Socket>();

  constructor(allowPrivate = true, lookup: HostLookup = resolvesNothing, clock: Clock = new SystemClock()) {
    const settings = Object.assign(new Settings(), { upstreamAllowPrivate: allowPrivate });
    this.pools = new UpstreamPools(new BaseUrlPolicy(settings, lookup));
    this.upstream = new OpenAiUpstream(this.pools, clock);
  }

  /** Starts an HTTP server; resolves to its port. */
  http(listener: RequestListener): Promise<number> {
    return this.listen(createServer(listener));
  }

  tcp(onSocket: (socket: Socket) => void): Promise<number> {
    return this.listen(createTcpServer(onSocket));
  }

  /** A server that answers the first bytes of a request with these, and closes. */
  raw(answer: string): Promise<number> {
    return this.tcp((socket) => socket.once('data', () => socket.end(answer)));
  }

  async listen(server: Server | TcpServer): Promise<number> {
    server.on('connection', (socket: Socket) => {
      this.sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => this.sockets.delete(socket));
    });
    this.servers.push(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  }

  target(port: number, more: Partial<UpstreamTarget> = {}): UpstreamTarget {
    return {
      upstreamId: 'u1',
      upstreamName: 'upstream',
      providerId: 'p1',
      providerName: 'provider',
      baseUrl: `http://127.0.0.1:${port}/v1`,
      apiKey: 'sk-secret-of-the-provider',
      upstreamModel: 'm',
      deadlines: PATIENT,
      ...more,
    };
  }

  call(to: UpstreamTarget, recorder = new Recorder(), headers: Record<string, string> = {}): Recorder {
    recorder.call = this.upstream.start(to, { path: '/chat/completions', body: REQUEST_BODY, headers }, recorder);
    return recorder;
  }

  async stopServers(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await Promise.all(this.servers.splice(0).map((server) => new Promise((resolve) => server.close(resolve))));
  }

  async stop(): Promise<void> {
    await this.pools.onApplicationShutdown();
    await this.stopServers();
  }
}
