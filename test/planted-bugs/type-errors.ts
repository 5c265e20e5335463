import { dirname, join } from 'node:path';
import ts from 'typescript';
import { PROJECT_FOLDER } from '../support/test-root';

const CONFIG = join(PROJECT_FOLDER, 'tsconfig.json');

/** Checks the types of single files as if they said something else; what they import is read once. */
export class TypeChecker {
  private readonly options: ts.CompilerOptions;
  private readonly read = new Map<string, ts.SourceFile | undefined>();
  private last: ts.Program | undefined;

  constructor() {
    const { config } = ts.readConfigFile(CONFIG, (file) => ts.sys.readFile(file)) as { config: unknown };
    this.options = ts.parseJsonConfigFileContent(
      config,
      { ...ts.sys, readDirectory: () => [] },
      dirname(CONFIG),
    ).options;
  }

  /** @param texts by path from the project's folder; only these files are checked */
  errorsIn(texts: ReadonlyMap<string, string>): readonly string[] {
    const changed = new Map([...texts].map(([path, text]) => [join(PROJECT_FOLDER, path), text]));
    const host = ts.createCompilerHost(this.options);
    const fromDisk = host.getSourceFile.bind(host);
    host.getSourceFile = (file, languageVersion) => {
      const text = changed.get(file);
      if (text !== undefined) return ts.createSourceFile(file, text, languageVersion, true);
      if (!this.read.has(file)) this.read.set(file, fromDisk(file, languageVersion));
      return this.read.get(file);
    };
    const program = ts.createProgram([...changed.keys()], this.options, host, this.last);
    this.last = program;
    return [...changed.keys()].flatMap((file) => {
      const source = program.getSourceFile(file);
      if (!source) throw new Error(`${file} is no part of the program`);
      return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)].map((found) =>
        ts.flattenDiagnosticMessageText(found.messageText, '\n'),
      );
    });
  }
}
