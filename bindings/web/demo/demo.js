// A microphone or a file through the denoiser, with spectrograms of both sides.
import { createDenoiser } from '../dist/index.js';

const element = (id) => document.getElementById(id);
const BINS = 1024;
const MIN_DB = -110;
const MAX_DB = -20;

let session;

/** Scrolls a canvas by one column and draws the spectrum of an analyzer. */
function drawColumn(canvas, analyzer, spectrum) {
  const picture = canvas.getContext('2d');
  const { width, height } = canvas;
  analyzer.getFloatFrequencyData(spectrum);
  picture.drawImage(canvas, -1, 0);
  // Up to 16 kHz.
  const bins = Math.min(BINS, Math.round((BINS * 32000) / analyzer.context.sampleRate));
  for (let y = 0; y < height; y++) {
    const db = spectrum[Math.floor(((height - 1 - y) / height) * bins)];
    const light = Math.max(0, Math.min(1, (db - MIN_DB) / (MAX_DB - MIN_DB)));
    picture.fillStyle = `hsl(${260 - 220 * light} 90% ${70 * light}%)`;
    picture.fillRect(width - 1, y, 1, 1);
  }
}

async function start(makeSource) {
  await stop();
  element('message').textContent = '';
  const context = new AudioContext({ latencyHint: 'interactive' });
  try {
    const { source, end } = await makeSource(context);
    const node = await createDenoiser(context, {
      telemetryHz: 5,
      enabled: element('enabled').checked,
      level: element('level').value,
    });
    node.setModel(element('model').value);
    const before = new AnalyserNode(context, { fftSize: 2 * BINS, smoothingTimeConstant: 0 });
    const after = new AnalyserNode(context, { fftSize: 2 * BINS, smoothingTimeConstant: 0 });
    source.connect(before);
    source.connect(node).connect(after).connect(context.destination);
    node.on('telemetry', (t) => {
      element('numbers').textContent =
        `in ${t.inputDbfs.toFixed(1)} dBFS, out ${t.outputDbfs.toFixed(1)} dBFS, SNR ${t.snrDb.toFixed(1)} dB, ` +
        `delay ${(1000 * node.latencySeconds).toFixed(1)} ms, load ${(100 * t.load).toFixed(1)} %, ` +
        `${context.sampleRate} Hz`;
    });
    node.on('error', ({ message }) => (element('message').textContent = message));
    node.on('overload', (o) => (element('message').textContent = `too slow: ${o.fallbackLevel} steps down`));
    await context.resume();
    const spectrum = new Float32Array(BINS);
    let isRunning = true;
    const draw = () => {
      if (!isRunning) return;
      drawColumn(element('before'), before, spectrum);
      drawColumn(element('after'), after, spectrum);
      requestAnimationFrame(draw);
    };
    draw();
    session = {
      node,
      stop: async () => {
        isRunning = false;
        end();
        node.dispose();
        await context.close();
      },
    };
    element('stop').disabled = false;
  } catch (error) {
    element('message').textContent = error.message;
    await context.close();
  }
}

async function stop() {
  const ending = session;
  session = undefined;
  element('stop').disabled = true;
  element('numbers').textContent = 'Nothing plays.';
  await ending?.stop();
}

element('microphone').addEventListener('click', () =>
  start(async (context) => {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: { noiseSuppression: false } });
    return {
      source: new MediaStreamAudioSourceNode(context, { mediaStream: stream }),
      end: () => stream.getTracks().forEach((track) => track.stop()),
    };
  }),
);
element('file').addEventListener('change', (event) => {
  const [file] = event.target.files;
  if (!file) return;
  void start(async (context) => {
    const buffer = await context.decodeAudioData(await file.arrayBuffer());
    const source = new AudioBufferSourceNode(context, { buffer, loop: true });
    source.start();
    return { source, end: () => source.stop() };
  });
});
element('stop').addEventListener('click', () => void stop());
element('enabled').addEventListener('change', (event) => session?.node.setEnabled(event.target.checked));
element('level').addEventListener('change', (event) => session?.node.setLevel(event.target.value));
element('model').addEventListener('change', (event) => session?.node.setModel(event.target.value));
