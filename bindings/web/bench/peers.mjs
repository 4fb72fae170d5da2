// Processors for bench/worklet.mjs: one that copies, and RNNoise of @jitsi/rnnoise-wasm in blocks of 480 frames,
// as Jitsi Meet runs it.
import createRNNWasmModuleSync from '/node_modules/@jitsi/rnnoise-wasm/dist/rnnoise-sync.js';

registerProcessor(
  'copies',
  class extends AudioWorkletProcessor {
    process([input], [output]) {
      if (input[0]) output[0].set(input[0]);
      return true;
    }
  },
);

const BLOCK = 480;
/** A common multiple of a block and a quantum. */
const RING = 1920;

registerProcessor(
  'jitsi-rnnoise',
  class extends AudioWorkletProcessor {
    constructor() {
      super();
      this.module = createRNNWasmModuleSync();
      this.state = this.module._rnnoise_create();
      this.place = this.module._malloc(4 * BLOCK);
      this.ring = new Float32Array(RING);
      this.written = 0;
      this.denoised = 0;
      this.read = 0;
    }

    process([input], [output]) {
      if (!input[0]) return true;
      const { ring, module, place } = this;
      ring.set(input[0], this.written % RING);
      this.written += input[0].length;
      while (this.written - this.denoised >= BLOCK) {
        const block = ring.subarray(this.denoised % RING, (this.denoised % RING) + BLOCK);
        const numbers = module.HEAPF32.subarray(place / 4, place / 4 + BLOCK);
        // RNNoise takes 16-bit numbers as f32.
        for (let n = 0; n < BLOCK; n++) numbers[n] = 32768 * block[n];
        module._rnnoise_process_frame(this.state, place, place);
        for (let n = 0; n < BLOCK; n++) block[n] = numbers[n] / 32768;
        this.denoised += BLOCK;
      }
      // The output begins when it can go on without a gap.
      if (this.read > 0 || this.denoised >= BLOCK) {
        const from = this.read % RING;
        if (this.denoised - this.read >= 128) {
          output[0].set(ring.subarray(from, from + 128));
          this.read += 128;
        }
      }
      return true;
    }
  },
);
