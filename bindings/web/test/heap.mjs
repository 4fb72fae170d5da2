// Counts the memories of WebAssembly instances that are not freed, in a page or in an AudioWorklet.
let memories = 0;
const registry = new FinalizationRegistry(() => memories--);
function count(instance) {
  memories++;
  registry.register(instance.exports.memory);
}

const { Instance, instantiate } = WebAssembly;
WebAssembly.Instance = class extends Instance {
  constructor(...args) {
    super(...args);
    count(this);
  }
};
WebAssembly.instantiate = async (...args) => {
  const instance = await instantiate(...args);
  count(instance);
  return instance;
};

/** Collects garbage, for which the browser needs `--js-flags=--expose-gc`, and returns the number of memories. */
globalThis.liveMemories = async () => {
  gc();
  return memories;
};

globalThis.registerProcessor?.(
  'heap',
  class extends AudioWorkletProcessor {
    constructor() {
      super();
      this.port.onmessage = async () => this.port.postMessage(await liveMemories());
    }

    process() {
      return true;
    }
  },
);
