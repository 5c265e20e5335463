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

  it.each([
    [
      refuse('QUOTA_BUDGET_EXCEEDED', { values: { limit: '5.000000000', used: '4.999000000' } }),
      'The budget of this API key does not cover this request: 4.999000000 of 5.000000000 USD are used. ' +
        'Ask for a larger budget, ask for fewer output tokens, or use another key.',
      '此 API 密钥的预算不足以支付本次请求：已用 4.999000000/5.000000000 美元。请申请提高预算、调低最大输出 token 数，或改用其他密钥。',
    ],
    [
      refuse('WEEKLY_LIMIT_EXCEEDED', {
        values: { limit: '5.000000000', used: '5.000000000' },
        windowResetsAt: new Date('2026-11-23T00:00:00Z'),
      }),
      'What the subscription pays a week does not cover this request: 5.000000000 of 5.000000000 USD. ' +
        'The count starts anew at 2026-11-23T00:00:00.000Z.',
      '订阅的每周额度不足以支付本次请求：5.000000000/5.000000000 美元。将于 2026-11-23T00:00:00.000Z 重置。',
    ],
    [
      refuse('TENANT_TPM_EXCEEDED', { values: { limit: 1_000, used: 900 } }),
      "The account's tokens a minute do not suffice for this request: 900 of 1000 are used.",
      '账户已达每分钟 token 数上限，本次请求无法容纳：已用 900/1000。',
    ],
  ])('names limit, use and reset of $code', (refusal, english, chinese) => {
    expect(renderMessage(refusal, 'en-US')).toBe(english);
    expect(renderMessage(refusal, 'zh-CN')).toBe(chinese);
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
