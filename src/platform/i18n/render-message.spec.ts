import { ERROR_SPECS, refuse, type ErrorCode } from '../../kernel/errors';
import { LOCALES, MESSAGES } from './messages';
import { localeOf, renderMessage } from './render-message';

describe('renderMessage', () => {
  it('fills in what the refusal names', () => {
    const refusal = refuse('QUOTA_DAILY_EXCEEDED', {
      values: { used: 1000, limit: 1000 },
      windowResetsAt: new Date('2026-11-22T00:00:00Z'),
    });
    expect(renderMessage(refusal, 'en-US')).toBe(
      "The day's requests are used up: 1000 of 1000. The count starts anew at 2026-11-22T00:00:00.000Z.",
    );
    expect(renderMessage(refusal, 'zh-CN')).toBe('今日请求次数已用完：1000/1000。将于 2026-11-22T00:00:00.000Z 重置。');
  });

  it('names the field and the reason', () => {
    const refusal = refuse('INVALID_REQUEST', { param: 'messages[0].content', values: { reason: 'must be a string' } });
    expect(renderMessage(refusal, 'en-US')).toBe(
      "The request is not valid, see 'messages[0].content': must be a string.",
    );
  });

  it.each(Object.keys(ERROR_SPECS) as ErrorCode[])('%s reads as a sentence with no values at all', (code) => {
    for (const locale of LOCALES) {
      const message = renderMessage(refuse(code), locale);
      expect(message).toMatch(/[.。]$/);
      expect(message).not.toMatch(/[{}[\]]|undefined/);
    }
  });

  it('has no placeholder outside an optional part', () => {
    for (const templates of Object.values(MESSAGES)) {
      for (const template of Object.values(templates)) expect(template.replace(/\[[^\]]*\]/g, '')).not.toMatch(/[{}]/);
    }
  });

  it('does not read placeholders or dollar signs in what a caller sent', () => {
    const refusal = refuse('MODEL_NOT_FOUND', { values: { model: '{param} $& [x]' } });
    expect(renderMessage(refusal, 'en-US')).toContain("The model '{param} $& [x]' does not exist");
  });

  it('shortens what a caller sent', () => {
    const refusal = refuse('MODEL_NOT_FOUND', { values: { model: 'x'.repeat(100_000) } });
    expect(renderMessage(refusal, 'en-US').length).toBeLessThan(500);
  });
});

describe('localeOf', () => {
  it.each([
    [undefined, 'en-US'],
    ['', 'en-US'],
    ['zh-CN,zh;q=0.9,en;q=0.8', 'zh-CN'],
    ['zh-TW', 'zh-CN'],
    ['en-GB, zh;q=0.5', 'en-US'],
    ['en;q=0.1, zh;q=0.9', 'zh-CN'],
    ['de, fr;q=0.9, zh;q=0.2', 'zh-CN'],
    ['zh;q=0, en', 'en-US'],
    ['*', 'en-US'],
    [';;;,,q=', 'en-US'],
  ])('%s is answered in %s', (header, locale) => {
    expect(localeOf(header)).toBe(locale);
  });
});
