import type { FastifyInstance } from 'fastify';

/** The routes there are, to tell "no such path" from "not with this method". Asked only on the way to an error. */
export class RouteBook {
  private readonly entries: { readonly pattern: RegExp; readonly methods: readonly string[] }[] = [];

  /** Must be called before routes are added. */
  follow(fastify: FastifyInstance): void {
    fastify.addHook('onRoute', ({ url, method }) => {
      this.entries.push({ pattern: patternOf(url), methods: Array.isArray(method) ? method : [method] });
    });
  }

  /** The methods that the path takes, without duplicates; none where there is no such path. */
  methodsAt(path: string): readonly string[] {
    const methods = this.entries.filter(({ pattern }) => pattern.test(path)).flatMap((entry) => entry.methods);
    return [...new Set(methods)].sort();
  }
}

function patternOf(url: string): RegExp {
  const pattern = url
    .replace(/[.+?^${}()|[\]\\]/g, '\\$&')
    .replace(/:[^/]+/g, '[^/]+')
    .replace(/\*/g, '.*');
  return new RegExp(`^${pattern}$`);
}
