/** The AudioWorkletNode of the denoiser. */
import { createStream, memoryImage, QuietwireError, type Assets, type ModelName } from './engine.js';
import type { Overload, ProcessorOptions, Report, Request, Telemetry } from './messages.js';

/** Named attenuation limits, dB: how much noise is removed at most. */
export const LEVELS_DB = { low: 12, medium: 20, high: 40 } as const;
export type Level = keyof typeof LEVELS_DB;

export interface DenoiserOptions {
  /** The first is used; the others are steps down under overload, and choices of `setModel`. Default: base, tiny. */
  models?: readonly ModelName[];
  /** Default: high. */
  level?: Level;
  /** Attenuation limit, dB, 0 or more. Replaces `level`. */
  attenuationDb?: number;
  /** Channels of input and output. With 1, the default, a stereo input is mixed down; 2 keeps the stereo image. */
  channels?: 1 | 2;
  /** Whether noise is removed from the start on. Default: true. */
  enabled?: boolean;
  /** `telemetry` events each second. Default: 0, none. */
  telemetryHz?: number;
  /** Part of the audio thread's time, 0 to 1, above which a cheaper model takes over. Default: 0.6. */
  maxLoad?: number;
  /** Where the module and the models come from. Default: beside the package's script. */
  assets?: Assets;
  /** The script of the processor. Default: `worklet.js` beside the package's script. */
  workletUrl?: string | URL;
}

/** Events of a node, by name, with the type of their `detail`. */
export interface DenoiserEvents {
  /** The first hop was processed. */
  running: undefined;
  telemetry: Telemetry;
  /** The processor stepped down because time ran out, or up again. */
  overload: Overload;
  /** Something failed; `message` states what to do. The sound goes on. */
  error: { message: string };
}

/** An AudioWorkletNode that removes noise from all its channels. */
export interface DenoiserNode extends AudioWorkletNode {
  /** Delay between input and output, seconds. Constant, whether switched on or off. */
  readonly latencySeconds: number;
  /** Models that were loaded. */
  readonly models: readonly ModelName[];
  /** Switches suppression on or off, cross-faded. Off costs almost nothing. */
  setEnabled(enabled: boolean): void;
  setLevel(level: Level): void;
  /** @param attenuationDb 0 or more */
  setAttenuation(attenuationDb: number): void;
  /** Changes to another loaded model, cross-faded. */
  setModel(model: ModelName): void;
  /** @param telemetryHz events each second; 0 for none */
  setTelemetry(telemetryHz: number): void;
  /** Ends the processor and frees its memory. The node must not be used any more. */
  dispose(): void;
  /**
   * Adds a listener; the returned function removes it. What holds already is reported to a new listener too: that the
   * node runs, and the error that ended it.
   */
  on<K extends keyof DenoiserEvents>(name: K, listener: (detail: DenoiserEvents[K]) => void): () => void;
}

const scripts = new WeakMap<BaseAudioContext, Map<string, Promise<void>>>();

function loadScript(context: BaseAudioContext, url: URL): Promise<void> {
  if (!context.audioWorklet) {
    throw new QuietwireError('this browser or page has no AudioWorklet: it needs a secure context (https or localhost)');
  }
  const loaded = scripts.get(context) ?? new Map<string, Promise<void>>();
  scripts.set(context, loaded);
  const found =
    loaded.get(url.href) ??
    context.audioWorklet.addModule(url).catch((cause: unknown) => {
      loaded.delete(url.href);
      const advice = "serve worklet.js of @quietwire/web there, and allow it in script-src of the page's policy";
      throw new QuietwireError(`${url} cannot be loaded as an AudioWorklet: ${advice}`, { cause });
    });
  loaded.set(url.href, found);
  return found;
}

function checkAttenuation(attenuationDb: number): number {
  if (typeof attenuationDb === 'number' && attenuationDb >= 0) return attenuationDb;
  throw new QuietwireError(`expected an attenuation of 0 dB or more, got ${attenuationDb}`);
}

function levelDb(level: Level): number {
  if (Object.hasOwn(LEVELS_DB, level)) return LEVELS_DB[level];
  throw new QuietwireError(`expected the level low, medium or high, got ${level}`);
}

/**
 * Creates a denoiser for a context of any sample rate. When the promise resolves, models are loaded and the
 * first block of the node is processed already.
 *
 * @throws QuietwireError when the browser lacks something or a file cannot be loaded
 */
