import { Module } from '@nestjs/common';
import { ProcessIdentity } from './process-identity';

@Module({ providers: [ProcessIdentity], exports: [ProcessIdentity] })
export class ProcessModule {}
