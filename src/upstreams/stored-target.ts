import type { UpstreamDeadlines, UpstreamTarget } from './upstream.port';

/** A target whose key no logger, serialiser or inspector finds: it is behind a getter, on a private name. */
export class StoredTarget implements UpstreamTarget {
  readonly upstreamId: string;
  readonly upstreamName: string;
  readonly providerId: string;
  readonly providerName: string;
  readonly baseUrl: string;
  readonly upstreamModel: string;
  readonly deadlines: UpstreamDeadlines;
  readonly #apiKey: string;

  constructor(place: Omit<UpstreamTarget, 'apiKey'>, apiKey: string) {
    this.upstreamId = place.upstreamId;
    this.upstreamName = place.upstreamName;
    this.providerId = place.providerId;
    this.providerName = place.providerName;
    this.baseUrl = place.baseUrl;
    this.upstreamModel = place.upstreamModel;
    this.deadlines = place.deadlines;
    this.#apiKey = apiKey;
  }

  get apiKey(): string {
    return this.#apiKey;
  }
}
