import type { FastifyInstance } from 'fastify';
import { refuse, type Refusal } from '../../kernel/errors';

/** The routes there are, to tell "no such path" from "not with this method". Asked only on the way to an error. */
export class RouteBook {
  private readonly entries: { readonly pattern: RegExp; readonly methods: readonly string[] }[] = [];

  /** Must be called before routes are added. */
  follow(fastify: FastifyInstance): void {
    fastify.addHook('onRoute', ({ url, method }) => {
      this.entries.push({ pattern: patternOf(url), methods: Array.isArray(method) ? method : [method] });
    });
  }

  /** Why a request met no route. The URL's query stays out of it: it may hold a secret. */
  refusalOf(method: string, url: string): Refusal {
    const path = url.split('?', 1)[0] ?? '';
    const allowed = this.methodsAt(path);
    if (allowed.length === 0) return refuse('NOT_FOUND', { values: { what: `${method} ${path}` } });
    return refuse('METHOD_NOT_ALLOWED', { values: { method, allowed: allowed.join(', ') } });
  }

  /** Without duplicates; none where there is no such path. */
  private methodsAt(path: string): readonly string[] {
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
