/** Fixed ids of the house's accounts (migration money-functions): every transfer names one, none looks it up. */
export const HOUSE_ACCOUNT = {
  revenue: '00000000-0000-7000-8000-000000000001',
  adjustment: '00000000-0000-7000-8000-000000000002',
  writeOff: '00000000-0000-7000-8000-000000000003',
} as const;