export async function createDenoiser(context: BaseAudioContext, options: DenoiserOptions = {}): Promise<DenoiserNode> {
  const models = options.models ?? ['base', 'tiny'];
  for (const name of models) {
    if (name !== 'base' && name !== 'tiny') throw new QuietwireError(`expected the models base and tiny, got ${name}`);
  }
  if (models.length === 0) throw new QuietwireError('expected at least one model');
  if (context.state === 'closed') throw new QuietwireError('the AudioContext is closed: create another one');
  const channels = options.channels ?? 1;
  if (channels !== 1 && channels !== 2) throw new QuietwireError(`expected 1 or 2 channels, got ${channels}`);
  const attenuationDb = checkAttenuation(options.attenuationDb ?? levelDb(options.level ?? 'high'));
  const assets = options.assets ?? {};
  const [created] = await Promise.all([
    createStream({ models, rateHz: context.sampleRate, channels, attenuationDb, assets }),
    loadScript(context, new URL(options.workletUrl ?? new URL('./worklet.js', import.meta.url), location.href)),
  ]);
  const processorOptions: ProcessorOptions = {
    module: created.module,
    // The audio thread puts this into an instance of its own: it copies a few megabytes, and reads no model.
    image: await memoryImage(created.module, created.exports),
    stream: created.stream,
    latencyFrames: created.latencyFrames,
    channels,
    enabled: options.enabled ?? true,
    telemetryHz: options.telemetryHz ?? 0,
    fallbackLevels: models.length,
    maxLoad: options.maxLoad ?? 0.6,
  };
  const node = new AudioWorkletNode(context, 'quietwire', {
    numberOfInputs: 1,
    numberOfOutputs: 1,
    outputChannelCount: [channels],
    channelCount: channels,
    channelCountMode: 'explicit',
    channelInterpretation: 'speakers',
    processorOptions,
  });
  return withMethods(node, models, created.latencyFrames / context.sampleRate, context);
}

function withMethods(
  node: AudioWorkletNode,
  models: readonly ModelName[],
  latencySeconds: number,
  context: BaseAudioContext,
): DenoiserNode {
  const send = (request: Request) => node.port.postMessage(request);
  const emit = (name: keyof DenoiserEvents, detail?: unknown) => node.dispatchEvent(new CustomEvent(name, { detail }));
  // Events that stay true. An app may get the node after them: it waits for a track or for a library.
  const lasting = new Map<keyof DenoiserEvents, unknown>();
  const emitLasting = (name: keyof DenoiserEvents, detail?: unknown) => {
    lasting.set(name, detail);
    emit(name, detail);
  };
  node.port.onmessage = (event: MessageEvent<Report>) => {
    const report = event.data;
    if (report.type === 'running') emitLasting('running');
    if (report.type === 'telemetry') emit('telemetry', report.telemetry);
    if (report.type === 'overload') emit('overload', report.overload);
    if (report.type === 'error') emit('error', { message: report.message });
    if (report.type === 'stopped') emitLasting('error', { message: report.message });
  };
  // Chromium calls `onprocessorerror` for events with the name `error`, those of this node among them.
  node.addEventListener('processorerror', () => {
    emitLasting('error', { message: 'the AudioWorklet has ended the processor: its output is silence, create another denoiser' });
  });
  const onStateChange = () => {
    if (context.state !== 'closed') return;
    context.removeEventListener('statechange', onStateChange);
    emitLasting('error', { message: 'the AudioContext was closed: the node is silent, create another context and denoiser' });
  };
  // An OfflineAudioContext closes when it has rendered.
  if (context instanceof AudioContext) context.addEventListener('statechange', onStateChange);
  const methods: Omit<DenoiserNode, keyof AudioWorkletNode> = {
    latencySeconds,
    models,
    setEnabled: (enabled) => send({ type: 'enabled', enabled }),
    setLevel: (level) => send({ type: 'attenuation', attenuationDb: levelDb(level) }),
    setAttenuation: (attenuationDb) => send({ type: 'attenuation', attenuationDb: checkAttenuation(attenuationDb) }),
    setModel: (model) => {
      const index = models.indexOf(model);
      if (index < 0) throw new QuietwireError(`${model} was not loaded: name it in the option models`);
      send({ type: 'model', index });
    },
    setTelemetry: (telemetryHz) => send({ type: 'telemetry', telemetryHz }),
    dispose: () => {
      send({ type: 'dispose' });
      node.disconnect();
      node.port.onmessage = null;
      context.removeEventListener('statechange', onStateChange);
    },
    on: (name, listener) => {
      const handler = (event: Event) => {
        if (event instanceof CustomEvent) listener(event.detail);
      };
      if (lasting.has(name)) handler(new CustomEvent(name, { detail: lasting.get(name) }));
      node.addEventListener(name, handler);
      return () => node.removeEventListener(name, handler);
    },
  };
  return Object.assign(node, methods) as DenoiserNode;
}
