import { Get, Query } from '@nestjs/common';
import { ApiOperation } from '@nestjs/swagger';
import { DataSource, LessThan } from 'typeorm';
import { AdminController } from '../access/admin-controller.decorator';
import { ApiPageOf, type Page, pageOf } from '../paging/page';
import { AuditLog } from './audit-log.entity';
import { AuditEntryDto, AuditQuery } from './audit.dto';

@AdminController('audit-log', 'Audit')
export class AuditController {
  constructor(private readonly dataSource: DataSource) {}

  @Get()
  @ApiOperation({ summary: 'Writes of the control plane, newest first' })
  @ApiPageOf(AuditEntryDto)
  async list(@Query() query: AuditQuery): Promise<Page<AuditEntryDto>> {
    const rows = await this.dataSource.getRepository(AuditLog).find({
      where: {
        ...(query.entity === undefined ? {} : { entity: query.entity }),
        ...(query.entity_id === undefined ? {} : { entityId: query.entity_id }),
        ...(query.after === undefined ? {} : { id: LessThan(query.after) }),
      },
      order: { id: 'DESC' },
      take: query.limit + 1,
    });
    return pageOf(rows, query.limit, render);
  }
}

function render(row: AuditLog): Readonly<AuditEntryDto> {
  return {
    id: row.id,
    object: 'audit_entry',
    actor: row.actor,
    action: row.action,
    entity: row.entity,
    entity_id: row.entityId,
    before: row.before as object | null,
    after: row.after as object | null,
    at: row.at.toISOString(),
  };
}
