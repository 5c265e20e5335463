import { adminCall } from '../factories/admin-client';
import { type Simulator, startSimulator } from '../simulator/simulator';
import { ChargeBook } from './charge-book';
import { eventually } from './eventually';
import { createTestDatabase } from './test-database';
import { startGateway, type TestGateway } from './test-gateway';
import { startTestRedis } from './test-redis';

/** Real gateway processes on a Postgres database and a Redis of their own, with a scripted provider in this process. */
export interface GatewayStack {
  readonly gateways: readonly TestGateway[];
  /** The first of them. */
  readonly gateway: TestGateway;
  readonly simulator: Simulator;
  readonly databaseUrl: string;
  readonly redisUrl: string;
  readonly book: ChargeBook;
  close(): Promise<void>;
}

/** @param environments one gateway process each, by what it has beside the settings every test gateway has */
export async function startGatewayStack(
  environments: readonly Readonly<Record<string, string>>[] = [{}],
): Promise<GatewayStack> {
  const [database, redis, simulator] = await Promise.all([createTestDatabase(), startTestRedis(), startSimulator()]);
  const closeServers = async (): Promise<void> => {
    await Promise.all([simulator.close(), redis.stop()]);
    await database.drop();
  };
  try {
    const gateways = await Promise.all(
      environments.map((env) =>
        startGateway({ databaseUrl: database.url, redisUrl: redis.url, env: { LOG_LEVEL: 'warn', ...env } }),
      ),
    );
    const [gateway] = gateways;
    if (gateway === undefined) throw new Error('a stack has at least one gateway');
    const book = new ChargeBook(database.url);
    const close = async (): Promise<void> => {
      await Promise.all([...gateways.map((running) => running.stop()), book.close()]);
      await closeServers();
    };
    return { gateways, gateway, simulator, databaseUrl: database.url, redisUrl: redis.url, book, close };
  } catch (error) {
    await closeServers();
    throw error;
  }
}

interface InvariantsAnswer {
  readonly data: readonly { id: string; verdict: string; violations: number; examples: readonly string[] }[];
}

/**
 * What does not hold of I1 to I6 and I8, in words; empty is what is expected. Waits for what is still in motion (the projection
 * is applied behind the answer), never for a violation to go away.
 */
export function brokenInvariants(gateway: TestGateway): Promise<readonly string[]> {
  return eventually('the invariants are at rest', async () => {
    const { data } = (await adminCall(gateway, 'GET', 'invariants')) as InvariantsAnswer;
    if (data.map(({ id }) => id).join() !== 'I1,I2,I3,I4,I5,I6,I8')
      throw new Error(`checked only ${JSON.stringify(data)}`);
    if (data.some(({ verdict }) => verdict === 'in_motion')) return undefined;
    return data.filter(({ verdict }) => verdict !== 'holds').map((found) => JSON.stringify(found));
  });
}
