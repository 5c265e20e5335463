import '../e2e/crash-offsets.spec';
