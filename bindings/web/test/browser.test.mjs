// The package in headless Chromium, on a page with a strict policy.
//
//     npm test          CHROMIUM=/path/to/chromium, default: the first one on the path
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test as run } from 'node:test';

import { launch } from './browser.mjs';
import { root, serve } from './server.mjs';
import { throttle } from './throttle.mjs';

const microphone = path.resolve(root, '../../samples/office-fan.wav');
let server, browser, page;

// A promise of the page that never settles fails its test, by name.
const test = (name, work) => run(name, { timeout: 180_000 }, work);

async function open(where = '/', own = browser) {
  const context = await own.newContext({ permissions: ['microphone'] });
  const page = await context.newPage();
  page.on('pageerror', (error) => console.error('page:', error));
  page.on('console', (message) => console.error('console:', message.text()));
  await page.goto(server.url + where);
  await page.addScriptTag({ type: 'module', url: '/test/page.mjs' });
  await page.waitForFunction(() => globalThis.isReady);
  return page;
}

before(async () => {
  server = await serve();
  browser = await launch(microphone);
  page = await open();
});

after(async () => {
  await browser?.close();
  server?.close();
});

for (const [rate, channels] of [
  [48000, 1],
  [48000, 2],
  [44100, 2],
  [16000, 1],
]) {
  test(`noise falls and speech stays: ${rate} Hz, ${channels} channels`, async () => {
    const result = await page.evaluate(
      async ([rate, channels]) => {
        const input = await clip('office-fan.wav', rate, channels, 8);
        const { output, latency, events } = await render(input, rate);
        const compared = input.map((samples, channel) => compare(samples, output[channel], latency, rate));
        // The right channel is the left one times -0.5.
        const image = channels === 2 ? difference(output[0].map((s) => -0.5 * s), output[1], 0) : 0;
        return { compared, latency, image, names: events.map((e) => e.name) };
      },
      [rate, channels],
    );
    console.log(rate, channels, JSON.stringify(result));
    for (const { floorBefore, floorAfter, speechChange } of result.compared) {
      assert.ok(floorAfter < floorBefore - 15, 'noise floor');
      assert.ok(Math.abs(speechChange) < 1, 'speech');
    }
    assert.ok(result.image < 1e-4, 'stereo image');
    assert.deepEqual(result.names, ['running']);
  });

  test(`switched off it is the input, delayed: ${rate} Hz, ${channels} channels`, async () => {
    const largest = await page.evaluate(
      async ([rate, channels]) => {
        const input = await clip('office-fan.wav', rate, channels, 2);
        const { output, latency } = await render(input, rate, { enabled: false, models: ['tiny'] });
        return Math.max(...input.map((samples, channel) => difference(samples, output[channel], latency)));
      },
      [rate, channels],
    );
    assert.ok(largest < 1e-6, `${largest}`);
  });
}

test('a switch every 100 ms does not click', async () => {
  const [bendOf, bendOn] = await page.evaluate(async () => {
    const rate = 48000;
    // A low tone that the models remove and a switch would cut.
    const tone = Float32Array.from({ length: 4 * rate }, (_, n) => 0.5 * Math.sin((2 * Math.PI * 150 * n) / rate));
    const changes = [];
    for (let n = 1; n < 35; n++) {
      const change = [
        (node) => node.setEnabled(n % 8 < 4),
        (node) => node.setModel(n % 8 < 4 ? 'tiny' : 'base'),
        (node) => node.setAttenuation(n),
        (node) => node.setLevel('high'),
      ][n % 4];
      changes.push([n / 10, change]);
    }
    const { output, events } = await render([tone], rate, {}, changes);
    if (events.some((e) => e.name === 'error')) throw new Error(JSON.stringify(events));
    // The tone itself begins with a bend.
    return [bend(tone), bend(output[0].subarray(rate / 20))];
  });
  // A cut at the peak of the tone would bend by 0.5.
  assert.ok(bendOn < bendOf + 0.003, `${bendOf} ${bendOn}`);
});

