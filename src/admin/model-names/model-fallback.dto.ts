import { ArrayMaxSize, ArrayMinSize, ArrayUnique, IsArray } from 'class-validator';
import { IsGivenNames } from '../validation/fields.decorator';

/** The database keeps as many positions. */
const MAX_FALLBACKS = 10;

export class SetModelFallbacksDto {
  /** Asked in this order where no upstream of the model answers; models or aliases. */
  @ArrayMinSize(1)
  @ArrayMaxSize(MAX_FALLBACKS)
  @ArrayUnique()
  @IsGivenNames()
  @IsArray()
  fallback_models!: string[];
}

export class ModelFallbacksDto {
  object!: 'model_fallbacks';
  model!: string;
  /** In the order in which they are asked. */
  fallback_models!: string[];
}

export class DeletedModelFallbacksDto {
  object!: 'model_fallbacks';
  model!: string;
  deleted!: true;
}
