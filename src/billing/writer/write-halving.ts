import { isRefusedData } from '../../platform/database/sql-state';

/**
 * Writes a batch of which some items may be unacceptable: where Postgres refuses the data, the batch is halved until each
 * bad item stands alone and is `refused`. `write` is one transaction and nothing of it stands when it rejects; any other
 * error of it is the caller's.
 */
export async function writeHalving<T>(
  batch: readonly T[],
  write: (items: readonly T[]) => Promise<void>,
  refused: (item: T, error: unknown) => void,
): Promise<void> {
  try {
    await write(batch);
  } catch (error) {
    const [first] = batch;
    if (!isRefusedData(error) || first === undefined) throw error;
    if (batch.length === 1) {
      refused(first, error);
      return;
    }
    const middle = Math.floor(batch.length / 2);
    await writeHalving(batch.slice(0, middle), write, refused);
    await writeHalving(batch.slice(middle), write, refused);
  }
}
