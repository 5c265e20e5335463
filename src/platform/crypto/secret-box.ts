import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { Settings } from '../config/settings';

const VERSION = 1;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEADER_BYTES = 1 + NONCE_BYTES;

/** What was sealed cannot be opened: another ENCRYPTION_KEY, another row, or changed bytes. Never carries the secret. */
export class SecretBoxError extends Error {
  override readonly name = 'SecretBoxError';
}

/**
 * Secrets at rest, AES-256-GCM under ENCRYPTION_KEY: `version (1 byte) | nonce (12) | ciphertext | tag (16)`. The
 * version and the context (what identifies the row that holds the secret) are authenticated with it, so a sealed value copied
 * into another row does not open.
 */
@Injectable()
export class SecretBox {
  // A private name: no logger or inspector that walks the object reaches the key.
  readonly #key: Buffer;

  constructor(settings: Settings) {
    this.#key = decodeKey(settings.encryptionKey);
  }

  seal(plain: string, context: string): Buffer {
    return this.sealBytes(Buffer.from(plain, 'utf8'), context);
  }

  sealBytes(plain: Buffer, context: string): Buffer {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce, { authTagLength: TAG_BYTES });
    cipher.setAAD(associatedData(context));
    const sealed = [cipher.update(plain), cipher.final()];
    return Buffer.concat([Buffer.of(VERSION), nonce, ...sealed, cipher.getAuthTag()]);
  }

  /** Throws SecretBoxError. */
  open(sealed: Buffer, context: string): string {
    return this.openBytes(sealed, context).toString('utf8');
  }

  /** Throws SecretBoxError. */
  openBytes(sealed: Buffer, context: string): Buffer {
    if (sealed.length < HEADER_BYTES + TAG_BYTES) throw new SecretBoxError('sealed value is too short');
    if (sealed[0] !== VERSION) throw new SecretBoxError('sealed value has an unknown version');
    const end = sealed.length - TAG_BYTES;
    const nonce = sealed.subarray(1, HEADER_BYTES);
    const decipher = createDecipheriv('aes-256-gcm', this.#key, nonce, { authTagLength: TAG_BYTES });
    decipher.setAAD(associatedData(context));
    decipher.setAuthTag(sealed.subarray(end));
    try {
      return Buffer.concat([decipher.update(sealed.subarray(HEADER_BYTES, end)), decipher.final()]);
    } catch (cause) {
      throw new SecretBoxError(
        'sealed value does not open: ENCRYPTION_KEY is not the one it was sealed with, or the row was changed',
        { cause },
      );
    }
  }
}

function associatedData(context: string): Buffer {
  return Buffer.concat([Buffer.of(VERSION), Buffer.from(context, 'utf8')]);
}

function decodeKey(text: string): Buffer {
  const key = /^[0-9a-f]{64}$/i.test(text) ? Buffer.from(text, 'hex') : Buffer.from(text, 'base64');
  if (key.length !== 32) throw new SecretBoxError('ENCRYPTION_KEY must be 32 bytes, as 64 hex digits or base64');
  return key;
}
