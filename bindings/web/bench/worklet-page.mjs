// What bench/worklet.mjs runs in the page.
import { createDenoiser } from '/dist/index.js';
import { loadGtcrn, loadRnnoise, GtcrnWorkletNode, RnnoiseWorkletNode, SpeexWorkletNode, loadSpeex } from '/node_modules/@sapphi-red/web-noise-suppressor/dist/index.js';

const SAPPHI = '/node_modules/@sapphi-red/web-noise-suppressor/dist';

async function sapphi(context, name, Node, wasmBinary) {
  await context.audioWorklet.addModule(`${SAPPHI}/${name}/workletProcessor.js`);
  return new Node(context, { maxChannels: 1, wasmBinary });
}

async function own(context, name) {
  await context.audioWorklet.addModule('/bench/peers.mjs');
  return new AudioWorkletNode(context, name, { outputChannelCount: [1], channelCount: 1, channelCountMode: 'explicit' });
}

/** Nodes by their names in the table. */
const makers = {
  'a worklet that copies': (context) => own(context, 'copies'),
  '`base`': (context) => createDenoiser(context, { models: ['base'] }),
  '`tiny`': (context) => createDenoiser(context, { models: ['tiny'] }),
  '`base`, switched off': (context) => createDenoiser(context, { models: ['base'], enabled: false }),
  'RNNoise, `@jitsi/rnnoise-wasm` 0.2.1': (context) => own(context, 'jitsi-rnnoise'),
  'RNNoise, `@sapphi-red/web-noise-suppressor` 0.4.1': async (context) =>
    sapphi(context, 'rnnoise', RnnoiseWorkletNode, await loadRnnoise({ url: `${SAPPHI}/rnnoise.wasm`, simdUrl: `${SAPPHI}/rnnoise_simd.wasm` })),
  'GTCRN, the same package': async (context) =>
    sapphi(context, 'gtcrn', GtcrnWorkletNode, await loadGtcrn({ url: `${SAPPHI}/gtcrn.wasm` })),
  'Speex, the same package': async (context) =>
    sapphi(context, 'speex', SpeexWorkletNode, await loadSpeex({ url: `${SAPPHI}/speex.wasm` })),
};

const sample = await (await fetch('/samples/office-fan.wav')).arrayBuffer();

/** Processes some seconds of the sample, between the marks `start` and `end` of the trace. */
async function turn(name, rateHz, seconds, isLive) {
  const context = isLive ? new AudioContext({ sampleRate: rateHz }) : new OfflineAudioContext(1, seconds * rateHz, rateHz);
  const buffer = await context.decodeAudioData(sample.slice(0));
  const node = await makers[name](context);
  const source = new AudioBufferSourceNode(context, { buffer, loop: true });
  source.connect(node).connect(context.destination);
  source.start();
  // Instances that are made in the audio thread are ready a little after their node.
  await new Promise((resolve) => setTimeout(resolve, 300));
  performance.mark('start');
  if (isLive) await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
  else checkSound(name, await context.startRendering());
  performance.mark('end');
  (node.dispose ?? node.destroy)?.call(node);
  if (isLive) await context.close();
}

/** A processor that does not work costs nothing. */
function checkSound(name, rendered) {
  const samples = rendered.getChannelData(0);
  const isSilent = samples.every((s) => s === 0);
  if (isSilent || samples.some(Number.isNaN)) throw new Error(`${name} has no output`);
}

globalThis.turn = turn;
globalThis.benchedNames = Object.keys(makers);
