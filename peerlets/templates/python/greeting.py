"""What needs no node: what nodes say to each other, and what is counted."""

import hashlib
from dataclasses import dataclass

MAX_TEXT = 400


@dataclass
class Letter:
    """A question, with a name; or its answer, with a greeting. `request` is whom the asking node has to answer."""

    is_answer: bool
    request: int
    text: str


def write(letter: Letter) -> bytes:
    text = letter.text.encode()
    if not 1 <= len(text) <= MAX_TEXT:
        raise ValueError(f"a name has 1 to {MAX_TEXT} bytes")
    return bytes([letter.is_answer]) + letter.request.to_bytes(8, "big") + text


def read(payload: bytes) -> Letter:
    """Raises ValueError where the payload is no letter: it may be anybody's."""
    if len(payload) < 10 or len(payload) > 9 + MAX_TEXT or payload[0] > 1:
        raise ValueError("this is no letter")
    return Letter(payload[0] == 1, int.from_bytes(payload[1:9], "big"), payload[9:].decode())


def key_of(name: bytes) -> tuple[int, int, int]:
    """The key of a name, its SHA-1, as three words."""
    digest = hashlib.sha1(name).digest()
    return tuple(int.from_bytes(digest[begin:end], "big") for begin, end in ((0, 8), (8, 16), (16, 20)))


def greeting(name: str, count: int) -> str:
    return f"Hello, {name}!" if count == 1 else f"Hello, {name}! That is greeting {count}."
