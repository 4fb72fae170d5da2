// The module against the program on the same clip: the sums of integers are equal, the order of the other
// sums depends on the width of the vectors.
//
//     QUIETWIRE=target/debug/quietwire npm test
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { createStream } from '../dist/engine.js';

const root = fileURLToPath(new URL('../', import.meta.url));
const samples = path.resolve(root, '../../samples');
const program = process.env.QUIETWIRE;

/** 32-bit float WAV, one channel. */
function wav(samples, rate) {
  const bytes = Buffer.alloc(44 + 4 * samples.length);
  bytes.write('RIFF', 0);
  bytes.writeUInt32LE(36 + 4 * samples.length, 4);
  bytes.write('WAVEfmt ', 8);
  bytes.writeUInt32LE(16, 16);
  bytes.writeUInt16LE(3, 20);
  bytes.writeUInt16LE(1, 22);
  bytes.writeUInt32LE(rate, 24);
  bytes.writeUInt32LE(4 * rate, 28);
  bytes.writeUInt16LE(4, 32);
  bytes.writeUInt16LE(32, 34);
  bytes.write('data', 36);
  bytes.writeUInt32LE(4 * samples.length, 40);
  samples.forEach((s, n) => bytes.writeFloatLE(s, 44 + 4 * n));
  return bytes;
}

/** The samples of the data chunk of a WAV file with one channel of 16-bit integers or 32-bit floats. */
function read(file) {
  const bytes = readFileSync(file);
  let at = 12;
  let format = 1;
  for (;;) {
    const [name, size] = [bytes.toString('latin1', at, at + 4), bytes.readUInt32LE(at + 4)];
    if (name === 'fmt ') format = bytes.readUInt16LE(at + 8) === 0xfffe ? bytes.readUInt16LE(at + 32) : bytes.readUInt16LE(at + 8);
    if (name === 'data') {
      const data = bytes.subarray(at + 8, at + 8 + size);
      if (format === 3) return Float32Array.from({ length: size / 4 }, (_, n) => data.readFloatLE(4 * n));
      return Float32Array.from({ length: size / 2 }, (_, n) => data.readInt16LE(2 * n) / 32768);
    }
    at += 8 + size + (size % 2);
  }
}

function files(...names) {
  return Object.fromEntries(names.map((name) => [name, readFileSync(path.join(root, 'assets', name))]));
}

/** The output of a module on a clip, without its latency. */
async function clean(clip, model, module) {
  const assets = { files: files(`${model}.toml`, `${model}.onnx`) };
  assets.files['quietwire.wasm'] = readFileSync(path.join(root, 'assets', module));
  const { exports, stream, latencyFrames } = await createStream({ models: [model], rateHz: 48000, channels: 1, attenuationDb: 40, assets });
  const output = new Float32Array(clip.length + latencyFrames);
  for (let at = 0; at < output.length; at += 128) {
    const block = new Float32Array(exports.memory.buffer, exports.quietwire_block(stream, 0), 128);
    block.fill(0);
    block.set(clip.subarray(at, at + 128));
    assert.equal(exports.quietwire_process(stream, 128), 0);
    output.set(block.subarray(0, Math.min(128, output.length - at)), at);
  }
  return output.subarray(latencyFrames);
}

const power = (samples) => samples.reduce((sum, s) => sum + s * s, 0);

for (const model of ['base', 'tiny']) {
  test(`${model}: the module has the output of the program`, { skip: !program && 'QUIETWIRE is not set' }, async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'quietwire-web-'));
    const clip = read(path.join(samples, 'office-fan.wav'));
    const [input, output] = ['in.wav', 'out.wav'].map((name) => path.join(folder, name));
    writeFileSync(input, wav(clip, 48000));
    execFileSync(program, ['clean', input, '-o', output, '--model', model, '--force']);
    const expected = read(output);
    assert.equal(expected.length, clip.length);
    for (const module of ['quietwire.wasm', 'quietwire-plain.wasm']) {
      const found = await clean(clip, model, module);
      const difference = found.map((s, n) => s - expected[n]);
      const db = 10 * Math.log10(power(difference) / power(expected) + 1e-30);
      console.log(`${model}, ${module}: difference ${db.toFixed(1)} dB`);
      assert.ok(db < -80, `${db} dB`);
    }
  });
}