test('overload steps down to the delayed input, with an event', async () => {
  const events = await page.evaluate(async () => {
    const input = await clip('office-fan.wav', 48000, 1, 5);
    const { events } = await render(input, 48000, { maxLoad: 1e-6 });
    return events;
  });
  const levels = events.filter((e) => e.name === 'overload').map((e) => e.detail.fallbackLevel);
  assert.deepEqual(levels, [1, 2]);
});

test('a throttled processor: it steps down with an event and without a click, and up again', async () => {
  const own = await launch();
  const other = await open('/', own);
  const limit = await throttle(own);
  try {
    await other.exposeFunction('throttle', limit.set);
    const result = await other.evaluate(async () => {
      const rate = 48000;
      const maxSeconds = 300;
      const context = new OfflineAudioContext(1, maxSeconds * rate, rate);
      await context.audioWorklet.addModule('/test/recorder.mjs');
      const node = await createDenoiser(context, { channels: 2, maxLoad: 0.6 });
      const recorder = new AudioWorkletNode(context, 'recorder');
      const blocks = [];
      recorder.port.onmessage = (event) => blocks.push(event.data);
      // A low tone that the models remove: the delayed input, tiny and base differ much.
      const tone = new OscillatorNode(context, { frequency: 150 });
      tone.connect(node).connect(recorder).connect(context.destination);
      tone.start();
      const steps = [];
      node.on('overload', ({ fallbackLevel, load }) => steps.push({ fallbackLevel, load }));
      const errors = [];
      node.on('error', ({ message }) => errors.push(message));
      // Eight stops in each second of sound until the first step, then none until the last step up. Chance decides how
      // many of them fall into the denoiser's own work; one is enough.
      for (let second = 2; second < maxSeconds; second++) {
        const paused = context.suspend(second);
        if (second === 2) void context.startRendering();
        else void context.resume();
        await paused;
        await throttle(steps.length === 0 ? 8 : 0);
        if (steps.at(-1)?.fallbackLevel === 0) break;
      }
      const samples = new Float32Array(128 * blocks.length);
      blocks.forEach((block, n) => samples.set(block, 128 * n));
      return { steps, errors, seconds: samples.length / rate, bend: bend(samples.subarray(rate / 20)) };
    });
    console.log(JSON.stringify(result));
    assert.deepEqual(result.errors, []);
    assert.equal(result.steps[0].fallbackLevel, 1);
    assert.ok(result.steps[0].load > 0.6);
    assert.equal(result.steps.at(-1).fallbackLevel, 0);
    // The tone bends by 0.0004, and a cut at its peak would bend by 1.
    assert.ok(result.bend < 0.003, `${result.bend}`);
  } finally {
    await limit.end();
    await own.close();
  }
});

test('telemetry comes at its rate', async () => {
  const events = await page.evaluate(async () => {
    const input = await clip('office-fan.wav', 48000, 1, 4);
    return (await render(input, 48000, { telemetryHz: 10 })).events;
  });
  const found = events.filter((e) => e.name === 'telemetry').map((e) => e.detail);
  assert.ok(Math.abs(found.length - 40) <= 1, `${found.length}`);
  assert.ok(found.every((t) => t.hops > 0 && t.load >= 0 && t.inputDbfs < 0));
});

test('the track of a microphone becomes clean, follows its end, and goes through a call', async () => {
  const result = await page.evaluate(async () => {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: false, autoGainControl: false } });
    const source = stream.getAudioTracks()[0];
    const denoised = await denoiseTrack(source, { maxLoad: 1000 });
    const constraints = source.getSettings();
    await new Promise((resolve) => denoised.node.on('running', resolve));
    const [raw, clean] = await Promise.all([record(source, 7), record(denoised.track, 7)]);
    const { track: remote, close } = await call(denoised.track);
    const received = await record(remote, 6);
    close();
    let ended = false;
    denoised.track.addEventListener('ended', () => (ended = true));
    source.dispatchEvent(new Event('ended'));
    await new Promise((resolve) => setTimeout(resolve, 100));
    const floor = (samples) => {
      const all = levels(samples.subarray(48000), 48000).filter((l) => l > -119);
      return all.sort((x, y) => x - y)[Math.floor(all.length * 0.05)];
    };
    const loud = (samples) => Math.max(...levels(samples.subarray(48000), 48000));
    return {
      noiseSuppression: constraints.noiseSuppression ?? false,
      floors: [raw, clean, received].map(floor),
      loud: [raw, clean, received].map(loud),
      ended,
      state: denoised.track.readyState,
      latency: denoised.latencySeconds,
    };
  });
  console.log(JSON.stringify(result));
  assert.equal(result.noiseSuppression, false);
  const [raw, clean, call] = result.floors;
  assert.ok(clean < raw - 15, `${raw} ${clean}`);
  assert.ok(call < raw - 15, `${raw} ${call}`);
  assert.ok(result.loud.every((l) => Math.abs(l - result.loud[0]) < 3), `${result.loud}`);
  assert.ok(result.ended);
  assert.equal(result.state, 'ended');
});

