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
      'Top up, or lower max_completion_tokens.',
    'zh-CN':
      '余额不足以支付本次请求[：最多可能花费 {needed} 美元，可用 {available} 美元]。请充值，或调低 max_completion_tokens。',
  },
  TENANT_NOT_ACTIVE: {
    'en-US': 'This account is suspended or closed. Contact the operator.',
    'zh-CN': '此账户已被停用或关闭，请联系运营方。',
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
  UPSTREAM_REJECTED: {
    'en-US': 'The model provider refused the request[: {message}].',
    'zh-CN': '模型提供方拒绝了该请求[：{message}]。',
  },
  UPSTREAM_RATE_LIMITED: {
    'en-US': 'The model provider is at its rate limit. Nothing was charged; try again[ in {retry_after_seconds} s].',
    'zh-CN': '模型提供方已达速率上限。本次未扣费，请[在 {retry_after_seconds} 秒后]重试。',
  },
  CLIENT_CLOSED_REQUEST: {
    'en-US': 'The client closed the connection before the answer began.',
    'zh-CN': '客户端在响应开始前关闭了连接。',
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
    'en-US': "No provider of the model[ '{model}'] can be reached at the moment. Nothing was charged; try again.",
    'zh-CN': '模型[“{model}”]暂时没有可用的提供方。本次未扣费，请重试。',
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
