/** One limit with what is used of it. Requests and tokens are integers in text, USD has nine decimals. */
export class CounterDto {
  /** Which limit, such as `key_5h`. */
  scope!: string;
  /** Its name within the tenant, with the id of whom it is for. */
  counter!: string;
  measure!: 'requests' | 'usd' | 'tokens';
  limit!: string;
  /** Charged in the window and held by calls under way; null for rates, which are counted in Redis alone. */
  used!: string | null;
  remaining!: string | null;
  /** Null: a lifetime, a rate, or no window is under way and the next use begins one. */
  window_start!: string | null;
  resets_at!: string | null;
}
