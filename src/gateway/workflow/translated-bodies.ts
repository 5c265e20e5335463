import { estimateTokens, type ModelProfile } from '../../catalogue/price';
import type { Refusal } from '../../kernel/errors';
import type { ApiDialect } from '../../upstreams/upstream.port';
import { translationOf } from '../dialects/dialects';
import type { InferenceRequest } from '../dialects/inference-request';
import type { NeutralRequest } from '../dialects/neutral/neutral-request';
import { estimateInputOf } from './hold-request';

/** One request as the dialects of its candidates say it: understood once, said once a dialect and name of the model. */
export class TranslatedBodies {
  private neutral: NeutralRequest | Refusal | undefined;
  private readonly rendered = new Map<string, Buffer | Refusal>();

  constructor(
    private readonly request: InferenceRequest,
    private readonly profile: ModelProfile,
  ) {}

  /** A refusal names the client's field that has no words in that dialect. */
  of(wire: ApiDialect, upstreamModel: string): Buffer | Refusal {
    const key = `${wire} ${upstreamModel}`;
    let body = this.rendered.get(key);
    if (!body) {
      body = this.render(wire, upstreamModel);
      this.rendered.set(key, body);
    }
    return body;
  }

  private render(wire: ApiDialect, upstreamModel: string): Buffer | Refusal {
    this.neutral ??= translationOf(this.request.dialect).toNeutral(this.request);
    if ('code' in this.neutral) return this.neutral;
    const target = { upstreamModel, maxOutputTokens: this.reservedForOneAnswer() };
    return translationOf(wire).renderRequest(this.neutral, target);
  }

  private reservedForOneAnswer(): number {
    const { outputTokens } = estimateTokens(estimateInputOf(this.request), this.profile);
    return Math.ceil(outputTokens / this.request.choices);
  }
}
