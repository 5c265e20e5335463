import { type LookupAddress, lookup as dnsLookup } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { Inject, Injectable } from '@nestjs/common';
import { buildConnector } from 'undici';
import { type Refusal, refuse } from '../kernel/errors';
import { Settings } from '../platform/config/settings';
import { judgeAddress } from './address-rules';

/** All addresses of a host name, as the operating system resolves it now. */
export type HostLookup = (
  hostname: string,
  callback: (error: Error | null, addresses: readonly LookupAddress[]) => void,
) => void;

/** DI token of a HostLookup. */
export const HOST_LOOKUP = Symbol('HostLookup');

export const systemLookup: HostLookup = (hostname, callback) => {
  dnsLookup(hostname, { all: true }, callback);
};

/** The connection was not made, because of where it would have gone. */
export class BlockedAddressError extends Error {
  override readonly name = 'BlockedAddressError';
}

const MAX_URL_CHARACTERS = 2048;

/** The form in which a base URL is stored and targets carry it: canonical host, no trailing slash. Takes a checked URL. */
export function normaliseBaseUrl(url: string): string {
  return new URL(url).href.replace(/\/+$/, '');
}

/**
 * Where upstreams may live (SSRF). Asked twice: when a provider is saved, and for every new connection against the
 * address that is connected to, because DNS may answer otherwise by then. A name counts as blocked as soon as one of its
 * addresses is.
 */
@Injectable()
export class BaseUrlPolicy {
  constructor(
    private readonly settings: Settings,
    @Inject(HOST_LOOKUP) private readonly lookup: HostLookup,
  ) {}

  /**
   * For a base URL about to be saved. Resolves to the refusal, or undefined when it may be saved. A name that does not
   * resolve now may be saved: the connection decides.
   */
  async check(text: string): Promise<Refusal | undefined> {
    const url = parseBaseUrl(text);
    if (typeof url === 'string') return invalid(url);
    const host = hostOf(url);
    if (isIP(host) !== 0) return this.isAllowed(host) ? undefined : invalid('points to an address that is not allowed');
    const addresses = await new Promise<readonly LookupAddress[]>((resolve) => {
      this.lookup(host, (error, found) => {
        resolve(error ? [] : found);
      });
    });
    return addresses.every(({ address }) => this.isAllowed(address))
      ? undefined
      : invalid('resolves to an address that is not allowed');
  }

  /** A connector for an undici Pool that refuses blocked addresses with BlockedAddressError, literal or resolved. */
  connector(connectTimeoutMs: number): buildConnector.connector {
    const connect = buildConnector({ timeout: connectTimeoutMs, allowH2: false, lookup: this.guardedLookup });
    return (options, callback) => {
      // A literal address is connected to without any lookup.
      if (isIP(options.hostname) !== 0 && !this.isAllowed(options.hostname)) {
        process.nextTick(callback, new BlockedAddressError(`${options.hostname} is not allowed`), null);
        return;
      }
      connect(options, callback);
    };
  }

  private isAllowed(address: string): boolean {
    const verdict = judgeAddress(address);
    return verdict === 'allowed' || (verdict === 'private' && this.settings.allowsPrivateUpstreams);
  }

  private readonly guardedLookup: LookupFunction = (hostname, options, callback) => {
    this.lookup(hostname, (error, found) => {
      if (error) {
        callback(error, '');
        return;
      }
      const blocked = found.find(({ address }) => !this.isAllowed(address));
      if (blocked) {
        callback(new BlockedAddressError(`${hostname} resolves to ${blocked.address}, which is not allowed`), '');
        return;
      }
      const wanted =
        options.family === 4 || options.family === 6 ? found.filter(({ family }) => family === options.family) : found;
      const [first] = wanted;
      if (!first) callback(new Error(`${hostname} has no address`), '');
      else if (options.all === true) callback(null, [...wanted]);
      else callback(null, first.address, first.family);
    });
  };
}

/** The URL, or what is wrong with it. */
function parseBaseUrl(text: string): URL | string {
  if (text.length > MAX_URL_CHARACTERS) return `is longer than ${MAX_URL_CHARACTERS} characters`;
  // The URL parser silently drops tabs and line breaks and turns backslashes round.
  if (/[\s\\\p{Cc}]/u.test(text)) return 'contains a blank, control character or backslash';
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url) return 'is not an absolute URL';
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return 'must be https or http';
  if (url.username !== '' || url.password !== '') return 'must not contain credentials';
  if (text.includes('?')) return 'must not have a query';
  if (text.includes('#')) return 'must not have a fragment';
  if (url.port === '0') return 'must not have port 0';
  return url;
}

function hostOf(url: URL): string {
  return url.hostname.startsWith('[') ? url.hostname.slice(1, -1) : url.hostname;
}

function invalid(reason: string): Refusal {
  return refuse('INVALID_REQUEST', { param: 'base_url', values: { reason } });
}
