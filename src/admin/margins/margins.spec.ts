import { ControlPlane, errorOf } from '../../../test/support/control-plane-harness';

describe('margins of the control plane', () => {
  let plane: ControlPlane;

  beforeAll(async () => {
    plane = await ControlPlane.start();
  });
  afterAll(() => plane.stop());

  it.each([
    ['group_by=tenant', 'group_by'],
    ['group_by=model&from=2026-01-01', 'from'],
    ['group_by=model&from=2026-W05-1T00:00:00Z', 'from'],
    ['group_by=model&to=2026-W05-1T00:00:00Z', 'to'],
    ['group_by=model&from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z', 'from'],
    ['group_by=model&from=2026-01-01T00:00:00Z&to=2026-12-31T00:00:00Z', 'from'],
    ['group_by=model&tenant_id=acme', 'tenant_id'],
  ])('refuse %s and name the field', async (query, field) => {
    const answer = await plane.admin('GET', `margins?${query}`);
    expect([answer.status, errorOf(answer).param]).toEqual([400, field]);
  });
});
