import { ControlPlane, errorOf } from '../../../test/support/control-plane-harness';
import { TEST_SECRETS } from '../../../test/support/test-settings';
import { newId } from '../../kernel/ids';

type Operation = Readonly<{ responses: Record<string, { content?: object }>; tags?: string[]; summary?: string }>;
type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE';

describe('the door of the control plane', () => {
  let plane: ControlPlane;
  let paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;

  beforeAll(async () => {
    plane = await ControlPlane.start();
    const document = await plane.call('GET', '/docs-json');
    paths = document.body.paths as typeof paths;
  });
  afterAll(() => plane.stop());

  function adminOperations(): [Method, string, Operation][] {
    return Object.entries(paths)
      .filter(([path]) => path.startsWith('/admin/'))
      .flatMap(([path, operations]) =>
        Object.entries(operations).map(([method, operation]): [Method, string, Operation] => [
          method.toUpperCase() as Method,
          path,
          operation,
        ]),
      );
  }

  it('is closed on every route to everybody without the admin token', async () => {
    const operations = adminOperations();
    expect(operations.length).toBeGreaterThanOrEqual(30);
    const wrong = [
      {},
      { authorization: 'Bearer ' },
      { authorization: `Bearer ${TEST_SECRETS.ADMIN_TOKEN}x` },
      { authorization: `Basic ${TEST_SECRETS.ADMIN_TOKEN}` },
      { authorization: TEST_SECRETS.ADMIN_TOKEN },
      { 'x-api-key': TEST_SECRETS.ADMIN_TOKEN },
    ];
    for (const [method, path] of operations) {
      for (const headers of wrong) {
        const url = path.replace('{id}', newId());
        const answer = await plane.call(method, url, method === 'GET' ? undefined : {}, headers);
        expect([method, path, answer.status, errorOf(answer).code]).toEqual([method, path, 401, 'ADMIN_TOKEN_INVALID']);
      }
    }
  });

  it('is not opened by a tenant’s key', async () => {
    const { key } = await plane.newKey(await plane.newTenant());
    const answer = await plane.call('GET', '/admin/v1/tenants', undefined, { authorization: `Bearer ${key}` });
    expect(answer.status).toBe(401);
  });

  it('is described: every route has a tag, a summary and an answer with a schema', () => {
    for (const [method, path, { tags, summary, responses }] of adminOperations()) {
      const success = Object.entries(responses).find(([status]) => status.startsWith('2'));
      expect([method, path, tags?.length, typeof summary]).toEqual([method, path, 1, 'string']);
      expect([method, path, Object.keys(success?.[1].content ?? {})]).toEqual([method, path, ['application/json']]);
    }
  });
});
