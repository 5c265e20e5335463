import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** Any label is bounded: what comes beyond this many values is counted as `other`. */
const MOST_LABEL_VALUES = 200;
const BEYOND = 'other';

/** Remembers the child of each label value, so that observing builds no label object and hashes nothing. */
class Children<Child> {
  private readonly children = new Map<string, Child>();

  constructor(private readonly make: (value: string) => Child) {}

  of(value: string): Child {
    const known = this.children.get(value);
    if (known !== undefined) return known;
    if (this.children.size >= MOST_LABEL_VALUES && value !== BEYOND) return this.of(BEYOND);
    const child = this.make(value);
    this.children.set(value, child);
    return child;
  }
}

export interface Description {
  readonly registry: Registry;
  readonly name: string;
  readonly help: string;
}

const configOf = ({ registry, name, help }: Description): { name: string; help: string; registers: [Registry] } => ({
  name,
  help,
  registers: [registry],
});

export function counter(description: Description): Counter.Internal {
  return new Counter(configOf(description)).labels();
}

export function gauge(description: Description): Gauge.Internal<string> {
  return new Gauge(configOf(description)).labels();
}

export function histogram(description: Description, buckets: number[]): Histogram.Internal<string> {
  return new Histogram({ ...configOf(description), buckets }).labels();
}

/** A counter with one label. */
export class CounterFamily extends Children<Counter.Internal> {
  constructor(description: Description, label: string) {
    const metric = new Counter({ ...configOf(description), labelNames: [label] });
    super((value) => metric.labels(value));
  }
}

/** A gauge with one label. */
export class GaugeFamily extends Children<Gauge.Internal<string>> {
  constructor(description: Description, label: string) {
    const metric = new Gauge({ ...configOf(description), labelNames: [label] });
    super((value) => metric.labels(value));
  }
}

/** A histogram with one label. */
export class HistogramFamily extends Children<Histogram.Internal<string>> {
  constructor(description: Description, label: string, buckets: number[]) {
    const metric = new Histogram({ ...configOf(description), labelNames: [label], buckets });
    super((value) => metric.labels(value));
  }
}

/** Requests by route pattern (never by URL) and status. */
export class RequestCounter {
  private readonly routes: Children<Children<Counter.Internal>>;

  constructor(description: Description) {
    const metric = new Counter({ ...configOf(description), labelNames: ['route', 'status'] });
    this.routes = new Children((route) => new Children((status) => metric.labels(route, status)));
  }

  of(route: string, status: number): Counter.Internal {
    return this.routes.of(route).of(String(status));
  }
}
