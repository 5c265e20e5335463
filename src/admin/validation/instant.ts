import { invalid } from '../refusals';

/** Throws a refusal that names the field: February 30 and the week 2026-W05 have the form of a date, and are none. */
export function instantOf(text: string, param: string): Date {
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) throw invalid(param, 'is not a date');
  return at;
}
