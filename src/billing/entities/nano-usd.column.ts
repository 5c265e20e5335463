import { Column, type ValueTransformer } from 'typeorm';
import { type NanoUsd, nanoUsd } from '../../kernel/money';

/** Postgres gives bigint as text; money is counted exactly. */
const exact: ValueTransformer = {
  to: (value: NanoUsd | null) => value?.toString() ?? null,
  from: (value: string | null) => (value === null ? null : nanoUsd(value)),
};

/** A column of integer nano-USD. The entities of this folder are read; money is written by the ledger's own statements. */
export function NanoUsdColumn(name: string, { nullable = false } = {}): PropertyDecorator {
  return Column({ name, type: 'bigint', nullable, transformer: exact });
}
