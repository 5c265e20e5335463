/** Always started through `npm test` (Node 24 with --experimental-vm-modules: Nest 12 is pure ESM). */
module.exports = {
  rootDir: '.',
  // A worker that a large spec has left heavy makes whoever collects garbage in it wait for minutes.
  workerIdleMemoryLimit: '600MB',
  testEnvironment: 'node',
  testRegex: '(src|test)/.*\\.spec\\.ts$',
  testPathIgnorePatterns: ['/node_modules/', '/dist/', '/.data/', ...(process.env.TEST_LONG ? [] : ['/test/long/'])],
  modulePathIgnorePatterns: ['<rootDir>/dist/', '<rootDir>/.data/'],
  moduleFileExtensions: ['ts', 'js', 'json'],
  transform: { '^.+\\.ts$': ['ts-jest', { tsconfig: 'tsconfig.json', diagnostics: false }] },
  globalSetup: '<rootDir>/test/support/global-setup.ts',
  globalTeardown: '<rootDir>/test/support/global-teardown.ts',
  reporters: ['default', '<rootDir>/test/support/result-reporter.cjs'],
  testTimeout: 30_000,
  maxWorkers: 2,
  coverageProvider: 'v8',
};
