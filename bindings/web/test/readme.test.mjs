// The examples of the README compile, with the types of this package, of React and of LiveKit.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import ts from 'typescript';

import { root } from './server.mjs';

/** What the application around an example has. */
const AROUND = `
declare const peerConnection: RTCPeerConnection;
declare const other: MediaStreamTrack;
declare const audioContext: AudioContext;
declare const source: AudioNode;
declare const localAudioTrack: import('livekit-client').LocalAudioTrack;
declare const localTrack: {
  getTrack(): MediaStreamTrack;
  setEffect(effect: { startEffect(stream: MediaStream): MediaStream; stopEffect(): void }): Promise<void>;
};
`;

test('the examples of the README compile', () => {
  const text = readFileSync(path.join(root, 'README.md'), 'utf8');
  const examples = [...text.matchAll(/^```jsx?\n(.*?)^```$/gms)].map((found) => found[1]);
  assert.ok(examples.length >= 4, `${examples.length} examples`);
  // Inside of the package, so that its name is found.
  const folder = mkdtempSync(path.join(root, 'test', 'readme-'));
  try {
    const files = examples.map((code, n) => {
      const file = path.join(folder, `example-${n}.tsx`);
      writeFileSync(file, `${code}\nexport {};\n`);
      return file;
    });
    const around = path.join(folder, 'around.d.ts');
    writeFileSync(around, AROUND);
    const program = ts.createProgram([...files, around], {
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.ES2022,
      moduleResolution: ts.ModuleResolutionKind.Bundler,
      jsx: ts.JsxEmit.ReactJSX,
      lib: ['lib.es2022.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts'],
      types: [],
      strict: true,
      // The examples are JavaScript.
      noImplicitAny: false,
      skipLibCheck: true,
      noEmit: true,
    });
    const found = ts.getPreEmitDiagnostics(program).map(({ file, messageText }) => {
      const where = file ? path.basename(file.fileName) : '';
      return `${where}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`;
    });
    assert.deepEqual(found, []);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
