import { applyDiff, parseUnifiedDiff } from './unified-diff';

const FILE = ['one', 'two', '', 'three', 'four', 'five', ''].join('\n');

function diffOf(...hunks: readonly (readonly string[])[]): string {
  return ['Why it is made.', '', '--- a/some/file.ts', '+++ b/some/file.ts', ...hunks.flat(), ''].join('\n');
}

function applied(diff: string, text = FILE): string {
  const [file] = parseUnifiedDiff(diff).files;
  if (!file) throw new Error('no file');
  return applyDiff(text, file);
}

const CHANGE = ['@@ -2,3 +2,3 @@ function some()', ' two', ' ', '-three', '+3'];
const LATER = ['@@ -5,2 +5,3 @@', ' four', '+4½', ' five'];

describe('a unified diff', () => {
  it('says in its head why it is made, then which file it changes and where', () => {
    const { head, files } = parseUnifiedDiff(diffOf(CHANGE));
    expect(head).toBe('Why it is made.\n');
    expect(files).toEqual([
      { path: 'some/file.ts', hunks: [{ line: 2, before: ['two', '', 'three'], after: ['two', '', '3'] }] },
    ]);
  });

  it('reads what git writes, of several files', () => {
    const other = 'diff --git a/b b/b\nindex 1..2 100644\n--- a/b\n+++ b/b\n@@ -1 +1 @@\n-x\n+y\n';
    const { files } = parseUnifiedDiff(`Why.\ndiff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +0,0 @@\n---- x\n${other}`);
    expect(files).toEqual([
      { path: 'a', hunks: [{ line: 1, before: ['--- x'], after: [] }] },
      { path: 'b', hunks: [{ line: 1, before: ['x'], after: ['y'] }] },
    ]);
  });

  it('changes the file where it says, and nothing else', () => {
    expect(applied(diffOf(CHANGE, LATER))).toBe(['one', 'two', '', '3', 'four', '4½', 'five', ''].join('\n'));
  });

  it('finds its place again where the file has grown above it', () => {
    expect(applied(diffOf(CHANGE), `zero\n${FILE}`)).toBe(`zero\n${FILE.replace('three', '3')}`);
  });

  it.each([
    ['a line that it would change has changed', FILE.replace('three', 'tree')],
    ['a line beside it has changed', FILE.replace('two', 'to')],
    ['its place is gone', ''],
  ])('is refused where %s', (_, text) => {
    expect(() => applied(diffOf(CHANGE), text)).toThrow('some/file.ts has changed');
  });

  it('is refused where its place is not at its line and more than one could be meant', () => {
    expect(() => applied(diffOf(CHANGE), `zero\n${FILE}${FILE}`)).toThrow('in more than one place');
  });

  it('is refused where its hunks do not follow each other', () => {
    expect(() => applied(diffOf(LATER, CHANGE))).toThrow('has changed');
  });

  it.each([
    ['nothing but words', 'No diff at all.\n'],
    ['a file without a change', diffOf()],
    ['a new file', '--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+x\n'],
    ['a renamed file', '--- a/old\n+++ b/new\n@@ -1 +1 @@\n-x\n+y\n'],
    ['words between its hunks', diffOf(CHANGE, ['what now?'])],
    ['fewer lines than it says', diffOf(CHANGE.slice(0, -2))],
    ['more lines than it says', diffOf([...CHANGE, '+more'])],
    ['lines of other kinds than it says', diffOf(['@@ -1,1 +1,3 @@', ' one', '-two', '+2', '+zwei'])],
  ])('is none where it has %s', (_, text) => {
    expect(() => parseUnifiedDiff(text)).toThrow();
  });
});
