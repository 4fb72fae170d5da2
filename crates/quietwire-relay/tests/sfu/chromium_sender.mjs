// The audio packets of libwebrtc: a call of a page with itself in Chromium, with redundant audio (RED), DTX
// and packets that become longer. Writes their payloads, timestamps and times.
//
//     node chromium_sender.mjs OUT.json --npm FOLDER --microphone mic.wav [--seconds 12]
import { accessSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';
import { once } from 'node:events';
import { parseArgs } from 'node:util';

const { positionals, values: options } = parseArgs({
  allowPositionals: true,
  options: {
    npm: { type: 'string' },
    microphone: { type: 'string' },
    seconds: { type: 'string', default: '12' },
  },
});
const [out] = positionals;
if (!out || !options.npm || !options.microphone) {
  throw new Error('usage: chromium_sender.mjs OUT.json --npm FOLDER --microphone mic.wav');
}
accessSync(options.microphone); // otherwise Chromium plays beeps
const require = createRequire(path.join(path.resolve(options.npm), 'package.json'));
const { chromium } = require('playwright-core');

// In the page: sends for `seconds` and resolves to the packets. In the last third they are 60 ms long.
async function send(seconds) {
  const capture = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const media = await navigator.mediaDevices.getUserMedia({ audio: capture });
  const config = { encodedInsertableStreams: true };
  const [a, b] = [new RTCPeerConnection(config), new RTCPeerConnection(config)];
  a.onicecandidate = ({ candidate }) => b.addIceCandidate(candidate);
  b.onicecandidate = ({ candidate }) => a.addIceCandidate(candidate);
  b.ontrack = ({ receiver }) => {
    const { readable, writable } = receiver.createEncodedStreams();
    readable.pipeTo(writable);
  };
  const transceiver = a.addTransceiver(media.getAudioTracks()[0], {
    direction: 'sendonly',
    sendEncodings: [{ adaptivePtime: true }],
  });
  const { codecs } = RTCRtpSender.getCapabilities('audio');
  const named = (name) => codecs.filter(({ mimeType }) => mimeType === `audio/${name}`);
  transceiver.setCodecPreferences([...named('red'), ...named('opus')]);
  const packets = [];
  const { readable, writable } = transceiver.sender.createEncodedStreams();
  const record = new TransformStream({
    transform(frame, controller) {
      const bytes = new Uint8Array(frame.data);
      packets.push({
        ms: performance.now(),
        timestamp: frame.timestamp,
        payload_type: frame.getMetadata().payloadType,
        payload: btoa(String.fromCharCode(...bytes)),
      });
      controller.enqueue(frame);
    },
  });
  readable.pipeThrough(record).pipeTo(writable);
  await a.setLocalDescription(await a.createOffer());
  await b.setRemoteDescription(a.localDescription);
  await b.setLocalDescription(await b.createAnswer());
  const sdp = b.localDescription.sdp.replaceAll('useinbandfec=1', 'useinbandfec=1;usedtx=1');
  await a.setRemoteDescription({ type: 'answer', sdp });
  const wait = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
  await wait((seconds * 2) / 3);
  await a.setLocalDescription(await a.createOffer());
  const longer = sdp.replaceAll(/a=rtcp-mux/g, 'a=ptime:60\r\na=rtcp-mux');
  await a.setRemoteDescription({ type: 'answer', sdp: longer });
  await wait(seconds / 3);
  const { codecs: negotiated } = transceiver.sender.getParameters();
  a.close();
  b.close();
  return { packets, codecs: negotiated.map(({ mimeType, payloadType }) => [mimeType, payloadType]) };
}

const server = http.createServer((_, response) => {
  response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>sender</title>');
});
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: [
    '--no-sandbox', // root and most containers have no sandbox
    '--disable-audio-output',
    '--allow-loopback-in-peer-connection',
    '--use-fake-ui-for-media-stream',
    '--use-fake-device-for-media-stream',
    `--use-file-for-fake-audio-capture=${path.resolve(options.microphone)}`,
  ],
});
try {
  const context = await browser.newContext({ permissions: ['microphone'] });
  const page = await context.newPage();
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  const sent = await page.evaluate(send, Number(options.seconds));
  writeFileSync(out, JSON.stringify(sent));
  console.log(`${sent.packets.length} packets, ${JSON.stringify(sent.codecs)}`);
} finally {
  await browser.close();
  server.close();
}
