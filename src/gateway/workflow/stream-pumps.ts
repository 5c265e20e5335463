import { Inject, Injectable } from '@nestjs/common';
import { CLOCK, type Clock } from '../../kernel/clock';
import type { Refusal } from '../../kernel/errors';
import { Settings } from '../../platform/config/settings';
import type { RoutableUpstream } from '../../upstreams/upstream-directory';
import { StreamPump } from '../stream/stream-pump';
import { errorFrame, streamSidesOf } from '../stream/stream-sides';
import { answerLookOf } from './answer-look';
import { StreamGuards } from './stream-guards';
import type { WorkflowContext } from './workflow.context';

/** Makes the pump of each stream, between the dialects of this candidate and of the client. */
@Injectable()
export class StreamPumps {
  constructor(
    private readonly settings: Settings,
    private readonly guards: StreamGuards,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  /** @param firstByteGate see StreamPumpOptions */
  of(context: WorkflowContext, candidate: RoutableUpstream, firstByteGate: Promise<Refusal | undefined>): StreamPump {
    const { client, dialect, renderErrorEvent } = context.request;
    const look = answerLookOf(context);
    const isAliased = candidate.target.upstreamModel !== look.model;
    const wire = context.templateRender.wireOf(candidate);
    const guard = this.guards.of(context);
    return new StreamPump({
      client,
      ...streamSidesOf(wire, look, isAliased ? look.model : undefined, guard !== undefined),
      disconnectPolicy: this.settings.disconnectPolicy,
      drainMs: this.settings.disconnectDrainMs,
      clock: this.clock,
      firstByteGate,
      renderError: (refusal) => errorFrame(dialect, renderErrorEvent(refusal)),
      guard,
    });
  }
}
