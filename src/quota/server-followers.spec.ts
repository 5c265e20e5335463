import { Pool } from 'pg';
import { createTestDatabase, type TestDatabase } from '../../test/support/test-database';
import { testSettings } from '../../test/support/test-settings';
import type { Clock } from '../kernel/clock';
import { newId } from '../kernel/ids';
import { ProcessIdentity } from '../platform/process/process-identity';
import { ServerFollowers } from './server-followers';

const DEAD_AFTER_MS = 60_000;
const LOOK_EVERY_MS = 1_000;

class ManualClock implements Clock {
  readonly offsetMs = 0;
  private passedMs = 0;

  nowMs(): number {
    return this.passedMs;
  }

  monotonicMs(): number {
    return this.passedMs;
  }

  pass(ms: number): void {
    this.passedMs += ms;
  }
}

let database: TestDatabase;
let pool: Pool;
let clock: ManualClock;
let ours: ServerFollowers;
let theirs: ServerFollowers;
let theirId: string;

beforeEach(async () => {
  database = await createTestDatabase();
  pool = new Pool({ connectionString: database.url });
  clock = new ManualClock();
  const settings = testSettings({ processDeadMs: DEAD_AFTER_MS });
  const followers = (process: ProcessIdentity): ServerFollowers => new ServerFollowers(pool, process, settings, clock);
  const them = new ProcessIdentity();
  [ours, theirs, theirId] = [followers(new ProcessIdentity()), followers(them), them.id];
});
afterEach(async () => {
  await pool.end();
  await database.drop();
});

/** Whether any of the looks of that time found that nobody leads to the server any more. */
async function areGoneWithin(ms: number): Promise<boolean> {
  for (let passed = 0; passed < ms; passed += LOOK_EVERY_MS) {
    clock.pass(LOOK_EVERY_MS);
    if (await ours.areGone('server')) return true;
  }
  return false;
}

describe('the followers of a Redis server', () => {
  it('are gone where there are none but us, or the last one has left', async () => {
    await ours.follow('server');
    expect(await ours.areGone('server')).toBe(true);
    await theirs.follow('server');
    expect(await ours.areGone('server')).toBe(false);
    await theirs.leave();
    expect(await ours.areGone('server')).toBe(true);
  });

  it('are gone where they lead to another one now', async () => {
    await theirs.follow('server');
    await theirs.follow('another server');
    expect(await ours.areGone('server')).toBe(true);
    expect(await ours.areGone('another server')).toBe(false);
  });

  it('are gone when their beats have stood still for as long as makes a process dead, and no sooner', async () => {
    await theirs.follow('server');
    expect(await ours.areGone('server')).toBe(false);
    expect(await areGoneWithin(DEAD_AFTER_MS - LOOK_EVERY_MS)).toBe(false);
    expect(await areGoneWithin(LOOK_EVERY_MS)).toBe(true);
  });

  it('stay as long as one of them beats', async () => {
    await theirs.follow('server');
    for (let round = 0; round < 4; round += 1) {
      expect(await areGoneWithin(DEAD_AFTER_MS / 2)).toBe(false);
      await theirs.follow('server');
    }
  });

  it('have their whole time again after a gap in the looks: what kept us from looking may have kept them from beating', async () => {
    await theirs.follow('server');
    expect(await ours.areGone('server')).toBe(false);
    clock.pass(DEAD_AFTER_MS);
    expect(await ours.areGone('server')).toBe(false);
    expect(await areGoneWithin(DEAD_AFTER_MS - LOOK_EVERY_MS)).toBe(false);
  });

  it('are gone where they were declared dead, and their rows are forgotten', async () => {
    await theirs.follow('server');
    await pool.query(`insert into gateway_process (id, host, pid, oldest_open_id) values ($1, 'host', 1, $2)`, [
      theirId,
      newId(),
    ]);
    expect(await ours.areGone('server')).toBe(false);
    await ours.forgetDead();
    expect(await ours.areGone('server')).toBe(false);
    await pool.query(`update gateway_process set status = 'dead' where id = $1`, [theirId]);
    expect(await ours.areGone('server')).toBe(true);
    await ours.forgetDead();
    expect((await pool.query(`select from quota_follower`)).rowCount).toBe(0);
  });
});
