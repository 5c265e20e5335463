import { Inject, Injectable } from '@nestjs/common';
import { DataSource, type EntityManager } from 'typeorm';
import { ModelProfileRow } from '../../../catalogue/model-profile.entity';
import { PriceBook } from '../../../catalogue/price-book';
import { Price } from '../../../catalogue/price.entity';
import { diffOf, digestOf, type ModelDiff } from '../../../catalogue/price-lists/price-diff';
import type { PriceList } from '../../../catalogue/price-lists/price-list';
import { CLOCK, type Clock } from '../../../kernel/clock';
import { type AuditedWrite, auditAll } from '../../audit/audit-trail';
import { conflict } from '../../refusals';
import { effectiveFromOf } from '../effective-from';
import { renderPrice } from '../price-rendering';
import { lockEveryModel, priceColumnsOf } from '../price-rows';
import { renderPreview } from './preview-rendering';
import type {
  ImportedPriceDto,
  ImportPricesDto,
  PriceImportDto,
  PreviewPricesDto,
  PricePreviewDto,
} from './price-import.dto';
import { requestedList } from './requested-list';
import { StandingPrices } from './standing-prices';

/** Rows a statement. */
const CHUNK = 500;
const NAMED_IN_REFUSAL = 20;

interface Written {
  readonly model: string;
  /** Undefined where only the profile changed. */
  readonly price: Price | undefined;
}

/**
 * Takes prices from a list, in two steps: a preview says what would change and what of it is suspicious, and the import
 * does what the preview of that digest said, or nothing. Like every price, an imported one is a new version.
 */
@Injectable()
export class PriceImportService {
  constructor(
    private readonly dataSource: DataSource,
    private readonly priceBook: PriceBook,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  async preview(dto: PreviewPricesDto): Promise<Readonly<PricePreviewDto>> {
    const at = effectiveFromOf(dto.effective_from, this.clock.nowMs());
    const list = requestedList(dto, at);
    const diffs = diffsOf(list, await standingOf(this.dataSource.manager, list, at));
    return renderPreview(list, diffs, digestOf(list.name, diffs));
  }

  /** Sent again it finds that nothing is left to write. */
  async import(dto: ImportPricesDto, actor: string): Promise<Readonly<PriceImportDto>> {
    // A list that cannot be read is refused before anybody waits for the lock.
    requestedList(dto, effectiveFromOf(dto.effective_from, this.clock.nowMs()));
    const leftOut = new Set(dto.leave_out);
    const done = await this.dataSource.transaction(async (manager) => {
      await lockEveryModel(manager);
      // Now, not before the lock: what whoever had it meanwhile has written is in force by then.
      const at = effectiveFromOf(dto.effective_from, this.clock.nowMs());
      const list = requestedList(dto, at);
      const standing = await standingOf(manager, list, at);
      const diffs = diffsOf(list, standing);
      const wanted = diffs.filter(({ model, status }) => status !== 'unchanged' && !leftOut.has(model));
      if (wanted.length > 0) refuseUnseen(dto, digestOf(list.name, diffs), wanted);
      const source = `${list.name} ${dto.digest.slice(0, 16)}`;
      const written = await write(manager, wanted, { effectiveFrom: at, source });
      await auditAll(manager, auditOf(written, wanted, standing, actor));
      return { name: list.name, written, unchanged: diffs.filter(({ status }) => status === 'unchanged').length };
    });
    for (const { model } of done.written) this.priceBook.changed(model);
    return {
      object: 'price_import',
      source: done.name,
      imported: done.written.map(({ model, price }): Readonly<ImportedPriceDto> => ({
        model,
        price_id: price?.id ?? null,
      })),
      left_out: [...leftOut],
      unchanged: done.unchanged,
    };
  }
}

function standingOf(manager: EntityManager, list: PriceList, at: Date): Promise<StandingPrices> {
  return StandingPrices.read(
    manager,
    list.listed.map(({ model }) => model),
    at,
  );
}

function diffsOf(list: PriceList, standing: StandingPrices): readonly ModelDiff[] {
  const diffs = list.listed.map((listed) => diffOf(listed, standing.of(listed.model)));
  return diffs.sort((a, b) => (a.model < b.model ? -1 : 1));
}

function refuseUnseen(dto: ImportPricesDto, digest: string, wanted: readonly ModelDiff[]): void {
  if (digest !== dto.digest) throw conflict('digest', 'the list or the price book is not what the preview showed');
  const accepted = new Set(dto.accept);
  const suspicious = wanted.filter(({ model, findings }) => findings.length > 0 && !accepted.has(model));
  if (suspicious.length === 0) return;
  const names = suspicious.slice(0, NAMED_IN_REFUSAL).map(({ model }) => model);
  const more = suspicious.length > names.length ? ` and ${suspicious.length - names.length} more` : '';
  throw conflict('accept', `the preview has findings that nobody accepted or left out: ${names.join(', ')}${more}`);
}

async function write(
  manager: EntityManager,
  diffs: readonly ModelDiff[],
  version: Pick<Price, 'effectiveFrom' | 'source'>,
): Promise<readonly Written[]> {
  const profiles = diffs
    .filter(({ profile, standing }) => profile !== standing.profile)
    .map(({ profile }) => ({ ...profile }));
  for (let at = 0; at < profiles.length; at += CHUNK) {
    await manager.upsert(ModelProfileRow, profiles.slice(at, at + CHUNK), ['model']);
  }
  const rows = diffs
    .filter(({ isPriceNew }) => isPriceNew)
    .map(({ model, listed }) =>
      Object.assign(new Price(), {
        model,
        ...priceColumnsOf(listed.perMillionTokens),
        perRequestNanoUsd: listed.perRequestNanoUsd,
        tiers: listed.tiers,
        ...version,
      }),
    );
  await manager.save(rows, { chunk: CHUNK });
  const byModel = new Map(rows.map((row) => [row.model, row]));
  return diffs.map(({ model }) => ({ model, price: byModel.get(model) }));
}

/** A new version each, as if it had been written by hand; of a model whose profile alone changes, its version in force. */
function auditOf(
  written: readonly Written[],
  diffs: readonly ModelDiff[],
  standing: StandingPrices,
  actor: string,
): AuditedWrite[] {
  const profiles = new Map(diffs.map(({ model, profile }) => [model, profile]));
  return written.flatMap(({ model, price }) => {
    const row = standing.rowOf(model);
    const before = row && renderPrice(row, standing.profileOf(model));
    const after = price ?? row;
    if (!after) return [];
    const profile = profiles.get(model) ?? standing.profileOf(model);
    const action = price ? 'create' : 'update';
    return [{ actor, action, entity: 'price', entityId: after.id, before, after: renderPrice(after, profile) }];
  });
}
