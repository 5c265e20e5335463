import { isObject, type JsonObject } from '../../../kernel/json-object';
import { isArray } from '../json-value';

/** A tool as the client declared it. */
interface DeclaredTool {
  readonly name: string;
  readonly namespace?: string;
  readonly isCustom: boolean;
}

/** Providers know no namespaces: a tool of one has both names there. */
export function plainToolName(name: string, namespace: unknown): string {
  if (typeof namespace !== 'string' || namespace === '') return name;
  return namespace.endsWith('__') ? `${namespace}${name}` : `${namespace}__${name}`;
}

/** The tools of a request by the names that a provider was told: what a call of it is to look like to the client. */
export class DeclaredTools {
  private readonly byPlainName = new Map<string, DeclaredTool>();

  constructor({ tools }: JsonObject) {
    this.declare(tools, undefined);
  }

  of(plainName: string): DeclaredTool | undefined {
    return this.byPlainName.get(plainName);
  }

  private declare(tools: unknown, namespace: string | undefined): void {
    for (const tool of isArray(tools) ? tools : []) {
      if (!isObject(tool) || typeof tool.name !== 'string') continue;
      if (tool.type === 'namespace') {
        this.declare(tool.tools, tool.name);
        continue;
      }
      const plain = plainToolName(tool.name, namespace);
      const isCustom = tool.type === 'custom';
      this.byPlainName.set(plain, { name: tool.name, isCustom, ...(namespace === undefined ? {} : { namespace }) });
    }
  }
}