test('the clean track follows its source, and frees everything when it is stopped', async () => {
  const result = await page.evaluate(async () => {
    const microphone = async () => (await navigator.mediaDevices.getUserMedia({ audio: true })).getAudioTracks()[0];
    const [first, second] = [await microphone(), await microphone()];
    const { track, replaceSource, node } = await denoiseTrack(first, { models: ['tiny'], channels: 2 });
    const names = [];
    for (const name of ['mute', 'unmute', 'ended']) track.addEventListener(name, () => names.push(name));
    first.dispatchEvent(new Event('mute'));
    first.dispatchEvent(new Event('unmute'));
    const isSame = track.getSettings().deviceId === first.getSettings().deviceId;
    // Chromium takes such constraints only in getUserMedia: what the source gets is compared.
    let constraints;
    first.applyConstraints = async (found) => (constraints = found);
    await track.applyConstraints({ echoCancellation: false, noiseSuppression: true });
    // Of two replacements the last one holds, whichever is ready first.
    const third = await microphone();
    await Promise.all([replaceSource(third), replaceSource(second)]);
    for (const other of [first, third]) other.dispatchEvent(new Event('ended'));
    const afterOthers = [...names];
    const rejected = await replaceSource(document.createElement('canvas').captureStream().getVideoTracks()[0]).then(
      () => 'no error',
      (error) => error.message,
    );
    track.stop();
    return {
      isSame,
      constraints,
      channels: track.getSettings().channelCount,
      names: afterOthers,
      rejected,
      states: [track.readyState, second.readyState],
      context: await new Promise((resolve) => {
        const { context } = node;
        if (context.state === 'closed') resolve(context.state);
        else context.addEventListener('statechange', () => resolve(context.state));
      }),
    };
  });
  assert.deepEqual(result, {
    isSame: true,
    constraints: { echoCancellation: false, noiseSuppression: false, voiceIsolation: false },
    channels: 2,
    names: ['mute', 'unmute'],
    rejected: 'expected an audio track, got a video track',
    states: ['ended', 'live'],
    context: 'closed',
  });
});

test('a listener that is added late gets what holds already', async () => {
  const result = await page.evaluate(async () => {
    const context = new AudioContext();
    const node = await createDenoiser(context, { models: ['tiny'] });
    node.connect(context.destination);
    await context.resume();
    await new Promise((resolve) => node.addEventListener('running', resolve));
    const names = [];
    const remove = node.on('running', () => names.push('running'));
    node.on('error', () => names.push('error'));
    const before = [...names];
    await context.close();
    await new Promise((resolve) => setTimeout(resolve, 100));
    remove();
    node.on('error', ({ message }) => names.push(message));
    return { before, names };
  });
  assert.deepEqual(result.before, ['running']);
  assert.deepEqual(result.names.slice(0, 2), ['running', 'error']);
  assert.match(result.names[2], /create another context/);
  assert.equal(result.names.length, 3);
});

test('a listener that is added late gets the error of a denoiser that has stopped', async () => {
  const message = await page.evaluate(async () => {
    const context = new AudioContext();
    // A memory of zeros fails at its first hop.
    const { AudioWorkletNode } = globalThis;
    globalThis.AudioWorkletNode = class extends AudioWorkletNode {
      constructor(context, name, options) {
        options.processorOptions.image.bytes.fill(0);
        super(context, name, options);
      }
    };
    const node = await createDenoiser(context, { models: ['tiny'] });
    globalThis.AudioWorkletNode = AudioWorkletNode;
    node.connect(context.destination);
    new OscillatorNode(context).connect(node);
    const first = new Promise((resolve) => node.addEventListener('error', resolve));
    await context.resume();
    await first;
    const messages = [];
    node.on('error', ({ message }) => messages.push(message));
    await context.close();
    return messages[0];
  });
  assert.match(message, /the microphone passes as it is/);
});

