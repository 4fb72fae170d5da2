registerProcessor(
  'recorder',
  class extends AudioWorkletProcessor {
    process([input], [output]) {
      output[0]?.set(input[0] ?? new Float32Array(128));
      this.port.postMessage(input[0] ? input[0].slice() : new Float32Array(128));
      return true;
    }
  },
);
