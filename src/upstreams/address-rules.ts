import ipaddr from 'ipaddr.js';

/**
 * Which addresses an upstream may have (SSRF). Where private addresses are allowed, only those stay refused that no
 * upstream can have: unspecified, multicast, broadcast, and the clouds' metadata services.
 */
export type AddressVerdict = 'allowed' | 'private' | 'forbidden';

/** Credentials of the machine itself are served here; some of these lie in ranges that count as public. */
const METADATA_ADDRESSES = new Set([
  '169.254.169.254', // AWS, GCP, Azure, and most others
  '169.254.170.2', // AWS ECS task credentials
  '169.254.170.23', // AWS EKS pod identity
  '168.63.129.16', // Azure wire server
  '100.100.100.200', // Alibaba
  '192.0.0.192', // Oracle
  'fd00:ec2::254', // AWS
  'fd00:ec2::23', // AWS EKS pod identity
  'fd20:ce::254', // GCP
]);

const GLOBAL_UNICAST = ipaddr.IPv6.parseCIDR('2000::/3');

/** Takes an IP address as `net.isIP` understands it; anything else is forbidden. */
export function judgeAddress(address: string): AddressVerdict {
  if (!ipaddr.isValid(address)) return 'forbidden';
  const parsed = ipaddr.parse(address);
  return parsed instanceof ipaddr.IPv4 ? judgeIpv4(parsed) : judgeIpv6(parsed);
}

function judgeIpv4(address: ipaddr.IPv4): AddressVerdict {
  if (METADATA_ADDRESSES.has(address.toString())) return 'forbidden';
  const range = address.range();
  if (range === 'unicast') return 'allowed';
  return range === 'unspecified' || range === 'multicast' || range === 'broadcast' ? 'forbidden' : 'private';
}

/**
 * Only global unicast (2000::/3) outside every special range is public. An IPv4 address inside (mapped, compatible,
 * 6to4, NAT64, Teredo) is never allowed as such, since whoever translates it reaches the inner one; it is at best private.
 */
function judgeIpv6(address: ipaddr.IPv6): AddressVerdict {
  if (METADATA_ADDRESSES.has(address.toString())) return 'forbidden';
  const range = address.range();
  if (range === 'unspecified' || range === 'multicast') return 'forbidden';
  if (range === 'loopback') return 'private';
  const inner = embeddedIpv4(address);
  if (inner) return judgeIpv4(inner) === 'forbidden' ? 'forbidden' : 'private';
  return range === 'unicast' && address.match(GLOBAL_UNICAST) ? 'allowed' : 'private';
}

function embeddedIpv4(address: ipaddr.IPv6): ipaddr.IPv4 | undefined {
  const bytes = address.toByteArray();
  const last = bytes.slice(12);
  // ::a.b.c.d (compatible), ::ffff:a.b.c.d (mapped), ::ffff:0:a.b.c.d (translated), 64:ff9b::a.b.c.d (NAT64)
  if (bytes.slice(0, 8).every((byte) => byte === 0) || address.range() === 'rfc6052') return new ipaddr.IPv4(last);
  if (address.range() === '6to4') return new ipaddr.IPv4(bytes.slice(2, 6));
  if (address.range() === 'teredo') return new ipaddr.IPv4(last.map((byte) => byte ^ 0xff));
  return undefined;
}
