// A microphone or a file through the denoiser: spectrograms while it plays, players for both sides after it.
import { createDenoiser } from '../dist/index.js';
import { drawSpectrogram, element, onSource, recordNode } from './sound.js';

// After the first visit the page works without a network.
void navigator.serviceWorker?.register('offline.js').catch(() => undefined);

const SIDES = ['before', 'after'];
const FIGURES = ['in', 'out', 'snr', 'delay', 'load', 'rate'];
let session;

function show(name, text) {
  element(name).textContent = text;
}

/** Gives a player a recording. Resolves with false if the recording is too short to be played. */
function load(player, recording) {
  if (player.src) URL.revokeObjectURL(player.src);
  return new Promise((resolve) => {
    player.onloadeddata = () => resolve(true);
    player.onerror = () => resolve(false);
    player.src = URL.createObjectURL(recording);
  });
}

async function start(makeSource) {
  await stop();
  show('message', '');
  // Figures of the source before are not those of this one.
  FIGURES.forEach((name) => show(name, '-'));
  const context = new AudioContext({ latencyHint: 'interactive' });
  try {
    const source = await makeSource(context);
    const node = await createDenoiser(context, {
      telemetryHz: 5,
      enabled: element('enabled').checked,
      level: element('level').value,
    });
    node.setModel(element('model').value);
    source.node.connect(node).connect(context.destination);
    show('state', 'starts');
    show('delay', `${(1000 * node.latencySeconds).toFixed(1)} ms`);
    show('rate', `${context.sampleRate} Hz`);
    node.on('running', () => show('state', 'noise is removed'));
    node.on('telemetry', (t) => {
      show('in', `${t.inputDbfs.toFixed(0)} dBFS`);
      show('out', `${t.outputDbfs.toFixed(0)} dBFS`);
      show('snr', `${t.snrDb.toFixed(0)} dB`);
      show('load', `${(100 * t.load).toFixed(1)} %`);
      show('state', element('enabled').checked ? 'noise is removed' : 'off');
    });
    node.on('error', ({ message }) => show('message', message));
    node.on('overload', ({ fallbackLevel }) =>
      show('message', fallbackLevel > 0 ? `The processor is too slow: ${fallbackLevel} steps down.` : ''),
    );
    await context.resume();
    const nodes = [source.node, node];
    const ends = SIDES.map((side, n) => drawSpectrogram(element(side), nodes[n]));
    const recordings = nodes.map(recordNode);
    session = {
      node,
      stop: async () => {
        ends.forEach((end) => end());
        const sound = await Promise.all(recordings.map((recording) => recording()));
        source.end();
        node.dispose();
        await context.close();
        const loaded = await Promise.all(SIDES.map((side, n) => load(element(`play-${side}`), sound[n])));
        const canPlay = loaded.every(Boolean);
        element('players').hidden = !canPlay;
        if (!canPlay) show('message', 'The recording is too short to be played.');
      },
    };
    element('stop').disabled = false;
  } catch (error) {
    show('message', error.message);
    await context.close();
  }
}

async function stop() {
  const ending = session;
  session = undefined;
  element('stop').disabled = true;
  if (!ending) return;
  await ending.stop();
  show('state', 'stopped');
}

onSource(start);
element('stop').addEventListener('click', () => void stop());
element('enabled').addEventListener('change', (event) => session?.node.setEnabled(event.target.checked));
element('level').addEventListener('change', (event) => session?.node.setLevel(event.target.value));
element('model').addEventListener('change', (event) => session?.node.setModel(event.target.value));
