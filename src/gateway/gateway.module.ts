import { Logger, Module, type OnApplicationBootstrap } from '@nestjs/common';
import { AuthModule } from '../auth/auth.module';
import { BillingModule } from '../billing/billing.module';
import { BillingReadModule } from '../billing/entities/billing-read.module';
import { GatewayProcess } from '../billing/process/gateway-process';
import { CatalogueModule } from '../catalogue/catalogue.module';
import { Settings } from '../platform/config/settings';
import { Drain } from '../platform/http/drain';
import { QuotaModule } from '../quota/quota.module';
import { RoutingModule } from '../routing/routing.module';
import { UpstreamsModule } from '../upstreams/upstreams.module';
import { BalanceController } from './balance.controller';
import { ChatCompletionsController } from './chat-completions.controller';
import { CountTokensController } from './count-tokens.controller';
import { CountedByProvider } from './counted-by-provider';
import { EmbeddingsController } from './embeddings.controller';
import { ExchangeLog } from './exchange-log';
import { KeyedAnswers } from './idempotency/keyed-answers';
import { InferenceRuns } from './inference-runs';
import { MessageTokenCounts } from './message-token-counts';
import { MessagesController } from './messages.controller';
import { ModelsController } from './models.controller';
import { QuoteController } from './quote.controller';
import { Quotes } from './quotes';
import { ReceiptsController } from './receipts.controller';
import { ResponsesController } from './responses.controller';
import { RootController } from './root.controller';
import { TokenCounter } from './stream/count-tokens';
import { TokenAccuracy } from './stream/token-accuracy';
import { TokenizerPool } from './stream/tokenizer-pool';
import { WORKFLOW_STEPS, WorkflowRunner } from './workflow/workflow.runner';
import { StreamGuards } from './workflow/stream-guards';
import { StreamPumps } from './workflow/stream-pumps';
import { SIMPLE_STEP_CLASSES, stepsOf, WORKFLOW_STEP_CLASSES } from './workflow/workflow.steps';
import type { WorkflowStep } from './workflow/workflow-step';

/** The HTTP edge of the data plane and the workflow behind it. */
@Module({
  imports: [AuthModule, CatalogueModule, RoutingModule, QuotaModule, UpstreamsModule, BillingModule, BillingReadModule],
  controllers: [
    ChatCompletionsController,
    ResponsesController,
    MessagesController,
    CountTokensController,
    EmbeddingsController,
    ModelsController,
    QuoteController,
    BalanceController,
    ReceiptsController,
    RootController,
  ],
  providers: [
    ...WORKFLOW_STEP_CLASSES,
    ...SIMPLE_STEP_CLASSES,
    {
      provide: WORKFLOW_STEPS,
      inject: [Settings, ...WORKFLOW_STEP_CLASSES, ...SIMPLE_STEP_CLASSES],
      useFactory: (settings: Settings, ...steps: WorkflowStep[]) => {
        const standard = steps.slice(0, WORKFLOW_STEP_CLASSES.length);
        return stepsOf(settings.runMode, standard, steps.slice(WORKFLOW_STEP_CLASSES.length));
      },
    },
    WorkflowRunner,
    InferenceRuns,
    KeyedAnswers,
    Quotes,
    TokenizerPool,
    TokenAccuracy,
    TokenCounter,
    StreamGuards,
    StreamPumps,
    CountedByProvider,
    MessageTokenCounts,
    ExchangeLog,
  ],
})
export class GatewayModule implements OnApplicationBootstrap {
  private readonly logger = new Logger(GatewayModule.name);

  constructor(
    private readonly process: GatewayProcess,
    private readonly drain: Drain,
    private readonly settings: Settings,
  ) {}

  /**
   * Another process' sweeper has ended what we hold: our streams end where they stand, with an error event, and are booked
   * as corrections; then we leave as on SIGTERM.
   */
  onApplicationBootstrap(): void {
    this.warnOfMissingChecks();
    this.process.onDeath(() => {
      // A second signal would end us at once, and what is cut is still to be booked.
      const isLeaving = this.drain.isDraining;
      this.drain.cutNow();
      if (!isLeaving) process.kill(process.pid, 'SIGTERM');
    });
  }

  /** Who runs without checks of money by mistake should read it with the first lines. */
  private warnOfMissingChecks(): void {
    if (this.settings.runMode === 'simple') {
      this.logger.warn('RUN_MODE is simple: no limit and no balance is checked, and no call is charged');
    } else if (!this.settings.billingBlockOnInsufficient) {
      this.logger.warn('BILLING_BLOCK_ON_INSUFFICIENT is false: calls that a limit or the balance refuses pass');
    }
  }
}
