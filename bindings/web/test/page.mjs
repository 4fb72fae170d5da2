// What the tests run in the page.
import { canDenoiseInWorker, createDenoiser, denoiseTrack, denoiseTrackInWorker } from '/dist/index.js';

/** A clip at the rate of a context, [channels] of Float32Array. */
export async function clip(name, rate, channels, seconds) {
  const response = await fetch(`/samples/${name}`);
  const decoder = new OfflineAudioContext(channels, rate, rate);
  const buffer = await decoder.decodeAudioData(await response.arrayBuffer());
  const frames = Math.round(seconds * rate);
  const left = new Float32Array(frames);
  for (let n = 0; n < frames; n++) left[n] = buffer.getChannelData(0)[n % buffer.length];
  // The right channel is the left one, quieter and upside down: a stereo image that must not move.
  return channels === 1 ? [left] : [left, left.map((s) => -0.5 * s)];
}

/** Renders channels of samples through a denoiser. `at` has functions by their times, s. */
export async function render(input, rate, options = {}, at = []) {
  const channels = input.length;
  const frames = input[0].length;
  const context = new OfflineAudioContext(channels, frames, rate);
  // A busy machine must not change the result.
  const node = await createDenoiser(context, { channels, maxLoad: 1000, ...options });
  const events = [];
  for (const name of ['running', 'telemetry', 'overload', 'error']) {
    node.on(name, (detail) => events.push({ name, detail }));
  }
  const buffer = new AudioBuffer({ numberOfChannels: channels, length: frames, sampleRate: rate });
  input.forEach((samples, channel) => buffer.copyToChannel(samples, channel));
  const source = new AudioBufferSourceNode(context, { buffer });
  source.connect(node).connect(context.destination);
  source.start();
  for (const [time, change] of at) {
    void context.suspend(time).then(async () => {
      change(node);
      // The message reaches the processor while the rendering waits.
      await new Promise((resolve) => setTimeout(resolve, 20));
      await context.resume();
    });
  }
  const rendered = await context.startRendering();
  await new Promise((resolve) => setTimeout(resolve, 50));
  const output = input.map((_, channel) => rendered.getChannelData(channel));
  const latency = Math.round(node.latencySeconds * rate);
  node.dispose();
  return { output, latency, events };
}

const power = (samples) => samples.reduce((sum, s) => sum + s * s, 0) / samples.length;
export const db = (value) => 10 * Math.log10(value + 1e-12);

/** Levels of blocks of 20 ms, dBFS. */
export function levels(samples, rate) {
  const block = Math.round(rate / 50);
  const all = [];
  for (let at = 0; at + block <= samples.length; at += block) all.push(db(power(samples.subarray(at, at + block))));
  return all;
}

/** Noise floor of both, and the change of the speech, dB. Output is aligned by the latency. */
export function compare(input, output, latency, rate) {
  const skip = rate; // the model settles
  const before = levels(input.subarray(skip, input.length - latency), rate);
  const after = levels(output.subarray(skip + latency), rate);
  const floor = (all) => [...all].sort((a, b) => a - b)[Math.floor(all.length * 0.05)];
  const limit = floor(before) + 6;
  const speech = (all) => db(all.filter((_, n) => before[n] > limit).reduce((sum, l) => sum + 10 ** (l / 10), 0));
  const noise = 10 ** (floor(before) / 10);
  const count = before.filter((l) => l > limit).length;
  const [from, to] = [10 ** (speech(before) / 10) - count * noise, 10 ** (speech(after) / 10)];
  return { floorBefore: floor(before), floorAfter: floor(after), speechChange: db(to / from) };
}

/** Largest difference of the output to the input, delayed by `latency`. */
export function difference(input, output, latency) {
  let largest = 0;
  for (let n = latency; n < input.length; n++) largest = Math.max(largest, Math.abs(output[n] - input[n - latency]));
  return largest;
}

/** Largest second difference: a click is a bend. */
export function bend(samples) {
  let largest = 0;
  for (let n = 2; n < samples.length; n++) {
    largest = Math.max(largest, Math.abs(samples[n] - 2 * samples[n - 1] + samples[n - 2]));
  }
  return largest;
}

/** Samples of a track for some seconds. */
export async function record(track, seconds) {
  // Chromium moves the samples of a received track only while an element plays it.
  const element = new Audio();
  element.muted = true;
  element.srcObject = new MediaStream([track]);
  void element.play().catch(() => undefined);
  const context = new AudioContext({ sampleRate: 48000 });
  await context.audioWorklet.addModule('/test/recorder.mjs');
  const source = new MediaStreamAudioSourceNode(context, { mediaStream: new MediaStream([track]) });
  const recorder = new AudioWorkletNode(context, 'recorder', { numberOfOutputs: 1, channelCount: 1, channelCountMode: 'explicit' });
  const blocks = [];
  recorder.port.onmessage = (event) => blocks.push(event.data);
  source.connect(recorder).connect(context.destination);
  await context.resume();
  await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
  await context.close();
  element.srcObject = null;
  const samples = new Float32Array(blocks.reduce((sum, b) => sum + b.length, 0));
  let at = 0;
  for (const block of blocks) {
    samples.set(block, at);
    at += block.length;
  }
  return samples;
}

/** Sends a track through a loopback call. */
export async function call(track) {
  const [a, b] = [new RTCPeerConnection(), new RTCPeerConnection()];
  a.onicecandidate = (e) => e.candidate && b.addIceCandidate(e.candidate);
  b.onicecandidate = (e) => e.candidate && a.addIceCandidate(e.candidate);
  const received = new Promise((resolve) => {
    b.ontrack = (e) => resolve(e.track);
  });
  a.addTrack(track);
  await a.setLocalDescription();
  await b.setRemoteDescription(a.localDescription);
  await b.setLocalDescription();
  await a.setRemoteDescription(b.localDescription);
  return {
    track: await received,
    close: () => {
      a.close();
      b.close();
    },
  };
}

Object.assign(globalThis, { call, canDenoiseInWorker, createDenoiser, denoiseTrack, denoiseTrackInWorker, clip, render, levels, compare, difference, bend, record, db });
globalThis.isReady = true;
