/** A variant without an AudioContext, where the browser has `MediaStreamTrackProcessor` (Chromium). */
import { QuietwireError, type Assets, type ModelName } from './engine.js';
import { LEVELS_DB, type Level } from './node.js';
import type { StreamReport, StreamRequest } from './stream-worker.js';

declare class MediaStreamTrackProcessor {
  constructor(init: { track: MediaStreamTrack });
  readonly readable: ReadableStream;
}
declare class MediaStreamTrackGenerator extends MediaStreamTrack {
  constructor(init: { kind: 'audio' });
  readonly writable: WritableStream;
}

export interface StreamTrackOptions {
  /** Default: base. */
  model?: ModelName;
  /** Default: high. */
  level?: Level;
  assets?: Assets;
  /** The script of the worker. Default: `stream-worker.js` beside the package's script. */
  workerUrl?: string | URL;
}

/** A clean track whose samples pass a worker. */
export interface StreamedTrack {
  readonly track: MediaStreamTrack;
  setEnabled(enabled: boolean): void;
  setLevel(level: Level): void;
  /** Ends `track` and the worker. The source track goes on. */
  stop(): void;
  /** Called when the denoiser fails; the samples pass as they are then. */
  onerror: ((message: string) => void) | undefined;
}

/** Whether the browser has what {@link denoiseTrackInWorker} needs. */
export function canDenoiseInWorker(): boolean {
  return 'MediaStreamTrackProcessor' in globalThis && 'MediaStreamTrackGenerator' in globalThis;
}

/**
 * Cleans a track in a worker, without an AudioContext. Time stamps stay; the samples are later by the delay
 * of the denoiser.
 *
 * @throws QuietwireError when the browser lacks the classes: use `denoiseTrack` there
 */
export function denoiseTrackInWorker(source: MediaStreamTrack, options: StreamTrackOptions = {}): StreamedTrack {
  if (!canDenoiseInWorker()) {
    throw new QuietwireError('this browser has no MediaStreamTrackProcessor for audio: use denoiseTrack');
  }
  if (source.kind !== 'audio') throw new QuietwireError(`expected an audio track, got a ${source.kind} track`);
  const processor = new MediaStreamTrackProcessor({ track: source });
  const generator = new MediaStreamTrackGenerator({ kind: 'audio' });
  const worker = new Worker(new URL(options.workerUrl ?? new URL('./stream-worker.js', import.meta.url), location.href), {
    type: 'module',
  });
  const send = (request: StreamRequest, transfer: Transferable[] = []) => worker.postMessage(request, transfer);
  const stop = () => {
    worker.terminate();
    generator.stop();
  };
  const streamed: StreamedTrack = {
    track: generator,
    setEnabled: (enabled) => send({ type: 'enabled', enabled }),
    setLevel: (level) => send({ type: 'attenuation', attenuationDb: LEVELS_DB[level] }),
    stop,
    onerror: undefined,
  };
  worker.onmessage = (event: MessageEvent<StreamReport>) => streamed.onerror?.(event.data.message);
  worker.onerror = (event) => streamed.onerror?.(`the worker cannot be loaded: ${event.message}`);
  const { readable } = processor;
  const { writable } = generator;
  const assets: Assets = options.assets ?? {};
  const attenuationDb = LEVELS_DB[options.level ?? 'high'];
  const model = options.model ?? 'base';
  // A URL object cannot be sent.
  const sent: Assets = { ...assets };
  if (assets.baseUrl !== undefined) sent.baseUrl = String(assets.baseUrl);
  send({ type: 'start', readable, writable, model, attenuationDb, assets: sent }, [readable, writable]);
  source.addEventListener('ended', stop);
  return streamed;
}
