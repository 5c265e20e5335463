import { Column, CreateDateColumn, Entity, PrimaryColumn, UpdateDateColumn } from 'typeorm';

/** Another name of a model that upstreams serve. One level: an alias never names an alias. */
@Entity({ name: 'model_alias' })
export class ModelAlias {
  @PrimaryColumn('text')
  alias!: string;

  @Column('text')
  model!: string;

  @CreateDateColumn({ name: 'created_at', type: 'timestamptz' })
  createdAt!: Date;

  @UpdateDateColumn({ name: 'updated_at', type: 'timestamptz' })
  updatedAt!: Date;
}
