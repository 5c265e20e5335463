/** What is needed of a DataSource. */
interface Database {
  query<Rows>(sql: string, values: readonly unknown[]): Promise<Rows>;
}

/** A few hundred milliseconds of work. */
const ROWS_AT_ONCE = 10_000;

const NAMED = {
  upstream: { table: 'request_attempt', column: 'upstream_id', key: 'request_id' },
  api_key: { table: 'request_log', column: 'api_key_id', key: 'id' },
} as const;

/**
 * Takes an upstream or a key that is about to be deleted out of the rows of the log that name it, a piece at a time, oldest
 * first. Its deletion does the same with the few that are left or come meanwhile: alone it would be one statement as long as
 * its whole history, which nobody waits for. May be broken off and begun again anywhere.
 */
export async function forgetInLog(database: Database, named: keyof typeof NAMED, id: string): Promise<void> {
  const { table, column, key } = NAMED[named];
  let after: string | null = null;
  for (;;) {
    const found: { readonly last: string | null; readonly count: string }[] = await database.query(
      `select (array_agg(${key} order by ${key} desc))[1] as last, count(*) from (
         select ${key} from ${table} where ${column} = $1 and ($2::uuid is null or ${key} > $2)
          order by ${key} limit ${ROWS_AT_ONCE}) piece`,
      [id, after],
    );
    const { last, count } = found[0] ?? { last: null, count: '0' };
    if (last === null || Number(count) < ROWS_AT_ONCE) return;
    await database.query(
      `update ${table} set ${column} = null where ${column} = $1 and ${key} <= $2 and ($3::uuid is null or ${key} > $3)`,
      [id, last, after],
    );
    after = last;
  }
}
