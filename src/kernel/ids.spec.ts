import { floorOfId, floorOfTime, newId } from './ids';

describe('ids', () => {
  it('are distinct UUIDv7 in the order they were made, also over several refills of the random pool', () => {
    const ids = Array.from({ length: 2_000 }, newId);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.toSorted()).toEqual(ids);
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });

  it('sort at or after the floor of the time they were made at, and before a later one', () => {
    const before = floorOfTime(Date.now());
    const id = newId();
    expect(id >= before).toBe(true);
    expect(id < floorOfTime(Date.now() + 1)).toBe(true);
    expect(floorOfId(id) <= id && floorOfId(id) >= before).toBe(true);
  });
});
