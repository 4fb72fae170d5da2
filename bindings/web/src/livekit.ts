/**
 * A `TrackProcessor` for LiveKit: `await localAudioTrack.setProcessor(quietwire())`.
 *
 * LiveKit's types are not imported, so that the package has no dependencies; the shape is that of
 * `TrackProcessor<Track.Kind.Audio, AudioProcessorOptions>` of livekit-client 2.
 */
import type { TrackOptions, DenoisedTrack } from './track.js';
import { denoiseTrack } from './track.js';

/** What LiveKit passes to `init` and `restart`. Its AudioContext is not used: LiveKit may close it in a call. */
export interface AudioProcessorOptions {
  track: MediaStreamTrack;
  audioContext?: AudioContext;
}

export interface QuietwireProcessor {
  name: string;
  processedTrack: MediaStreamTrack | undefined;
  init(options: AudioProcessorOptions): Promise<void>;
  restart(options: AudioProcessorOptions): Promise<void>;
  destroy(): Promise<void>;
  /** The denoiser, for `setEnabled`, `setLevel` and events, after `init`. */
  readonly denoised: DenoisedTrack | undefined;
}

export function quietwire(options: TrackOptions = {}): QuietwireProcessor {
  let denoised: DenoisedTrack | undefined;
  const processor: QuietwireProcessor = {
    name: 'quietwire',
    processedTrack: undefined,
    async init({ track }) {
      await denoised?.stop();
      denoised = await denoiseTrack(track, options);
      processor.processedTrack = denoised.track;
    },
    // The microphone has changed.
    async restart(next) {
      if (denoised) await denoised.replaceSource(next.track);
      else await processor.init(next);
    },
    async destroy() {
      await denoised?.stop();
      denoised = undefined;
      processor.processedTrack = undefined;
    },
    get denoised() {
      return denoised;
    },
  };
  return processor;
}
