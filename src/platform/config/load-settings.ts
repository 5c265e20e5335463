import { plainToInstance } from 'class-transformer';
import { validateSync, type ValidationError } from 'class-validator';
import { BootError } from './boot-error';
import { Settings } from './settings';

/** Every problem of the settings at once; the message names variables and what is expected, never a value. */
export class SettingsError extends BootError {
  override readonly name = 'SettingsError';

  constructor(readonly problems: readonly string[]) {
    super(`the settings are not usable:\n${problems.map((problem) => `  - ${problem}`).join('\n')}`);
  }
}

/**
 * Reads the settings from the environment: field `keyPepper` is variable KEY_PEPPER. An empty variable counts as unset,
 * an unknown one is ignored. Throws SettingsError.
 */
export function loadSettings(env: NodeJS.ProcessEnv = process.env): Settings {
  const { settings, problems } = readSettings(env);
  const messages = [...problems.values()];
  // Rules between fields say something useful only about fields that are right by themselves.
  if (messages.length === 0) messages.push(...contradictionsOf(settings));
  if (messages.length > 0) throw new SettingsError(messages);
  return settings;
}

/** The one setting a migration job needs: it is not given the gateway's secrets. Throws SettingsError. */
export function loadDatabaseUrl(env: NodeJS.ProcessEnv = process.env): string {
  const { settings, problems } = readSettings(env);
  const problem = problems.get('databaseUrl');
  if (problem !== undefined) throw new SettingsError([problem]);
  return settings.databaseUrl;
}

function readSettings(env: NodeJS.ProcessEnv): { settings: Settings; problems: ReadonlyMap<string, string> } {
  const given: Record<string, string> = {};
  for (const field of Object.keys(new Settings())) {
    const value = env[variableOf(field)]?.trim();
    if (value !== undefined && value !== '') given[field] = value;
  }
  const settings = plainToInstance(Settings, given);
  const errors = validateSync(settings, { forbidUnknownValues: false });
  return { settings, problems: new Map(errors.map((error) => [error.property, describe(error, given)])) };
}

function variableOf(field: string): string {
  return field.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}

function describe(error: ValidationError, given: Readonly<Record<string, string>>): string {
  const expectations = Object.values(error.constraints ?? {}).map((message) =>
    message.replace(new RegExp(`^${error.property} `), '').replace('must be a boolean value', 'must be true or false'),
  );
  const missing = error.property in given ? '' : 'is not set; it ';
  return `${variableOf(error.property)} ${missing}${expectations.join(' and ')}`;
}

function contradictionsOf(settings: Settings): string[] {
  const problems: string[] = [];
  if (settings.testClockOffsetMs !== undefined && settings.nodeEnv !== 'test') {
    problems.push('TEST_CLOCK_OFFSET_MS must be unset unless NODE_ENV is test: the product runs on the real clock');
  }
  if (settings.processDeadMs < 4 * settings.processBeatMs) {
    problems.push(
      'PROCESS_DEAD_MS must be at least four times PROCESS_BEAT_MS, or living processes are taken for dead',
    );
  }
  if (settings.metricsPort !== undefined && settings.metricsPort !== 0 && settings.metricsPort === settings.port) {
    problems.push('METRICS_PORT must differ from PORT; unset it to serve metrics on the main port');
  }
  return problems;
}
