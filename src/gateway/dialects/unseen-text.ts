import { TEXT_BYTES_PER_TOKEN } from '../../catalogue/price';

/** By what providers count, of a page that is read with its text. */
const TOKENS_PER_PAGE = 2_400;
/** Of a document that only the provider can read; longer ones are reserved too little for. */
const PAGES_OF_UNREAD_DOCUMENT = 20;

/** As how much text such a document is held for. It is a guess, so nothing is charged by it: see `unseenTextBytes`. */
export const BYTES_OF_UNREAD_DOCUMENT = PAGES_OF_UNREAD_DOCUMENT * TOKENS_PER_PAGE * TEXT_BYTES_PER_TOKEN;

/** As how much text one use of a tool that the provider runs and that reads is held for: a few pages, since nobody knows. */
export const BYTES_OF_READING_TOOL = 32 * 1024;
