export interface AliasRow {
  readonly alias: string;
  readonly model: string;
}

export interface FallbackRow {
  readonly model: string;
  readonly fallback_model: string;
}

const NONE: readonly string[] = [];

/** Other names of models, and which models stand in for which, as they were at one read. */
export class ModelNames {
  private readonly modelOf: ReadonlyMap<string, string>;
  private readonly standIns = new Map<string, string[]>();

  /** @param fallbacks in their order */
  constructor(
    aliases: readonly AliasRow[],
    fallbacks: readonly FallbackRow[],
    /** Whether upstreams have a model of this name: it wins over an alias that was there first. */
    private readonly isModel: (name: string) => boolean,
  ) {
    this.modelOf = new Map(aliases.map(({ alias, model }) => [alias, model]));
    for (const { model, fallback_model } of fallbacks) {
      const standIns = this.standIns.get(model) ?? [];
      this.standIns.set(model, standIns);
      standIns.push(fallback_model);
    }
  }

  /** The model that is meant; the name itself where it is no alias. */
  resolve(asked: string): string {
    if (this.modelOf.size === 0 || this.isModel(asked)) return asked;
    return this.modelOf.get(asked) ?? asked;
  }

  /** Of a model or an alias of it, in the order in which they are to be tried. */
  fallbacksOf(asked: string): readonly string[] {
    return this.standIns.get(asked) ?? this.standIns.get(this.resolve(asked)) ?? NONE;
  }

  /** Aliases that hold: not those whose name upstreams have taken since. */
  aliases(): readonly AliasRow[] {
    return [...this.modelOf].flatMap(([alias, model]) => (this.isModel(alias) ? [] : [{ alias, model }]));
  }
}
