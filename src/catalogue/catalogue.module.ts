import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { ModelProfileRow } from './model-profile.entity';
import { PriceBook } from './price-book';
import { Price } from './price.entity';

@Module({
  imports: [TypeOrmModule.forFeature([Price, ModelProfileRow])],
  providers: [PriceBook],
  exports: [PriceBook, TypeOrmModule],
})
export class CatalogueModule {}
