// What needs no node: what nodes say to each other, and what is counted.

const MAX_TEXT = 400;

// A question, with a name; or its answer, with a greeting. `request` is whom the asking node has to answer.
export function write({ isAnswer, request, text }) {
  const bytes = new TextEncoder().encode(text);
  if (bytes.length < 1 || bytes.length > MAX_TEXT) throw new Error(`a name has 1 to ${MAX_TEXT} bytes`);
  const payload = new Uint8Array(9 + bytes.length);
  payload[0] = isAnswer ? 1 : 0;
  new DataView(payload.buffer).setBigUint64(1, request);
  payload.set(bytes, 9);
  return payload;
}

// Throws where the payload is no letter: it may be anybody's.
export function read(payload) {
  if (payload.length < 10 || payload.length > 9 + MAX_TEXT || payload[0] > 1) throw new Error("this is no letter");
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const text = new TextDecoder("utf-8", { fatal: true }).decode(payload.subarray(9));
  return { isAnswer: payload[0] === 1, request: view.getBigUint64(1), text };
}

export function greeting(name, count) {
  return count === 1n ? `Hello, ${name}!` : `Hello, ${name}! That is greeting ${count}.`;
}

// The key of a name, its SHA-1 (FIPS 180-4), as three words.
export function keyOf(name) {
  const words = sha1(new TextEncoder().encode(name));
  const pair = (high, low) => (BigInt(high) << 32n) | BigInt(low);
  return { high: pair(words[0], words[1]), middle: pair(words[2], words[3]), low: words[4] };
}

function sha1(message) {
  const rotate = (word, by) => ((word << by) | (word >>> (32 - by))) >>> 0;
  const length = Math.ceil((message.length + 9) / 64) * 64;
  const padded = new Uint8Array(length);
  padded.set(message);
  padded[message.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setBigUint64(length - 8, BigInt(message.length) * 8n);
  const hash = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0];
  for (let block = 0; block < length; block += 64) {
    const w = [];
    for (let i = 0; i < 16; i++) w.push(view.getUint32(block + 4 * i));
    for (let i = 16; i < 80; i++) w.push(rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1));
    let [a, b, c, d, e] = hash;
    for (let i = 0; i < 80; i++) {
      const [f, k] =
        i < 20 ? [(b & c) | (~b & d), 0x5a827999]
        : i < 40 ? [b ^ c ^ d, 0x6ed9eba1]
        : i < 60 ? [(b & c) | (b & d) | (c & d), 0x8f1bbcdc]
        : [b ^ c ^ d, 0xca62c1d6];
      const next = (rotate(a, 5) + f + e + k + w[i]) >>> 0;
      [a, b, c, d, e] = [next, a, rotate(b, 30), c, d];
    }
    [a, b, c, d, e].forEach((word, i) => (hash[i] = (hash[i] + word) >>> 0));
  }
  return hash;
}
