import { DatabaseError } from 'pg';
import { isContention, saysAway } from './sql-state';

function answered(code: string): DatabaseError {
  const error = new DatabaseError('refused', 0, 'error');
  error.code = code;
  return error;
}

describe('what Postgres says when it refuses', () => {
  it.each([
    ['08006', 'a connection failed'],
    ['53300', 'too many connections'],
    ['57P01', 'it is shut down'],
    ['25006', 'it can only be read: a failover'],
  ])('%s is about the server: %s', (code) => {
    expect(saysAway(answered(code))).toBe(true);
    expect(isContention(answered(code))).toBe(false);
  });

  it.each([
    ['23514', false],
    ['42501', false],
    ['25P02', false],
    ['55P03', true],
    ['40001', true],
  ])('%s is not about the server', (code, isOfOthers) => {
    expect(saysAway(answered(code))).toBe(false);
    expect(isContention(answered(code))).toBe(isOfOthers);
  });

  it('an error of a broken connection says nothing', () => {
    expect(saysAway(new Error('Connection terminated'))).toBe(false);
  });
});
