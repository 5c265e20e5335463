import type { NeutralBlock, NeutralEvent } from './neutral-event';

/** Gathers the events of one answer for whoever parses it, and numbers its blocks. */
export class EventSink {
  private pending: NeutralEvent[] = [];
  private blocks = 0;

  push(event: NeutralEvent): void {
    this.pending.push(event);
  }

  /** Begins a block. @returns its number */
  open(content: NeutralBlock): number {
    const block = this.blocks++;
    this.push({ type: 'block_start', block, content });
    return block;
  }

  delta(block: number, text: string): void {
    if (text !== '') this.push({ type: 'delta', block, text });
  }

  close(block: number): void {
    this.push({ type: 'block_end', block });
  }

  /** What was pushed since the last take. */
  take(): readonly NeutralEvent[] {
    const taken = this.pending;
    this.pending = [];
    return taken;
  }
}
