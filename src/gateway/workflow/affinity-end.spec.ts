import type { RoutableUpstream } from '../../upstreams/upstream-directory';
import type { AffinityEnd } from '../../routing/affinity/affinity';
import { affinityEndOf } from './affinity-end';
import { Attempt } from './attempt';

function attempt(upstreamId: string, outcome: string, facts: { fault?: boolean; served?: boolean } = {}): Attempt {
  return new Attempt({
    upstream: { target: { upstreamId } } as RoutableUpstream,
    status: null,
    outcome,
    isUpstreamFault: facts.fault ?? false,
    isServed: facts.served ?? false,
    ttftMs: null,
    durationMs: 1,
    usage: undefined,
  });
}

const failed = (id: string): Attempt => attempt(id, '503', { fault: true });
const answered = (id: string, how = 'complete'): Attempt => attempt(id, how, { served: true });
const broken = (id: string): Attempt => attempt(id, 'upstream_broke', { served: true, fault: true });

const ANSWERED_BY = (upstreamId: string): AffinityEnd => ({ kind: 'answered', upstreamId });
const A_FAILED: AffinityEnd = { kind: 'failed', upstreamId: 'a' };

describe('what a call tells its session, whose upstream is a', () => {
  it.each<[string, readonly Attempt[], AffinityEnd | undefined]>([
    ['its upstream answered', [answered('a')], ANSWERED_BY('a')],
    ['it answered whole', [answered('a', '200')], ANSWERED_BY('a')],
    ['the client left and the answer was read all the same', [answered('a', 'client_left_drained')], ANSWERED_BY('a')],
    ['the guard cut what it said well', [answered('a', 'guard_cut')], ANSWERED_BY('a')],
    ['another answered after it failed', [failed('a'), answered('b')], ANSWERED_BY('b')],
    ['the third answered', [failed('a'), failed('b'), answered('c')], ANSWERED_BY('c')],
    ['everybody failed', [failed('a'), failed('b')], A_FAILED],
    ['its stream broke', [broken('a')], A_FAILED],
    ['it failed and the next one’s stream broke', [failed('a'), broken('b')], A_FAILED],
    ['it failed and the next one found fault with the caller', [failed('a'), attempt('b', '400')], A_FAILED],
    ['it failed and the client left the next one', [failed('a'), answered('b', 'client_left')], A_FAILED],
    ['the caller was at fault', [attempt('a', '400')], undefined],
    ['the client left', [answered('a', 'client_left')], undefined],
    ['we broke the stream off', [answered('a', 'cut_by_shutdown')], undefined],
    ['we gave the call up', [attempt('a', 'CLIENT_CLOSED_REQUEST')], undefined],
    ['it was never asked', [answered('b')], undefined],
    ['nobody was asked', [], undefined],
  ])('%s', (_what, attempts, end) => {
    expect(affinityEndOf('a', attempts)).toEqual(end);
  });
});
