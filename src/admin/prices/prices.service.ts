import { Inject, Injectable } from '@nestjs/common';
import { DataSource, In, LessThan } from 'typeorm';
import { defaultOutputReserveTokens, defaultProfile } from '../../catalogue/default-profile';
import { ModelProfileRow } from '../../catalogue/model-profile.entity';
import type { BucketPrices, ModelProfile, PriceTier } from '../../catalogue/price';
import { PriceBook } from '../../catalogue/price-book';
import { Price } from '../../catalogue/price.entity';
import { bucketPricesOf, nanoUsdOfPrice } from '../../catalogue/usd-price';
import { CLOCK, type Clock } from '../../kernel/clock';
import { audit } from '../audit/audit-trail';
import { type Page, pageOf } from '../paging/page';
import { invalid } from '../refusals';
import { effectiveFromOf } from './effective-from';
import type { BucketPricesDto, CreatePriceDto, CreatePriceTierDto, PriceDto, PriceQuery } from './price.dto';
import { renderPrice } from './price-rendering';
import { lockModel, newestPrice, priceColumnsOf, profileOf } from './price-rows';

const WRITTEN_BY_HAND = 'manual';

/** The price book's pen: it adds versions and never changes one, since calls were charged by them. */
@Injectable()
export class PricesService {
  constructor(
    private readonly dataSource: DataSource,
    private readonly priceBook: PriceBook,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  async create(dto: CreatePriceDto, actor: string): Promise<Readonly<PriceDto>> {
    const effectiveFrom = effectiveFromOf(dto.effective_from, this.clock.nowMs());
    const created = await this.dataSource.transaction(async (manager) => {
      // One pen a model: of two versions written at once each knows what was before it.
      await lockModel(manager, dto.model);
      const before = await newestPrice(manager, dto.model);
      const profileBefore = await profileOf(manager, dto.model);
      const profile = changedProfile(profileBefore, dto);
      if (profile !== profileBefore) await manager.upsert(ModelProfileRow, { ...profile }, ['model']);
      const price = await manager.save(Object.assign(new Price(), priceColumns(dto), { effectiveFrom }));
      const after = renderPrice(price, profile);
      await audit(manager, {
        actor,
        action: 'create',
        entity: 'price',
        entityId: price.id,
        before: before ? renderPrice(before, profileBefore) : undefined,
        after,
      });
      return after;
    });
    this.priceBook.changed(dto.model);
    return created;
  }

  async list(query: PriceQuery): Promise<Page<PriceDto>> {
    const { manager } = this.dataSource;
    const rows = await manager.find(Price, {
      where: {
        ...(query.model === undefined ? {} : { model: query.model }),
        ...(query.after === undefined ? {} : { id: LessThan(query.after) }),
      },
      order: { id: 'DESC' },
      take: query.limit + 1,
    });
    const profiles = await manager.findBy(ModelProfileRow, { model: In(rows.map(({ model }) => model)) });
    const byModel = new Map(profiles.map((profile) => [profile.model, profile]));
    return pageOf(rows, query.limit, (row) => renderPrice(row, byModel.get(row.model) ?? defaultProfile(row.model)));
  }
}

/** The very same profile where the request says nothing about it. */
function changedProfile(profile: ModelProfile, dto: CreatePriceDto): ModelProfile {
  const { is_reasoning, default_output_reserve, max_output_tokens, tokens_per_image } = dto;
  const isUnchanged = [is_reasoning, default_output_reserve, max_output_tokens, tokens_per_image].every(
    (value) => value === undefined,
  );
  if (isUnchanged) return profile;
  const isReasoning = is_reasoning ?? profile.isReasoning;
  const keptReserve =
    isReasoning === profile.isReasoning ? profile.defaultOutputReserveTokens : defaultOutputReserveTokens(isReasoning);
  return {
    model: profile.model,
    isReasoning,
    defaultOutputReserveTokens: default_output_reserve ?? keptReserve,
    maxOutputTokens: max_output_tokens === undefined ? profile.maxOutputTokens : max_output_tokens,
    tokensPerImage: tokens_per_image ?? profile.tokensPerImage,
  };
}

function priceColumns(dto: CreatePriceDto): Partial<Price> {
  const prices = bucketsOf(dto);
  return {
    model: dto.model,
    ...priceColumnsOf(prices),
    perRequestNanoUsd: nanoUsdOfPrice(dto.per_request_usd ?? '0'),
    tiers: tiersOf(dto.tiers ?? []),
    source: WRITTEN_BY_HAND,
  };
}

function tiersOf(dtos: readonly CreatePriceTierDto[]): readonly PriceTier[] {
  return dtos.map((dto, at) => {
    const before = dtos[at - 1]?.above_input_tokens ?? 0;
    if (dto.above_input_tokens <= before) throw invalid(`tiers[${at}].above_input_tokens`, 'must ascend');
    return { aboveInputTokens: dto.above_input_tokens, perMillionTokens: bucketsOf(dto) };
  });
}

function bucketsOf(dto: BucketPricesDto): BucketPrices {
  return bucketPricesOf({
    input: dto.input_usd_per_mtok,
    output: dto.output_usd_per_mtok,
    cachedInput: dto.cached_input_usd_per_mtok,
    cacheWrite: dto.cache_write_usd_per_mtok,
    reasoning: dto.reasoning_usd_per_mtok,
    audio: dto.audio_usd_per_mtok,
    image: dto.image_usd_per_mtok,
  });
}
