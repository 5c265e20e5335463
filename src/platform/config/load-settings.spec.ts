import { loadDatabaseUrl, loadSettings, SettingsError } from './load-settings';
import { clockOf } from './settings.module';

const required = {
  DATABASE_URL: 'postgres://tollgate:secret-word@127.0.0.1:5432/tollgate',
  REDIS_URL: 'redis://127.0.0.1:6379',
  ADMIN_TOKEN: 'admin-token-of-the-tests',
  KEY_PEPPER: 'p'.repeat(32),
  ENCRYPTION_KEY: 'ab'.repeat(32),
};

function problemsOf(env: NodeJS.ProcessEnv): readonly string[] {
  try {
    loadSettings(env);
  } catch (error) {
    if (error instanceof SettingsError) return error.problems;
    throw error;
  }
  return [];
}

describe('loadSettings', () => {
  it('reads each field from the variable of its name and keeps the defaults of the others', () => {
    const settings = loadSettings({
      ...required,
      PORT: '8080',
      UPSTREAM_ALLOW_PRIVATE: 'false',
      DEFAULT_TIMEZONE: 'Asia/Shanghai',
    });
    expect(settings).toMatchObject({
      port: 8080,
      host: '127.0.0.1',
      upstreamAllowPrivate: false,
      defaultTimezone: 'Asia/Shanghai',
      databaseUrl: required.DATABASE_URL,
      allowsPrivateUpstreams: false,
      showsDocs: true,
    });
  });

  it('takes an empty or blank variable for unset and ignores variables it does not know', () => {
    const settings = loadSettings({ ...required, PORT: '', HOST: '  ', METRICS_PORT: '', UNKNOWN_THING: 'x' });
    expect(settings.port).toBe(3000);
    expect(settings.host).toBe('127.0.0.1');
    expect(settings.metricsPort).toBeUndefined();
  });

  it('names every missing variable at once', () => {
    const problems = problemsOf({});
    for (const name of Object.keys(required)) {
      expect(problems).toContainEqual(expect.stringMatching(new RegExp(`^${name} is not set; it must be `)));
    }
    expect(problems).toHaveLength(5);
  });

  it.each([
    ['PORT', '70000', 'PORT must not be greater than 65535'],
    ['PORT', 'eighty', 'PORT must not be greater than 65535 and must not be less than 0 and must be an integer number'],
    ['PORT', '80.5', 'PORT must be an integer number'],
    [
      'LOG_LEVEL',
      'loud',
      'LOG_LEVEL must be one of the following values: trace, debug, info, warn, error, fatal, silent',
    ],
    [
      'DATABASE_URL',
      'mysql://root:hunter2@db/x',
      'DATABASE_URL must be a URL that starts with postgres:// or postgresql://',
    ],
    [
      'DATABASE_URL',
      'postgres://u:hunter2@host:notaport/x',
      'DATABASE_URL must be a URL that starts with postgres:// or postgresql://',
    ],
    ['KEY_PEPPER', 'hunter2', 'KEY_PEPPER must be longer than or equal to 32 characters'],
    ['ENCRYPTION_KEY', 'hunter2', 'ENCRYPTION_KEY must be 32 bytes: 64 hex digits, or 44 characters of base64'],
    ['DOCS_ENABLED', 'perhaps', 'DOCS_ENABLED must be true or false'],
    ['DEFAULT_TIMEZONE', 'Mars/Base', 'DEFAULT_TIMEZONE must be an IANA time zone such as Asia/Shanghai'],
    [
      'FREE_ALLOWANCES',
      'chat=many',
      'FREE_ALLOWANCES must be services with calls a month such as chat=100, separated by commas',
    ],
  ])('refuses %s=%s, saying what is expected and never the value', (name, value, problem) => {
    const problems = problemsOf({ ...required, [name]: value });
    expect(problems).toEqual([problem]);
    expect(new SettingsError(problems).message).not.toContain(value);
  });

  it('collects the problems of several variables in one message', () => {
    const problems = problemsOf({ ...required, PORT: 'x', ADMIN_TOKEN: 'short', DISCONNECT_POLICY: 'hope' });
    expect(problems.map((problem) => problem.split(' ')[0])).toEqual(['PORT', 'ADMIN_TOKEN', 'DISCONNECT_POLICY']);
  });

  it('refuses settings that contradict each other', () => {
    expect(problemsOf({ ...required, PROCESS_BEAT_MS: '5000', PROCESS_DEAD_MS: '6000' })).toEqual([
      expect.stringContaining('PROCESS_DEAD_MS must be at least four times PROCESS_BEAT_MS'),
    ]);
    expect(problemsOf({ ...required, PORT: '4000', METRICS_PORT: '4000' })).toEqual([
      expect.stringContaining('METRICS_PORT must differ from PORT'),
    ]);
  });

  it('shows no docs in production unless asked', () => {
    expect(loadSettings({ ...required, NODE_ENV: 'production' }).showsDocs).toBe(false);
    expect(loadSettings({ ...required, NODE_ENV: 'production', DOCS_ENABLED: '1' }).showsDocs).toBe(true);
  });
});

describe('loadDatabaseUrl', () => {
  it('needs no other variable', () => {
    expect(loadDatabaseUrl({ DATABASE_URL: required.DATABASE_URL })).toBe(required.DATABASE_URL);
    expect(() => loadDatabaseUrl({ PORT: 'x' })).toThrow('DATABASE_URL is not set');
  });
});

describe('the clock', () => {
  it('is moved only in tests', () => {
    expect(loadSettings({ ...required, NODE_ENV: 'test', TEST_CLOCK_OFFSET_MS: '-5000' }).testClockOffsetMs).toBe(
      -5000,
    );
    expect(problemsOf({ ...required, TEST_CLOCK_OFFSET_MS: '1' })).toEqual([
      expect.stringContaining('TEST_CLOCK_OFFSET_MS must be unset'),
    ]);
    expect(clockOf({ nodeEnv: 'test', testClockOffsetMs: 3_600_000 }).offsetMs).toBe(3_600_000);
    expect(clockOf({ nodeEnv: 'production' }).offsetMs).toBe(0);
    expect(() => clockOf({ nodeEnv: 'production', testClockOffsetMs: 0 })).toThrow('refused outside NODE_ENV=test');
  });
});
