/** The worker of `denoiseTrackInWorker`: takes blocks of a track, and gives clean ones. */
import { createStream, failure, QuietwireError, type Assets, type Exports, type ModelName } from './engine.js';

/** To the worker. */
export type StreamRequest =
  | {
      type: 'start';
      readable: ReadableStream;
      writable: WritableStream;
      model: ModelName;
      attenuationDb: number;
      assets: Assets;
    }
  | { type: 'enabled'; enabled: boolean }
  | { type: 'attenuation'; attenuationDb: number };

/** From the worker. */
export interface StreamReport {
  type: 'error';
  message: string;
}

/** Frames that the module takes at a time. */
const MAX_BLOCK = 4096;

/** A stream for blocks of one rate and number of channels. */
class Cleaner {
  private constructor(
    private readonly exports: Exports,
    private readonly stream: number,
    readonly rateHz: number,
    readonly channels: number,
  ) {}

  static async create(model: ModelName, rateHz: number, channels: number, attenuationDb: number, assets: Assets) {
    const { exports, stream } = await createStream({ models: [model], rateHz, channels, attenuationDb, assets });
    return new Cleaner(exports, stream, rateHz, channels);
  }

  setEnabled(enabled: boolean): void {
    this.exports.quietwire_set_bypass(this.stream, enabled ? 0 : 1);
  }

  setAttenuation(attenuationDb: number): void {
    this.exports.quietwire_set_attenuation(this.stream, attenuationDb);
  }

  /** Planar samples, in place. */
  process(samples: Float32Array, frames: number): void {
    const { exports, stream, channels } = this;
    for (let at = 0; at < frames; at += MAX_BLOCK) {
      const count = Math.min(MAX_BLOCK, frames - at);
      for (let channel = 0; channel < channels; channel++) {
        const from = samples.subarray(channel * frames + at, channel * frames + at + count);
        new Float32Array(exports.memory.buffer, exports.quietwire_block(stream, channel), count).set(from);
      }
      if (exports.quietwire_process(stream, count) < 0) throw new QuietwireError(failure(exports));
      for (let channel = 0; channel < channels; channel++) {
        const clean = new Float32Array(exports.memory.buffer, exports.quietwire_block(stream, channel), count);
        samples.set(clean, channel * frames + at);
      }
    }
  }
}

let cleaner: Cleaner | undefined;
let isEnabled = true;
let attenuationDb = 40;

function report(error: unknown): void {
  const text = error instanceof Error ? error.message : String(error);
  const message: StreamReport = { type: 'error', message: `the samples pass as they are: ${text}` };
  postMessage(message);
}

async function run(request: Extract<StreamRequest, { type: 'start' }>): Promise<void> {
  let hasFailed = false;
  const clean = new TransformStream<AudioData, AudioData>({
    async transform(data, controller) {
      const { numberOfFrames, numberOfChannels, sampleRate, timestamp } = data;
      if (hasFailed || numberOfChannels > 2) {
        if (!hasFailed) report(`expected 1 or 2 channels, got ${numberOfChannels}`);
        hasFailed = true;
        controller.enqueue(data);
        return;
      }
      try {
        if (cleaner?.rateHz !== sampleRate || cleaner.channels !== numberOfChannels) {
          cleaner = await Cleaner.create(request.model, sampleRate, numberOfChannels, attenuationDb, request.assets);
          cleaner.setEnabled(isEnabled);
        }
        const samples = new Float32Array(numberOfFrames * numberOfChannels);
        for (let planeIndex = 0; planeIndex < numberOfChannels; planeIndex++) {
          const plane = samples.subarray(planeIndex * numberOfFrames, (planeIndex + 1) * numberOfFrames);
          data.copyTo(plane, { planeIndex, format: 'f32-planar' });
        }
        cleaner.process(samples, numberOfFrames);
        controller.enqueue(
          new AudioData({ format: 'f32-planar', sampleRate, numberOfFrames, numberOfChannels, timestamp, data: samples }),
        );
        data.close();
      } catch (error) {
        hasFailed = true;
        report(error);
        controller.enqueue(data);
      }
    },
  });
  await request.readable.pipeThrough(clean).pipeTo(request.writable);
}

addEventListener('message', (event: MessageEvent<StreamRequest>) => {
  const request = event.data;
  if (request.type === 'start') {
    attenuationDb = request.attenuationDb;
    // The track has ended when this fails.
    void run(request).catch(() => undefined);
  }
  if (request.type === 'enabled') {
    isEnabled = request.enabled;
    cleaner?.setEnabled(isEnabled);
  }
  if (request.type === 'attenuation') {
    attenuationDb = request.attenuationDb;
    cleaner?.setAttenuation(attenuationDb);
  }
});
