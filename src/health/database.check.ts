import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import type { DependencyCheck } from './dependency-check';

/** Through the control plane's connections: a busy hot path must not look like a database that is gone. */
@Injectable()
export class DatabaseCheck implements DependencyCheck {
  readonly name = 'database';

  constructor(private readonly dataSource: DataSource) {}

  async check(): Promise<Record<string, never>> {
    await this.dataSource.query('select 1');
    return {};
  }
}
