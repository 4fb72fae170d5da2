/** Helpers for tracks of microphones. */
import { createDenoiser, type DenoiserNode, type DenoiserOptions } from './node.js';
import { QuietwireError } from './engine.js';

export interface TrackOptions extends DenoiserOptions {
  /** Used instead of a context of its own. It is not closed then. */
  context?: AudioContext;
  /** Whether the browser's own noise suppression and voice isolation are switched off. Default: true. */
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
async function adjust(source: MediaStreamTrack): Promise<void> {
  const wanted = { noiseSuppression: false, voiceIsolation: false } as MediaTrackConstraints;
  const { deviceId, ...present } = source.getConstraints();
  const constraints = deviceId === undefined ? { ...present, ...wanted } : { ...present, ...wanted, deviceId };
  // A browser that cannot change them goes on as it is.
  await source.applyConstraints(constraints).catch(() => undefined);
}

/**
 * Cleans the track of a microphone. The clean track has the same `enabled` state, and it ends when its
 * source ends.
 *
 * @throws QuietwireError as {@link createDenoiser}, and for a track that has ended or has no sound
 */
export async function denoiseTrack(source: MediaStreamTrack, options: TrackOptions = {}): Promise<DenoisedTrack> {
  if (source.kind !== 'audio') throw new QuietwireError(`expected an audio track, got a ${source.kind} track`);
  if (source.readyState === 'ended') throw new QuietwireError('the track has ended: get another one from the microphone');
  const isOwn = options.context === undefined;
  const context = options.context ?? new AudioContext({ latencyHint: 'interactive' });
  let input: MediaStreamAudioSourceNode | undefined;
  let node: DenoiserNode;
  try {
    node = await createDenoiser(context, options);
  } catch (error) {
    if (isOwn) await context.close();
    throw error;
  }
  const destination = new MediaStreamAudioDestinationNode(context, { channelCount: node.channelCount });
  node.connect(destination);
  const track = destination.stream.getAudioTracks()[0]!;
  let current = source;
  let isStopped = false;

  const onEnded = () => {
    void stop();
    // A track of a destination does not end by itself, and `stop` on it sends no event.
    track.dispatchEvent(new Event('ended'));
  };
  const use = async (next: MediaStreamTrack) => {
    if (options.adjustConstraints ?? true) await adjust(next);
    if (isStopped) return;
    current.removeEventListener('ended', onEnded);
    input?.disconnect();
    current = next;
    current.addEventListener('ended', onEnded);
    input = new MediaStreamAudioSourceNode(context, { mediaStream: new MediaStream([next]) });
    input.connect(node);
  };
  const stop = async () => {
    if (isStopped) return;
    isStopped = true;
    current.removeEventListener('ended', onEnded);
    input?.disconnect();
    node.dispose();
    track.stop();
    if (isOwn && context.state !== 'closed') await context.close();
  };
  await use(source);
  track.enabled = source.enabled;
  // Browsers start a context only after a gesture; the track of a microphone was granted by one.
  if (context.state === 'suspended') void context.resume();
  return { track, node, latencySeconds: node.latencySeconds, replaceSource: use, stop };
}
