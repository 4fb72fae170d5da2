/**
 * The processor of the AudioWorklet. Runs on the audio thread: after its constructor it allocates nothing
 * but the messages that the page asked for.
 *
 * This file imports types only: an AudioWorklet loads it as one file.
 */
import type { Exports } from './engine.js';
import type { MemoryImage, Overload, ProcessorOptions, Report, Request, Telemetry } from './messages.js';

declare const sampleRate: number;
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(name: string, processor: unknown): void;

/** The processor steps up below this part of the load above which it steps down. */
const LOW_LOAD = 1 / 3;
/** Seconds over which the load is averaged. The clock of some browsers has a resolution of 1 ms. */
const LOAD_S = 1;
/** Seconds of low load before a step up; doubles after each step up that did not last. */
const CALM_S = 10;
/** Seconds after which a step up counts as lasting. */
const LASTING_S = 30;

/** Milliseconds. */
const now: () => number =
  typeof performance === 'object' && performance !== null ? () => performance.now() : () => Date.now();

/** Mean square of the first `frames` samples, dBFS. */
function level(samples: Float32Array, frames: number): number {
  let sum = 0;
  for (let n = 0; n < frames; n++) sum += samples[n]! * samples[n]!;
  return Math.max(10 * Math.log10(sum / frames), -140);
}

/** The input, delayed by whole frames: what plays when the denoiser fails. */
class Delay {
  private readonly ring: Float32Array;
  private at = 0;

  constructor(frames: number) {
    this.ring = new Float32Array(Math.max(frames, 1));
  }

  process(input: Float32Array | undefined, output: Float32Array, frames: number): void {
    const { ring } = this;
    for (let n = 0; n < frames; n++) {
      output[n] = ring[this.at]!;
      ring[this.at] = input ? input[n]! : 0;
      this.at = this.at + 1 === ring.length ? 0 : this.at + 1;
    }
  }
}

class QuietwireProcessor extends AudioWorkletProcessor {
  private readonly options: Omit<ProcessorOptions, 'module' | 'image'>;
  private exports: Exports | undefined;
  private blocks: Float32Array[] = [];
  private numbers = new Float32Array(0);
  private readonly delays: Delay[];
  private isRunning = false;
  private isEnabled: boolean;
  private passedDbfs = -140;
  private isDisposed = false;
  private telemetryFrames = 0;
  private framesToTelemetry = 0;
  // Load.
  private busyMs = 0;
  private busyFrames = 0;
  private load = 0;
  private fallbackLevel = 0;
  private calmS = 0;
  private waitS = CALM_S;
  private sinceUpS = Infinity;

  constructor(init: { processorOptions: ProcessorOptions }) {
    super();
    // The image must not stay in memory.
    const { module, image, ...options } = init.processorOptions;
    this.options = options;
    this.delays = Array.from({ length: this.options.channels }, () => new Delay(this.options.latencyFrames));
    this.setTelemetry(this.options.telemetryHz);
    this.isEnabled = this.options.enabled;
    this.port.onmessage = (event: MessageEvent<Request>) => this.onRequest(event.data);
    try {
      this.start(module, image);
    } catch (error) {
      this.fail(error);
    }
  }

  /** Puts the image of the memory into a new instance. */
  private start(module: WebAssembly.Module, image: MemoryImage): void {
    const exports = new WebAssembly.Instance(module, {}).exports as unknown as Exports;
    const { memory } = exports;
    const missing = image.byteLength - memory.buffer.byteLength;
    if (missing > 0) memory.grow(missing / 65536);
    const bytes = new Uint8Array(memory.buffer);
    const { pages, pageBytes } = image;
    for (let n = 0; n < pages.length; n++) {
      bytes.set(image.bytes.subarray(n * pageBytes, (n + 1) * pageBytes), pages[n]! * pageBytes);
    }
    this.exports = exports;
    this.findBlocks(exports);
    if (!this.options.enabled) exports.quietwire_set_bypass(this.options.stream, 1);
  }

  /** Views of the samples and measurements. A memory that grows makes new ones necessary. */
  private findBlocks(exports: Exports): void {
    const { stream, channels } = this.options;
    const { buffer } = exports.memory;
    this.blocks = [];
    for (let channel = 0; channel < channels; channel++) {
      this.blocks.push(new Float32Array(buffer, exports.quietwire_block(stream, channel), 4096));
    }
    this.numbers = new Float32Array(buffer, exports.quietwire_telemetry(stream), 8);
  }

  private onRequest(request: Request): void {
    const { exports } = this;
    if (request.type === 'dispose') {
      this.isDisposed = true;
      this.exports = undefined;
      this.blocks = [];
      this.port.close();
      return;
    }
    if (request.type === 'telemetry') {
      this.setTelemetry(request.telemetryHz);
      return;
    }
    if (!exports) return;
    const { stream } = this.options;
    let result = 0;
    try {
      if (request.type === 'enabled') this.isEnabled = request.enabled;
      if (request.type === 'enabled') result = exports.quietwire_set_bypass(stream, request.enabled ? 0 : 1);
      if (request.type === 'attenuation') result = exports.quietwire_set_attenuation(stream, request.attenuationDb);
      if (request.type === 'model') result = exports.quietwire_set_model(stream, request.index);
      if (request.type === 'model' && result >= 0) {
        // There may be fewer steps below it.
        exports.quietwire_telemetry(stream);
        this.fallbackLevel = this.numbers[6]!;
      }
    } catch (error) {
      this.fail(error);
      return;
    }
    if (result < 0) this.report({ type: 'error', message: this.failure(exports) });
  }

