import { Module, type DynamicModule } from '@nestjs/common';
import { CLOCK, OffsetClock, SystemClock, type Clock } from '../../kernel/clock';
import { Settings } from './settings';

/** Gives every module the settings the process was started with, and the clock they choose. */
@Module({})
export class SettingsModule {
  static register(settings: Settings): DynamicModule {
    return {
      module: SettingsModule,
      global: true,
      providers: [
        { provide: Settings, useValue: settings },
        { provide: CLOCK, useFactory: () => clockOf(settings) },
      ],
      exports: [Settings, CLOCK],
    };
  }
}

/** Throws where anything but a test asks for a moved clock, however the settings came to be. */
export function clockOf(settings: Pick<Settings, 'nodeEnv' | 'testClockOffsetMs'>): Clock {
  const { testClockOffsetMs } = settings;
  if (testClockOffsetMs === undefined) return new SystemClock();
  if (settings.nodeEnv !== 'test') throw new Error('a moved clock is refused outside NODE_ENV=test');
  return new OffsetClock(testClockOffsetMs);
}
