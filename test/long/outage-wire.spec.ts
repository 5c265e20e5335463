import '../e2e/outage-wire.spec';
