import { Column, Entity, PrimaryColumn } from 'typeorm';

/** One model that answers in place of another; a model's fallbacks are tried in the order of `position`. */
@Entity({ name: 'model_fallback' })
export class ModelFallback {
  @PrimaryColumn('text')
  model!: string;

  @PrimaryColumn('smallint')
  position!: number;

  @Column({ name: 'fallback_model', type: 'text' })
  fallbackModel!: string;

  @Column({ name: 'created_at', type: 'timestamptz' })
  createdAt!: Date;
}
