import '../e2e/outage.spec';
