import { Injectable } from '@nestjs/common';
import { type TokenCounts } from '../../catalogue/price';
import { Metrics } from '../../platform/metrics/metrics';
import { type CollectedText } from '../dialects/collected-text';
import { TokenizerPool } from './tokenizer-pool';

export interface SampledAnswer {
  readonly isStreamed?: boolean;
  text(): CollectedText | undefined;
}

/** One stream in so many is looked at. */
const SAMPLE_EVERY = 100;

/**
 * How near our own tokenizer comes to what providers report: what an answer without usage would have been billed by. Of
 * output without reasoning, which providers need not show. A sample, one at a time, after the turn that answers the
 * client; it never delays or changes a charge.
 */
@Injectable()
export class TokenAccuracy {
  private streams = 0;
  private isComparing = false;

  constructor(
    private readonly tokenizer: TokenizerPool,
    private readonly metrics: Metrics,
  ) {}

  /** Of an answer whose usage is the last word. */
  sample(answer: SampledAnswer, reported: TokenCounts): void {
    if (!answer.isStreamed || reported.output === 0) return;
    this.streams += 1;
    if (this.streams % SAMPLE_EVERY !== 0 || this.isComparing) return;
    this.isComparing = true;
    setImmediate(() => {
      void this.compare(answer, reported.output).finally(() => {
        this.isComparing = false;
      });
    });
  }

  private async compare(answer: SampledAnswer, reported: number): Promise<void> {
    const texts = answer.text()?.output;
    const counted = texts && (await this.tokenizer.count([texts]))?.[0];
    if (counted === undefined) return;
    this.metrics.streamTokenAccuracy.observe(Math.max(0, 100 * (1 - Math.abs(counted - reported) / reported)));
  }
}
