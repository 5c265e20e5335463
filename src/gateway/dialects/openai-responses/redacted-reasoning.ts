/**
 * A thought that only its provider can read and a proof of one that can be read are both `encrypted_content` here, while
 * other providers tell them apart and refuse one for the other: the former is marked, and what a client sends back read so.
 */
const MARK = 'redacted:';

export function markRedacted(data: string): string {
  return MARK + data;
}

/** The data of a thought that was marked; undefined for any other encrypted content. */
export function redactedDataIn(encryptedContent: string): string | undefined {
  return encryptedContent.startsWith(MARK) ? encryptedContent.slice(MARK.length) : undefined;
}
