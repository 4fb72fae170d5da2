/** Helpers for tracks of microphones. */
import { createDenoiser, type DenoiserNode, type DenoiserOptions } from './node.js';
import { QuietwireError } from './engine.js';

export interface TrackOptions extends DenoiserOptions {
  /**
   * Whether the browser gets the constraints that switch its own noise suppression and voice isolation off. Chromium does so only
   * in `getUserMedia`. Default: true.
   */
  adjustConstraints?: boolean;
}

/** A clean track and what it comes from. */
export interface DenoisedTrack {
  readonly track: MediaStreamTrack;
  readonly node: DenoiserNode;
  /** Delay that the denoiser adds, seconds. */
  readonly latencySeconds: number;
  /** Changes the microphone; `track` stays the same, so that no call has to be renegotiated. */
  replaceSource(source: MediaStreamTrack): Promise<void>;
  /** Ends `track` and frees everything. The source track goes on. */
  stop(): Promise<void>;
}

/** The browser's echo cancellation stays; two noise suppressors in a row damage speech. */
const SUPPRESSION_OFF = { noiseSuppression: false, voiceIsolation: false } as MediaTrackConstraints;

async function adjust(source: MediaStreamTrack): Promise<void> {
  // A browser that cannot change them goes on as it is.
  await source.applyConstraints({ ...source.getConstraints(), ...SUPPRESSION_OFF }).catch(() => undefined);
}

function checkSource(source: MediaStreamTrack): void {
  if (source.kind !== 'audio') throw new QuietwireError(`expected an audio track, got a ${source.kind} track`);
  if (source.readyState === 'ended') throw new QuietwireError('the track has ended: get another one from the microphone');
}

/**
 * Cleans the track of a microphone. The clean track follows its source: `enabled` at the start, `muted` with its
 * events, and its end. Constraints and settings of the clean track are those of the source. Its `stop` frees
 * everything. It has an AudioContext of its own, which no other code closes: a track ends with its context. If the
 * browser ends the processor, the node has an `error` event and the clean track goes on with the sound of its source.
 *
 * @throws QuietwireError as {@link createDenoiser}, and for a track that has ended or has no sound. The source is
 * as it was then: it can be used instead.
 */
export async function denoiseTrack(source: MediaStreamTrack, options: TrackOptions = {}): Promise<DenoisedTrack> {
  checkSource(source);
  const context = new AudioContext({ latencyHint: 'interactive' });
  let node: DenoiserNode;
  try {
    node = await createDenoiser(context, options);
  } catch (error) {
    await context.close();
    throw error;
  }
  const destination = new MediaStreamAudioDestinationNode(context, { channelCount: node.channelCount });
  node.connect(destination);
  const track = destination.stream.getAudioTracks()[0]!;
  const stopTrack = track.stop.bind(track);
  const adjustConstraints = options.adjustConstraints ?? true;
  let input: MediaStreamAudioSourceNode | undefined;
  let current = source;
  let replacements = 0;
  let isStopped = false;
  let hasFailed = false;

  const onMute = (event: Event) => track.dispatchEvent(new Event(event.type));
  const onEnded = () => {
    void stop();
    // A track of a destination does not end by itself, and `stop` on it sends no event.
    track.dispatchEvent(new Event('ended'));
  };
  const onStateChange = () => {
    if (isStopped || context.state === 'running') return;
    if (context.state === 'closed') onEnded();
    // The system has interrupted it.
    else void context.resume();
  };
  const onFailure = () => {
    hasFailed = true;
    input?.disconnect();
    input?.connect(destination);
  };
  const leave = () => {
    for (const name of ['mute', 'unmute']) current.removeEventListener(name, onMute);
    current.removeEventListener('ended', onEnded);
    input?.disconnect();
  };
  const use = async (next: MediaStreamTrack) => {
    checkSource(next);
    const replacement = ++replacements;
    if (adjustConstraints) await adjust(next);
    // It was stopped, or another source came in the meantime.
    if (isStopped || replacement !== replacements) return;
    leave();
    const wasMuted = current.muted;
    const isFirst = input === undefined;
    current = next;
    for (const name of ['mute', 'unmute']) current.addEventListener(name, onMute);
    current.addEventListener('ended', onEnded);
    input = new MediaStreamAudioSourceNode(context, { mediaStream: new MediaStream([next]) });
    input.connect(hasFailed ? destination : node);
    if (!isFirst && current.muted !== wasMuted) track.dispatchEvent(new Event(current.muted ? 'mute' : 'unmute'));
    // No event follows for a track that has ended while this function waited.
    if ((current.readyState as string) === 'ended') onEnded();
  };
  const stop = async () => {
    if (isStopped) return;
    isStopped = true;
    leave();
    context.removeEventListener('statechange', onStateChange);
    node.dispose();
    stopTrack();
    if (context.state !== 'closed') await context.close();
  };
  Object.defineProperty(track, 'muted', { get: () => current.muted, configurable: true });
  Object.assign(track, {
    stop: () => void stop(),
    getConstraints: () => current.getConstraints(),
    getCapabilities: () => current.getCapabilities(),
    getSettings: () => ({ ...current.getSettings(), sampleRate: context.sampleRate, channelCount: node.channelCount }),
    applyConstraints: (constraints: MediaTrackConstraints = {}) =>
      current.applyConstraints(adjustConstraints ? { ...constraints, ...SUPPRESSION_OFF } : constraints),
  });
  context.addEventListener('statechange', onStateChange);
  node.addEventListener('processorerror', onFailure);
  if ((source.readyState as string) === 'ended') onEnded();
  else await use(source);
  track.enabled = source.enabled;
  // Browsers start a context only after a gesture; the track of a microphone was granted by one.
  if (context.state === 'suspended') void context.resume();
  return { track, node, latencySeconds: node.latencySeconds, replaceSource: use, stop };
}
