import { checkMessages, type MessageMeasure } from './message-shape';

function measured(...content: object[]): MessageMeasure {
  const measure: MessageMeasure = {
    images: 0,
    mediaDataBytes: 0,
    audioParts: 0,
    audioDataBytes: 0,
    unseenTextBytes: 0,
  };
  expect(checkMessages([{ role: 'user', content }], measure)).toBeUndefined();
  return measure;
}

const PDF = `data:application/pdf;base64,${Buffer.from('%PDF-1.4 /Type /Page /Type /Page').toString('base64')}`;

describe('what a file in a chat message is estimated as', () => {
  it('is two images a page, and no text', () => {
    const file = { filename: 'a.pdf', file_data: PDF };
    expect(measured({ type: 'file', file })).toMatchObject({ images: 4, mediaDataBytes: PDF.length });
  });

  it('is many pages where only the provider can read it', () => {
    expect(measured({ type: 'file', file: { file_id: 'file-1' } })).toMatchObject({
      images: 0,
      mediaDataBytes: 0,
      unseenTextBytes: 144_000,
    });
  });

  it('is text where it is text', () => {
    const file = { file_data: `data:text/plain;base64,${Buffer.from('hello').toString('base64')}` };
    expect(measured({ type: 'file', file })).toMatchObject({ images: 0, mediaDataBytes: 0 });
  });

  it('is nothing where there is none', () => {
    for (const file of [undefined, null, 'x', {}, { file_id: null }]) {
      expect(measured({ type: 'file', file })).toMatchObject({ images: 0, mediaDataBytes: 0 });
    }
  });
});
