import { OffsetClock } from '../../src/kernel/clock';
import { type Refusal } from '../../src/kernel/errors';
import { type AnswerCopy } from '../../src/gateway/stream/answer-copy';
import { ChatStreamReading } from '../../src/gateway/dialects/openai-chat/chat-stream';
import { ChatWriter } from '../../src/gateway/stream/chat-writer';
import { renderFrame } from '../../src/gateway/stream/sse-frame';
import { StreamPump, type StreamPumpOptions } from '../../src/gateway/stream/stream-pump';
import { type StreamClient, type StreamClientListener } from '../../src/gateway/stream/stream-client';
import { type UpstreamCall } from '../../src/upstreams/upstream.port';

/** A client in memory whose reading speed and leaving the test decides. */
export class ScriptedClient implements StreamClient {
  readonly writes: Buffer[] = [];
  isOpened = false;
  isGone = false;
  hasEnded = false;
  isDestroyed = false;
  /** False makes every write say "full". */
  reads = true;
  private listener: StreamClientListener | undefined;
  private copy: AnswerCopy | undefined;

  get takesBytes(): boolean {
    return !this.isGone || this.copy !== undefined;
  }

  copyTo(copy: AnswerCopy): void {
    this.copy = copy;
  }

  write(bytes: Buffer): boolean {
    this.copy?.add(bytes);
    if (this.isGone) return true;
    this.isOpened = true;
    this.writes.push(Buffer.from(bytes));
    return this.reads;
  }

  end(lastBytes?: Buffer): void {
    this.isOpened = true;
    if (lastBytes) this.writes.push(Buffer.from(lastBytes));
    this.hasEnded = true;
  }

  destroy(): void {
    this.isDestroyed = true;
  }

  listen(listener: StreamClientListener): void {
    this.listener = listener;
  }

  drain(): void {
    this.reads = true;
    this.listener?.onDrain();
  }

  leave(): void {
    this.isGone = true;
    this.listener?.onClose();
  }

  get received(): string {
    return Buffer.concat(this.writes).toString('utf8');
  }
}

/** Remembers what the pump asked of the upstream. */
export class ScriptedCall implements UpstreamCall {
  readonly asked: ('pause' | 'resume' | 'abort')[] = [];

  pause(): void {
    this.asked.push('pause');
  }

  resume(): void {
    this.asked.push('resume');
  }

  abort(): void {
    this.asked.push('abort');
  }
}

export interface PumpHarness {
  readonly client: ScriptedClient;
  readonly call: ScriptedCall;
  readonly pump: StreamPump;
  /** Opens or refuses the gate, for harnesses made with `gate: 'closed'`. */
  readonly openGate: (refusal?: Refusal) => void;
}

export interface PumpSurroundings {
  readonly gate?: 'open' | 'closed';
  readonly client?: ScriptedClient;
}

/** Of a chat stream to a chat client, unless the test gives both sides of another. */
export interface ChatStreamAsked {
  readonly choices?: number;
  readonly showUsage?: boolean;
  /** Shown instead of the provider's name of the model, when set. */
  readonly clientModel?: string;
}

export function pumpHarness(
  options: Partial<StreamPumpOptions> & PumpSurroundings & ChatStreamAsked = {},
): PumpHarness {
  const client = options.client ?? new ScriptedClient();
  const call = new ScriptedCall();
  let openGate: (refusal?: Refusal) => void = () => undefined;
  const closedGate = new Promise<Refusal | undefined>((resolve) => {
    openGate = resolve;
  });
  const reading = new ChatStreamReading(options.choices ?? 1);
  const pump = new StreamPump({
    reading,
    writer: new ChatWriter(reading, options.showUsage ?? false, options.clientModel),
    disconnectPolicy: 'drain',
    drainMs: 30_000,
    clock: new OffsetClock(0),
    renderError: (refusal) => renderFrame(JSON.stringify({ error: { code: refusal.code } })),
    firstByteGate: options.gate === 'closed' ? closedGate : Promise.resolve(undefined),
    ...options,
    client,
  });
  pump.attach(call);
  return { client, call, pump, openGate };
}
