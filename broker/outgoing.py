"""What a turn has to say to whom, collected until the journal has it."""

from __future__ import annotations

from ..wire.codec import Encoder, coalesce
from ..wire.errors import Code
from ..wire.limits import FRAME_TARGET
from ..wire.messages import Message, error
from .effects import Deliver, Effect, Note, Publish


class Outgoing:
    """One frame or a few for each connection and topic, instead of one a message."""

    def __init__(self) -> None:
        self._encode = Encoder().encode
        self._published: dict[bytes, list[bytes]] = {}
        self._delivered: dict[bytes, list[bytes]] = {}
        self._notes: list[Note] = []

    def reply(self, identity: bytes, message: Message) -> None:
        self.put(identity, self._encode(message))

    def reject(self, identity: bytes, code: Code, words: str, ref: int = 0) -> None:
        self.put(identity, self._encode(error(code, words, ref)))

    def put(self, identity: bytes, packed: bytes) -> None:
        """Adds a packed message for a connection."""
        pieces = self._delivered.get(identity)
        if pieces is None:
            self._delivered[identity] = [packed]
        else:
            pieces.append(packed)

    def publish(self, topic: bytes, message: Message) -> None:
        self.put_topic(topic, self._encode(message))

    def put_topic(self, topic: bytes, packed: bytes) -> None:
        """Adds a packed message for all who subscribed to *topic*."""
        self._published.setdefault(topic, []).append(packed)

    def note(self, what: str, **fields: object) -> None:
        """Adds a line for the broker's log.  Never a user's text."""
        self._notes.append(Note(what, fields))

    def take(self) -> list[Effect]:
        """Everything collected, as effects; nothing is left."""
        effects: list[Effect] = []
        for topic, pieces in self._published.items():
            effects += [Publish(topic, frame) for frame in coalesce(pieces, FRAME_TARGET)]
        for identity, pieces in self._delivered.items():
            effects += [Deliver(identity, frame) for frame in coalesce(pieces, FRAME_TARGET)]
        effects += self._notes
        self._published.clear()
        self._delivered.clear()
        self._notes.clear()
        return effects
