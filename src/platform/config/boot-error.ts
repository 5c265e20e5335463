/** Why the process cannot start, in words for whoever starts it: printed alone, without a stack, and the exit code is 1. */
export class BootError extends Error {
  override readonly name: string = 'BootError';
}
