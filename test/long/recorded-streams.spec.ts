import '../../src/gateway/stream/recorded-streams.spec';
