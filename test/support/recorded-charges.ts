import type { FrozenPrice } from '../../src/catalogue/price';
import { nanoUsd } from '../../src/kernel/money';

/**
 * What each recorded answer costs, by hand, from the last usage in its file. Nano-USD a token: 1.25 uncached input, 0.125
 * cached, 2.5 written to the cache, 10.3 output, 12.7 reasoning; 7 a request. Rounded up once.
 */
export const RECORDED_PRICE: FrozenPrice = {
  version: '1',
  perMillionTokens: {
    inputUncached: 1_250_000n,
    inputCached: 125_000n,
    cacheWrite: 2_500_000n,
    output: 10_300_000n,
    reasoning: 12_700_000n,
    audio: 90_000_000n,
    image: 80_000_000n,
  },
  tiers: [],
  perRequestNanoUsd: nanoUsd(7n),
  multiplierMillionths: 1_000_000n,
};

/** Uncached input, cached input, cache write, output, reasoning, audio, image; `error` where nothing was answered. */
export type RecordedTokens = readonly [number, number, number, number, number, number, number] | 'error';

/** One row a file, or a call in it, by its path below `recorded-streams`. */
export const RECORDED_CHARGES: readonly (readonly [string, RecordedTokens, bigint])[] = [
  // 13 × 1.25 + 400 × 10.3 + 7 = 4,143.25
  ['openai-chat/deepseek-text.chunks.txt', [13, 0, 0, 400, 0, 0, 0], 4_144n],
  // 13 × 1.25 + 300 × 10.3 + 7 = 3,113.25
  ['openai-chat/deepseek-text.json', [13, 0, 0, 300, 0, 0, 0], 3_114n],
  // 339 prompt with 320 cached; 83 completion with 39 reasoning
  // 19 × 1.25 + 320 × 0.125 + 44 × 10.3 + 39 × 12.7 + 7 = 1,019.25
  ['openai-chat/deepseek-tool-call.chunks.txt', [19, 320, 0, 44, 39, 0, 0], 1_020n],
  // 339 prompt with 320 cached; 92 completion with 48 reasoning
  // 19 × 1.25 + 320 × 0.125 + 44 × 10.3 + 48 × 12.7 + 7 = 1,133.55
  ['openai-chat/deepseek-tool-call.json', [19, 320, 0, 44, 48, 0, 0], 1_134n],
  // 171 prompt with 128 cached, on the finish chunk
  // 43 × 1.25 + 128 × 0.125 + 14 × 10.3 + 7 = 220.95
  ['openai-chat/mistral-incremental-tool-call.chunks.txt', [43, 128, 0, 14, 0, 0, 0], 221n],
  // on the finish chunk
  // 13 × 1.25 + 8 × 10.3 + 7 = 105.65
  ['openai-chat/mistral-text.chunks.txt', [13, 0, 0, 8, 0, 0, 0], 106n],
  // 13 × 1.25 + 434 × 10.3 + 7 = 4,493.45
  ['openai-chat/mistral-text.json', [13, 0, 0, 434, 0, 0, 0], 4_494n],
  // 16 × 1.25 + 300 × 10.3 + 7 = 3,117
  ['openai-chat/openai-text.chunks.txt', [16, 0, 0, 300, 0, 0, 0], 3_117n],
  // 16 × 1.25 + 363 × 10.3 + 7 = 3,765.9
  ['openai-chat/openai-text.json', [16, 0, 0, 363, 0, 0, 0], 3_766n],
  // 12 prompt with 11 cached; 12 + 2 + 340 = 354: reasoning comes beside the completion
  // 1 × 1.25 + 11 × 0.125 + 2 × 10.3 + 340 × 12.7 + 7 = 4,348.225
  ['openai-chat/xai-text.chunks.txt', [1, 11, 0, 2, 340, 0, 0], 4_349n],
  // 12 prompt with 2 cached; 12 + 2 + 320 = 334
  // 10 × 1.25 + 2 × 0.125 + 2 × 10.3 + 320 × 12.7 + 7 = 4,104.35
  ['openai-chat/xai-text.json', [10, 2, 0, 2, 320, 0, 0], 4_105n],
  // 307 prompt with 306 cached; 307 + 26 + 227 = 560
  // 1 × 1.25 + 306 × 0.125 + 26 × 10.3 + 227 × 12.7 + 7 = 3,197.2
  ['openai-chat/xai-tool-call.chunks.txt', [1, 306, 0, 26, 227, 0, 0], 3_198n],
  // 307 prompt with 244 cached; 307 + 26 + 255 = 588
  // 63 × 1.25 + 244 × 0.125 + 26 × 10.3 + 255 × 12.7 + 7 = 3,622.55
  ['openai-chat/xai-tool-call.json', [63, 244, 0, 26, 255, 0, 0], 3_623n],
  // message_start said 2, message_delta 53: thinking is output
  // 69 × 1.25 + 53 × 10.3 + 7 = 639.15
  ['anthropic-messages/anthropic-clear-thinking.1.chunks.txt', [69, 0, 0, 53, 0, 0, 0], 640n],
  // 69 × 1.25 + 33 × 10.3 + 7 = 433.15
  ['anthropic-messages/anthropic-clear-thinking.1.json', [69, 0, 0, 33, 0, 0, 0], 434n],
  // message_start said 2,263 and 8: what the tool brought is input
  // 8,050 × 1.25 + 771 × 10.3 + 7 = 18,010.8
  ['anthropic-messages/anthropic-code-execution-20250825.1.chunks.txt', [8_050, 0, 0, 771, 0, 0, 0], 18_011n],
  // 7,881 × 1.25 + 608 × 10.3 + 7 = 16,120.65
  ['anthropic-messages/anthropic-code-execution-20250825.1.json', [7_881, 0, 0, 608, 0, 0, 0], 16_121n],
  // message_start said 10
  // 849 × 1.25 + 47 × 10.3 + 7 = 1,552.35
  ['anthropic-messages/anthropic-json-tool.1.chunks.txt', [849, 0, 0, 47, 0, 0, 0], 1_553n],
  // 1,151 × 1.25 + 87 × 10.3 + 7 = 2,341.85
  ['anthropic-messages/anthropic-json-tool.1.json', [1_151, 0, 0, 87, 0, 0, 0], 2_342n],
  // message_start said 5
  // 3,369 × 1.25 + 725 × 10.3 + 7 = 11,685.75
  ['anthropic-messages/anthropic-programmatic-tool-calling.1.chunks.txt call 1', [3_369, 0, 0, 725, 0, 0, 0], 11_686n],
  // Calls 2 to 14 hand results of a tool back to the code that waits for them: a message_start that has stopped already,
  // with 0 and 0. Zero tokens are a count; what is left is the price of the request, 7.
  ['anthropic-messages/anthropic-programmatic-tool-calling.1.chunks.txt call 2', [0, 0, 0, 0, 0, 0, 0], 7n],
  ['anthropic-messages/anthropic-programmatic-tool-calling.1.chunks.txt call 3', [0, 0, 0, 0, 0, 0, 0], 7n],
  ['anthropic-messages/anthropic-programmatic-tool-calling.1.chunks.txt call 4', [0, 0, 0, 0, 0, 0, 0], 7n],
  ['anthropic-messages/anthropic-programmatic-tool-calling.1.chunks.txt call 5', [0, 0, 0, 0, 0, 0, 0], 7n],
  ['anthropic-messages/anthropic-programmatic-tool-calling.1.chunks.txt call 6', [0, 0, 0, 0, 0, 0, 0], 7n],
  ['anthropic-messages/anthropic-programmatic-tool-calling.1.chunks.txt call 7', [0, 0, 0, 0, 0, 0, 0], 7n],
  ['anthropic-messages/anthropic-programmatic-tool-calling.1.chunks.txt call 8', [0, 0, 0, 0, 0, 0, 0], 7n],
  ['anthropic-messages/anthropic-programmatic-tool-calling.1.chunks.txt call 9', [0, 0, 0, 0, 0, 0, 0], 7n],
  ['anthropic-messages/anthropic-programmatic-tool-calling.1.chunks.txt call 10', [0, 0, 0, 0, 0, 0, 0], 7n],
  ['anthropic-messages/anthropic-programmatic-tool-calling.1.chunks.txt call 11', [0, 0, 0, 0, 0, 0, 0], 7n],
  ['anthropic-messages/anthropic-programmatic-tool-calling.1.chunks.txt call 12', [0, 0, 0, 0, 0, 0, 0], 7n],
  ['anthropic-messages/anthropic-programmatic-tool-calling.1.chunks.txt call 13', [0, 0, 0, 0, 0, 0, 0], 7n],
  ['anthropic-messages/anthropic-programmatic-tool-calling.1.chunks.txt call 14', [0, 0, 0, 0, 0, 0, 0], 7n],
  // message_start said 1
  // 4,551 × 1.25 + 197 × 10.3 + 7 = 7,724.85
  ['anthropic-messages/anthropic-programmatic-tool-calling.1.chunks.txt call 15', [4_551, 0, 0, 197, 0, 0, 0], 7_725n],
  // 4,243 × 1.25 + 229 × 10.3 + 7 = 7,669.45
  ['anthropic-messages/anthropic-programmatic-tool-calling.1.json', [4_243, 0, 0, 229, 0, 0, 0], 7_670n],
  // message_start said 1: a refusal is paid like any answer
  // 18 × 1.25 + 5 × 10.3 + 7 = 81
  ['anthropic-messages/anthropic-refusal.chunks.txt', [18, 0, 0, 5, 0, 0, 0], 81n],
  // 18 × 1.25 + 5 × 10.3 + 7 = 81
  ['anthropic-messages/anthropic-refusal.json', [18, 0, 0, 5, 0, 0, 0], 81n],
  // message_start said 1
  // 12 × 1.25 + 30 × 10.3 + 7 = 331
  ['anthropic-messages/anthropic-text.chunks.txt', [12, 0, 0, 30, 0, 0, 0], 331n],
  // 12 × 1.25 + 29 × 10.3 + 7 = 320.7
  ['anthropic-messages/anthropic-text.json', [12, 0, 0, 29, 0, 0, 0], 321n],
  // message_start said 7
  // 565 × 1.25 + 48 × 10.3 + 7 = 1,207.65
  ['anthropic-messages/anthropic-tool-no-args.chunks.txt', [565, 0, 0, 48, 0, 0, 0], 1_208n],
  // 602 × 1.25 + 93 × 10.3 + 7 = 1,717.4
  ['anthropic-messages/anthropic-tool-no-args.json', [602, 0, 0, 93, 0, 0, 0], 1_718n],
  // message_start said 2,037 and 1; the search has no price in tokens
  // 15,665 × 1.25 + 795 × 10.3 + 7 = 27,776.75
  ['anthropic-messages/anthropic-web-search-tool.1.chunks.txt', [15_665, 0, 0, 795, 0, 0, 0], 27_777n],
  // 27,118 × 1.25 + 600 × 10.3 + 7 = 40,084.5
  ['anthropic-messages/anthropic-web-search-tool.1.json', [27_118, 0, 0, 600, 0, 0, 0], 40_085n],
  // 11 × 1.25 + 11 × 10.3 + 7 = 134.05
  ['openai-responses/azure-text.1.chunks.txt', [11, 0, 0, 11, 0, 0, 0], 135n],
  // 11 × 1.25 + 11 × 10.3 + 7 = 134.05
  ['openai-responses/azure-text.1.json', [11, 0, 0, 11, 0, 0, 0], 135n],
  // 50 × 1.25 + 20 × 10.3 + 7 = 275.5
  ['openai-responses/openai-custom-tool.1.chunks.txt', [50, 0, 0, 20, 0, 0, 0], 276n],
  // 50 × 1.25 + 20 × 10.3 + 7 = 275.5
  ['openai-responses/openai-custom-tool.1.json', [50, 0, 0, 20, 0, 0, 0], 276n],
  // An error with an answer's clothes on: no usage, nothing to bill, and its text least of all.
  ['openai-responses/openai-error.1.chunks.txt', 'error', 0n],
  ['openai-responses/openai-error.1.json', 'error', 0n],
  // 422 × 1.25 + 48 × 10.3 + 7 = 1,028.9
  ['openai-responses/openai-mcp-tool-approval.1.chunks.txt', [422, 0, 0, 48, 0, 0, 0], 1_029n],
  // 104 output with 64 reasoning
  // 422 × 1.25 + 40 × 10.3 + 64 × 12.7 + 7 = 1,759.3
  ['openai-responses/openai-mcp-tool-approval.1.json', [422, 0, 0, 40, 64, 0, 0], 1_760n],
  // 7,112 input with 3,072 cached; 463 output with 64 reasoning
  // 4,040 × 1.25 + 3,072 × 0.125 + 399 × 10.3 + 64 × 12.7 + 7 = 10,363.5
  ['openai-responses/openai-phase.1.chunks.txt', [4_040, 3_072, 0, 399, 64, 0, 0], 10_364n],
  // 7,243 input with 3,072 cached; 423 output with 58 reasoning
  // 4,171 × 1.25 + 3,072 × 0.125 + 365 × 10.3 + 58 × 12.7 + 7 = 10,100.85
  ['openai-responses/openai-phase.1.json', [4_171, 3_072, 0, 365, 58, 0, 0], 10_101n],
  // reasoning is encrypted, and reported as 0
  // 134 × 1.25 + 28 × 10.3 + 7 = 462.9
  ['openai-responses/openai-reasoning-encrypted-content.1.chunks.txt call 1', [134, 0, 0, 28, 0, 0, 0], 463n],
  // 221 × 1.25 + 26 × 10.3 + 7 = 551.05
  ['openai-responses/openai-reasoning-encrypted-content.1.chunks.txt call 2', [221, 0, 0, 26, 0, 0, 0], 552n],
  // 260 × 1.25 + 26 × 10.3 + 7 = 599.8
  ['openai-responses/openai-reasoning-encrypted-content.1.chunks.txt call 3', [260, 0, 0, 26, 0, 0, 0], 600n],
  // 299 × 1.25 + 12 × 10.3 + 7 = 504.35
  ['openai-responses/openai-reasoning-encrypted-content.1.chunks.txt call 4', [299, 0, 0, 12, 0, 0, 0], 505n],
  // 163 output with 128 reasoning
  // 865 × 1.25 + 35 × 10.3 + 128 × 12.7 + 7 = 3,074.35
  ['openai-responses/openai-reasoning-encrypted-content.1.json', [865, 0, 0, 35, 128, 0, 0], 3_075n],
  // 31,073 input with 3,712 cached; 4,416 output with 3,712 reasoning
  // 27,361 × 1.25 + 3,712 × 0.125 + 704 × 10.3 + 3,712 × 12.7 + 7 = 89,065.85
  ['openai-responses/openai-web-search-tool.1.chunks.txt', [27_361, 3_712, 0, 704, 3_712, 0, 0], 89_066n],
  // 19,681 input with 3,712 cached; 3,773 output with 3,136 reasoning
  // 15,969 × 1.25 + 3,712 × 0.125 + 637 × 10.3 + 3,136 × 12.7 + 7 = 66,820.55
  ['openai-responses/openai-web-search-tool.1.json', [15_969, 3_712, 0, 637, 3_136, 0, 0], 66_821n],
  // told in a frame that lacks its last bracket
  // 34 × 1.25 + 28 × 10.3 + 7 = 337.9
  ['openai-responses/parallel-tool-call-wrapper.1.chunks.txt', [34, 0, 0, 28, 0, 0, 0], 338n],
  // 34 × 1.25 + 28 × 10.3 + 7 = 337.9
  ['openai-responses/parallel-tool-call-wrapper.1.json', [34, 0, 0, 28, 0, 0, 0], 338n],
  // 12 × 1.25 + 7 = 22
  ['openai-embedding.json', [12, 0, 0, 0, 0, 0, 0], 22n],
];
