import '../e2e/bad-input-fuzz.spec';
