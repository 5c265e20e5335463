import 'reflect-metadata';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type LookupAddress } from 'node:dns';
import { Pool } from 'undici';
import { Settings } from '../platform/config/settings';
import { type AddressVerdict, judgeAddress } from './address-rules';
import { BaseUrlPolicy, BlockedAddressError, normaliseBaseUrl } from './base-url-policy';

const ADDRESSES: readonly (readonly [address: string, verdict: AddressVerdict])[] = [
  ['1.1.1.1', 'allowed'],
  ['8.8.8.8', 'allowed'],
  ['104.18.6.192', 'allowed'],
  ['172.15.255.255', 'allowed'],
  ['172.32.0.0', 'allowed'],
  ['100.63.255.255', 'allowed'],
  ['100.128.0.0', 'allowed'],
  ['192.167.255.255', 'allowed'],
  ['223.255.255.255', 'allowed'],
  ['2606:4700::6810:6c0', 'allowed'],
  ['2a00:1450:4001::200e', 'allowed'],
  ['3000::1', 'allowed'],
  ['127.0.0.1', 'private'],
  ['127.255.255.254', 'private'],
  ['10.0.0.0', 'private'],
  ['10.255.255.255', 'private'],
  ['172.16.0.1', 'private'],
  ['172.31.255.255', 'private'],
  ['192.168.0.1', 'private'],
  ['192.168.255.255', 'private'],
  ['169.254.0.1', 'private'],
  ['169.254.255.255', 'private'],
  ['100.64.0.1', 'private'],
  ['100.127.255.255', 'private'],
  ['192.0.0.1', 'private'],
  ['192.0.2.1', 'private'],
  ['192.88.99.1', 'private'],
  ['198.18.0.1', 'private'],
  ['198.19.255.255', 'private'],
  ['198.51.100.1', 'private'],
  ['203.0.113.1', 'private'],
  ['240.0.0.1', 'private'],
  ['255.255.255.254', 'private'],
  ['::1', 'private'],
  ['fc00::1', 'private'],
  ['fdff:ffff::1', 'private'],
  ['fe80::1', 'private'],
  ['febf::1', 'private'],
  ['fec0::1', 'private'],
  ['100::1', 'private'],
  ['2001:db8::1', 'private'],
  ['3fff::1', 'private'],
  ['5f00::1', 'private'],
  ['4000::1', 'private'],
  ['::7f00:1', 'private'],
  ['::ffff:127.0.0.1', 'private'],
  ['::ffff:7f00:1', 'private'],
  ['::ffff:10.0.0.1', 'private'],
  ['::ffff:8.8.8.8', 'private'],
  ['::ffff:0:127.0.0.1', 'private'],
  ['64:ff9b::127.0.0.1', 'private'],
  ['64:ff9b::8.8.8.8', 'private'],
  ['64:ff9b:1::10.0.0.1', 'private'],
  ['2002:7f00:1::', 'private'],
  ['2002:808:808::1', 'private'],
  ['2001:0:4136:e378:8000:63bf:80ff:fffe', 'private'],
  ['2001:2::1', 'private'],
  ['0.0.0.0', 'forbidden'],
  ['0.1.2.3', 'forbidden'],
  ['224.0.0.1', 'forbidden'],
  ['239.255.255.255', 'forbidden'],
  ['255.255.255.255', 'forbidden'],
  ['169.254.169.254', 'forbidden'],
  ['169.254.170.2', 'forbidden'],
  ['168.63.129.16', 'forbidden'],
  ['100.100.100.200', 'forbidden'],
  ['fd00:ec2::254', 'forbidden'],
  ['::', 'forbidden'],
  ['ff02::1', 'forbidden'],
  ['::ffff:0.0.0.0', 'forbidden'],
  ['::ffff:224.0.0.1', 'forbidden'],
  ['::ffff:169.254.169.254', 'forbidden'],
  ['::169.254.169.254', 'forbidden'],
  ['64:ff9b::169.254.169.254', 'forbidden'],
  ['2002:a9fe:a9fe::1', 'forbidden'],
  ['2001:0:4136:e378:8000:63bf:5601:5601', 'forbidden'],
  ['not-an-address', 'forbidden'],
  ['', 'forbidden'],
];

const addressesOf = (...addresses: string[]): LookupAddress[] =>
  addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));

function policy(allowPrivate: boolean, names: Record<string, LookupAddress[]> = {}): BaseUrlPolicy {
  const settings = Object.assign(new Settings(), { upstreamAllowPrivate: allowPrivate });
  return new BaseUrlPolicy(settings, (hostname, callback) => {
    const found = names[hostname];
    callback(found ? null : new Error('ENOTFOUND'), found ?? []);
  });
}

describe('judgeAddress', () => {
  it.each(ADDRESSES)('%s is %s', (address, verdict) => {
    expect(judgeAddress(address)).toBe(verdict);
  });
});

