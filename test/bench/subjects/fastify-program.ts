import fastify from 'fastify';
import { Pool } from 'undici';

/** Fastify + undici as everybody writes it: JSON parsed and rendered on both legs, streams piped. No money, no auth. */
const pool = new Pool(process.env.UPSTREAM_ORIGIN ?? '', { connections: 256, pipelining: 1 });
const app = fastify({ logger: false, bodyLimit: 32 * 1024 * 1024 });

app.post('/:scenario/v1/chat/completions', async (request, reply) => {
  const call = request.body as { stream?: boolean };
  const { statusCode, headers, body } = await pool.request({
    path: request.url,
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: 'Bearer sk-upstream' },
    body: JSON.stringify(call),
  });
  reply.code(statusCode);
  if (call.stream === true) return reply.header('content-type', headers['content-type']).send(body);
  return reply.send(await body.json());
});

void app.listen({ port: Number(process.env.PORT), host: '127.0.0.1' }).then(() => process.stdout.write('listening\n'));
process.once('SIGTERM', () => process.exit(0));
