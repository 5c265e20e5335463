import { Injectable, Logger } from '@nestjs/common';
import type { Principal } from '../auth/principal';
import { TEXT_BYTES_PER_TOKEN } from '../catalogue/price';
import { PriceBook } from '../catalogue/price-book';
import { type Refusal, refuse } from '../kernel/errors';
import { Router } from '../routing/router';
import type { RoutableUpstream } from '../upstreams/upstream-directory';
import { CountedByProvider } from './counted-by-provider';
import { parseCountTokensRequest, passOnMessages } from './dialects/anthropic-messages/messages-request';
import { messagesPromptText } from './dialects/anthropic-messages/prompt-text';
import { DIALECT_PATHS } from '../upstreams/dialect-paths';
import type { InferenceRequest } from './dialects/inference-request';
import { isRefusal } from './dialects/invalid-request';
import type { Forwarded } from './http/forwarded';
import { TokenizerPool } from './stream/tokenizer-pool';

const DIALECT = 'anthropic-messages';
/** Nothing is charged for a count, and none may crowd out what is: providers' connections and the tokenizer are shared. */
const MAX_UNDER_WAY = 32;
const MAX_UNDER_WAY_OF_TENANT = 8;

export interface CountQuestion {
  readonly principal: Principal;
  readonly rawBody: Buffer;
  readonly forwarded: Forwarded;
  readonly region: string | undefined;
}

/**
 * How many tokens a request for a message would be. Providers of the model that speak the dialect are asked in the order of
 * attempts; where none says, the tokenizer counts, and where that cannot, bytes are. Nothing is reserved, charged or written.
 */
@Injectable()
export class MessageTokenCounts {
  private readonly logger = new Logger(MessageTokenCounts.name);
  private readonly underWay = new Map<string, number>();
  private allUnderWay = 0;
  private isFailing = false;

  constructor(
    private readonly router: Router,
    private readonly prices: PriceBook,
    private readonly providers: CountedByProvider,
    private readonly tokenizer: TokenizerPool,
  ) {}

  /** The body of the answer, or why there is none. */
  async count(question: CountQuestion): Promise<Buffer | Refusal> {
    const request = parseCountTokensRequest(question.rawBody);
    if (isRefusal(request)) return request;
    const { tenantId } = question.principal;
    const ofTenant = this.underWay.get(tenantId) ?? 0;
    if (ofTenant >= MAX_UNDER_WAY_OF_TENANT || this.allUnderWay >= MAX_UNDER_WAY) {
      return refuse('CONCURRENCY_EXCEEDED', { retryAfterMs: 1_000 });
    }
    this.allUnderWay += 1;
    this.underWay.set(tenantId, ofTenant + 1);
    try {
      return await this.countNow(request, question);
    } finally {
      this.allUnderWay -= 1;
      const left = (this.underWay.get(tenantId) ?? 1) - 1;
      if (left > 0) this.underWay.set(tenantId, left);
      else this.underWay.delete(tenantId);
    }
  }

  private async countNow(request: InferenceRequest, question: CountQuestion): Promise<Buffer | Refusal> {
    const model = await this.routed(request.model, question);
    if ('code' in model) return model;
    for (const candidate of model.candidates.filter(({ dialects }) => dialects.includes(DIALECT))) {
      const { headers, query } = question.forwarded;
      const path = `${DIALECT_PATHS[DIALECT]}/count_tokens${query}`;
      const body = passOnMessages(request, candidate.target.upstreamModel);
      const answer = await this.providers.ask(candidate, { path, body, headers }, request.model);
      if (answer) return answer;
    }
    const { texts, frameTokens } = messagesPromptText(request.body);
    const [counted] = (await this.tokenizer.count([texts])) ?? [];
    const text = counted ?? Math.ceil(request.promptTextBytes / TEXT_BYTES_PER_TOKEN);
    const inputTokens = text + frameTokens + request.images * model.tokensPerImage;
    return Buffer.from(JSON.stringify({ input_tokens: inputTokens }));
  }

  /** A key that may use either name, the client's or the one it stands for, may ask. */
  private async routed(asked: string, question: CountQuestion): Promise<RoutedModel | Refusal> {
    const { allowedModels } = question.principal;
    try {
      const model = await this.router.modelOf(asked);
      if (allowedModels && !allowedModels.has(asked) && !allowedModels.has(model)) {
        return refuse('MODEL_NOT_ALLOWED', { param: 'model', values: { model: asked } });
      }
      const plan = await this.router.plan(model, question.region);
      // Counting needs no provider.
      const isCountable = 'code' in plan && plan.code === 'NO_UPSTREAM_AVAILABLE';
      if ('code' in plan && !isCountable) return plan;
      const { tokensPerImage } = await this.prices.profileOf(model);
      this.isFailing = false;
      return { candidates: 'code' in plan ? [] : plan, tokensPerImage };
    } catch (error) {
      // Once until a look-up succeeds again, as for calls.
      if (!this.isFailing) this.logger.error({ msg: 'upstreams and prices cannot be looked up', err: error });
      this.isFailing = true;
      return refuse('SERVICE_UNAVAILABLE', { retryAfterMs: 1_000 });
    }
  }
}

interface RoutedModel {
  readonly candidates: readonly RoutableUpstream[];
  readonly tokensPerImage: number;
}
