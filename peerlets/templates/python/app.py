"""Greets whoever is named. For each name one node of the ring counts how often: the one responsible for the name's key."""

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.exports.handler import Verdict_Pass
from wit_world.imports import client, route, storage
from wit_world.imports.types import Dispatch, Id

from greeting import Letter, greeting, key_of, read, write

# Whatever arrives is a stranger's, and memory has a bound.
MAX_OPEN = 1024

# The requests of local programs that wait, by the message that was sent for each. They go with the instance: what must
# last belongs in `storage`.
waiting: dict[int, int] = {}


def key(name: str) -> Id:
    return Id(*key_of(name.encode()))


class Handler(exports.Handler):
    def init(self, start):
        pass

    def serve(self, request):
        """A program on this machine asks."""
        if request.method != "greet":
            raise Err("the only method is 'greet'")
        if len(waiting) >= MAX_OPEN:
            raise Err("too many questions at once")
        try:
            letter = Letter(False, request.id, request.body.decode())
            payload = write(letter)
        except ValueError as error:
            raise Err(str(error))
        waiting[route.route(key(letter.text), payload, Dispatch.END_NODE, None)] = request.id

    def deliver(self, message):
        """Another node asks, or it answers; or this node asks itself."""
        try:
            letter = read(message.payload)
        except ValueError as error:
            raise Err(str(error))
        if letter.is_answer:
            for sent in [sent for sent, request in waiting.items() if request == letter.request]:
                del waiting[sent]
            answer(letter.request, Ok(letter.text.encode()))
            return
        place = storage.Place_At(key(letter.text))
        count = int.from_bytes(storage.get(place, b"count") or b"", "big") + 1
        # On several nodes before the answer leaves: what was told is not forgotten.
        storage.put(place, b"count", count.to_bytes(8, "big"), None)
        route.send(message.origin, write(Letter(True, letter.request, greeting(letter.text, count))))

    def failed(self, message, reason):
        """A message came to nothing: whoever waits for it should know."""
        request = waiting.pop(message, None)
        if request is not None:
            answer(request, Err(f"no greeting: {type(reason).__name__}"))

    def forward(self, message, next):
        return Verdict_Pass()

    def update(self, change):
        pass

    def fired(self, timer, tag):
        pass


def answer(request, outcome):
    try:
        client.respond(request, outcome)
    except Err:
        pass  # whoever asked has gone
