import '../e2e/contention.spec';
