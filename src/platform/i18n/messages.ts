import type { ErrorCode } from '../../kernel/errors';

export const LOCALES = ['en-US', 'zh-CN'] as const;
export type Locale = (typeof LOCALES)[number];

/**
 * What a caller reads: what was wrong, what the limit is, what to do. `{name}` is a value of the refusal (or its
 * `param`, `resets_at`, `retry_after_seconds`); a part in `[square brackets]` is left out when one of its values is
 * missing. A message never depends on a value outside brackets.
 */
export const MESSAGES: Readonly<Record<ErrorCode, Readonly<Record<Locale, string>>>> = {
  INVALID_REQUEST: {
    'en-US': "The request is not valid[, see '{param}'][: {reason}].",
    'zh-CN': '请求无效[：字段“{param}”][：{reason}]。',
  },
  MODEL_NOT_PRICED: {
    'en-US':
      "The model[ '{model}'] has no price, so it cannot be billed. Ask the operator to set one, or use another model.",
    'zh-CN': '模型[“{model}”]尚未定价，无法计费。请联系运营方设置价格，或改用其他模型。',
  },
  INVALID_API_KEY: {
    'en-US': "The API key is missing or not valid. Send it as 'Authorization: Bearer sk-tg-…' or 'x-api-key: sk-tg-…'.",
    'zh-CN': 'API 密钥缺失或无效。请使用“Authorization: Bearer sk-tg-…”或“x-api-key: sk-tg-…”请求头。',
  },
  API_KEY_REVOKED: {
    'en-US': 'This API key was revoked. Use another key.',
    'zh-CN': '此 API 密钥已被吊销，请使用其他密钥。',
  },
  API_KEY_EXPIRED: {
    'en-US': 'This API key has expired. Use another key.',
    'zh-CN': '此 API 密钥已过期，请使用其他密钥。',
  },
  ADMIN_TOKEN_INVALID: {
    'en-US': "The admin token is missing or not valid. Send it as 'Authorization: Bearer <ADMIN_TOKEN>'.",
    'zh-CN': '管理令牌缺失或无效。请使用“Authorization: Bearer <ADMIN_TOKEN>”请求头。',
  },
  QUOTA_BALANCE_EXCEEDED: {
    'en-US':
      'The balance does not cover this request[: it may cost up to {needed} USD and {available} USD are available]. ' +
      'Top up, or ask for fewer output tokens.',
    'zh-CN':
      '余额不足以支付本次请求[：最多可能花费 {needed} 美元，可用 {available} 美元]。请充值，或调低最大输出 token 数。',
  },
  QUOTA_BUDGET_EXCEEDED: {
    'en-US':
      'The budget of this API key does not cover this request[: {used} of {limit} USD are used]. Ask for a larger budget, ask for fewer output tokens, or use another key.',
    'zh-CN':
      '此 API 密钥的预算不足以支付本次请求[：已用 {used}/{limit} 美元]。请申请提高预算、调低最大输出 token 数，或改用其他密钥。',
  },
  TENANT_NOT_ACTIVE: {
    'en-US': 'This account is suspended or closed. Contact the operator.',
    'zh-CN': '此账户已被停用或关闭，请联系运营方。',
  },
  USER_NOT_ACTIVE: {
    'en-US': 'The user this API key was given to is suspended. Contact the operator.',
    'zh-CN': '此 API 密钥所属的用户已被停用，请联系运营方。',
  },
  SUBSCRIPTION_INVALID: {
    'en-US':
      'The subscription that pays for this API key is missing, not active, has not begun or has ended. Renew it, or use another key.',
    'zh-CN': '为此 API 密钥付费的订阅不存在、未激活、尚未开始或已到期。请续订，或改用其他密钥。',
  },
  MODEL_NOT_ALLOWED: {
    'en-US': "This API key may not use the model[ '{model}']. Use an allowed model, or another key.",
    'zh-CN': '此 API 密钥无权使用模型[“{model}”]。请使用允许的模型或其他密钥。',
  },
  NOT_FOUND: {
    'en-US': 'There is nothing here[: {what}]. Check the path and the id.',
    'zh-CN': '未找到所请求的内容[：{what}]。请检查路径和 ID。',
  },
  MODEL_NOT_FOUND: {
    'en-US': "The model[ '{model}'] does not exist. GET /v1/models lists the models there are.",
    'zh-CN': '模型[“{model}”]不存在。可用模型请见 GET /v1/models。',
  },
  METHOD_NOT_ALLOWED: {
    'en-US': 'This path does not take the method[ {method}][. It takes {allowed}].',
    'zh-CN': '此路径不支持该请求方法[ {method}][，支持 {allowed}]。',
  },
  CONFLICT: {
    'en-US': "The request contradicts what is stored[, see '{param}'][: {reason}].",
    'zh-CN': '请求与现有数据冲突[：字段“{param}”][：{reason}]。',
  },
  IDEMPOTENCY_KEY_IN_USE: {
    'en-US': 'The first request with this Idempotency-Key is still running. Try again[ in {retry_after_seconds} s].',
    'zh-CN': '使用此 Idempotency-Key 的首个请求仍在处理中。请[在 {retry_after_seconds} 秒后]重试。',
  },
  IDEMPOTENCY_ANSWER_NOT_KEPT: {
    'en-US':
      'The request with this Idempotency-Key was answered and charged once[, see the receipt of {trace_id}], but its answer was too large to keep, so it cannot be sent again. A new key makes a new, paid request.',
    'zh-CN':
      '使用此 Idempotency-Key 的请求已完成并已扣费一次[（收据：{trace_id}）]，但其响应过大未能保存，无法再次返回。使用新的 Idempotency-Key 将发起新的计费请求。',
  },
  IDEMPOTENCY_KEY_REUSED: {
    'en-US':
      'This Idempotency-Key was used for another request (route or body). Use a new key, or send the first request unchanged.',
    'zh-CN': '此 Idempotency-Key 已用于另一个请求（路由或请求体不同）。请使用新的键，或原样重发首个请求。',
  },
  BODY_TOO_LARGE: {
    'en-US': 'The request body is too large[: at most {limit} bytes are taken].',
    'zh-CN': '请求体过大[：上限为 {limit} 字节]。',
  },
  UNSUPPORTED_MEDIA_TYPE: {
    'en-US':
      "The body must be JSON: send 'content-type: application/json', without content-encoding[ (received '{received}')].",
    'zh-CN': '请求体必须是 JSON：请使用“content-type: application/json”，且不要压缩[（收到“{received}”）]。',
  },
  QUOTA_DAILY_EXCEEDED: {
    'en-US': "The day's requests are used up[: {used} of {limit}][. The count starts anew at {resets_at}].",
    'zh-CN': '今日请求次数已用完[：{used}/{limit}][。将于 {resets_at} 重置]。',
  },
  QUOTA_MONTHLY_EXCEEDED: {
    'en-US': "The month's requests are used up[: {used} of {limit}][. The count starts anew at {resets_at}].",
    'zh-CN': '本月请求次数已用完[：{used}/{limit}][。将于 {resets_at} 重置]。',
  },
  TENANT_RPM_EXCEEDED: {
    'en-US':
      'The account is at its limit of requests a minute[: {used} of {limit}][. There is room again at {resets_at}].',
    'zh-CN': '账户已达每分钟请求数上限[：{used}/{limit}][。可在 {resets_at} 重试]。',
  },
  TENANT_TPM_EXCEEDED: {
    'en-US':
      "The account's tokens a minute do not suffice for this request[: {used} of {limit} are used][. There is room again at {resets_at}].",
    'zh-CN': '账户已达每分钟 token 数上限，本次请求无法容纳[：已用 {used}/{limit}][。可在 {resets_at} 重试]。',
  },
  CONCURRENCY_EXCEEDED: {
    'en-US':
      'The account has as many requests open at once as it may[: {used} of {limit}]. Try again when one has ended.',
    'zh-CN': '账户的并发请求数已达上限[：{used}/{limit}]。请在其中一个结束后重试。',
  },
  API_KEY_RATE_LIMIT_5H_EXCEEDED: {
    'en-US':
      'What this API key may spend in 5 hours does not cover this request[: {used} of {limit} USD][. The count starts anew at {resets_at}].',
    'zh-CN': '此 API 密钥 5 小时内的花费额度不足以支付本次请求[：{used}/{limit} 美元][。将于 {resets_at} 重置]。',
  },
  API_KEY_RATE_LIMIT_1D_EXCEEDED: {
    'en-US':
      'What this API key may spend in 1 day does not cover this request[: {used} of {limit} USD][. The count starts anew at {resets_at}].',
    'zh-CN': '此 API 密钥 1 天内的花费额度不足以支付本次请求[：{used}/{limit} 美元][。将于 {resets_at} 重置]。',
  },
  API_KEY_RATE_LIMIT_7D_EXCEEDED: {
    'en-US':
      'What this API key may spend in 7 days does not cover this request[: {used} of {limit} USD][. The count starts anew at {resets_at}].',
    'zh-CN': '此 API 密钥 7 天内的花费额度不足以支付本次请求[：{used}/{limit} 美元][。将于 {resets_at} 重置]。',
  },
  USER_PLATFORM_DAILY_QUOTA_EXHAUSTED: {
    'en-US':
      'What this user may spend a day on this platform does not cover this request[: {used} of {limit} USD][. The count starts anew at {resets_at}].',
    'zh-CN': '此用户在该平台的每日花费额度不足以支付本次请求[：{used}/{limit} 美元][。将于 {resets_at} 重置]。',
  },
  USER_PLATFORM_WEEKLY_QUOTA_EXHAUSTED: {
    'en-US':
      'What this user may spend a week on this platform does not cover this request[: {used} of {limit} USD][. The count starts anew at {resets_at}].',
    'zh-CN': '此用户在该平台的每周花费额度不足以支付本次请求[：{used}/{limit} 美元][。将于 {resets_at} 重置]。',
  },
  USER_PLATFORM_MONTHLY_QUOTA_EXHAUSTED: {
    'en-US':
      'What this user may spend in 30 days on this platform does not cover this request[: {used} of {limit} USD][. The count starts anew at {resets_at}].',
    'zh-CN': '此用户在该平台的 30 天花费额度不足以支付本次请求[：{used}/{limit} 美元][。将于 {resets_at} 重置]。',
  },
  DAILY_LIMIT_EXCEEDED: {
    'en-US':
      'What the subscription pays a day does not cover this request[: {used} of {limit} USD][. The count starts anew at {resets_at}].',
    'zh-CN': '订阅的每日额度不足以支付本次请求[：{used}/{limit} 美元][。将于 {resets_at} 重置]。',
  },
  WEEKLY_LIMIT_EXCEEDED: {
    'en-US':
      'What the subscription pays a week does not cover this request[: {used} of {limit} USD][. The count starts anew at {resets_at}].',
    'zh-CN': '订阅的每周额度不足以支付本次请求[：{used}/{limit} 美元][。将于 {resets_at} 重置]。',
  },
  MONTHLY_LIMIT_EXCEEDED: {
    'en-US':
      'What the subscription pays a month does not cover this request[: {used} of {limit} USD][. The count starts anew at {resets_at}].',
    'zh-CN': '订阅的每月额度不足以支付本次请求[：{used}/{limit} 美元][。将于 {resets_at} 重置]。',
  },
  GROUP_RPM_EXCEEDED: {
    'en-US':
      'This user is at the limit of requests a minute in this group[: {used} of {limit}][. There is room again at {resets_at}].',
    'zh-CN': '此用户在该分组内已达每分钟请求数上限[：{used}/{limit}][。可在 {resets_at} 重试]。',
  },
  USER_RPM_EXCEEDED: {
    'en-US':
      'This user is at the limit of requests a minute[: {used} of {limit}][. There is room again at {resets_at}].',
    'zh-CN': '此用户已达每分钟请求数上限[：{used}/{limit}][。可在 {resets_at} 重试]。',
  },
  UPSTREAM_REJECTED: {
    'en-US': 'The model provider refused the request[: {message}].',
    'zh-CN': '模型提供方拒绝了该请求[：{message}]。',
  },
  UPSTREAM_RATE_LIMITED: {
    'en-US': 'The model provider is at its rate limit. Nothing was charged; try again[ in {retry_after_seconds} s].',
    'zh-CN': '模型提供方已达速率上限。本次未扣费，请[在 {retry_after_seconds} 秒后]重试。',
  },
  CLIENT_CLOSED_REQUEST: {
    'en-US': 'The client closed the connection before the answer was whole.',
    'zh-CN': '客户端在响应完成前关闭了连接。',
  },
  INTERNAL_ERROR: {
    'en-US': 'Something failed inside the gateway. Try again, and name the x-request-id header when you report it.',
    'zh-CN': '网关内部出错。请重试；反馈问题时请附上 x-request-id 响应头。',
  },
  UPSTREAM_ERROR: {
    'en-US': 'The model provider failed to answer. Try again.',
    'zh-CN': '模型提供方未能正常响应，请重试。',
  },
  BILLING_SERVICE_ERROR: {
    'en-US':
      'The request cannot be billed at the moment, so it was not sent. Nothing was charged; try again[ in {retry_after_seconds} s].',
    'zh-CN': '暂时无法计费，请求未发出，也未扣费。请[在 {retry_after_seconds} 秒后]重试。',
  },
  QUOTA_SERVICE_ERROR: {
    'en-US':
      'The quota cannot be checked at the moment, so the request was not sent. Nothing was charged; try again[ in {retry_after_seconds} s].',
    'zh-CN': '暂时无法检查额度，请求未发出，也未扣费。请[在 {retry_after_seconds} 秒后]重试。',
  },
  SERVICE_UNAVAILABLE: {
    'en-US':
      'The gateway cannot reach its database at the moment. Try again[ in {retry_after_seconds} s]; a change that was asked for may have been made all the same.',
    'zh-CN': '网关暂时无法访问数据库。请[在 {retry_after_seconds} 秒后]重试；所请求的更改仍可能已经生效。',
  },
  NO_UPSTREAM_AVAILABLE: {
    'en-US':
      "No provider of the model[ '{model}'][ in the region '{region}'] can be reached at the moment. Nothing was charged; try again[ in {retry_after_seconds} s].",
    'zh-CN':
      '模型[“{model}”][在区域“{region}”内]暂时没有可用的提供方。本次未扣费，请[在 {retry_after_seconds} 秒后]重试。',
  },
  SHUTTING_DOWN: {
    'en-US': 'This gateway process is shutting down. Try again, another one will answer.',
    'zh-CN': '该网关进程正在关闭。请重试，将由其他进程响应。',
  },
  UPSTREAM_TIMEOUT: {
    'en-US': 'The model provider did not answer in time. Try again.',
    'zh-CN': '模型提供方未在规定时间内响应，请重试。',
  },
};
