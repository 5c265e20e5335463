import { Global, Module } from '@nestjs/common';
import { SecretBox } from './secret-box';

/** Settings come from the global SettingsModule. */
@Global()
@Module({ providers: [SecretBox], exports: [SecretBox] })
export class CryptoModule {}
