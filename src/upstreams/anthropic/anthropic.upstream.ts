import { Inject, Injectable } from '@nestjs/common';
import { CLOCK, type Clock } from '../../kernel/clock';
import { HttpUpstream, type ProviderManners } from '../http-upstream';
import { UpstreamPools } from '../upstream-pools';

const API_VERSION = '2023-06-01';

const MANNERS: ProviderManners = {
  credentials: (apiKey) => ['x-api-key', apiKey],
  // Anthropic's own clients are given the base URL without its version, other programs with it.
  basePath: (path) => (path.endsWith('/v1') ? path : `${path}/v1`),
  defaultHeaders: [['anthropic-version', API_VERSION]],
};

/**
 * Anthropic and everything that is called as Anthropic is: key in x-api-key, an API version with every call, which is the
 * caller's where it names one.
 */
@Injectable()
export class AnthropicUpstream extends HttpUpstream {
  constructor(pools: UpstreamPools, @Inject(CLOCK) clock: Clock) {
    super(MANNERS, pools, clock);
  }
}
