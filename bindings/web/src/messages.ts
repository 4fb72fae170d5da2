/** Messages between the node on the page and its processor in the AudioWorklet. */

/** The memory of an instance, as far as it differs from that of a new one. */
export interface MemoryImage {
  /** Bytes of the complete memory. */
  byteLength: number;
  /** Bytes of a page of the image. */
  pageBytes: number;
  /** Numbers of the pages in the memory. */
  pages: Uint32Array;
  /** The pages, one after another. */
  bytes: Uint8Array;
}

/** `processorOptions` of the processor. */
export interface ProcessorOptions {
  module: WebAssembly.Module;
  image: MemoryImage;
  stream: number;
  latencyFrames: number;
  channels: number;
  enabled: boolean;
  telemetryHz: number;
  fallbackLevels: number;
  maxLoad: number;
}

/** To the processor. */
export type Request =
  | { type: 'enabled'; enabled: boolean }
  | { type: 'attenuation'; attenuationDb: number }
  | { type: 'model'; index: number }
  | { type: 'telemetry'; telemetryHz: number }
  | { type: 'dispose' };

/** Measurements of the latest hop. */
export interface Telemetry {
  /** Hops since the start. */
  hops: number;
  /** Probability of speech, 0 to 1; undefined when the model has none, and while switched off. */
  speechProbability: number | undefined;
  /** Signal-to-noise ratio that the model estimates, dB; that of the latest hop while switched off. */
  snrDb: number;
  /** Gain that was applied, dB. */
  gainDb: number;
  /** Level of the input, dBFS. */
  inputDbfs: number;
  /** Level of the output, dBFS. */
  outputDbfs: number;
  /** Part of the audio thread's time that the denoiser takes, 0 to 1. */
  load: number;
  /** Steps below the requested model because time ran out. */
  fallbackLevel: number;
}

/** Why the processor steps. */
export interface Overload {
  /** Part of the audio thread's time that the denoiser took, 0 to 1. */
  load: number;
  /** Steps below the requested model from now on; after the last model the delayed input passes. */
  fallbackLevel: number;
}

/** From the processor. */
export type Report =
  | { type: 'running' }
  | { type: 'telemetry'; telemetry: Telemetry }
  | { type: 'overload'; overload: Overload }
  | { type: 'error'; message: string }
  /** The delayed input passes from now on. */
  | { type: 'stopped'; message: string };
