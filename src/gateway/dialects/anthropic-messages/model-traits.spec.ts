import { traitsOf } from './model-traits';

describe('traits of a model', () => {
  it.each([
    ['claude-3-5-sonnet-20241022', 'budget'],
    ['claude-3-7-sonnet-latest', 'budget'],
    ['claude-opus-4-20250514', 'budget'],
    ['claude-sonnet-4-5-20250929', 'budget schemas'],
    ['claude-opus-4-1-20250805', 'budget schemas'],
    ['anthropic/claude-sonnet-4.6', 'adaptive schemas'],
    ['claude-opus-4-7', 'adaptive xhigh schemas'],
    ['anthropic.claude-opus-4-8-v1:0', 'adaptive xhigh system schemas'],
    ['claude-sonnet-5-20260601', 'adaptive xhigh system schemas'],
    ['claude-mythos-preview', 'adaptive xhigh system schemas'],
    ['our-own-name', 'budget schemas'],
  ])('of %s: %s', (model, traits) => {
    const { thinksAdaptively, knowsXhighEffort, takesSystemMessages, holdsToSchemas } = traitsOf(model);
    const said = [
      thinksAdaptively ? 'adaptive' : 'budget',
      knowsXhighEffort ? 'xhigh' : '',
      takesSystemMessages ? 'system' : '',
      holdsToSchemas ? 'schemas' : '',
    ];
    expect(said.filter(Boolean).join(' ')).toBe(traits);
  });
});
