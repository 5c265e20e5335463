/** The header by which a call asks for upstreams of one region, and an answer tells that of the one that served it. */
export const REGION_HEADER = 'x-tollgate-region';

/** A tag such as `eu` or `us-east`; the database has the same rule. */
export const REGION = /^[a-z0-9][a-z0-9._-]{0,63}$/;
