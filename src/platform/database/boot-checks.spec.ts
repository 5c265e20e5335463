import { Client } from 'pg';
import { testState } from '../../../test/support/test-state';
import { BootError } from '../config/boot-error';
import { refuseUnsafePostgres, refuseUnsafeSettings } from './boot-checks';

const safe = { version: '15.3', version_num: '150003', fsync: 'on', synchronous_commit: 'on' };

describe('the checks before boot', () => {
  it('accept a Postgres that keeps what it commits', () => {
    expect(() => {
      refuseUnsafeSettings(safe, 'production');
    }).not.toThrow();
    expect(() => {
      refuseUnsafeSettings({ ...safe, synchronous_commit: 'remote_apply' }, 'production');
    }).not.toThrow();
  });

  it.each([
    [{ ...safe, fsync: 'off' }, 'fsync = off:'],
    [{ ...safe, synchronous_commit: 'off' }, 'synchronous_commit = off:'],
    [{ ...safe, fsync: 'off', synchronous_commit: 'off' }, 'fsync = off and synchronous_commit = off:'],
  ])('refuse one that may lose committed money: %j', (server, message) => {
    expect(() => {
      refuseUnsafeSettings(server, 'production');
    }).toThrow(message);
    expect(() => {
      refuseUnsafeSettings(server, 'development');
    }).toThrow(BootError);
    expect(() => {
      refuseUnsafeSettings(server, 'test');
    }).not.toThrow();
  });

  it('refuse one that is too old, in tests too', () => {
    expect(() => {
      refuseUnsafeSettings({ ...safe, version: '14.11', version_num: '140011' }, 'test');
    }).toThrow('Postgres 15 or newer is needed, this one is 14.11');
  });

  it('read the settings of the server itself: that of the tests runs without fsync', async () => {
    const client = new Client({ connectionString: testState().serverUrl });
    await client.connect();
    try {
      await expect(refuseUnsafePostgres(client, 'production')).rejects.toThrow('fsync = off');
      await expect(refuseUnsafePostgres(client, 'test')).resolves.toBeUndefined();
    } finally {
      await client.end();
    }
  });
});
