import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { refuse, RefusalError } from '../../kernel/errors';
import { affinityKey, type AffinitySession } from '../../routing/affinity/affinity-key';
import { AffinityRecords, AffinityUnreadableError } from '../../routing/affinity/affinity-records';
import { Upstream } from '../../upstreams/entities/upstream.entity';
import { audit } from '../audit/audit-trail';
import type { AffinityDto, AffinityQuery } from './affinity.dto';

/** Which upstream a session has; and that it has none any more. */
@Injectable()
export class AffinityService {
  constructor(
    private readonly dataSource: DataSource,
    private readonly records: AffinityRecords,
  ) {}

  async get(query: AffinityQuery): Promise<Readonly<AffinityDto>> {
    const record = await this.records.read(sessionOf(query)).catch(unavailable);
    const { state, upstreamId, successCount, expiresInMs } = record;
    return {
      object: 'affinity',
      tenant_id: query.tenant_id,
      session_id: query.session_id,
      model: query.model,
      region: query.region ?? null,
      state,
      upstream_id: upstreamId,
      upstream_name: upstreamId === null ? null : await this.nameOf(upstreamId),
      success_count: successCount,
      expires_in_seconds: expiresInMs === null ? null : Math.ceil(expiresInMs / 1000),
    };
  }

  /** The answer is what was forgotten. */
  async forget(query: AffinityQuery, actor: string): Promise<Readonly<AffinityDto>> {
    const session = sessionOf(query);
    const before = await this.get(query);
    await this.dataSource.transaction(async (manager) => {
      await audit(manager, { actor, action: 'delete', entity: 'affinity', entityId: affinityKey(session), before });
      await this.records.forget(session).catch(unavailable);
    });
    return before;
  }

  private async nameOf(id: string): Promise<string | null> {
    const upstream = await this.dataSource.getRepository(Upstream).findOne({ where: { id }, select: { name: true } });
    return upstream?.name ?? null;
  }
}

function sessionOf(query: AffinityQuery): AffinitySession {
  return { tenantId: query.tenant_id, sessionId: query.session_id, model: query.model, region: query.region };
}

function unavailable(error: unknown): never {
  if (!(error instanceof AffinityUnreadableError)) throw error;
  throw new RefusalError(refuse('SERVICE_UNAVAILABLE', { retryAfterMs: 1_000 }), { cause: error });
}
