import { Column, Entity, PrimaryColumn } from 'typeorm';

/** What an estimate needs to know of a model; a model without a row has the defaults of default-profile.ts. */
@Entity({ name: 'model_profile' })
export class ModelProfileRow {
  @PrimaryColumn('text')
  model!: string;

  @Column({ name: 'is_reasoning', type: 'boolean' })
  isReasoning!: boolean;

  @Column({ name: 'default_output_reserve_tokens', type: 'integer' })
  defaultOutputReserveTokens!: number;

  @Column({ name: 'max_output_tokens', type: 'integer', nullable: true })
  maxOutputTokens!: number | null;

  @Column({ name: 'tokens_per_image', type: 'integer' })
  tokensPerImage!: number;
}