test('a processor that the browser ends is an error', async () => {
  const messages = await page.evaluate(async () => {
    const node = await createDenoiser(new OfflineAudioContext(1, 128, 48000), { models: ['tiny'] });
    const messages = [];
    node.on('error', ({ message }) => messages.push(message));
    node.dispatchEvent(new Event('processorerror'));
    return messages;
  });
  assert.equal(messages.length, 1);
  assert.match(messages[0], /create another denoiser/);
});

test('a call goes on when other contexts close, and with the raw microphone when the processor ends', async () => {
  const result = await page.evaluate(async () => {
    const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const source = (await navigator.mediaDevices.getUserMedia({ audio })).getAudioTracks()[0];
    const other = new AudioContext();
    const { track, node, stop } = await denoiseTrack(source, { models: ['tiny'] });
    await new Promise((resolve) => node.on('running', resolve));
    await other.close();
    const floor = async (track) => {
      const all = levels((await record(track, 5)).subarray(48000), 48000).filter((l) => l > -119);
      return all.sort((a, b) => a - b)[Math.floor(all.length * 0.1)];
    };
    const clean = await floor(track);
    const error = new Promise((resolve) => node.on('error', resolve));
    node.dispatchEvent(new Event('processorerror'));
    const raw = await floor(track);
    const { message } = await error;
    const state = track.readyState;
    await stop();
    return { clean, raw, source: await floor(source), message, state };
  });
  console.log(JSON.stringify(result));
  assert.ok(result.clean < result.source - 15, 'clean');
  assert.ok(Math.abs(result.raw - result.source) < 3, 'raw');
  assert.match(result.message, /create another denoiser/);
  assert.equal(result.state, 'live');
});

test('a context that closes: the node has an error that states what to do', async () => {
  const message = await page.evaluate(async () => {
    const context = new AudioContext();
    const node = await createDenoiser(context, { models: ['tiny'] });
    const error = new Promise((resolve) => node.on('error', resolve));
    await context.close();
    return (await error).message;
  });
  assert.match(message, /closed.*create another context/);
});

test('a worker cleans a track without an AudioContext', async () => {
  const result = await page.evaluate(async () => {
    const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const source = (await navigator.mediaDevices.getUserMedia({ audio })).getAudioTracks()[0];
    const streamed = denoiseTrackInWorker(source, { model: 'tiny' });
    const errors = [];
    streamed.onerror = (message) => errors.push(message);
    const [raw, clean] = await Promise.all([record(source, 6), record(streamed.track, 6)]);
    streamed.setEnabled(false);
    const off = await record(streamed.track, 3);
    streamed.stop();
    const floor = (samples) => {
      const all = levels(samples.subarray(48000), 48000).filter((l) => l > -119);
      return all.sort((x, y) => x - y)[Math.floor(all.length * 0.05)];
    };
    return { can: canDenoiseInWorker(), errors, floors: [raw, clean, off].map(floor), state: streamed.track.readyState };
  });
  console.log(JSON.stringify(result));
  const [raw, clean, off] = result.floors;
  assert.ok(result.can);
  assert.deepEqual(result.errors, []);
  assert.ok(clean < raw - 15 && Math.abs(off - raw) < 3, `${result.floors}`);
  assert.equal(result.state, 'ended');
});

