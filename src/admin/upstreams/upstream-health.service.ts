import { Inject, Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { CLOCK, type Clock } from '../../kernel/clock';
import { type SharedTrouble, UpstreamNews } from '../../routing/upstream-news';
import { UpstreamProbe } from '../../routing/upstream-probe';
import { UpstreamStates } from '../../routing/upstream-states';
import { Upstream } from '../../upstreams/entities/upstream.entity';
import { audit } from '../audit/audit-trail';
import type { Page } from '../paging/page';
import { notFound } from '../refusals';
import type { UpstreamQuery } from './upstream.dto';
import type { SharedTroubleDto, UpstreamHealthDto, UpstreamTestDto } from './upstream-health.dto';
import { UpstreamsService } from './upstreams.service';

type Described = Pick<
  UpstreamHealthDto,
  'id' | 'provider_id' | 'name' | 'model' | 'region' | 'enabled' | 'max_concurrency'
>;

/** How upstreams do, and whether one answers. */
@Injectable()
export class UpstreamHealthService {
  constructor(
    private readonly dataSource: DataSource,
    private readonly upstreams: UpstreamsService,
    private readonly states: UpstreamStates,
    private readonly news: UpstreamNews,
    private readonly probe: UpstreamProbe,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  async list(query: UpstreamQuery): Promise<Page<UpstreamHealthDto>> {
    const page = await this.upstreams.list(query);
    const shared = await this.news.read(page.data.map(({ id }) => id));
    return { ...page, data: page.data.map((upstream) => this.view(upstream, shared)) };
  }

  async get(id: string): Promise<Readonly<UpstreamHealthDto>> {
    const upstream = await this.upstreams.get(id);
    return this.view(upstream, await this.news.read([id]));
  }

  /** Audited whatever comes of it: it was sent with our credentials, and the provider charges its two tokens. */
  async test(id: string, actor: string): Promise<Readonly<UpstreamTestDto>> {
    const result = await this.probe.test(id);
    const row = await this.dataSource.getRepository(Upstream).findOneBy({ id });
    if (!result || !row) throw notFound('upstream');
    const tested: Readonly<UpstreamTestDto> = {
      object: 'upstream_test',
      id,
      ok: result.isOk,
      status: result.status,
      latency_ms: result.latencyMs,
      model: row.upstreamModel,
      dialect: result.dialect,
      error: result.error ?? null,
    };
    await audit(this.dataSource.manager, { actor, action: 'test', entity: 'upstream', entityId: id, after: tested });
    return tested;
  }

  private view(
    upstream: Described,
    shared: ReadonlyMap<string, SharedTrouble> | undefined,
  ): Readonly<UpstreamHealthDto> {
    const { id, provider_id, name, model, region, enabled, max_concurrency } = upstream;
    const { breaker, coolDown, score, inFlight } = this.states.seen(id);
    return {
      object: 'upstream_health',
      id,
      provider_id,
      name,
      model,
      region,
      enabled,
      in_flight: inFlight,
      max_concurrency,
      breaker: breaker.state,
      open_until: breaker.state === 'open' ? this.instant(breaker.endMs - this.clock.monotonicMs()) : null,
      cooling_until: this.instant(coolDown.endMs - this.clock.monotonicMs()),
      success_rate: rounded(score.successRate, 4),
      first_byte_ms: score.firstByteMs === undefined ? null : Math.round(score.firstByteMs),
      health: rounded(score.factor, 4),
      shared: shared ? this.sharedView(shared.get(id)) : null,
    };
  }

  private sharedView(trouble: SharedTrouble | undefined): Readonly<SharedTroubleDto> {
    return {
      open_until: this.instant(trouble?.openForMs ?? 0),
      cooling_until: this.instant(trouble?.coolingForMs ?? 0),
    };
  }

  /** So long from now; null where that is over. */
  private instant(leftMs: number): string | null {
    return leftMs > 0 ? new Date(this.clock.nowMs() + leftMs).toISOString() : null;
  }
}

function rounded(value: number, decimals: number): number {
  return Number(value.toFixed(decimals));
}
