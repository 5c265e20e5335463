const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Somebody wants the launcher to end: a signal, or the program that started it is gone. */
export class StopRequest {
  /** Resolves at the first request. */
  readonly made: Promise<undefined>;
  private isRequested = false;
  private resolveMade: (value: undefined) => void = () => undefined;
  private readonly onSignal = (signal: NodeJS.Signals): void => {
    this.request(signal);
  };
  private readonly onDisconnect = (): void => {
    this.request('the starting process ended');
  };

  constructor(private readonly say: (line: string) => void) {
    this.made = new Promise((resolve) => {
      this.resolveMade = resolve;
    });
    // Repeated ones change nothing (a terminal and npm both send Ctrl-C): every stop below has a deadline of its own.
    for (const signal of SIGNALS) process.on(signal, this.onSignal);
    process.on('disconnect', this.onDisconnect);
  }

  get isMade(): boolean {
    return this.isRequested;
  }

  throwIfMade(): void {
    if (this.isRequested) throw new Error('stopped while starting');
  }

  /** Gives the signals and the channel back, so that the process can end. */
  close(): void {
    for (const signal of SIGNALS) process.off(signal, this.onSignal);
    process.off('disconnect', this.onDisconnect);
    if (process.connected) process.disconnect();
  }

  private request(why: string): void {
    if (this.isRequested) return;
    this.isRequested = true;
    this.say(`${why}: stopping`);
    this.resolveMade(undefined);
  }
}
