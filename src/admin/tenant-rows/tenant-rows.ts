import { type DataSource, type EntityManager, type FindOptionsWhere, LessThan } from 'typeorm';
import type { DeletedDto } from '../api-keys/api-key.dto';
import { audit, type AuditAction, type AuditedEntity } from '../audit/audit-trail';
import { type Page, pageOf } from '../paging/page';
import type { PageQuery } from '../paging/page-query.dto';
import { notFound } from '../refusals';

export interface TenantRow {
  id: string;
  tenantId: string;
}

export interface RowKind<Row, Dto> {
  readonly entity: new () => Row;
  readonly audited: AuditedEntity;
  /** As people say it, such as `api key`. */
  readonly called: string;
  readonly render: (row: Row) => Dto;
}

/**
 * Things of one kind that belong to a tenant and have a part in what its keys may do. A write is one transaction with its
 * audit row; `committed` hears of it afterwards, before the answer leaves.
 */
export class TenantRows<Row extends TenantRow, Dto extends object> {
  constructor(
    private readonly dataSource: DataSource,
    private readonly kind: RowKind<Row, Dto>,
    private readonly committed: (row: Row) => void,
  ) {}

  /** `make` looks up and locks what the row names. */
  async create(actor: string, make: (manager: EntityManager) => Promise<Row>): Promise<Dto> {
    const { entity, audited, render } = this.kind;
    const row = await this.dataSource.transaction(async (manager) => {
      const made = await make(manager);
      await manager.insert<TenantRow>(entity, made);
      await audit(manager, { actor, action: 'create', entity: audited, entityId: made.id, after: render(made) });
      return made;
    });
    this.committed(row);
    return render(row);
  }

  /** Newest first. Filters that are undefined do not filter. */
  async list(query: Readonly<PageQuery>, filters: Partial<Record<keyof Row, string | undefined>>): Promise<Page<Dto>> {
    const given = Object.entries(filters).filter(([, value]) => value !== undefined);
    const after = query.after === undefined ? {} : { id: LessThan(query.after) };
    const rows = await this.dataSource.getRepository<TenantRow>(this.kind.entity).find({
      where: { ...Object.fromEntries(given), ...after },
      order: { id: 'DESC' },
      take: query.limit + 1,
    });
    return pageOf(rows as Row[], query.limit, this.kind.render);
  }

  async find(id: string): Promise<Row> {
    const row = await this.dataSource.getRepository<TenantRow>(this.kind.entity).findOneBy({ id });
    if (!row) throw notFound(this.kind.called);
    return row as Row;
  }

  async get(id: string): Promise<Dto> {
    return this.kind.render(await this.find(id));
  }

  async change(
    id: string,
    action: AuditAction,
    actor: string,
    work: (row: Row, manager: EntityManager) => void | Promise<void>,
  ): Promise<Dto> {
    const { audited, render } = this.kind;
    const row = await this.dataSource.transaction(async (manager) => {
      const locked = await this.lock(manager, id);
      const before = render(locked);
      await work(locked, manager);
      const saved = await manager.save<TenantRow>(locked);
      await audit(manager, { actor, action, entity: audited, entityId: id, before, after: render(saved as Row) });
      return saved as Row;
    });
    this.committed(row);
    return render(row);
  }

  /** `check` refuses it for what names the row, which is locked against new ones. */
  async delete(
    id: string,
    actor: string,
    check: (row: Row, manager: EntityManager) => Promise<void> = () => Promise.resolve(),
  ): Promise<Readonly<DeletedDto>> {
    const { entity, audited, render } = this.kind;
    const row = await this.dataSource.transaction(async (manager) => {
      const locked = await this.lock(manager, id);
      await check(locked, manager);
      await manager.delete<TenantRow>(entity, { id });
      await audit(manager, { actor, action: 'delete', entity: audited, entityId: id, before: render(locked) });
      return locked;
    });
    this.committed(row);
    return { id, object: audited, deleted: true };
  }

  private async lock(manager: EntityManager, id: string): Promise<Row> {
    const where: FindOptionsWhere<TenantRow> = { id };
    const row = await manager.findOne<TenantRow>(this.kind.entity, { where, lock: { mode: 'pessimistic_write' } });
    if (!row) throw notFound(this.kind.called);
    return row as Row;
  }
}
