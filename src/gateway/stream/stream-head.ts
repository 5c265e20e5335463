/** Of every event stream that is sent to a client. */
export const STREAM_HEAD = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache',
  // Proxies that buffer (nginx) would hold the first token back.
  'x-accel-buffering': 'no',
} as const;