test('the page of a call with end-to-end encryption: clean before it is encrypted, silent without the key', async () => {
  const demo = await open('/demo/e2ee.html');
  await demo.setInputFiles('#file', microphone);
  const count = (id, more) =>
    demo.waitForFunction(
      ([id, limit]) => Number(document.getElementById(id).textContent) >= limit,
      [id, more],
    );
  const number = (id) => demo.evaluate((id) => Number(document.getElementById(id).textContent), id);
  /** Floor and peak of what the receiver plays for some seconds, dBFS. */
  const received = () =>
    demo.evaluate(async () => {
      const [track] = document.getElementById('player').srcObject.getAudioTracks();
      const all = levels(await record(track, 4), 48000).slice(25);
      // Digital silence is where the recording has a gap.
      const sound = all.filter((level) => level > -119).sort((x, y) => x - y);
      return { floor: sound[Math.floor(0.2 * sound.length)] ?? -120, loud: sound.at(-1) ?? -120 };
    });
  await count('decrypted', 100);
  const clean = await received();
  assert.equal(await demo.textContent('#message'), '');
  assert.match(await demo.textContent('#state'), /removed/);
  await demo.click('#enabled');
  await count('decrypted', (await number('decrypted')) + 50);
  const noisy = await received();
  await demo.click('#has-key');
  await count('dropped', 100);
  const silent = await received();
  // The key again: the call goes on.
  await demo.click('#has-key');
  await count('decrypted', (await number('decrypted')) + 50);
  await demo.click('#stop');
  console.log(JSON.stringify({ clean, noisy, silent }));
  assert.ok(clean.floor < noisy.floor - 15, 'noise is removed');
  assert.ok(clean.loud > noisy.loud - 6, 'speech stays');
  assert.ok(silent.loud < -60, 'nothing without the key');
  await demo.context().close();
});

test('the demo page cleans a file and a microphone, and works without a network', async () => {
  const own = await serve();
  const demo = await (await browser.newContext({ permissions: ['microphone'] })).newPage();
  const errors = [];
  demo.on('pageerror', (error) => errors.push(error.message));
  const is = (id, text) =>
    demo.waitForFunction(([id, text]) => document.getElementById(id).textContent.includes(text), [id, text]);
  const play = async (begin) => {
    await begin();
    await is('state', 'removed');
    await is('in', 'dBFS');
    await demo.click('#stop');
    await is('state', 'stopped');
    await demo.waitForSelector('#players', { state: 'visible' });
    // A player of each side can play.
    for (const side of ['before', 'after']) {
      await demo.waitForFunction((id) => document.getElementById(id).readyState >= 2, `play-${side}`);
    }
  };
  await demo.goto(`${own.url}/demo/index.html`);
  await demo.evaluate(() => navigator.serviceWorker.ready);
  // Now the pages that load get their files through it.
  await demo.reload();
  await play(() => demo.setInputFiles('#file', microphone));
  own.close();
  await demo.reload();
  await play(() => demo.setInputFiles('#file', microphone));
  await play(() => demo.click('#microphone'));
  assert.equal(await demo.textContent('#message'), '');
  const light = await demo.evaluate(() =>
    ['before', 'after'].map((id) => {
      const canvas = document.getElementById(id);
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      return data.reduce((sum, value, n) => sum + (n % 4 < 3 ? value : 0), 0);
    }),
  );
  assert.ok(light[0] > 2 * light[1] && light[1] > 0, `the spectrogram after is darker: ${light}`);
  // Stopped at once: both players can play, or a message states why not.
  await demo.evaluate(() => {
    const stop = document.getElementById('stop');
    const observer = new MutationObserver(() => {
      if (stop.disabled) return;
      observer.disconnect();
      stop.click();
      globalThis.isClicked = true;
    });
    observer.observe(stop, { attributes: true });
  });
  await demo.click('#microphone');
  await demo.waitForFunction(() => globalThis.isClicked);
  await is('state', 'stopped');
  const short = await demo.evaluate(() => ({
    figure: document.getElementById('in').textContent,
    isHidden: document.getElementById('players').hidden,
    message: document.getElementById('message').textContent,
    states: ['before', 'after'].map((side) => document.getElementById(`play-${side}`).readyState),
  }));
  console.log(JSON.stringify(short));
  assert.equal(short.figure, '-', 'no figure of the source before');
  assert.equal(short.isHidden, short.message === 'The recording is too short to be played.');
  assert.ok(short.isHidden || short.states.every((state) => state >= 2));
  assert.deepEqual(errors, []);
  await demo.context().close();
});

