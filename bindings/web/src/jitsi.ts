/**
 * An effect for lib-jitsi-meet: `await localTrack.setEffect(await QuietwireEffect.create(localTrack.getTrack()))`.
 *
 * The class creates the clean stream in `create`, because Jitsi calls `startEffect` synchronously.
 */
import { denoiseTrack, type DenoisedTrack, type TrackOptions } from './track.js';

export class QuietwireEffect {
  private denoised: DenoisedTrack | undefined;

  private constructor(private readonly destination: DenoisedTrack) {
    this.denoised = destination;
  }

  /** Loads the denoiser for the track that the effect will get. */
  static async create(track: MediaStreamTrack, options: TrackOptions = {}): Promise<QuietwireEffect> {
    return new QuietwireEffect(await denoiseTrack(track, options));
  }

  /** Whether Jitsi may use this effect for a track. */
  isEnabled(track: { isAudioTrack(): boolean }): boolean {
    return track.isAudioTrack();
  }

  startEffect(stream: MediaStream): MediaStream {
    const track = stream.getAudioTracks()[0];
    if (track) void this.denoised?.replaceSource(track);
    return new MediaStream([this.destination.track]);
  }

  stopEffect(): void {
    void this.denoised?.stop();
    this.denoised = undefined;
  }
}
