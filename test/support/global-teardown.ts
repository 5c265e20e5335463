import { removeTestRoot } from './test-root';
import { testState } from './test-state';

export default async function globalTeardown(): Promise<void> {
  await removeTestRoot(testState().root);
}
