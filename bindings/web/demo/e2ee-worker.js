// Encrypts the encoded audio of a sender, or decrypts that of a receiver: AES-GCM, a key from a password.
//
// A payload becomes: its first byte as it is, ciphertext with tag, 12 bytes of initialization vector. The first byte
// states the mode of Opus and is authenticated.
const IV_BYTES = 12;

async function keyFrom(password) {
  const encoder = new TextEncoder();
  const material = await crypto.subtle.importKey('raw', encoder.encode(password), 'PBKDF2', false, ['deriveKey']);
  const derivation = { name: 'PBKDF2', hash: 'SHA-256', salt: encoder.encode('quietwire demo'), iterations: 100_000 };
  return crypto.subtle.deriveKey(derivation, material, { name: 'AES-GCM', length: 128 }, false, ['encrypt', 'decrypt']);
}

async function encrypt(key, data) {
  const plain = new Uint8Array(data);
  const iv = crypto.getRandomValues(new Uint8Array(IV_BYTES));
  const [head, body] = [plain.subarray(0, 1), plain.subarray(1)];
  const secret = await crypto.subtle.encrypt({ name: 'AES-GCM', iv, additionalData: head }, key, body);
  const out = new Uint8Array(1 + secret.byteLength + IV_BYTES);
  out.set(head);
  out.set(new Uint8Array(secret), 1);
  out.set(iv, 1 + secret.byteLength);
  return out.buffer;
}

async function decrypt(key, data) {
  const bytes = new Uint8Array(data);
  const end = bytes.length - IV_BYTES;
  const [head, body, iv] = [bytes.subarray(0, 1), bytes.subarray(1, end), bytes.subarray(end)];
  const plain = await crypto.subtle.decrypt({ name: 'AES-GCM', iv, additionalData: head }, key, body);
  const out = new Uint8Array(1 + plain.byteLength);
  out.set(head);
  out.set(new Uint8Array(plain), 1);
  return out.buffer;
}

onrtctransform = async ({ transformer }) => {
  const { direction, password, port } = transformer.options;
  const [work, count] = direction === 'send' ? [encrypt, 'encrypted'] : [decrypt, 'decrypted'];
  const counts = { encrypted: 0, decrypted: 0, dropped: 0 };
  let key = await keyFrom(password);
  port.onmessage = async (event) => {
    key = await keyFrom(event.data.password);
  };
  const transform = new TransformStream({
    async transform(frame, controller) {
      try {
        frame.data = await work(key, frame.data);
        counts[count]++;
        controller.enqueue(frame);
      } catch {
        // Another key: the payload is dropped, and nothing of it is played.
        counts.dropped++;
      }
      port.postMessage(counts);
    },
  });
  await transformer.readable.pipeThrough(transform).pipeTo(transformer.writable);
};
