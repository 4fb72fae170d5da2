/** The WebAssembly module: loads it, creates a stream in it, and takes an image of its memory. */
import type { MemoryImage } from './messages.js';

/** Functions of `bindings/wasm`. Places are numbers of bytes into `memory`. */
export interface Exports {
  memory: WebAssembly.Memory;
  quietwire_reserve(len: number): number;
  quietwire_add_model(manifestLen: number): number;
  quietwire_create(rateHz: number, channels: number, attenuationDb: number): number;
  quietwire_error(): number;
  quietwire_error_len(): number;
  quietwire_block(stream: number, channel: number): number;
  quietwire_process(stream: number, frames: number): number;
  quietwire_latency(stream: number): number;
  quietwire_telemetry(stream: number): number;
  quietwire_set_bypass(stream: number, bypass: number): number;
  quietwire_set_attenuation(stream: number, attenuationDb: number): number;
  quietwire_set_model(stream: number, model: number): number;
  quietwire_set_fallback_level(stream: number, level: number): number;
  quietwire_free(stream: number): void;
}

/** Names of the models in the package. */
export type ModelName = 'base' | 'tiny';

/** Where the files of `assets/` come from. Default: beside this module. */
export interface Assets {
  /** Folder of the files, with a slash at its end. */
  baseUrl?: string | URL;
  /** The bytes of files by their names, such as `base.onnx`, instead of requests. */
  files?: Record<string, BufferSource>;
}

/** Largest number of bytes after which a request counts as not the expected file. */
const MIN_WASM_BYTES = 1000;

/** A failure with a text for developers. */
export class QuietwireError extends Error {
  override name = 'QuietwireError';
}

const modules = new Map<string, Promise<WebAssembly.Module>>();

/** Whether the browser has 128-bit SIMD: a function that returns `i8x16.popcnt(i8x16.splat(0))`. */
function hasSimd(): boolean {
  return WebAssembly.validate(
    new Uint8Array([
      0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
    ]),
  );
}

async function bytesOf(name: string, assets: Assets): Promise<BufferSource> {
  const own = assets.files?.[name];
  if (own) return own;
  const url = new URL(name, assets.baseUrl ?? new URL('../assets/', import.meta.url));
  const response = await fetch(url).catch((cause: unknown) => {
    throw new QuietwireError(`${url} cannot be loaded: serve the folder assets/ of @quietwire/web there`, { cause });
  });
  if (!response.ok) {
    throw new QuietwireError(`${url}: status ${response.status}; serve the folder assets/ of @quietwire/web there`);
  }
  return response.arrayBuffer();
}

/** The compiled module, one for each place that it comes from. */
export function loadModule(assets: Assets = {}): Promise<WebAssembly.Module> {
  const name = hasSimd() ? 'quietwire.wasm' : 'quietwire-plain.wasm';
  const compile = async () => {
    const bytes = await bytesOf(name, assets);
    if (bytes.byteLength < MIN_WASM_BYTES) throw new QuietwireError(`${name} has ${bytes.byteLength} bytes: not the module`);
    return WebAssembly.compile(bytes).catch((cause: unknown) => {
      const policy = "a page with a Content-Security-Policy needs script-src 'wasm-unsafe-eval'";
      throw new QuietwireError(`${name} cannot be compiled; ${policy}`, { cause });
    });
  };
  if (assets.files?.[name]) return compile();
  const key = `${assets.baseUrl ?? ''}${name}`;
  const found = modules.get(key) ?? compile();
  modules.set(key, found);
  found.catch(() => modules.delete(key));
  return found;
}

/** The text of the latest failure. */
export function failure(exports: Exports): string {
  const [at, len] = [exports.quietwire_error(), exports.quietwire_error_len()];
  // No TextDecoder: an AudioWorklet has none. Texts of errors are ASCII except for names in them.
  return String.fromCharCode(...new Uint8Array(exports.memory.buffer, at, len));
}

/** What a stream is created with. */
export interface StreamOptions {
  models: readonly ModelName[];
  rateHz: number;
  channels: number;
  attenuationDb: number;
  assets: Assets;
}

/** A stream: the module, an instance that has the stream, and its place there. */
export interface Stream {
  module: WebAssembly.Module;
  exports: Exports;
  stream: number;
  latencyFrames: number;
}

/** Creates a stream in an instance of this thread. */
export async function createStream(options: StreamOptions): Promise<Stream> {
  const module = await loadModule(options.assets);
  const files = await Promise.all(
    options.models.flatMap((name) => [bytesOf(`${name}.toml`, options.assets), bytesOf(`${name}.onnx`, options.assets)]),
  );
  const exports = (await WebAssembly.instantiate(module, {})).exports as unknown as Exports;
  for (let at = 0; at < files.length; at += 2) {
    const [manifest, onnx] = [view(files[at]!), view(files[at + 1]!)];
    const place = exports.quietwire_reserve(manifest.length + onnx.length);
    const buffer = new Uint8Array(exports.memory.buffer, place, manifest.length + onnx.length);
    buffer.set(manifest);
    buffer.set(onnx, manifest.length);
    if (exports.quietwire_add_model(manifest.length) < 0) throw new QuietwireError(failure(exports));
  }
  const stream = exports.quietwire_create(options.rateHz, options.channels, options.attenuationDb);
  if (stream === 0) throw new QuietwireError(failure(exports));
  return { module, exports, stream, latencyFrames: exports.quietwire_latency(stream) };
}

/** Bytes of a page of an image. */
const PAGE_BYTES = 4096;

/** The memory of an instance of `module`. Freed memory is zero, so that only a part of it differs from a new one. */
export async function memoryImage(module: WebAssembly.Module, exports: Exports): Promise<MemoryImage> {
  const unused = (await WebAssembly.instantiate(module, {})).exports as unknown as Exports;
  const [before, after] = [unused, exports].map(({ memory }) => new Uint32Array(memory.buffer)) as [Uint32Array, Uint32Array];
  const numbers = PAGE_BYTES / 4;
  const isChanged = (page: number) => {
    for (let n = page * numbers; n < (page + 1) * numbers; n++) {
      if (after[n] !== (n < before.length ? before[n] : 0)) return true;
    }
    return false;
  };
  const pages = Uint32Array.from({ length: after.length / numbers }, (_, page) => page).filter(isChanged);
  const memory = new Uint8Array(after.buffer);
  const bytes = new Uint8Array(PAGE_BYTES * pages.length);
  pages.forEach((page, n) => bytes.set(memory.subarray(PAGE_BYTES * page, PAGE_BYTES * (page + 1)), PAGE_BYTES * n));
  return { byteLength: memory.byteLength, pageBytes: PAGE_BYTES, pages, bytes };
}

function view(bytes: BufferSource): Uint8Array {
  return ArrayBuffer.isView(bytes)
    ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    : new Uint8Array(bytes);
}
