// One call through a room, received twice: from the room, and through the relay and a streaming
// mountpoint. Halfway through, the stream of the relay is switched off.
//
//     node call.mjs OUT_FOLDER --npm FOLDER --microphone mic.wav [--seconds 20]
//         [--api http://127.0.0.1:8790] [--janus ws://127.0.0.1:8188] [--send-to 127.0.0.1:5002]
//
// Writes OUT_FOLDER/call.wav (left: room, right: relay) and OUT_FOLDER/call.json for judge.py.
import { once } from 'node:events';
import { accessSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

const RATE = 48000;
const TIMEOUT_MS = 30_000; // for operations that usually take a second

const { positionals, values: options } = parseArgs({
  allowPositionals: true,
  options: {
    npm: { type: 'string' },
    microphone: { type: 'string' },
    seconds: { type: 'string', default: '20' },
    api: { type: 'string', default: 'http://127.0.0.1:8790' },
    janus: { type: 'string', default: 'ws://127.0.0.1:8188' },
    'send-to': { type: 'string', default: '127.0.0.1:5002' },
    suite: { type: 'string', default: '' }, // of SRTP; default: not encrypted
    'key-in': { type: 'string' },
    'key-out': { type: 'string' },
  },
});
const [out] = positionals;
const seconds = Number(options.seconds);
if (!out || !options.npm || !options.microphone || !(seconds > 0)) {
  throw new Error('usage: call.mjs OUT_FOLDER --npm FOLDER --microphone mic.wav [--seconds N]');
}
accessSync(options.microphone); // otherwise Chromium plays beeps
const npm = path.resolve(options.npm);
const { chromium } = createRequire(path.join(npm, 'package.json'))('playwright-core');

const started = performance.now();
const log = (text) =>
  console.log(`${((performance.now() - started) / 1000).toFixed(1)} s: ${text}`);

// Calls `probe` until it returns a true value. Its errors count as false until the timeout.
async function until(what, probe, timeout = TIMEOUT_MS) {
  const end = performance.now() + timeout;
  for (;;) {
    let error;
    const found = await Promise.resolve()
      .then(probe)
      .catch((e) => void (error = e));
    if (found) return found;
    if (performance.now() > end) throw new Error(`timeout while waiting for ${what}`, { cause: error });
    await sleep(50);
  }
}

// --- the control interface of the relay

async function api(method, route, body) {
  const response = await fetch(new URL(route, options.api), {
    method,
    headers: { 'content-type': 'application/json' },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  }).catch((cause) => {
    throw new Error(`${method} ${route}: no answer from the relay`, { cause });
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${route}: ${response.status} ${text}`);
  return text && JSON.parse(text);
}

// --- the web server of the pages, which also receives the recording

const here = import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname);
const FILES = {
  '/': ['text/html', path.join(here, 'page/index.html')],
  '/page.js': ['text/javascript', path.join(here, 'page/page.js')],
  '/janus.js': [
    'text/javascript',
    path.join(npm, 'node_modules/janus-gateway/npm/dist/janus.es.js'),
  ],
  '/adapter.js': ['text/javascript', path.join(npm, 'node_modules/webrtc-adapter/out/adapter.js')],
};
let recording; // f32: the room, then the relay
const server = http.createServer(async (request, response) => {
  if (request.method === 'POST' && request.url === '/recording') {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const { buffer } = new Uint8Array(Buffer.concat(chunks));
    recording = new Float32Array(buffer);
    response.writeHead(204).end();
  } else if (FILES[request.url]) {
    const [type, file] = FILES[request.url];
    response.writeHead(200, { 'content-type': type }).end(readFileSync(file));
  } else {
    response.writeHead(404).end();
  }
});

// 16 bits: the resolution of Chromium's decoder.
function wav(samples) {
  const data = Buffer.alloc(44 + 2 * samples.length);
  data.write('RIFF', 0);
  data.writeUInt32LE(36 + 2 * samples.length, 4);
  data.write('WAVEfmt ', 8);
  data.writeUInt32LE(16, 16);
  data.writeUInt16LE(1, 20); // PCM
  data.writeUInt16LE(2, 22); // channels
  data.writeUInt32LE(RATE, 24);
  data.writeUInt32LE(4 * RATE, 28);
  data.writeUInt16LE(4, 32);
  data.writeUInt16LE(16, 34);
  data.write('data', 36);
  data.writeUInt32LE(2 * samples.length, 40);
  const frames = samples.length / 2;
  samples.forEach((sample, i) => {
    const frame = i % frames;
    const channel = (i - frame) / frames;
    const value = Math.max(-32768, Math.min(32767, Math.round(sample * 32768)));
    data.writeInt16LE(value, 44 + 4 * frame + 2 * channel);
  });
  return data;
}

// --- the call

async function openPage(context, name) {
  const page = await context.newPage();
  page.on('pageerror', (error) => log(`${name} page: ${error.message}`));
  page.on('console', (message) => {
    if (message.type() === 'error') log(`${name} page: ${message.text()}`);
  });
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  await page.waitForFunction('window.call', null, { timeout: TIMEOUT_MS });
  return page;
}

async function call(browser) {
  const context = await browser.newContext({ permissions: ['microphone'] });
  context.setDefaultTimeout(TIMEOUT_MS);
  const speaker = await openPage(context, 'speaking');
  const listener = await openPage(context, 'listening');

  const feed = await speaker.evaluate((janus) => window.call.publish(janus), options.janus);
  log('published');
  const { id, listen } = await api('POST', '/v1/streams', {
    id: 'call',
    send_to: options['send-to'],
    payload_type: 111,
    ...(options.suite && {
      srtp_in: { suite: options.suite, key: options['key-in'] },
      srtp_out: { suite: options.suite, key: options['key-out'] },
    }),
  });
  const stream = () => api('GET', `/v1/streams/${id}`);
  const [host, port] = listen.split(':');
  const tagBits = options.suite && Number(options.suite.split('_').at(-1));
  const forwardKey = tagBits && { srtp_suite: tagBits, srtp_crypto: options['key-in'] };
  const forwarder = await speaker.evaluate(
    ([host, port, key]) => window.call.forward(host, port, key),
    [host, Number(port), forwardKey],
  );
  log(`the room forwards to the relay at ${listen}`);
  await until('packets in the relay', async () => (await stream()).packets.sent > 0);

  await listener.evaluate(
    ([janus, feed]) => window.call.record(janus, feed),
    [options.janus, feed],
  );
  log('recording');
  const position = () => listener.evaluate(() => window.call.position());
  const reached = (sample) =>
    until(
      'the recording to go on',
      async () => (await position()) >= sample,
      1000 * seconds + TIMEOUT_MS,
    );

  await reached((seconds / 2) * RATE);
  const before = await stream();
  const requested = await position();
  await api('PATCH', `/v1/streams/${id}`, { on: false });
  const answered = await position();
  log('switched off');
  // One second later: `state` follows the packets.
  await reached(answered + RATE);
  const after = await stream();
  await reached(seconds * RATE);

  const snapshots = await listener.evaluate(() => window.call.finish());
  await speaker.evaluate((forwarder) => window.call.stopForward(forwarder), forwarder);
  // The relay sends its delayed packets soon after the last one.
  const end = await until(
    'the relay to send what it received',
    async () => {
      const { packets } = await stream();
      return packets.received === packets.sent && stream();
    },
    2000,
  ).catch(stream);
  await api('DELETE', `/v1/streams/${id}`);
  return {
    rate: RATE,
    switch: { requested, answered },
    snapshots,
    stream: { before, after, end },
  };
}

mkdirSync(out, { recursive: true });
server.listen(0, '127.0.0.1');
await once(server, 'listening');
let browser;
try {
  browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    timeout: TIMEOUT_MS,
    args: [
      '--no-sandbox', // root and most containers have no sandbox
      '--disable-audio-output', // the clock of the recording must not depend on it
      '--allow-loopback-in-peer-connection',
      '--autoplay-policy=no-user-gesture-required',
      '--use-fake-ui-for-media-stream',
      '--use-fake-device-for-media-stream',
      `--use-file-for-fake-audio-capture=${path.resolve(options.microphone)}`,
    ],
  });
  const result = await Promise.race([
    call(browser),
    sleep(1000 * seconds + 3 * TIMEOUT_MS, null, { ref: false }).then(() => {
      throw new Error('the call did not end in time');
    }),
  ]);
  writeFileSync(path.join(out, 'call.wav'), wav(recording));
  writeFileSync(path.join(out, 'call.json'), JSON.stringify(result, null, 1));
  log(`wrote ${path.join(out, 'call.wav')} and call.json`);
} catch (error) {
  const cause = error.cause?.cause ?? error.cause;
  console.error(`FAILED: ${error.message}${cause ? ` (${cause.message})` : ''}`);
  process.exitCode = 1;
} finally {
  await browser?.close();
  server.close();
  server.closeAllConnections();
}
