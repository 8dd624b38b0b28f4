"""What a turn has to say to whom, collected until the journal has it."""

from __future__ import annotations

from collections.abc import Sequence

from ..wire.codec import Encoder, coalesce
from ..wire.errors import Code
from ..wire.limits import FRAME_TARGET
from ..wire.messages import ECHO_LOG, Ack, Farewell, Message, Refused, error
from ..wire.shape import make
from .counts import Counts
from .effects import Deliver, Effect, Note, Publish
from .log import ECHO_TOPIC, Log, Row, pack_batches

MOST_REPLIES = 1024 * 1024
"""Bytes for one connection in one turn.  A frame of tiny questions could ask for a thousand
times its size; what is over is not said, as if the pipe were full, and may be asked again."""


MOST_PUBLISHED = 60 * 1024
"""Bytes of messages for everyone in one frame, at most: the fewer frames, the less each of those
who hear it costs.  Below MAX_FRAME, as clients may not allow for what CURVE adds to it."""


class _Pile:
    __slots__ = ("pieces", "size")

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.size = 0
        """Bytes of replies."""


class Outgoing:
    """One frame or a few for each connection and topic, instead of one a message."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._encode = Encoder().encode
        self._published: dict[bytes, list[bytes]] = {}
        self._said: tuple[Log, Sequence[Row]] | None = None
        """What is published of the public log."""
        self._delivered: dict[bytes, _Pile] = {}
        self._notes: list[Note] = []
        self.replies = 0
        """Bytes of all replies of this turn."""

    def pack(self, message: Message) -> bytes:
        """The bytes of a message that is told apart from the turn."""
        return self._encode(message)

    def reply(self, identity: bytes, message: Message) -> None:
        self.put(identity, self._encode(message))

    def refuse(self, identity: bytes, refused: Refused, **fields: object) -> None:
        """Does not let a client in; *fields* for the log."""
        self._counts.refuse(refused.code)
        self.note("refused", code=refused.code, **fields)
        self.reply(identity, refused)

    def reject(self, identity: bytes, code: Code, words: str, ref: int = 0, wait: int = 0) -> None:
        self._counts.refuse(code)
        self.put(identity, self._encode(error(code, words, ref, wait)))

    def assure(self, identity: bytes, message: Ack | Farewell) -> None:
        """Adds a reply also where there is no room left: it is not taken for told and dropped.  The
        caller bounds it: an ACK comes once a turn, a FAREWELL once a session."""
        packed = self._encode(message)
        pile = self._pile(identity)
        pile.pieces.append(packed)
        pile.size += len(packed)
        self.replies += len(packed)

    def push(self, identity: bytes, packed: bytes) -> None:
        """Adds what nobody asked for, which the caller bounds; it takes no room of replies."""
        self._pile(identity).pieces.append(packed)

    def put(self, identity: bytes, packed: bytes) -> None:
        """Adds a packed reply for a connection."""
        pile = self._pile(identity)
        if pile.size < MOST_REPLIES:
            pile.pieces.append(packed)
            pile.size += len(packed)
            self.replies += len(packed)

    def owe(self, size: int) -> None:
        """So many bytes of replies will come at the end of the turn."""
        self.replies += size

    def _pile(self, identity: bytes) -> _Pile:
        pile = self._delivered.get(identity)
        if pile is None:
            pile = self._delivered[identity] = _Pile()
        return pile

    def speaks_to(self, identity: bytes) -> bool:
        """Whether something is to be said to this connection in this turn."""
        return identity in self._delivered

    def full(self, identity: bytes) -> bool:
        """Whether nothing more will be said to this connection in this turn."""
        pile = self._delivered.get(identity)
        return pile is not None and pile.size >= MOST_REPLIES

    def publish(self, topic: bytes, message: Message) -> None:
        self.put_topic(topic, self._encode(message))

    def put_topic(self, topic: bytes, packed: bytes) -> None:
        """Adds a packed message for all who subscribed to *topic*."""
        self._published.setdefault(topic, []).append(packed)

    def broadcast(self, log: Log, rows: Sequence[Row]) -> None:
        """Adds *rows* of the public *log*, once in a turn."""
        self._published.setdefault(ECHO_TOPIC, []).extend(pack_batches(ECHO_LOG, log, rows))
        self._said = log, rows

    def note(self, what: str, **fields: object) -> None:
        """Adds a line for the broker's log.  Never a user's text."""
        self._notes.append(Note(what, fields))

    def warn(self, what: str, **fields: object) -> None:
        """The same, of what an operator is to see who does not ask for more."""
        self._notes.append(Note(what, fields, grave=True))

    def take(self) -> list[Effect]:
        """Everything collected, as effects; nothing is left."""
        effects: list[Effect] = []
        for topic, pieces in self._published.items():
            frames = coalesce(pieces, MOST_PUBLISHED)
            if len(frames) == 1 and topic == ECHO_TOPIC and self._said is not None:
                effects.append(Publish(topic, frames[0], *self._said))
            else:
                effects += [Publish(topic, frame) for frame in frames]
        for identity, pile in self._delivered.items():
            pieces = pile.pieces
            if len(pieces) == 1:
                effects.append(make(Deliver, (identity, pieces[0])))
                continue
            frames = coalesce(pieces, FRAME_TARGET)
            effects += [make(Deliver, (identity, frame)) for frame in frames]
        effects += self._notes
        self._published.clear()
        self._said = None
        self._delivered.clear()
        self._notes.clear()
        self.replies = 0
        return effects
