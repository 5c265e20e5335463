/** What the client of a stream was sent, kept by reference: up to a size, beyond which nothing is kept. */
export class AnswerCopy {
  private chunks: Buffer[] = [];
  private size = 0;

  constructor(private readonly maxBytes: number) {}

  add(bytes: Buffer): void {
    this.size += bytes.length;
    if (this.size <= this.maxBytes) this.chunks.push(bytes);
    else this.chunks = [];
  }

  /** Undefined where it was more than may be kept. */
  get bytes(): Buffer | undefined {
    return this.size <= this.maxBytes ? Buffer.concat(this.chunks) : undefined;
  }
}
