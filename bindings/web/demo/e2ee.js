// A loopback call: the track is clean before it is encoded, and encoded payloads are encrypted in a worker.
import { denoiseTrack } from '../dist/index.js';
import { drawSpectrogram, element, onSource } from './sound.js';

// Both ends of a real call get it by a way that the server does not see.
const PASSWORD = 'both ends of the call';
const OTHER_PASSWORD = 'another call';
let session;

function show(name, text) {
  element(name).textContent = text;
}

function showState() {
  show('state', element('enabled').checked ? 'noise is removed before encryption' : 'noise stays');
}

/** A transform of a sender or receiver. Its port takes passwords and gives counts of payloads. */
function makeTransform(direction, password) {
  const { port1, port2 } = new MessageChannel();
  const worker = new Worker(new URL('e2ee-worker.js', import.meta.url));
  const transform = new RTCRtpScriptTransform(worker, { direction, password, port: port2 }, [port2]);
  return { transform, port: port1, end: () => worker.terminate() };
}

/** Connects two ends of a call. Resolves with the received track. */
async function connect(a, b, track, [sending, receiving]) {
  a.onicecandidate = ({ candidate }) => candidate && b.addIceCandidate(candidate);
  b.onicecandidate = ({ candidate }) => candidate && a.addIceCandidate(candidate);
  const received = new Promise((resolve) => {
    b.ontrack = ({ receiver, track }) => {
      receiver.transform = receiving;
      resolve(track);
    };
  });
  a.addTrack(track).transform = sending;
  await a.setLocalDescription();
  await b.setRemoteDescription(a.localDescription);
  await b.setLocalDescription();
  await a.setRemoteDescription(b.localDescription);
  return received;
}

async function start(makeSource) {
  await stop();
  show('message', '');
  const context = new AudioContext({ latencyHint: 'interactive' });
  const ends = [() => context.close()];
  session = { stop: () => Promise.all(ends.map((end) => end())) };
  element('stop').disabled = false;
  try {
    if (!('RTCRtpScriptTransform' in globalThis)) throw new Error('this browser has no RTCRtpScriptTransform');
    const source = await makeSource(context);
    ends.push(source.end);
    const raw = new MediaStreamAudioDestinationNode(context, { channelCount: 1 });
    source.node.connect(raw);
    // The track of a microphone would do as it is; here a file has the same path.
    const denoised = await denoiseTrack(raw.stream.getAudioTracks()[0], { enabled: element('enabled').checked });
    ends.push(denoised.stop);
    denoised.node.on('error', ({ message }) => show('message', message));
    const sending = makeTransform('send', PASSWORD);
    const receiving = makeTransform('receive', element('has-key').checked ? PASSWORD : OTHER_PASSWORD);
    sending.port.onmessage = ({ data }) => show('encrypted', data.encrypted);
    receiving.port.onmessage = ({ data }) => {
      show('decrypted', data.decrypted);
      show('dropped', data.dropped);
    };
    const [a, b] = [new RTCPeerConnection(), new RTCPeerConnection()];
    ends.push(() => a.close(), () => b.close(), sending.end, receiving.end);
    show('state', 'connects');
    const track = await connect(a, b, denoised.track, [sending.transform, receiving.transform]);
    const stream = new MediaStream([track]);
    element('player').srcObject = stream;
    ends.push(() => (element('player').srcObject = null));
    await context.resume();
    await element('player').play();
    ends.push(drawSpectrogram(element('before'), source.node));
    ends.push(drawSpectrogram(element('received'), new MediaStreamAudioSourceNode(context, { mediaStream: stream })));
    session.denoised = denoised;
    showState();
    session.setPassword = (password) => receiving.port.postMessage({ password });
  } catch (error) {
    await stop();
    show('message', error.message);
  }
}

async function stop() {
  const ending = session;
  session = undefined;
  element('stop').disabled = true;
  show('state', 'stopped');
  await ending?.stop();
}

onSource(start);
element('stop').addEventListener('click', () => void stop());
element('enabled').addEventListener('change', ({ target }) => {
  session?.denoised?.node.setEnabled(target.checked);
  if (session?.denoised) showState();
});
element('has-key').addEventListener('change', ({ target }) => {
  session?.setPassword?.(target.checked ? PASSWORD : OTHER_PASSWORD);
});
