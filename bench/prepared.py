"""What the load will send, as bytes, made before the clock starts."""

from __future__ import annotations

from array import array
from functools import lru_cache
from typing import NamedTuple

import msgpack

from chatbroker.wire.codec import Encoder
from chatbroker.wire.messages import Echo, Send

from . import zmtp
from .forwarder import TOPIC

TEXT = "x" * 64
"""What every message says."""


class Prepared(NamedTuple):
    """Frames that one sender sends, back to back."""

    stream: bytes
    ends: array[int]
    """Where in ``stream`` the first n frames end; ``ends[0]`` is 0."""
    a_frame: int
    """Messages in each frame."""

    @property
    def messages(self) -> int:
        return (len(self.ends) - 1) * self.a_frame

    def end(self, frames: int) -> int:
        """Where the first so many frames end."""
        return self.ends[frames]

    def piece(self, start: int, stop: int) -> memoryview:
        """The bytes from *start* to *stop*."""
        return memoryview(self.stream)[start:stop]


class Repeated(NamedTuple):
    """Messages that come again and again: any number of them takes the memory of one block."""

    block: bytes
    size: int
    """Bytes of one message.  A block is made of whole ones."""
    messages: int = 0
    a_frame: int = 1

    def end(self, frames: int) -> int:
        """Where the first so many messages end."""
        return frames * self.size

    def piece(self, start: int, stop: int) -> memoryview:
        """The bytes from *start* to *stop*, or those of them that are in one block."""
        at = start % len(self.block)
        return memoryview(self.block)[at : at + stop - start]


def commands(to: str, frames: int, a_frame: int) -> list[bytes]:
    """Frames of SEND to the user *to*, or of ECHO if *to* is empty, numbered from 1."""
    encode = Encoder().encode
    made = []
    for first in range(1, frames * a_frame + 1, a_frame):
        texts = (TEXT,) * a_frame
        made.append(encode(Send(first, to, texts) if to else Echo(first, texts)))
    return made


@lru_cache(maxsize=128)  # The rounds send the same: fifty senders, 1 and 100 a frame.
def for_broker(to: str, frames: int, a_frame: int) -> Prepared:
    """`commands` for the broker."""
    return _prepared([zmtp.frame(body) for body in commands(to, frames, a_frame)], a_frame)


def for_forwarder(to: str, messages: int) -> Repeated:
    """The same texts for the forwarder, to a connection or, if *to* is empty, to the topic."""
    return repeated(forwarded(to.encode() or TOPIC, TEXT.encode()), messages)


BLOCK = 10_000
"""Messages of a `Repeated` block."""


def repeated(message: bytes, messages: int = 0) -> Repeated:
    """The same *message*, *messages* times."""
    return Repeated(message * BLOCK, len(message), messages)


def forwarded(to: bytes, text: bytes) -> bytes:
    """What the forwarder takes, and what its subscribers get: two parts."""
    return zmtp.frame(to, zmtp.MORE) + zmtp.frame(text)


class Numbered:
    """A frame of *a_frame* texts to *to* that is made again and again, each time with the next
    number: any number of them, at a fifth of what it costs to encode each."""

    def __init__(self, to: str, a_frame: int) -> None:
        self.a_frame = a_frame
        (one,) = commands(to, 1, a_frame)
        # [kind, number, …]: each of these is a byte, as long as the number is small.
        self._before, self._after = one[:2], one[3:]

    def frames(self, said: int, frames: int) -> bytes:
        """So many frames, after *said* messages."""
        before, after, pack = self._before, self._after, msgpack.packb
        firsts = range(said + 1, said + 1 + frames * self.a_frame, self.a_frame)
        return b"".join([zmtp.frame(before + pack(first) + after) for first in firsts])


def _prepared(frames: list[bytes], a_frame: int) -> Prepared:
    ends = array("Q", [0])
    end = 0
    for frame in frames:
        end += len(frame)
        ends.append(end)
    return Prepared(b"".join(frames), ends, a_frame)
