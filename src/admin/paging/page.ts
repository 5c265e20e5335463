import { applyDecorators, type Type } from '@nestjs/common';
import { ApiExtraModels, ApiOkResponse, getSchemaPath } from '@nestjs/swagger';

/** One page of a list, as every list of the control plane looks. */
export interface Page<T> {
  readonly object: 'list';
  readonly data: readonly T[];
  readonly has_more: boolean;
  /** Goes into `after` for the next page; null on the last one. */
  readonly next_cursor: string | null;
}

/** From `limit + 1` rows: the one too many says that there are more, and is not shown. */
export function pageOf<Row extends { readonly id: string }, T>(
  rows: readonly Row[],
  limit: number,
  render: (row: Row) => T,
): Page<T> {
  const shown = rows.slice(0, limit);
  const hasMore = rows.length > limit;
  return {
    object: 'list',
    data: shown.map(render),
    has_more: hasMore,
    next_cursor: hasMore ? (shown.at(-1)?.id ?? null) : null,
  };
}

/** Documents a list of `model`; `extra` names properties beside the page's own, each of them or null. */
export function ApiPageOf(model: Type, extra: Readonly<Record<string, Type>> = {}): MethodDecorator {
  const beside = Object.entries(extra).map(
    ([name, type]) => [name, { anyOf: [{ $ref: getSchemaPath(type) }, { type: 'null' }] }] as const,
  );
  return applyDecorators(
    ApiExtraModels(model, ...Object.values(extra)),
    ApiOkResponse({
      schema: {
        type: 'object',
        required: ['object', 'data', 'has_more', 'next_cursor', ...Object.keys(extra)],
        properties: {
          object: { type: 'string', enum: ['list'] },
          data: { type: 'array', items: { $ref: getSchemaPath(model) } },
          has_more: { type: 'boolean' },
          next_cursor: {
            anyOf: [{ type: 'string' }, { type: 'null' }],
            description: 'Goes into `after` for the next page.',
          },
          ...Object.fromEntries(beside),
        },
      },
    }),
  );
}
