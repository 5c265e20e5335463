import 'reflect-metadata';
import { inspect } from 'node:util';
import { Settings } from '../config/settings';
import { SecretBox, SecretBoxError } from './secret-box';

function boxWith(encryptionKey: string): SecretBox {
  return new SecretBox(Object.assign(new Settings(), { encryptionKey }));
}

const HEX_KEY = '00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff';
const ROW = '0190aaaa-0000-7000-8000-000000000001';

describe('SecretBox', () => {
  const box = boxWith(HEX_KEY);

  it('opens what it sealed, whatever the text', () => {
    for (const plain of ['sk-upstream-123', '', 'schlüssel 密钥 🔑', 'x'.repeat(10_000)]) {
      expect(box.open(box.seal(plain, ROW), ROW)).toBe(plain);
    }
  });

  it('takes the same key as hex and as base64', () => {
    const base64 = boxWith(Buffer.from(HEX_KEY, 'hex').toString('base64'));
    expect(base64.open(box.seal('sk-1', ROW), ROW)).toBe('sk-1');
  });

  it('never seals to the same bytes twice and never contains the plain text', () => {
    const seals = new Set(Array.from({ length: 100 }, () => box.seal('sk-plain', ROW).toString('hex')));
    expect(seals.size).toBe(100);
    for (const sealed of seals) expect(Buffer.from(sealed, 'hex').includes('sk-plain')).toBe(false);
  });

  it('refuses a seal with any single bit changed', () => {
    const sealed = box.seal('sk-1', ROW);
    for (let bit = 0; bit < sealed.length * 8; bit += 1) {
      const tampered = Buffer.from(sealed);
      tampered.writeUInt8(tampered.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      expect(() => box.open(tampered, ROW)).toThrow(SecretBoxError);
    }
  });

  it('refuses every truncation', () => {
    const sealed = box.seal('sk-1', ROW);
    for (let length = 0; length < sealed.length; length += 1) {
      expect(() => box.open(sealed.subarray(0, length), ROW)).toThrow(SecretBoxError);
    }
  });

  it('refuses a seal that was copied into another row', () => {
    expect(() => box.open(box.seal('sk-1', ROW), `${ROW}x`)).toThrow(SecretBoxError);
  });

  it('names the setting when the key is another one, and never the secret or the key', () => {
    const other = boxWith('f'.repeat(64));
    expect(() => other.open(box.seal('sk-1', ROW), ROW)).toThrow(/ENCRYPTION_KEY/);
    try {
      other.open(box.seal('sk-1', ROW), ROW);
    } catch (error) {
      expect(inspect(error, { depth: 9 })).not.toMatch(/sk-1|ffffffff/);
    }
  });

  it('does not show its key when inspected or serialised', () => {
    expect(inspect(box, { depth: 9, showHidden: true }) + JSON.stringify(box)).not.toContain('0011');
    expect(inspect(box, { depth: 9 })).not.toContain('00 11 22');
  });

  it('refuses a key of another length', () => {
    expect(() => boxWith('00ff')).toThrow(/ENCRYPTION_KEY/);
  });
});
