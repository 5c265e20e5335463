import { Inject, Injectable } from '@nestjs/common';
import { CLOCK, type Clock } from '../../kernel/clock';
import { HttpUpstream, type ProviderManners } from '../http-upstream';
import { UpstreamPools } from '../upstream-pools';

const MANNERS: ProviderManners = {
  credentials: (apiKey) => ['authorization', `Bearer ${apiKey}`],
  basePath: (path) => path,
  defaultHeaders: [],
};

/** OpenAI and everything that is called as OpenAI is: bearer key, the base URL as it is. */
@Injectable()
export class OpenAiUpstream extends HttpUpstream {
  constructor(pools: UpstreamPools, @Inject(CLOCK) clock: Clock) {
    super(MANNERS, pools, clock);
  }
}
