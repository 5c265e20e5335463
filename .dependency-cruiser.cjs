/**
 * Import boundaries (see README, "The house"): imports point down
 * gateway, admin, sync, health → feature modules → platform → kernel; no cycles; no barrel files.
 */
const features = '(auth|catalogue|quota|billing|routing|upstreams)';

module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    { name: 'no-barrels', severity: 'error', from: {}, to: { path: '^(src|test)/.*/index\\.ts$' } },
    {
      name: 'kernel-stands-alone',
      comment: 'The kernel is pure: no Nest, no I/O, nothing above it.',
      severity: 'error',
      from: { path: '^src/kernel/', pathNot: '\\.spec\\.ts$' },
      to: { pathNot: ['^src/kernel/', '^node_modules/uuid/', '^(node:)?(crypto|assert|util)$'] },
    },
    {
      name: 'platform-below-features',
      severity: 'error',
      from: { path: '^src/platform/' },
      to: { path: `^src/(${features}|gateway|admin|sync|health)/` },
    },
    {
      name: 'features-below-edges',
      severity: 'error',
      from: { path: `^src/${features}/` },
      to: { path: '^src/(gateway|admin|sync|health)/' },
    },
    {
      name: 'quota-never-knows-billing',
      severity: 'error',
      from: { path: '^src/quota/' },
      to: { path: '^src/billing/' },
    },
    {
      name: 'catalogue-is-pure-prices',
      severity: 'error',
      from: { path: '^src/catalogue/' },
      to: { path: '^src/(auth|quota|billing|routing|upstreams)/' },
    },
    {
      name: 'product-never-imports-tests',
      comment: 'The simulator is started as a program of its own by the demo, never imported.',
      severity: 'error',
      from: { path: '^(src|migrations)/', pathNot: '\\.spec\\.ts$' },
      to: { path: '^test/' },
    },
    {
      name: 'no-dev-dependencies-in-product',
      severity: 'error',
      from: { path: '^(src|migrations)/', pathNot: '\\.spec\\.ts$' },
      to: { dependencyTypes: ['npm-dev'] },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { conditionNames: ['import', 'require', 'node', 'default'], exportsFields: ['exports'] },
  },
};
