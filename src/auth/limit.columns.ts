import { Column, type ValueTransformer } from 'typeorm';
import { type NanoUsd, nanoUsd } from '../kernel/money';

/** Counts stay far below 2^53 (API and database bound them), so a number holds them exactly. */
const count: ValueTransformer = {
  to: (value: number | null) => value,
  from: (value: string | null) => (value === null ? null : Number(value)),
};

const amount: ValueTransformer = {
  to: (value: NanoUsd | null) => value?.toString() ?? null,
  from: (value: string | null) => (value === null ? null : nanoUsd(value)),
};

/** A limit of requests, tokens or holds; null is unlimited. */
export function CountLimitColumn(name: string): PropertyDecorator {
  return Column({ name, type: 'bigint', nullable: true, transformer: count });
}

/** A limit in integer nano-USD; null is unlimited. */
export function UsdLimitColumn(name: string): PropertyDecorator {
  return Column({ name, type: 'bigint', nullable: true, transformer: amount });
}
