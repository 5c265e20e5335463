import type { MigrationInterface } from 'typeorm';
import { FirstLedger1763700000000 } from '../../../migrations/1763700000000-first-ledger';
import { MoneyFunctions1763700100000 } from '../../../migrations/1763700100000-money-functions';
import { ControlPlaneIndexes1763700200000 } from '../../../migrations/1763700200000-control-plane-indexes';
import { ScopeCounters1763800000000 } from '../../../migrations/1763800000000-scope-counters';
import { CallerLimits1763800100000 } from '../../../migrations/1763800100000-caller-limits';
import { QuotaModes1763800200000 } from '../../../migrations/1763800200000-quota-modes';
import { QuotaDecision1763800205000 } from '../../../migrations/1763800205000-quota-decision';
import { ReserveInPostgres1763800210000 } from '../../../migrations/1763800210000-reserve-in-postgres';
import { UsageInRequestLog1763800300000 } from '../../../migrations/1763800300000-usage-in-request-log';
import { Checkpoints1763800400000 } from '../../../migrations/1763800400000-checkpoints';
import { PriceTiers1763900000000 } from '../../../migrations/1763900000000-price-tiers';
import { MonthlyPartitions1763900100000 } from '../../../migrations/1763900100000-monthly-partitions';
import { Corrections1763900200000 } from '../../../migrations/1763900200000-corrections';
import { ReRatings1763900250000 } from '../../../migrations/1763900250000-re-ratings';
import { AttemptsAndCosts1763900300000 } from '../../../migrations/1763900300000-attempts-and-costs';
import { Idempotency1763900400000 } from '../../../migrations/1763900400000-idempotency';
import { ProviderDialects1764000000000 } from '../../../migrations/1764000000000-provider-dialects';
import { Routing1764000100000 } from '../../../migrations/1764000100000-routing';

/**
 * Every migration, oldest first. A list rather than a folder to scan: it is the same under ts-jest and in dist, and a
 * migration that is not compiled in does not exist.
 */
export const MIGRATIONS: readonly (new () => MigrationInterface)[] = [
  FirstLedger1763700000000,
  MoneyFunctions1763700100000,
  ControlPlaneIndexes1763700200000,
  ScopeCounters1763800000000,
  CallerLimits1763800100000,
  QuotaModes1763800200000,
  QuotaDecision1763800205000,
  ReserveInPostgres1763800210000,
  UsageInRequestLog1763800300000,
  Checkpoints1763800400000,
  PriceTiers1763900000000,
  MonthlyPartitions1763900100000,
  Corrections1763900200000,
  ReRatings1763900250000,
  AttemptsAndCosts1763900300000,
  Idempotency1763900400000,
  ProviderDialects1764000000000,
  Routing1764000100000,
];
