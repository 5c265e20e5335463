import type { Principal } from '../../auth/principal';
import type { KeyClaim, Replay } from '../../billing/idempotency/key-claim';
import type { Channel, CountingMethod, SettledCharge } from '../../billing/charge';
import type { OpenCharge } from '../../billing/settlement/open-charge';
import type { FrozenPrice, ModelProfile, TokenCounts } from '../../catalogue/price';
import type { Refusal } from '../../kernel/errors';
import type { NanoUsd } from '../../kernel/money';
import type { AffinityChoice } from '../../routing/affinity/affinity';
import type { ScopeSpec } from '../../quota/scopes/scope';
import type { RoutableUpstream } from '../../upstreams/upstream-directory';
import type { ApiDialect } from '../../upstreams/upstream.port';
import type { WholeAnswer } from '../dialects/whole-answer';
import type { InferenceRequest } from '../dialects/inference-request';
import type { AnswerCopy } from '../stream/answer-copy';
import type { StreamPump } from '../stream/stream-pump';
import type { StreamEnding } from '../stream/stream-ending';
import type { StreamClient } from '../stream/stream-client';
import type { Attempt } from './attempt';

/** What the edge knows before the first step. */
export interface RequestSection {
  /** `x-request-id`, always made by the gateway. */
  readonly traceId: string;
  readonly clientRequestId: string | undefined;
  readonly channel: Channel;
  readonly route: string;
  /** Of the client. */
  readonly dialect: ApiDialect;
  readonly receivedAtMs: number;
  readonly receivedMonotonicMs: number;
  readonly principal: Principal;
  readonly rawBody: Buffer;
  /** `Idempotency-Key`, as it came. */
  readonly idempotencyKey: string | undefined;
  /** The model that stands in for the one that was asked for, which nobody could serve. */
  readonly standIn?: string | undefined;
  /** `x-tollgate-region`, as it came: only upstreams of this tag may serve the call. */
  readonly region?: string | undefined;
  readonly client: StreamClient;
  /** Of the client's dialect (`anthropic-beta`): for providers that speak it. */
  readonly upstreamHeaders: Readonly<Record<string, string>>;
  /** Likewise, with its question mark (`?beta=true`) or empty. */
  readonly upstreamQuery: string;
  /** `x-session-id`: the conversation that the call belongs to. */
  readonly sessionId: string | undefined;
  /** JSON of the error event that ends a stream badly. */
  readonly renderErrorEvent: (refusal: Refusal) => string;
  /** JSON of the body that a refusal is answered with, where no stream was begun. */
  readonly renderErrorBody: (refusal: Refusal) => string;
}

export interface ValidationSection {
  readonly request: InferenceRequest;
}

/** Not there for a call that names no key. */
export interface IdempotencySection {
  readonly claim: KeyClaim;
  /** What a stream's client is sent. */
  readonly copy: AnswerCopy;
}

export interface RoutingSection {
  /** That is served, priced and recorded: what the client asked for, unless that is an alias. */
  readonly model: string;
  /** In the order of attempts. */
  readonly candidates: readonly RoutableUpstream[];
  readonly price: FrozenPrice;
  readonly profile: ModelProfile;
}

export interface TemplateRenderSection {
  /** Those of routing whose provider can be asked what was asked; at least one. */
  readonly candidates: readonly RoutableUpstream[];
  /** In which this candidate's provider is asked, and answers. */
  readonly wireOf: (candidate: RoutableUpstream) => ApiDialect;
  /** The body as this candidate's provider takes it; a failover renders again. */
  readonly bodyFor: (candidate: RoutableUpstream) => Buffer;
}

/** Not there for a call that names no session. */
export interface AffinitySection {
  /** To be reported once how the call ended; undefined where nothing was chosen, and once it is reported. */
  choice: AffinityChoice | undefined;
}

/** Not there where nothing is held (RUN_MODE=simple). */
export interface QuotaCheckSection {
  readonly charge: OpenCharge;
  /** The limits it was admitted under; what it counted in them is in the hold. */
  readonly limits: readonly ScopeSpec[];
  /** Of the hold as it was admitted: what a step that is added reads by key (`balance_before`), whatever becomes of it. */
  readonly reserved: NanoUsd;
  readonly balanceBefore: NanoUsd;
  readonly balanceAfter: NanoUsd;
}

export type Answer =
  | { readonly kind: 'body'; readonly body: Buffer; readonly completion: WholeAnswer }
  | { readonly kind: 'stream'; readonly pump: StreamPump; readonly ending: StreamEnding };

export interface UpstreamCallSection {
  readonly servedBy: RoutableUpstream;
  /** In which it answered. */
  readonly wire: ApiDialect;
  /** The one that answered: the last of the context's. */
  readonly attempt: Attempt;
  readonly answer: Answer;
  /** From the receipt of the request to the first byte of the answer, milliseconds. */
  readonly ttftMs: number | undefined;
}

export interface ResponseTransformSection {
  /** That are charged. */
  readonly tokens: TokenCounts;
  /** That the upstream used, and charges us for: more where the guard cut the stream too late. */
  readonly used: TokenCounts;
  readonly method: CountingMethod;
  readonly endReason: string;
  /** The limit that made the guard cut the stream. */
  readonly reasonCode?: string | undefined;
  /** Nothing is owed: the policy for a broken stream says so. */
  readonly isFree: boolean;
  /** The whole answer, for a call without stream. */
  readonly body: Buffer | undefined;
  /** What a stream that did not end well tells its client. */
  readonly streamRefusal: Refusal | undefined;
}