  process(inputs: Float32Array[][], outputs: Float32Array[][]): boolean {
    if (this.isDisposed) return false;
    const [input, output] = [inputs[0]!, outputs[0]!];
    const frames = output[0]!.length;
    this.pass(input, output, frames);
    const { exports } = this;
    if (!exports) return true;
    const start = now();
    try {
      this.clean(exports, input, output, frames);
    } catch (error) {
      this.fail(error);
      return true;
    }
    this.measure(exports, now() - start, frames);
    return true;
  }

  /** The delayed input to the output. */
  private pass(input: Float32Array[], output: Float32Array[], frames: number): void {
    for (let channel = 0; channel < output.length; channel++) {
      // A mono input goes to all channels.
      const from = input[Math.min(channel, input.length - 1)];
      this.delays[channel]!.process(from, output[channel]!, frames);
    }
  }

  private clean(exports: Exports, input: Float32Array[], output: Float32Array[], frames: number): void {
    if (this.numbers.byteLength === 0) this.findBlocks(exports);
    for (let channel = 0; channel < this.blocks.length; channel++) {
      const block = this.blocks[channel]!;
      const from = input[Math.min(channel, input.length - 1)];
      if (from) block.set(from);
      else block.fill(0, 0, frames);
    }
    if (exports.quietwire_process(this.options.stream, frames) < 0) throw new Error(this.failure(exports));
    if (this.numbers.byteLength === 0) this.findBlocks(exports);
    for (let channel = 0; channel < output.length; channel++) {
      const block = this.blocks[channel]!;
      const to = output[channel]!;
      for (let n = 0; n < frames; n++) to[n] = block[n]!;
    }
  }

  /** Events, and steps by the load. */
  private measure(exports: Exports, tookMs: number, frames: number): void {
    this.busyMs += tookMs;
    this.busyFrames += frames;
    if (this.busyFrames >= LOAD_S * sampleRate) this.step(exports);
    if (!this.isRunning) {
      exports.quietwire_telemetry(this.options.stream);
      if (this.numbers[0]! > 0) {
        this.isRunning = true;
        this.report({ type: 'running' });
      }
    }
    if (this.telemetryFrames > 0 && (this.framesToTelemetry -= frames) <= 0) {
      this.framesToTelemetry += this.telemetryFrames;
      // Switched off, the denoiser measures nothing.
      if (!this.isEnabled) this.passedDbfs = level(this.blocks[0]!, frames);
      this.report({ type: 'telemetry', telemetry: this.telemetry(exports) });
    }
  }

  private step(exports: Exports): void {
    const elapsedS = this.busyFrames / sampleRate;
    this.load = this.busyMs / 1000 / elapsedS;
    this.busyMs = 0;
    this.busyFrames = 0;
    this.sinceUpS += elapsedS;
    this.calmS = this.load < LOW_LOAD * this.options.maxLoad ? this.calmS + elapsedS : 0;
    let level = this.fallbackLevel;
    if (this.load > this.options.maxLoad && level < this.options.fallbackLevels) {
      level++;
      this.waitS = this.sinceUpS < LASTING_S ? Math.min(2 * this.waitS, 300) : CALM_S;
    } else if (this.calmS >= this.waitS && level > 0) {
      level--;
      this.calmS = 0;
      this.sinceUpS = 0;
    }
    if (level === this.fallbackLevel) return;
    const reached = exports.quietwire_set_fallback_level(this.options.stream, level);
    if (reached < 0) {
      this.report({ type: 'error', message: this.failure(exports) });
      return;
    }
    // A model that was set later has fewer steps below it.
    if (reached === this.fallbackLevel) return;
    this.fallbackLevel = reached;
    const overload: Overload = { load: this.load, fallbackLevel: reached };
    this.report({ type: 'overload', overload });
  }

  private telemetry(exports: Exports): Telemetry {
    exports.quietwire_telemetry(this.options.stream);
    const [hops, speech, snrDb, gainDb, inputDbfs, outputDbfs, fallbackLevel] = this.numbers as unknown as number[];
    return {
      hops: hops!,
      speechProbability: speech! < 0 || !this.isEnabled ? undefined : speech!,
      snrDb: snrDb!,
      gainDb: this.isEnabled ? gainDb! : 0,
      inputDbfs: this.isEnabled ? inputDbfs! : this.passedDbfs,
      outputDbfs: this.isEnabled ? outputDbfs! : this.passedDbfs,
      load: this.load,
      fallbackLevel: fallbackLevel!,
    };
  }

  private setTelemetry(telemetryHz: number): void {
    this.telemetryFrames = telemetryHz > 0 ? sampleRate / telemetryHz : 0;
    this.framesToTelemetry = this.telemetryFrames;
  }

  /** The delayed input passes from now on. */
  private fail(error: unknown): void {
    this.exports = undefined;
    const text = error instanceof Error ? error.message : String(error);
    this.report({ type: 'stopped', message: `the denoiser has stopped, the microphone passes as it is: ${text}` });
  }

  private failure(exports: Exports): string {
    const bytes = new Uint8Array(exports.memory.buffer, exports.quietwire_error(), exports.quietwire_error_len());
    return String.fromCharCode(...bytes);
  }

  private report(report: Report): void {
    this.port.postMessage(report);
  }
}

registerProcessor('quietwire', QuietwireProcessor);
