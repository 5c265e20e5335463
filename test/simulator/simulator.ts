import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo } from 'node:net';
import { composeAnswer } from './answer';
import { type Behaviour, BehaviourError, type HttpFailure } from './behaviour';
import { parseBehaviour } from './behaviour-checks';
import { Player } from './player';
import { isRecord, type JsonRecord, RequestError } from './request';
import { ScriptBook } from './script-book';
import { ServedLog, type ServedRecord } from './served-log';
import { type Wire } from './wire';
import { chatWire } from './wires/chat';
import { countTokensWire } from './wires/count-tokens';
import { embeddingsWire } from './wires/embeddings';
import { messagesWire } from './wires/messages';
import { responsesWire } from './wires/responses';

export interface SimulatorOptions {
  /** 0 (default): any free port. */
  readonly port?: number;
  /** What every call does where its script and directive say nothing. */
  readonly defaults?: Behaviour;
}

export interface Simulator {
  /** Without trailing slash; a provider's base_url is `${url}/v1`, or this for the kind `anthropic`. */
  readonly url: string;
  readonly port: number;
  /** Copies, oldest first. */
  served(): ServedRecord[];
  /** Each call of the model (`*`: any) consumes one behaviour; the last one stays; none removes the script. */
  script(model: string, ...behaviours: Behaviour[]): void;
  /** Resolves when no call is running. */
  idle(): Promise<void>;
  /** Forgets scripts, storms and the log of ended calls. */
  reset(): void;
  /** Tears every connection. */
  close(): Promise<void>;
}

/** A scripted provider on 127.0.0.1 that speaks OpenAI's and Anthropic's dialects. */
export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const desk = new Desk(options.defaults ?? {});
  const server = createServer((request, response) => {
    desk.receive(request, response).catch((error: unknown) => {
      response.destroy(error instanceof Error ? error : undefined);
    });
  });
  // A gateway's pool must never meet a socket that the provider has just closed for idleness.
  server.keepAliveTimeout = 120_000;
  await listen(server, options.port ?? 0);
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    served: () => desk.log.all(),
    script: (model, ...behaviours) => {
      desk.scripts.set(model, behaviours.map(parseBehaviour));
    },
    idle: () => desk.log.idle(),
    reset: () => {
      desk.reset();
    },
    close: () => closeServer(server),
  };
}

const MODELS = ['sim-small', 'sim-large'];

const WIRES: Readonly<Record<string, Wire>> = {
  '/v1/chat/completions': chatWire,
  '/v1/responses': responsesWire,
  '/v1/messages': messagesWire,
  '/v1/messages/count_tokens': countTokensWire,
  '/v1/embeddings': embeddingsWire,
};

/** Receives calls and hands each to a player. */
class Desk {
  readonly log = new ServedLog();
  readonly scripts = new ScriptBook();
  private serial = 0;

  constructor(private readonly defaults: Behaviour) {}