test('LiveKit gets a clean track, and a new microphone keeps it', async () => {
  const result = await page.evaluate(async () => {
    const { LocalAudioTrack } = await import('/node_modules/livekit-client/dist/livekit-client.esm.mjs');
    const { quietwire } = await import('/dist/livekit.js');
    const microphone = async () => (await navigator.mediaDevices.getUserMedia({ audio: true })).getAudioTracks()[0];
    const context = new AudioContext();
    const local = new LocalAudioTrack(await microphone(), undefined, true, context);
    const processor = quietwire({ models: ['tiny'] });
    await local.setProcessor(processor);
    const clean = processor.processedTrack;
    const isUsed = local.mediaStreamTrack.id === clean.id;
    await new Promise((resolve) => processor.denoised.node.on('running', resolve));
    await processor.restart({ track: await microphone(), audioContext: context });
    const isSame = processor.processedTrack === clean && clean.readyState === 'live';
    await local.stopProcessor();
    return { isUsed, isSame, state: clean.readyState, processed: processor.processedTrack, context: context.state };
  });
  assert.deepEqual(result, { isUsed: true, isSame: true, state: 'ended', processed: undefined, context: 'running' });
});

test('the effect for Jitsi gives a clean stream', async () => {
  const result = await page.evaluate(async () => {
    const { QuietwireEffect } = await import('/dist/jitsi.js');
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    const effect = await QuietwireEffect.create(stream.getAudioTracks()[0], { models: ['tiny'] });
    const isEnabled = effect.isEnabled({ isAudioTrack: () => true });
    const clean = effect.startEffect(stream).getAudioTracks()[0];
    const live = clean.readyState;
    effect.stopEffect();
    await new Promise((resolve) => setTimeout(resolve, 100));
    return { isEnabled, live, ended: clean.readyState, source: stream.getAudioTracks()[0].readyState };
  });
  assert.deepEqual(result, { isEnabled: true, live: 'live', ended: 'ended', source: 'live' });
});

test('the meter shows levels and switches', async () => {
  const result = await page.evaluate(async () => {
    await import('/dist/meter.js');
    const context = new AudioContext();
    const node = await createDenoiser(context, { models: ['tiny'] });
    const tone = new OscillatorNode(context, { frequency: 200 });
    tone.connect(node).connect(context.destination);
    tone.start();
    await context.resume();
    const meter = document.createElement('quietwire-meter');
    document.body.append(meter);
    meter.node = node;
    await new Promise((resolve) => node.on('telemetry', resolve));
    await new Promise((resolve) => setTimeout(resolve, 500));
    const bars = [...meter.shadowRoot.querySelectorAll('meter')].map((bar) => bar.value);
    const text = meter.shadowRoot.querySelector('span').textContent;
    meter.shadowRoot.querySelector('input').click();
    await new Promise((resolve) => setTimeout(resolve, 700));
    const off = [...meter.shadowRoot.querySelectorAll('meter')].map((bar) => bar.value);
    node.dispose();
    await context.close();
    return { bars, text, off };
  });
  assert.ok(result.bars[0] > -20, `${result.bars}`);
  assert.match(result.text, /SNR .* load/);
  assert.ok(Math.abs(result.off[0] - result.off[1]) < 1, `${result.off}`);
});

test('a busy page leaves no gap in the sound', async () => {
  const result = await page.evaluate(async () => {
    const context = new AudioContext({ sampleRate: 48000, latencyHint: 'playback' });
    await context.audioWorklet.addModule('/test/recorder.mjs');
    const node = await createDenoiser(context, { enabled: false });
    const recorder = new AudioWorkletNode(context, 'recorder', { channelCount: 1, channelCountMode: 'explicit' });
    const blocks = [];
    recorder.port.onmessage = (event) => blocks.push(event.data);
    const tone = new OscillatorNode(context, { frequency: 150 });
    tone.connect(node).connect(recorder).connect(context.destination);
    tone.start();
    await context.resume();
    await new Promise((resolve) => setTimeout(resolve, 500));
    const end = performance.now() + 3000;
    while (performance.now() < end);
    await new Promise((resolve) => setTimeout(resolve, 500));
    node.dispose();
    await context.close();
    const samples = new Float32Array(128 * blocks.length);
    blocks.forEach((block, n) => samples.set(block, 128 * n));
    const from = 48000 / 4;
    return { seconds: samples.length / 48000, bend: bend(samples.subarray(from)) };
  });
  console.log(JSON.stringify(result));
  assert.ok(result.seconds > 3, `${result.seconds}`);
  // The tone bends by 0.0004.
  assert.ok(result.bend < 0.003, `${result.bend}`);
});

