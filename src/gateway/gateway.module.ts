import { Module, type OnApplicationBootstrap } from '@nestjs/common';
import { AuthModule } from '../auth/auth.module';
import { BillingModule } from '../billing/billing.module';
import { BillingReadModule } from '../billing/entities/billing-read.module';
import { GatewayProcess } from '../billing/process/gateway-process';
import { CatalogueModule } from '../catalogue/catalogue.module';
import { QuotaModule } from '../quota/quota.module';
import { RoutingModule } from '../routing/routing.module';
import { UpstreamsModule } from '../upstreams/upstreams.module';
import { BalanceController } from './balance.controller';
import { ChatCompletionsController } from './chat-completions.controller';
import { ExchangeLog } from './exchange-log';
import { ModelsController } from './models.controller';
import { TokenCounter } from './stream/count-tokens';
import { TokenAccuracy } from './stream/token-accuracy';
import { TokenizerThread } from './stream/tokenizer-thread';
import { WORKFLOW_STEPS, WorkflowRunner } from './workflow/workflow.runner';
import { WORKFLOW_STEP_CLASSES } from './workflow/workflow.steps';
import type { WorkflowStep } from './workflow/workflow-step';

/** The HTTP edge of the data plane and the workflow behind it. */
@Module({
  imports: [AuthModule, CatalogueModule, RoutingModule, QuotaModule, UpstreamsModule, BillingModule, BillingReadModule],
  controllers: [ChatCompletionsController, ModelsController, BalanceController],
  providers: [
    ...WORKFLOW_STEP_CLASSES,
    {
      provide: WORKFLOW_STEPS,
      inject: [...WORKFLOW_STEP_CLASSES],
      useFactory: (...steps: WorkflowStep[]) => steps,
    },
    WorkflowRunner,
    TokenizerThread,
    TokenAccuracy,
    TokenCounter,
    ExchangeLog,
  ],
})
export class GatewayModule implements OnApplicationBootstrap {
  constructor(private readonly process: GatewayProcess) {}

  /** Another process' sweeper has voided what we hold: we leave as on SIGTERM, late settles are booked as corrections. */
  onApplicationBootstrap(): void {
    this.process.onDeath(() => {
      process.kill(process.pid, 'SIGTERM');
    });
  }
}
