import '../e2e/recorded-streams.spec';
