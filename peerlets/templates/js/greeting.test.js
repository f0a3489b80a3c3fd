import assert from "node:assert/strict";
import test from "node:test";

import { greeting, keyOf, read, write } from "./greeting.js";

test("a letter comes out as it went in", () => {
  for (const letter of [
    { isAnswer: false, request: 7n, text: "Ada" },
    { isAnswer: true, request: 2n ** 64n - 1n, text: "Hello, Ädä!" },
  ]) {
    assert.deepEqual(read(write(letter)), letter);
  }
});

test("what is no letter is refused", () => {
  for (const payload of [[], Array(9).fill(0), [2, ...Array(9).fill(65)], [...Array(9).fill(0), 255], Array(2000).fill(0)]) {
    assert.throws(() => read(Uint8Array.from(payload)));
  }
});

test("the first greeting does not count aloud", () => {
  assert.equal(greeting("Ada", 1n), "Hello, Ada!");
  assert.equal(greeting("Ada", 2n), "Hello, Ada! That is greeting 2.");
});

test("a key is the SHA-1 of the name", () => {
  assert.deepEqual(keyOf("abc"), { high: 0xa9993e364706816an, middle: 0xba3e25717850c26cn, low: 0x9cd0d89d });
  assert.equal(keyOf("x".repeat(200)).low, 0x26fc5e82);
});
