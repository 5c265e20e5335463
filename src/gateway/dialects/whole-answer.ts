import { type TokenCounts } from '../../catalogue/price';
import { type CollectedText } from './collected-text';
import { memberOf, rebuildMembers, scanTopLevel, spliceMembers } from './top-level-scan';

/** A whole (not streamed) answer, as far as money is concerned. */
export interface WholeAnswer {
  /** Undefined where the provider reported none that is credible. */
  readonly usage?: TokenCounts;
  readonly isUsageFinal: true;
  text(): CollectedText;
  /** Choices, each at least one token if nothing better is known. */
  readonly chunks: number;
  /** Of the first choice. */
  readonly finishReason?: string;
  /** The `error` of a body that came with a success status. Its text is never billed. */
  readonly errorEvent?: unknown;
}

/** The answer with its top-level `model` replaced, every other byte as it came. */
export function spliceModel(body: Buffer, model: string): Buffer {
  const layout = scanTopLevel(body);
  if (typeof layout === 'string' || !memberOf(layout, 'model')) return body;
  const values = new Map([['model', JSON.stringify(model)]]);
  return layout.hasDuplicateKeys ? rebuildMembers(body, layout, { values }) : spliceMembers(body, layout, values);
}