describe('BaseUrlPolicy on save', () => {
  it.each(ADDRESSES.filter(([address]) => /^[\d.:a-f]{2,}$/.test(address)))(
    'a URL with the literal %s (%s) is refused as the table says',
    async (address, verdict) => {
      const url = `https://${address.includes(':') ? `[${address}]` : address}/v1`;
      expect(await policy(false).check(url)).toEqual(
        verdict === 'allowed' ? undefined : expect.objectContaining({ code: 'INVALID_REQUEST', param: 'base_url' }),
      );
      expect((await policy(true).check(url)) === undefined).toBe(verdict !== 'forbidden');
    },
  );

  it.each([
    'http://2130706433/',
    'http://0x7f000001/',
    'http://0177.0.0.1/',
    'http://0x7f.1/',
    'http://127.1/',
    'http://017700000001/',
    'http://127.0.0.1./',
    'http://①②⑦.0.0.1/',
    'http://0xa9fea9fe/',
    'http://[::ffff:7f00:1]:8080/v1',
  ])('an address written as %s is seen through', async (url) => {
    expect(await policy(false).check(url)).toMatchObject({ param: 'base_url' });
  });

  it.each([
    ['ftp://api.example.com', 'https or http'],
    ['file:///etc/passwd', 'https or http'],
    ['api.example.com/v1', 'absolute'],
    ['https://', 'absolute'],
    ['https://user:secret@api.example.com', 'credentials'],
    ['https://user@api.example.com', 'credentials'],
    ['https://api.example.com/v1?key=1', 'query'],
    ['https://api.example.com/v1?', 'query'],
    ['https://api.example.com/v1#x', 'fragment'],
    ['https://api.example.com/v1#', 'fragment'],
    ['https://api.example.com\\@127.0.0.1/', 'backslash'],
    ['https://api.exam\tple.com/', 'blank'],
    [' https://api.example.com/', 'blank'],
    ['https://api.example.com:0/', 'port'],
    ['https://api.example.com:70000/', 'absolute'],
    [`https://api.example.com/${'a'.repeat(2048)}`, 'longer'],
  ])('%s is refused', async (url, reason) => {
    const refusal = await policy(true, { 'api.example.com': addressesOf('1.1.1.1') }).check(url);
    expect([refusal?.code, refusal?.param]).toEqual(['INVALID_REQUEST', 'base_url']);
    expect(refusal?.values?.reason).toContain(reason);
    expect(JSON.stringify(refusal)).not.toContain('secret');
  });

  it('a name is judged by every address it has', async () => {
    const names = {
      'public.example': addressesOf('1.1.1.1', '2606:4700::1'),
      'mixed.example': addressesOf('1.1.1.1', '10.0.0.1'),
      localhost: addressesOf('::1', '127.0.0.1'),
    };
    expect(await policy(false, names).check('https://public.example/v1')).toBeUndefined();
    expect(await policy(false, names).check('https://mixed.example/v1')).toMatchObject({ param: 'base_url' });
    expect(await policy(false, names).check('http://localhost:11434/v1')).toMatchObject({ param: 'base_url' });
    expect(await policy(true, names).check('http://localhost:11434/v1')).toBeUndefined();
  });

  it('a name that does not resolve yet may be saved', async () => {
    expect(await policy(false).check('https://later.example/v1')).toBeUndefined();
  });

  it('stores the canonical form without a trailing slash', () => {
    expect(normaliseBaseUrl('https://API.Example.com:443/v1//')).toBe('https://api.example.com/v1');
    expect(normaliseBaseUrl('http://0x7f.1:80')).toBe('http://127.0.0.1');
  });
});

describe('BaseUrlPolicy on connect', () => {
  let server: Server;
  let port: number;
  let requests = 0;

  beforeAll(async () => {
    server = createServer((_request, response) => {
      requests += 1;
      response.end('served');
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    port = (server.address() as AddressInfo).port;
  });
  afterAll(() => server.close());
  beforeEach(() => {
    requests = 0;
  });

  async function get(guard: BaseUrlPolicy, host: string): Promise<string> {
    const pool = new Pool(`http://${host}:${port}`, { connect: guard.connector(2_000) });
    try {
      return await (await pool.request({ method: 'GET', path: '/' })).body.text();
    } finally {
      await pool.destroy();
    }
  }

  it('refuses a literal private address without opening a connection', async () => {
    await expect(get(policy(false), '127.0.0.1')).rejects.toThrow(BlockedAddressError);
    await expect(get(policy(false), '[::ffff:7f00:1]')).rejects.toThrow(BlockedAddressError);
    expect(requests).toBe(0);
  });

  it('refuses a name that was public when it was saved and now resolves to a private address', async () => {
    const names = { 'rebound.example': addressesOf('1.1.1.1') };
    const guard = policy(false, names);
    expect(await guard.check(`http://rebound.example:${port}`)).toBeUndefined();
    names['rebound.example'] = addressesOf('127.0.0.1');
    await expect(get(guard, 'rebound.example')).rejects.toThrow(BlockedAddressError);
    names['rebound.example'] = addressesOf('1.1.1.1', '127.0.0.1');
    await expect(get(guard, 'rebound.example')).rejects.toThrow(BlockedAddressError);
    expect(requests).toBe(0);
  });

  it('connects to a private address where the deployment allows it', async () => {
    await expect(get(policy(true), '127.0.0.1')).resolves.toBe('served');
    await expect(get(policy(true, { 'sim.example': addressesOf('127.0.0.1') }), 'sim.example')).resolves.toBe('served');
  });

  it('refuses metadata and unspecified addresses even there', async () => {
    await expect(get(policy(true), '169.254.169.254')).rejects.toThrow(BlockedAddressError);
    await expect(get(policy(true), '0.0.0.0')).rejects.toThrow(BlockedAddressError);
    await expect(get(policy(true, { 'x.example': addressesOf('0.0.0.0') }), 'x.example')).rejects.toThrow(
      BlockedAddressError,
    );
    expect(requests).toBe(0);
  });
});
