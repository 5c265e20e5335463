import { extractApiKey } from './credentials';

const A = 'sk-tg-aaaaaaaaaaaaaaaa';
const B = 'sk-tg-bbbbbbbbbbbbbbbb';

describe('the API key of a request', () => {
  it('is found in either header on every route', () => {
    expect(extractApiKey({ authorization: `Bearer ${A}` })).toBe(A);
    expect(extractApiKey({ authorization: `bearer  ${A} ` })).toBe(A);
    expect(extractApiKey({ 'x-api-key': A })).toBe(A);
  });

  it('is the first one of ours where both headers are sent', () => {
    expect(extractApiKey({ authorization: `Bearer ${A}`, 'x-api-key': B })).toBe(A);
    expect(extractApiKey({ authorization: 'Bearer sk-ant-placeholder', 'x-api-key': B })).toBe(B);
    expect(extractApiKey({ authorization: `Bearer ${A}`, 'x-api-key': 'placeholder' })).toBe(A);
  });

  it.each([
    {},
    { authorization: A },
    { authorization: `Basic ${A}` },
    { authorization: 'Bearer ' },
    { authorization: `Bearer ${A} ${B}` },
    { authorization: 'Bearer sk-other' },
    { 'x-api-key': '' },
    { 'x-api-key': ` ${A}` },
    { 'x-api-key': `sk-tg-${'x'.repeat(300)}` },
    { authorization: `Bearer sk-tg-${'x'.repeat(300)}` },
  ])('is missing in %j', (headers) => {
    expect(extractApiKey(headers)).toBeUndefined();
  });
});
