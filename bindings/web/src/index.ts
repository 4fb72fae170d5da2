export { createDenoiser, LEVELS_DB } from './node.js';
export type { DenoiserEvents, DenoiserNode, DenoiserOptions, Level } from './node.js';
export { denoiseTrack } from './track.js';
export type { DenoisedTrack, TrackOptions } from './track.js';
export { canDenoiseInWorker, denoiseTrackInWorker } from './stream.js';
export type { StreamedTrack, StreamTrackOptions } from './stream.js';
export { QuietwireError } from './engine.js';
export type { Assets, ModelName } from './engine.js';
export type { Overload, Telemetry } from './messages.js';