test('failures name what to do, and nothing is left', async () => {
  const texts = await page.evaluate(async () => {
    const context = new OfflineAudioContext(1, 48000, 48000);
    const closed = new AudioContext();
    await closed.close();
    const ended = new MediaStreamAudioDestinationNode(new AudioContext()).stream.getAudioTracks()[0];
    ended.stop();
    const text = (work) => work().then(() => 'no error', (error) => `${error.name}: ${error.message}`);
    // The microphone goes on as it is.
    const source = (await navigator.mediaDevices.getUserMedia({ audio: true })).getAudioTracks()[0];
    const settings = JSON.stringify(source.getSettings());
    const raw = async (work) => {
      const found = await text(work);
      return source.readyState === 'live' && JSON.stringify(source.getSettings()) === settings ? found : 'changed';
    };
    return Promise.all([
      text(() => createDenoiser(context, { models: ['huge'] })),
      text(() => createDenoiser(context, { attenuationDb: -1 })),
      text(() => createDenoiser(context, { level: 'extreme' })),
      text(() => createDenoiser(context, { channels: 3 })),
      text(() => createDenoiser(closed)),
      text(() => createDenoiser(context, { assets: { baseUrl: 'http://localhost:1/' } })),
      text(() => createDenoiser(context, { assets: { files: { 'base.onnx': new Uint8Array(10) } }, models: ['base'] })),
      text(() => denoiseTrack(ended)),
      raw(() => denoiseTrack(source, { models: ['huge'] })),
    ]);
  });
  const expected = [/base and tiny, got huge/, /0 dB or more, got -1/, /low, medium or high/, /1 or 2 channels/];
  expected.push(/closed/, /serve the folder assets/, /QuietwireError: /, /track has ended/, /got huge/);
  texts.forEach((text, n) => assert.match(text, expected[n]));
});

test('a page that forbids WebAssembly is told what its policy needs', async () => {
  const other = await open('/no-wasm');
  const text = await other.evaluate(() =>
    createDenoiser(new OfflineAudioContext(1, 48000, 48000)).then(
      () => 'no error',
      (error) => error.message,
    ),
  );
  assert.match(text, /wasm-unsafe-eval/);
  await other.context().close();
});

test('200 denoisers leave no memory behind', async () => {
  const own = await launch(undefined, ['--js-flags=--expose-gc']);
  try {
    const other = await open('/', own);
    await other.addScriptTag({ type: 'module', url: '/test/heap.mjs' });
    await other.waitForFunction(() => globalThis.liveMemories);
    const result = await other.evaluate(async () => {
      const context = new AudioContext();
      await context.resume();
      await context.audioWorklet.addModule('/test/heap.mjs');
      const heap = new AudioWorkletNode(context, 'heap');
      const inWorklet = () =>
        new Promise((resolve) => {
          heap.port.onmessage = (event) => resolve(event.data);
          heap.port.postMessage(undefined);
        });
      /** The number of memories when it no longer falls below `limit`, or after a minute. */
      const settled = async (count, limit) => {
        let memories = await count();
        for (const end = performance.now() + 60_000; memories > limit && performance.now() < end; ) {
          await new Promise((resolve) => setTimeout(resolve, 100));
          memories = await count();
        }
        return memories;
      };
      const kept = await createDenoiser(context, { models: ['tiny'] });
      kept.connect(context.destination);
      for (let n = 0; n < 200; n++) {
        const node = await createDenoiser(context, { models: ['tiny'] });
        node.connect(context.destination);
        if (n % 4 === 0) await new Promise((resolve) => node.on('running', resolve));
        node.dispose();
      }
      return [await settled(inWorklet, 1), await settled(liveMemories, 0)];
    });
    // That of the node that was not disposed, and none in the page.
    assert.deepEqual(result, [1, 0]);
  } finally {
    await own.close();
  }
});
