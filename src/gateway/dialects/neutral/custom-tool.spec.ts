import * as fc from 'fast-check';

import { argumentsOfInput, customToolDescription, inputOfArguments } from './custom-tool';

describe('a custom tool as a function', () => {
  it('gives back the input that it was given, whatever it is', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (input) => {
        expect(inputOfArguments(argumentsOfInput(input))).toBe(input);
      }),
    );
  });

  it.each(['{"input":7}', '[]', '{"inp', 'SELECT 1', ''])(
    'takes arguments of another shape for the input: %s',
    (args) => {
      expect(inputOfArguments(args)).toBe(args);
    },
  );

  it('tells its grammar in its description', () => {
    const tool = { type: 'custom', name: 'sql', path: 'tools[0]' } as const;
    const format = { type: 'grammar', syntax: 'regex', definition: 'SELECT .+' };
    const told = 'The input must match this regex grammar:\nSELECT .+';
    expect(customToolDescription({ ...tool, description: 'Reads', format })).toBe(`Reads\n\n${told}`);
    expect(customToolDescription({ ...tool, format: { type: 'grammar', grammar: format } })).toBe(told);
    expect(customToolDescription({ ...tool, description: 'Reads', format: { type: 'text' } })).toBe('Reads');
    expect(customToolDescription(tool)).toBeUndefined();
  });
});