  async receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? '/').split('?')[0] ?? '/';
    const body = await readBody(request);
    const route = `${request.method ?? 'GET'} ${path}`;
    const wire = request.method === 'POST' && Object.hasOwn(WIRES, path) ? WIRES[path] : undefined;
    if (wire) {
      await this.serve(wire, request, response, body);
    } else if (route === 'GET /v1/models') {
      answerJson(response, 200, { object: 'list', data: [...MODELS, ...this.scripts.models()].map(modelObject) });
    } else if (route === 'GET /__served') {
      answerJson(response, 200, { object: 'list', data: this.log.all() });
    } else if (route === 'POST /__script') {
      this.control(response, body);
    } else if (route === 'POST /__reset') {
      this.reset();
      answerJson(response, 200, { ok: true });
    } else {
      answerError(response, 404, null, `Unknown request URL: ${route}`);
    }
  }

  reset(): void {
    this.scripts.clear();
    this.log.clear();
  }

  private control(response: ServerResponse, body: Buffer): void {
    try {
      const command: unknown = JSON.parse(body.toString());
      if (!isRecord(command) || typeof command.model !== 'string' || !Array.isArray(command.behaviours)) {
        throw new BehaviourError('expected {"model": string, "behaviours": [...]}');
      }
      this.scripts.set(command.model, command.behaviours.map(parseBehaviour));
      answerJson(response, 200, { ok: true });
    } catch (error) {
      answerError(response, 400, null, error instanceof Error ? error.message : String(error));
    }
  }

  private async serve(wire: Wire, request: IncomingMessage, response: ServerResponse, bytes: Buffer): Promise<void> {
    const record = this.begin(wire, request, bytes);
    try {
      const body: unknown = JSON.parse(bytes.toString());
      if (!isRecord(body)) throw new RequestError('body', 'expected a JSON object');
      record.model = typeof body.model === 'string' ? body.model : '';
      const asked = wire.read(body);
      record.isStream = asked.isStream;
      const behaviour = this.behaviourOf(wire, asked.model, body);
      record.tag = behaviour.tag ?? null;
      const player = new Player(response, record, this.log, behaviour, wire);
      const refusal = unauthorized(wire, request, record);
      if (refusal) {
        player.refuse(refusal);
        return;
      }
      const { fail } = behaviour;
      const failure = fail !== undefined && this.scripts.failsNow(asked.model, fail) ? fail : undefined;
      await player.play(asked, composeAnswer(asked, behaviour, record.serial), failure);
    } catch (error) {
      if (!(error instanceof SyntaxError || error instanceof RequestError || error instanceof BehaviourError))
        throw error;
      const failure = { status: 400, message: error.message, type: 'invalid_request_error' };
      new Player(response, record, this.log, {}, wire).refuse(failure);
    }
  }

  private behaviourOf(wire: Wire, model: string, body: JsonRecord): Behaviour {
    // Counting is asked beside the calls: it must not use up what is scripted for them.
    const scripted = wire === countTokensWire ? this.scripts.nextOf(`${model}#count_tokens`) : this.scripts.next(model);
    return {
      ...this.defaults,
      ...scripted,
      ...(body.x_simulate === undefined ? {} : parseBehaviour(body.x_simulate)),
    };
  }

  private begin(wire: Wire, request: IncomingMessage, body: Buffer): ServedRecord {
    const headers = Object.fromEntries(
      Object.entries(request.headers)
        .filter(([name]) => name !== 'authorization' && name !== 'x-api-key')
        .map(([name, value]) => [name, String(value)]),
    );
    const record = {
      serial: ++this.serial,
      wire: wire.name,
      url: request.url ?? '/',
      model: '',
      isStream: false,
      tag: null,
      traceHeader: headers['x-request-id'] ?? headers.traceparent ?? null,
      credentials: credentialsOf(request),
      headers,
      bodySha256: createHash('sha256').update(body).digest('hex'),
      status: null,
      contentChunks: 0,
      text: '',
      bytesSent: 0,
      usage: null,
      wasTerminalSent: false,
      outcome: 'running' as const,
      receivedAtMs: Date.now(),
      firstByteAtMs: null,
      endedAtMs: null,
    };
    return this.log.begin(record, body.toString());
  }
}

function credentialsOf({ headers }: IncomingMessage): ServedRecord['credentials'] {
  if (headers.authorization?.startsWith('Bearer ') === true) return 'bearer';
  return headers['x-api-key'] === undefined ? null : 'x-api-key';
}

/** As Anthropic does; what is called with a bearer token is a gateway that speaks its dialect, and not as strict. */
function unauthorized(wire: Wire, request: IncomingMessage, record: ServedRecord): HttpFailure | undefined {
  if (wire.name !== 'anthropic-messages' || record.credentials === 'bearer') return undefined;
  if (record.credentials === null) return { status: 401, message: 'x-api-key header is required' };
  if (request.headers['anthropic-version'] !== undefined) return undefined;
  return { status: 400, message: 'anthropic-version: header is required' };
}

function modelObject(id: string): object {
  return { id, object: 'model', created: 1_763_700_000, owned_by: 'simulator' };
}

function answerJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

function answerError(response: ServerResponse, status: number, param: string | null, message: string): void {
  answerJson(response, status, { error: { message, type: 'invalid_request_error', param, code: null } });
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => {
      resolve();
    });
    server.closeAllConnections();
  });
}
