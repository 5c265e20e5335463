import type { JsonObject } from '../../../kernel/json-object';
import type { NeutralReasoning, NeutralRequest } from '../neutral/neutral-request';
import { budgetOfEffort, budgetWithin } from '../neutral/reasoning-effort';
import { hasThoughtlessCalls } from './foreign-thoughts';
import type { ModelTraits } from './model-traits';

/** How a model is asked to think: `thinking` of the body, and `effort` of its `output_config`. */
export interface RenderedThinking {
  readonly thinking?: JsonObject;
  readonly effort?: string;
}

/**
 * An effort is a wish, and the provider refuses thought beside some other fields: then those stand, and it does not think.
 * So it is with forced tools and sampling of the client's own; and, for models that think by a budget, after a turn of tool
 * calls whose thoughts are not there (they are of another provider, or the client dropped them).
 */
export function renderThinking(
  request: NeutralRequest,
  maxTokens: number,
  traits: ModelTraits,
  messages: readonly JsonObject[],
): RenderedThinking {
  const { reasoning } = request;
  if (!reasoning || reasoning.isEnabled === false) return {};
  if (!traits.thinksAdaptively) {
    const budget =
      mayThink(request) && !hasThoughtlessCalls(messages.findLast(({ role }) => role === 'assistant')?.content)
        ? budgetOf(reasoning, maxTokens)
        : undefined;
    return budget === undefined ? {} : { thinking: { type: 'enabled', budget_tokens: budget } };
  }
  const effort = reasoning.effort === undefined ? {} : { effort: effortOf(reasoning.effort, traits) };
  const isAsked = reasoning.isEnabled === true || (reasoning.effort !== undefined && reasoning.effort !== 'none');
  return isAsked && mayThink(request) ? { thinking: { type: 'adaptive', display: 'summarized' }, ...effort } : effort;
}

function mayThink({ toolChoice, temperature, topP, topK }: NeutralRequest): boolean {
  const isForced = toolChoice?.type === 'required' || toolChoice?.type === 'tool';
  const isSampled = (temperature ?? 1) !== 1 || (topP ?? 1) < 0.95 || topK !== undefined;
  return !isForced && !isSampled;
}

function budgetOf({ budgetTokens, effort, isEnabled }: NeutralReasoning, maxTokens: number): number | undefined {
  if (effort === 'none') return undefined;
  if (budgetTokens !== undefined) return budgetWithin(budgetTokens, maxTokens);
  if (effort !== undefined) return budgetOfEffort(effort, maxTokens);
  return isEnabled === true ? budgetOfEffort('medium', maxTokens) : undefined;
}

function effortOf(effort: string, { knowsXhighEffort }: ModelTraits): string {
  if (effort === 'none' || effort === 'minimal') return 'low';
  return effort === 'xhigh' && !knowsXhighEffort ? 'high' : effort;
}
