import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { startTestRedis } from '../support/test-redis';
import { PROJECT_FOLDER } from '../support/test-root';
import { plantedBugs, withBug } from './planted-bugs';
import { TypeChecker } from './type-errors';

const BUGS = plantedBugs();
/** The product, of which the tests run nothing else. */
const PRODUCT = /^(?:src\/.+\.ts|migrations\/.+\.ts|redis-scripts\/.+\.lua)$/;

/** That the suite catches them takes minutes: see test/long/planted-bugs.spec.ts. Here they must not rot. */
describe('the planted bugs', () => {
  it('are a dozen at least, numbered without a gap', () => {
    const numbers = BUGS.map(({ name }) => Number(/^(\d\d)-[a-z0-9-]+$/.exec(name)?.[1]));
    expect(numbers).toEqual(BUGS.map((_, at) => at + 1));
    expect(BUGS.length).toBeGreaterThanOrEqual(12);
  });

  describe.each(BUGS)('$name', (bug) => {
    it('says what it breaks and what that costs, in sentences', () => {
      for (const text of [bug.breaks, bug.costs]) expect(text).toMatch(/^[A-Z].{40,}\.$/);
    });

    it('names a test file that is there', () => {
      expect(bug.caughtBy.path).toMatch(/\.spec\.ts$/);
      expect(existsSync(join(PROJECT_FOLDER, bug.caughtBy.path))).toBe(true);
    });

    it('is not in the product, and would change it', () => {
      for (const [path, text] of withBug(bug)) {
        expect(path).toMatch(PRODUCT);
        expect(text).not.toBe(readFileSync(join(PROJECT_FOLDER, path), 'utf8'));
      }
    });
  });

  it('would pass the type check', () => {
    const checker = new TypeChecker();
    for (const bug of BUGS) {
      const changed = new Map([...withBug(bug)].filter(([path]) => path.endsWith('.ts')));
      if (changed.size > 0) expect({ [bug.name]: checker.errorsIn(changed) }).toEqual({ [bug.name]: [] });
    }
  }, 120_000);

  it('would be taken by Redis', async () => {
    const server = await startTestRedis();
    const redis = new Redis(server.url);
    try {
      for (const bug of BUGS) {
        for (const [path, text] of withBug(bug)) {
          if (path.endsWith('.lua')) expect(await redis.script('LOAD', text)).toMatch(/^[0-9a-f]{40}$/);
        }
      }
    } finally {
      redis.disconnect();
      await server.stop();
    }
  });
});
