import { Injectable } from '@nestjs/common';
import { DataSource, In, LessThan } from 'typeorm';
import { RequestAttempt } from '../../billing/entities/request-attempt.entity';
import { RequestLog } from '../../billing/entities/request-log.entity';
import type { LoggedUsage } from '../../billing/request-log/request-log.writer';
import { nanoUsd, toDecimalUsd } from '../../kernel/money';
import { type Page, pageOf } from '../paging/page';
import type { AttemptDto, RequestLogDto, RequestLogQuery, UnchargedUsageDto } from './ledger.dto';

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
    const attempts = await this.attemptsOf(rows.slice(0, query.limit));
    return pageOf(rows, query.limit, (row) => render(row, attempts.get(row.id) ?? []));
  }

  private async attemptsOf(rows: readonly RequestLog[]): Promise<ReadonlyMap<string, Readonly<AttemptDto>[]>> {
    const found = await this.dataSource
      .getRepository(RequestAttempt)
      .find({ where: { requestId: In(rows.map(({ id }) => id)) }, order: { requestId: 'ASC', attempt: 'ASC' } });
    const byRequest = new Map<string, Readonly<AttemptDto>[]>();
    for (const row of found) {
      const attempts = byRequest.get(row.requestId) ?? [];
      attempts.push(renderAttempt(row));
      byRequest.set(row.requestId, attempts);
    }
    return byRequest;
  }
}

function render(row: RequestLog, attempts: Readonly<AttemptDto>[]): Readonly<RequestLogDto> {
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
    attempts,
    duration_ms: row.durationMs,
    ttft_ms: row.ttftMs,
    usage: row.usage && renderUsage(row.usage),
    created_at: row.createdAt.toISOString(),
  };
}

function renderAttempt(row: RequestAttempt): Readonly<AttemptDto> {
  return {
    attempt: row.attempt,
    upstream_id: row.upstreamId,
    upstream_name: row.upstreamName,
    provider_name: row.providerName,
    status: row.status,
    outcome: row.outcome,
    is_served: row.isServed,
    ttft_ms: row.ttftMs,
    duration_ms: row.durationMs,
    tokens: row.tokens,
    upstream_cost_usd: toDecimalUsd(row.upstreamCostNanoUsd),
    paid_by: row.paidBy,
  };
}

function renderUsage({ cost_nano_usd: cost, ...usage }: LoggedUsage): Readonly<UnchargedUsageDto> {
  return { ...usage, cost_usd: toDecimalUsd(nanoUsd(cost)) };
}
