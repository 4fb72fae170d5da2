// What both demo pages use: sources of sound and spectrograms.
const BINS = 1024;
const MIN_DB = -110;
const MAX_DB = -20;
/** Upper end of the spectrograms. */
const MAX_HZ = 16000;

export const element = (id) => document.getElementById(id);

/** A microphone, as it is: with the browser's echo cancellation and without its noise suppression. */
export async function microphone(context) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { noiseSuppression: false } });
  const node = new MediaStreamAudioSourceNode(context, { mediaStream: stream });
  return { node, end: () => stream.getTracks().forEach((track) => track.stop()) };
}

/** A file of any kind that the browser decodes, in a loop. */
export async function recording(context, file) {
  const buffer = await context.decodeAudioData(await file.arrayBuffer()).catch(() => {
    throw new Error(`${file.name}: this browser cannot decode it`);
  });
  const node = new AudioBufferSourceNode(context, { buffer, loop: true });
  node.start();
  return { node, end: () => node.stop() };
}

/** Calls `start` with a source when the buttons `microphone` and `file` are used. */
export function onSource(start) {
  element('microphone').addEventListener('click', () => void start(microphone));
  element('file').addEventListener('change', (event) => {
    const [file] = event.target.files;
    // The same file can be chosen again.
    event.target.value = '';
    if (file) void start((context) => recording(context, file));
  });
}

/** Draws the spectrum of a node on a canvas that scrolls. Returns a function that ends it. */
export function drawSpectrogram(canvas, source) {
  const analyzer = new AnalyserNode(source.context, { fftSize: 2 * BINS, smoothingTimeConstant: 0 });
  source.connect(analyzer);
  const picture = canvas.getContext('2d');
  const { width, height } = canvas;
  picture.clearRect(0, 0, width, height);
  const spectrum = new Float32Array(BINS);
  const bins = Math.min(BINS, Math.round((2 * BINS * MAX_HZ) / source.context.sampleRate));
  let isEnded = false;
  const draw = () => {
    if (isEnded) return;
    analyzer.getFloatFrequencyData(spectrum);
    picture.drawImage(canvas, -1, 0);
    for (let y = 0; y < height; y++) {
      const db = spectrum[Math.floor(((height - 1 - y) / height) * bins)];
      const light = Math.max(0, Math.min(1, (db - MIN_DB) / (MAX_DB - MIN_DB)));
      picture.fillStyle = `hsl(${260 - 220 * light} 90% ${70 * light}%)`;
      picture.fillRect(width - 1, y, 1, 1);
    }
    requestAnimationFrame(draw);
  };
  draw();
  return () => {
    isEnded = true;
  };
}

/** Records a node until the returned function is called, which resolves with a Blob. */
export function recordNode(node) {
  const destination = new MediaStreamAudioDestinationNode(node.context);
  node.connect(destination);
  const recorder = new MediaRecorder(destination.stream);
  const parts = [];
  recorder.ondataavailable = (event) => parts.push(event.data);
  recorder.start();
  return () =>
    new Promise((resolve) => {
      recorder.onstop = () => resolve(new Blob(parts, { type: recorder.mimeType }));
      recorder.stop();
    });
}
