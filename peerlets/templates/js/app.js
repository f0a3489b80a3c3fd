// Greets whoever is named. For each name one node of the ring counts how often: the one responsible for the name's key.

import { respond } from "prost:peerlet/client@0.1.0";
import { route, send } from "prost:peerlet/route@0.1.0";
import { get, put } from "prost:peerlet/storage@0.1.0";

import { greeting, keyOf, read, write } from "./greeting.js";

// Whatever arrives is a stranger's, and memory has a bound.
const MAX_OPEN = 1024;
const COUNT = new TextEncoder().encode("count");

// The requests of local programs that wait, by the message that was sent for each. They go with the instance: what must
// last belongs in `storage`.
const waiting = new Map();

// An error that is thrown as text is what the contract calls one; nothing of the event takes effect then.
function orRefuse(act) {
  try {
    return act();
  } catch (error) {
    throw error instanceof Error ? error.message : String(error);
  }
}

function answer(request, outcome) {
  try {
    respond(request, outcome);
  } catch {
    // Whoever asked has gone.
  }
}

export const handler = {
  init(start) {},

  // A program on this machine asks.
  serve(request) {
    orRefuse(() => {
      if (request.method !== "greet") throw new Error("the only method is 'greet'");
      if (waiting.size >= MAX_OPEN) throw new Error("too many questions at once");
      const name = new TextDecoder("utf-8", { fatal: true }).decode(request.body);
      const payload = write({ isAnswer: false, request: request.id, text: name });
      waiting.set(route(keyOf(name), payload, "end-node", undefined), request.id);
    });
  },

  // Another node asks, or it answers; or this node asks itself.
  deliver(message) {
    orRefuse(() => {
      const letter = read(message.payload);
      if (letter.isAnswer) {
        for (const [sent, request] of waiting) if (request === letter.request) waiting.delete(sent);
        answer(letter.request, { tag: "ok", val: new TextEncoder().encode(letter.text) });
        return;
      }
      const place = { tag: "at", val: keyOf(letter.text) };
      const record = get(place, COUNT);
      const count = (record === undefined ? 0n : new DataView(record.buffer, record.byteOffset, 8).getBigUint64(0)) + 1n;
      const bytes = new Uint8Array(8);
      new DataView(bytes.buffer).setBigUint64(0, count);
      // On several nodes before the answer leaves: what was told is not forgotten.
      put(place, COUNT, bytes, undefined);
      send(message.origin, write({ isAnswer: true, request: letter.request, text: greeting(letter.text, count) }));
    });
  },

  // A message came to nothing: whoever waits for it should know.
  failed(message, reason) {
    const request = waiting.get(message);
    if (request === undefined) return;
    waiting.delete(message);
    answer(request, { tag: "err", val: `no greeting: ${reason.tag}` });
  },

  forward(message, next) {
    return { tag: "pass" };
  },

  update(change) {},

  fired(timer, tag) {},
};
