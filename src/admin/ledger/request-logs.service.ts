import { Injectable } from '@nestjs/common';
import { DataSource, LessThan } from 'typeorm';
import { RequestLog } from '../../billing/entities/request-log.entity';
import type { LoggedUsage } from '../../billing/request-log/request-log.writer';
import { nanoUsd, toDecimalUsd } from '../../kernel/money';
import { type Page, pageOf } from '../paging/page';
import type { RequestLogDto, RequestLogQuery, UnchargedUsageDto } from './ledger.dto';

/** Reads the operational records of calls. */
@Injectable()
export class RequestLogsService {
  constructor(private readonly dataSource: DataSource) {}

  async list(query: RequestLogQuery): Promise<Page<RequestLogDto>> {
    const rows = await this.dataSource.getRepository(RequestLog).find({
      where: {
        ...(query.tenant_id === undefined ? {} : { tenantId: query.tenant_id }),
        ...(query.api_key_id === undefined ? {} : { apiKeyId: query.api_key_id }),
        ...(query.model === undefined ? {} : { model: query.model }),
        ...(query.after === undefined ? {} : { id: LessThan(query.after) }),
      },
      order: { id: 'DESC' },
      take: query.limit + 1,
    });
    return pageOf(rows, query.limit, render);
  }
}

function render(row: RequestLog): Readonly<RequestLogDto> {
  return {
    id: row.id,
    object: 'request_log',
    tenant_id: row.tenantId,
    api_key_id: row.apiKeyId,
    client_request_id: row.clientRequestId,
    channel: row.channel,
    route: row.route,
    model: row.model,
    is_stream: row.isStream,
    status: row.status,
    error_code: row.errorCode,
    end_reason: row.endReason,
    attempts: row.attempts as object[],
    duration_ms: row.durationMs,
    ttft_ms: row.ttftMs,
    usage: row.usage && renderUsage(row.usage),
    created_at: row.createdAt.toISOString(),
  };
}

function renderUsage({ cost_nano_usd: cost, ...usage }: LoggedUsage): Readonly<UnchargedUsageDto> {
  return { ...usage, cost_usd: toDecimalUsd(nanoUsd(cost)) };
}
