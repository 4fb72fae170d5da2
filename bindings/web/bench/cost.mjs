// Cost of a 10 ms hop in node, beside RNNoise as @jitsi/rnnoise-wasm has it, in one interleaved run.
//
//     npm install --no-save @jitsi/rnnoise-wasm && node bench/cost.mjs
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { createStream } from '../dist/engine.js';

const assets = fileURLToPath(new URL('../assets/', import.meta.url));
const HOPS = 200;
const ROUNDS = 15;

const noise = Float32Array.from({ length: 480 }, () => 0.2 * (Math.random() - 0.5));

async function quietwire(model) {
  const names = ['quietwire.wasm', `${model}.toml`, `${model}.onnx`];
  const files = Object.fromEntries(names.map((name) => [name, readFileSync(assets + name)]));
  const { exports, stream } = await createStream({ models: [model], rateHz: 48000, channels: 1, attenuationDb: 40, assets: { files } });
  const block = new Float32Array(exports.memory.buffer, exports.quietwire_block(stream, 0), 480);
  return () => {
    block.set(noise);
    exports.quietwire_process(stream, 480);
  };
}

async function rnnoise() {
  const { createRNNWasmModuleSync } = await import('@jitsi/rnnoise-wasm/dist/rnnoise-sync.js').then((m) => ({ createRNNWasmModuleSync: m.default }));
  const module = createRNNWasmModuleSync();
  const state = module._rnnoise_create();
  const at = module._malloc(480 * 4);
  return () => {
    for (let n = 0; n < 480; n++) module.HEAPF32[at / 4 + n] = 32768 * noise[n];
    module._rnnoise_process_frame(state, at, at);
  };
}

const hops = { base: await quietwire('base'), tiny: await quietwire('tiny') };
try {
  hops['rnnoise (jitsi)'] = await rnnoise();
} catch (error) {
  console.log(`without RNNoise: ${error.message}`);
}
const times = Object.fromEntries(Object.keys(hops).map((name) => [name, []]));
for (let round = 0; round < ROUNDS; round++) {
  for (const [name, hop] of Object.entries(hops)) {
    for (let n = 0; n < HOPS; n++) {
      const start = performance.now();
      hop();
      if (round > 2) times[name].push(1000 * (performance.now() - start));
    }
  }
}
for (const [name, all] of Object.entries(times)) {
  all.sort((a, b) => a - b);
  const at = (part) => all[Math.floor(part * (all.length - 1))].toFixed(0);
  console.log(`${name.padEnd(16)} a hop of 10 ms: p50 ${at(0.5)} us, p99 ${at(0.99)} us`);
}
