import { createHmac, createSecretKey, type KeyObject, randomBytes } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { Settings } from '../platform/config/settings';
import { API_KEY_PREFIX } from './credentials';

const KEY_BYTES = 32;
const HINT_LENGTH = 4;

/** A key as it exists once, in the answer that creates it, and what is stored of it. */
export interface NewApiKey {
  readonly key: string;
  readonly digest: Buffer;
  readonly hint: string;
}

/** Makes keys and digests them: HMAC-SHA-256 under KEY_PEPPER, so that the stored digest authenticates nobody. */
@Injectable()
export class ApiKeyHasher {
  private readonly pepper: KeyObject;

  constructor(settings: Settings) {
    this.pepper = createSecretKey(settings.keyPepper, 'utf8');
  }

  digestOf(key: string): Buffer {
    return createHmac('sha256', this.pepper).update(key).digest();
  }

  newKey(): NewApiKey {
    const key = API_KEY_PREFIX + randomBytes(KEY_BYTES).toString('base64url');
    return { key, digest: this.digestOf(key), hint: key.slice(-HINT_LENGTH) };
  }
}
