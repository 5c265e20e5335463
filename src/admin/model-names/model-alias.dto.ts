import { IsGivenName } from '../validation/fields.decorator';

export class SetModelAliasDto {
  /** The model that is routed, priced and recorded; not itself an alias. */
  @IsGivenName()
  model!: string;
}

export class ModelAliasDto {
  object!: 'model_alias';
  /** What clients may ask for. */
  alias!: string;
  model!: string;
  created_at!: string;
  updated_at!: string;
}

export class DeletedModelAliasDto {
  object!: 'model_alias';
  alias!: string;
  deleted!: true;
}
