import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { findProjectRoot } from './project-root';
import { Settings } from './settings';

interface Documented {
  readonly section: string;
  readonly name: string;
  readonly value: string;
  /** Whether the line above says what it is. */
  readonly isExplained: boolean;
}

const SECTION = /^# --- (.+?) -+$/;
const VARIABLE = /^(?:# )?([A-Z][A-Z0-9_]*)=(.*)$/;
/** Read by the launcher and by docker-compose.yml: the gateway knows nothing of them. */
const OTHERS = ['npm start only', 'docker compose only'];

const read = (...path: string[]): string => readFileSync(join(findProjectRoot(), ...path), 'utf8');

function documented(): Documented[] {
  const found: Documented[] = [];
  let section = '';
  let above = '';
  for (const line of read('config', '.env.example').split('\n')) {
    section = SECTION.exec(line)?.[1] ?? section;
    const [, name, value] = VARIABLE.exec(line) ?? [];
    if (name !== undefined && value !== undefined) {
      const isExplained = above.startsWith('# ') && !SECTION.test(above) && !VARIABLE.test(above);
      found.push({ section, name, value, isExplained });
    }
    above = line;
  }
  return found;
}

const namesOf = (section: string): string[] =>
  documented()
    .filter((variable) => variable.section === section)
    .map(({ name }) => name)
    .sort();

/** The values that a Settings has before anybody sets one, by variable. */
function defaults(): Map<string, string> {
  const settings = new Settings();
  const fields = Object.keys(settings) as (keyof Settings)[];
  return new Map(
    fields.map((field) => [
      field.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase(),
      String(settings[field] ?? ''),
    ]),
  );
}

describe('config/.env.example', () => {
  it('names every setting, and nothing that is none, with its default', () => {
    const settings = documented().filter(({ section }) => !OTHERS.includes(section));
    expect(Object.fromEntries(settings.map(({ name, value }) => [name, value]))).toEqual(
      Object.fromEntries(defaults()),
    );
  });

  it('says what each variable is, once', () => {
    expect(documented().filter(({ isExplained }) => !isExplained)).toEqual([]);
    const names = documented().map(({ name }) => name);
    expect(names).toEqual([...new Set(names)]);
  });

  it('names what docker-compose.yml asks for beside the settings', () => {
    const asked = [...read('docker-compose.yml').matchAll(/\$\{([A-Z_]+)/g)].map(([, name]) => name ?? '');
    const own = [...new Set(asked)].filter((name) => !defaults().has(name)).sort();
    expect(own).toEqual(namesOf('docker compose only'));
  });

  it('names the variables of the launcher', () => {
    const launcher = read('src', 'platform', 'embedded', 'launcher.ts');
    const asked = [...launcher.matchAll(/given\(this\.env\.([A-Z_]+)\)/g)].map(([, name]) => name ?? '');
    const own = [...new Set(asked)].filter((name) => !defaults().has(name)).sort();
    expect(own).toEqual(namesOf('npm start only'));
  });
});
