import { Column, CreateDateColumn, Entity, PrimaryColumn, UpdateDateColumn } from 'typeorm';
import type { ApiDialect, ProviderKind } from '../upstream.port';

/** Who serves models: an account at one base URL. Deleting it deletes its upstreams; money rows keep its name. */
@Entity({ name: 'provider' })
export class Provider {
  @PrimaryColumn('uuid')
  id!: string;

  @Column('text')
  name!: string;

  @Column('text')
  kind!: ProviderKind;

  /** What it speaks, each once, in the order of dialectsOfKind. */
  @Column('text', { array: true })
  dialects!: ApiDialect[];

  /** Checked by BaseUrlPolicy and in the form of normaliseBaseUrl. */
  @Column({ name: 'base_url', type: 'text' })
  baseUrl!: string;

  /** Sealed by SecretBox with this row's id as context; never read along with the rest. */
  @Column({ name: 'api_key_encrypted', type: 'bytea', select: false })
  apiKeyEncrypted!: Buffer;

  @CreateDateColumn({ name: 'created_at', type: 'timestamptz' })
  createdAt!: Date;

  @UpdateDateColumn({ name: 'updated_at', type: 'timestamptz' })
  updatedAt!: Date;
}
