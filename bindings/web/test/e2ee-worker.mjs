// The encoded transform of a call with end-to-end encryption: every byte of a payload after the first one
// is changed with a key, as a stand-in for a cipher.
onrtctransform = ({ transformer }) => {
  const { key } = transformer.options;
  const transform = new TransformStream({
    transform(frame, controller) {
      const bytes = new Uint8Array(frame.data);
      for (let n = 1; n < bytes.length; n++) bytes[n] ^= (key + 31 * n) & 255;
      frame.data = bytes.buffer;
      controller.enqueue(frame);
    },
  });
  void transformer.readable.pipeThrough(transform).pipeTo(transformer.writable);
};
