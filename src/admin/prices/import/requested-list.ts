import { genaiList } from '../../../catalogue/price-lists/genai-list';
import { type LiteLlmEntry, litellmList } from '../../../catalogue/price-lists/litellm-list';
import type { PriceList } from '../../../catalogue/price-lists/price-list';
import { invalid } from '../../refusals';
import { MAX_MODELS, type PreviewPricesDto } from './price-import.dto';

/** The list a request names, with the models it asks for. Throws a refusal that names the field. */
export function requestedList(dto: PreviewPricesDto, at: Date): PriceList {
  const list = dto.source === 'litellm' ? litellmOf(dto) : genaiOf(dto, at);
  return dto.models === undefined ? list : only(list, new Set(dto.models));
}

function litellmOf({ price_map: map, providers }: PreviewPricesDto): PriceList {
  if (map === undefined) throw invalid('price_map', 'must be given');
  const entries = Object.entries(map);
  if (entries.length > MAX_MODELS) throw invalid('price_map', `must not have more than ${MAX_MODELS} models`);
  const other = entries.find(([, entry]) => !isEntry(entry));
  if (other) throw invalid('price_map', `${other[0].slice(0, 200)} must be an object`);
  return litellmList(map as Readonly<Record<string, LiteLlmEntry>>, providers && new Set(providers));
}

function isEntry(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function genaiOf({ price_map: map, providers }: PreviewPricesDto, at: Date): PriceList {
  if (map !== undefined) throw invalid('price_map', 'is for the source litellm');
  if (providers === undefined) throw invalid('providers', 'must name whose models are meant');
  const list = genaiList(providers, at.getTime());
  if ('unknownProvider' in list) throw invalid('providers', `${list.unknownProvider} is not in the list`);
  return list;
}

function only(list: PriceList, models: ReadonlySet<string>): PriceList {
  const listed = list.listed.filter(({ model }) => models.has(model));
  const skipped = list.skipped.filter(({ model }) => models.has(model));
  const found = new Set([...listed, ...skipped].map(({ model }) => model));
  const missing = [...models].filter((model) => !found.has(model));
  return {
    ...list,
    listed,
    skipped: [...skipped, ...missing.map((model) => ({ model, reason: 'not_in_list' as const }))],
  };
}