export interface BillingSection {
  /** Undefined: voided by policy, or not committed in time (it is written as soon as Postgres takes it). */
  readonly charged: SettledCharge | undefined;
  /** RUN_MODE=simple: what the answer is worth by the price book. It is booked nowhere. */
  readonly uncharged?: NanoUsd;
}

export interface UsageRecordSection {
  readonly recorded: boolean;
}

/** Every section of the context: the edge's, and one a step. */
export interface Sections {
  request: RequestSection;
  validation: ValidationSection;
  idempotency: IdempotencySection;
  routing: RoutingSection;
  templateRender: TemplateRenderSection;
  affinity: AffinitySection;
  quotaCheck: QuotaCheckSection;
  upstreamCall: UpstreamCallSection;
  responseTransform: ResponseTransformSection;
  billing: BillingSection;
  usageRecord: UsageRecordSection;
}

type SnakeCase<S extends string> = S extends `${infer Head}${infer Tail}`
  ? Head extends Lowercase<Head>
    ? `${Head}${SnakeCase<Tail>}`
    : `_${Lowercase<Head>}${SnakeCase<Tail>}`
  : S;

type SnakeKeys<T> = { [Key in keyof T & string as SnakeCase<Key>]: T[Key] };
/** `quota_check` → { balance_before: NanoUsd, … } */
type SnakeSections = { [Name in keyof Sections as SnakeCase<Name>]: SnakeKeys<Sections[Name]> };

/** The section's field name of a step or key: `quota_check` → `quotaCheck`. */
function camel(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/**
 * The typed state of one request. `context.quotaCheck.balanceBefore` and `context.get('quota_check', 'balance_before')`
 * are the same data. Reading a section before its step has run is a fault and throws with the section's name.
 */
export class WorkflowContext {
  private readonly sections: Partial<Sections> = {};
  /** Every attempt so far, also of a call that fails. */
  readonly attempts: Attempt[] = [];
  /** Name of the upstream whose answer is on its way to the client, once one answers. */
  respondingUpstream: string | undefined;
  /** Of that upstream, where it has one. */
  respondingRegion: string | undefined;
  /** The kept answer of an earlier call with the same key: what the client gets. */
  replay: Replay | undefined;
  /** The first byte went out or the settle is committed: nothing is compensated any more. */
  isPastNoReturn = false;

  constructor(request: RequestSection) {
    this.sections.request = request;
  }

  /** From now on it is this upstream whose answer the client is told of. */
  answeredBy({ target, region }: RoutableUpstream): void {
    this.respondingUpstream = target.upstreamName;
    this.respondingRegion = region ?? undefined;
  }

  has(name: keyof Sections): boolean {
    return this.sections[name] !== undefined;
  }

  get<S extends keyof SnakeSections, K extends keyof SnakeSections[S] & string>(
    section: S,
    key: K,
  ): SnakeSections[S][K] {
    return Reflect.get(this.section(camel(section) as keyof Sections), camel(key)) as SnakeSections[S][K];
  }

  set<S extends keyof SnakeSections, K extends keyof SnakeSections[S] & string>(
    section: S,
    key: K,
    value: SnakeSections[S][K],
  ): void {
    Reflect.set(this.section(camel(section) as keyof Sections), camel(key), value);
  }

  get request(): RequestSection {
    return this.section('request');
  }

  get validation(): ValidationSection {
    return this.section('validation');
  }
  set validation(section: ValidationSection) {
    this.sections.validation = section;
  }

  get idempotency(): IdempotencySection {
    return this.section('idempotency');
  }
  set idempotency(section: IdempotencySection) {
    this.sections.idempotency = section;
  }

  get routing(): RoutingSection {
    return this.section('routing');
  }
  set routing(section: RoutingSection) {
    this.sections.routing = section;
  }

  get templateRender(): TemplateRenderSection {
    return this.section('templateRender');
  }
  set templateRender(section: TemplateRenderSection) {
    this.sections.templateRender = section;
  }

  get affinity(): AffinitySection {
    return this.section('affinity');
  }
  set affinity(section: AffinitySection) {
    this.sections.affinity = section;
  }

  get quotaCheck(): QuotaCheckSection {
    return this.section('quotaCheck');
  }
  set quotaCheck(section: QuotaCheckSection) {
    this.sections.quotaCheck = section;
  }

  get upstreamCall(): UpstreamCallSection {
    return this.section('upstreamCall');
  }
  set upstreamCall(section: UpstreamCallSection) {
    this.sections.upstreamCall = section;
  }

  get responseTransform(): ResponseTransformSection {
    return this.section('responseTransform');
  }
  set responseTransform(section: ResponseTransformSection) {
    this.sections.responseTransform = section;
  }

  get billing(): BillingSection {
    return this.section('billing');
  }
  set billing(section: BillingSection) {
    this.sections.billing = section;
  }

  get usageRecord(): UsageRecordSection {
    return this.section('usageRecord');
  }
  set usageRecord(section: UsageRecordSection) {
    this.sections.usageRecord = section;
  }

  private section<N extends keyof Sections>(name: N): Sections[N] {
    const section: Partial<Sections>[N] = this.sections[name];
    if (section === undefined) throw new Error(`workflow section "${name}" is read before its step has run`);
    return section;
  }
}
