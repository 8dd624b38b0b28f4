"""Frames to messages and back, within every limit.

``Decoder`` and ``Encoder`` hold a msgpack object each and belong to one thread.  Whatever
bytes come in, ``Decoder.decode`` returns messages or raises WireError, nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import msgpack

from . import limits
from .batch import encode_batch, pack_events, parse_events
from .commands import parse_echo, parse_joined, parse_send
from .errors import BadFrame, UnknownKind, VersionMismatch, WireError
from .messages import (
    KINDS,
    Ack,
    Batch,
    Bye,
    Cursor,
    Echo,
    Enrol,
    Enrolled,
    Error,
    Farewell,
    Fetch,
    Fetched,
    Follow,
    Hello,
    Info,
    Kind,
    Limits,
    Message,
    Missed,
    Notice,
    Ping,
    Pong,
    Presence,
    Reading,
    Refusal,
    Refused,
    Run,
    Send,
    Start,
    User,
    Users,
    Welcome,
)
from .shape import array, binary, boolean, check_depth, integer, record, string


def _start(value: object) -> Start:
    number = integer(value)
    if number > max(Start):
        raise BadFrame("no such way to start reading a log")
    return Start(number)


def _positive(value: object) -> int:
    number = integer(value)
    if number < 1:
        raise BadFrame("a number from 1 on is wanted")
    return number


def _port(value: object) -> int:
    number = integer(value)
    if not 0 < number < 65536:
        raise BadFrame("a port from 1 to 65535 is wanted")
    return number


_name = string(limits.MAX_NAME)
_log = string(limits.MAX_LOG_NAME)
_code = string(limits.MAX_NAME)
_words = string(limits.MAX_WORDS)
_epoch = binary(limits.EPOCH_LENGTH)
_epoch_or_none = binary(0, limits.EPOCH_LENGTH)
_id = binary(limits.ID_LENGTH)
_key = binary(limits.KEY_LENGTH)
_id_or_none = binary(0, limits.ID_LENGTH)
_cursors = array(limits.MAX_FOLLOWS, record(Cursor, _log, _epoch, integer))


_Parser = Callable[[tuple[Any, ...]], Any]


def _versioned(name: str, fields: _Parser) -> _Parser:
    """A message that begins with the version.  That is looked at first and alone: the rest may
    differ in another one."""

    def parse(item: tuple[Any, ...]) -> Any:
        if len(item) < 2:
            raise BadFrame(f"{name} begins with a version")
        version = integer(item[1])
        if version != limits.VERSION:
            older, newer = ("your client", "the broker")[:: 1 if version < limits.VERSION else -1]
            raise VersionMismatch(
                f"protocol version {version} meets version {limits.VERSION}: "
                f"{older} is older than {newer}; upgrade {older}"
            )
        return fields(item)

    return parse


def _hello(item: tuple[Any, ...]) -> Hello:
    hello: Hello = _hello_fields(item)
    if len({follow.log for follow in hello.follows}) < len(hello.follows):
        raise BadFrame("HELLO follows a log twice")
    return hello


def _batch(item: tuple[Any, ...]) -> Batch:
    if len(item) < 6:
        raise BadFrame("BATCH has 5 fields")
    check_depth(item[6:], 1)
    events = item[5]
    if type(events) is not tuple:
        raise BadFrame("BATCH wants an array of events")
    prev, first = integer(item[3]), integer(item[4])
    if first <= prev or first > limits.MAX_INT - len(events):
        raise BadFrame("a batch begins after what precedes it")
    return Batch(_log(item[1]), _epoch(item[2]), prev, first, parse_events(events))


def _message(
    kind: type[tuple[Any, ...]], *fields: Callable[[object], Any], optional: int = 0
) -> Callable[[tuple[Any, ...]], Any]:
    return record(kind, *fields, around=1, optional=optional, after=1)


_hello_fields = _message(
    Hello,
    integer,
    _name,
    _id,
    _id_or_none,
    _positive,
    boolean,
    boolean,
    _id_or_none,
    array(limits.MAX_FOLLOWS, record(Follow, _log, _epoch_or_none, _start, integer)),
)


class Direction(NamedTuple):
    """What one side may say to the other."""

    parsers: Mapping[int, _Parser]
    most_elements: int
    """Of one array.  msgpack makes room for as many as the header of an array claims, so that
    a few bytes could claim megabytes, at each of a thousand levels."""
    most_messages: int
    """In one frame."""


_CLIENT_PARSERS: dict[int, _Parser] = {
    Kind.HELLO: _versioned("HELLO", _hello),
    Kind.SEND: parse_send,
    Kind.ECHO: parse_echo,
    Kind.INFO: _message(Info, integer, _name),
    Kind.FETCH: _message(Fetch, integer, _log, _epoch_or_none, integer, integer),
    Kind.PING: _message(Ping, integer, integer, integer, _cursors, integer, optional=1),
    Kind.BYE: _message(Bye),
    Kind.ENROL: _versioned("ENROL", _message(Enrol, integer, _key)),
}

_reading = record(Reading, _log, _epoch, integer, integer, _epoch_or_none, integer, optional=2)

_BROKER_PARSERS: dict[int, _Parser] = {
    Kind.WELCOME: _message(
        Welcome,
        integer,
        _name,
        _epoch,
        integer,
        integer,
        integer,
        _id_or_none,
        _port,
        integer,
        integer,
        record(Limits, *[integer] * 8, around=2),
        array(limits.MAX_FOLLOWS, _reading),
        _epoch_or_none,
        optional=1,
    ),
    Kind.REFUSED: _message(Refused, _code, _words, integer),
    Kind.ACK: _message(
        Ack,
        integer,
        integer,
        array(limits.MAX_RUNS, record(Refusal, _positive, _positive, _code, _words)),
        array(limits.MAX_RUNS, record(Run, _positive, _positive)),
    ),
    Kind.BATCH: _batch,
    Kind.FETCHED: _message(Fetched, integer, _log, _epoch, integer),
    Kind.MISSED: _message(Missed, _log, _epoch, integer, integer, integer),
    Kind.USERS: _message(
        Users, integer, array(limits.MAX_USERS, record(User, _name, integer)), boolean
    ),
    Kind.PRESENCE: _message(Presence, boolean, _name, integer),
    Kind.PONG: _message(Pong, integer, _cursors, integer, integer, optional=2),
    Kind.ERROR: _message(Error, _code, _words, integer, integer),
    Kind.FAREWELL: _message(Farewell, _code, _words),
    Kind.NOTICE: _message(Notice, _code, _words),
    Kind.ENROLLED: _message(Enrolled, _name),
}

FROM_CLIENT = Direction(_CLIENT_PARSERS, limits.MAX_ELEMENTS, limits.MAX_MESSAGES)
FROM_BROKER = Direction(_BROKER_PARSERS, limits.MAX_EVENTS, limits.MAX_FRAME)


def _no_extensions(code: int, data: bytes) -> NoReturn:
    raise BadFrame("msgpack extension types are not used")


_MAX_FRAME = limits.MAX_FRAME


class Decoder:
    """Takes frames of one direction apart: FROM_CLIENT or FROM_BROKER."""

    def __init__(self, direction: Direction) -> None:
        kinds, self._most_elements, self._most_messages = direction
        # Plain ints, which a dict finds by identity; members of an Enum it has to compare.
        self._kinds = {int(kind): parser for kind, parser in kinds.items()}
        self._renew()

    def _renew(self) -> None:
        # No maps and no extensions (Timestamp included, which bypasses ext_hook): their
        # length limits are 0.  Tuples, because they cost less and cannot be changed.
        self._end = 0
        """Where in all that was unpacked the last frame ended.  To look for the end of a frame
        costs as much as a message, for the unpacker raises when nothing is left."""
        self._unpacker = msgpack.Unpacker(
            use_list=False,
            raw=False,
            strict_map_key=True,
            max_buffer_size=2 * limits.MAX_FRAME,
            max_array_len=self._most_elements,
            max_map_len=0,
            max_ext_len=0,
            ext_hook=_no_extensions,
        )

    def decode(self, frame: bytes) -> list[Any]:
        """The messages of *frame*, all of them or none.  Raises WireError only."""
        size = len(frame)
        if not 0 < size <= _MAX_FRAME:
            raise BadFrame(f"a frame is at most {_MAX_FRAME} bytes" if size else "an empty frame")
        kinds, messages = self._kinds, []
        for item in self._unpack(frame, (size,)):
            # 3.0 and True would find 3 and 1 in the table, and the first of some bytes too.
            if type(item) is not tuple or not item or type(item[0]) is not int:
                raise BadFrame("a message is an array that begins with its kind")
            parse = kinds.get(item[0])
            if parse is None:
                raise UnknownKind(f"unknown kind of message: {item[0]}")
            messages.append(parse(item))
        if len(messages) > 1 and {Hello, Enrol} & {*map(type, messages[1:])}:
            # The dearest of all messages, and nobody needs two at a time.
            raise BadFrame("HELLO and ENROL are the first message of their frame")
        return messages

    def decode_commands(self, frames: Sequence[bytes]) -> list[Send | Echo]:
        """The commands of *frames*, which one client sent one after the other; those that go on
        from one another are made one.

        Empty, if there is anything else in them, or anything bad, or more than one frame may
        hold: then they are to be decoded one by one.
        """
        sizes = [*map(len, frames)]
        if not all(sizes) or sum(sizes) > _MAX_FRAME:
            return []
        try:
            return parse_joined(self._unpack(b"".join(frames), sizes))
        except WireError:
            return []

    def _unpack(self, frames: bytes, sizes: Iterable[int]) -> list[Any]:
        """What *frames* hold, which are of these *sizes*, each whole messages."""
        unpacker, end = self._unpacker, self._end
        unpack, tell = unpacker.unpack, unpacker.tell
        items: list[Any] = []
        try:
            unpacker.feed(frames)
            for size in sizes:
                end += size
                items.append(unpack())
                if tell() != end:
                    items += self._rest(end)
            self._end = end
        except WireError:
            self._renew()
            raise
        except msgpack.OutOfData:
            self._renew()
            raise BadFrame("the last message is cut short") from None
        except Exception as error:  # noqa: BLE001 - of several kinds; none may pass
            self._renew()
            raise BadFrame(f"not msgpack within the limits: {type(error).__name__}") from None
        return items

    def _rest(self, end: int) -> list[Any]:
        """What follows the first message of the frame that ends at *end*."""
        unpack, tell = self._unpacker.unpack, self._unpacker.tell
        items = []
        while tell() != end:
            items.append(unpack())
            if len(items) == self._most_messages:
                raise BadFrame(f"at most {self._most_messages} messages to a frame")
        return items


_NUMBERS = {kind: int(number) for kind, number in KINDS.items()}

_ALWAYS: dict[type, int] = {Ping: 4, Pong: 2, Welcome: 12, Reading: 4}
"""Of messages and records with optional fields: how many come before these."""


def _lean(fields: tuple[object, ...]) -> tuple[object, ...]:
    """*fields* of a message or record, without the optional ones if these say nothing."""
    always = _ALWAYS.get(type(fields))
    return fields if always is None or any(fields[always:]) else fields[:always]


class Encoder:
    """Packs messages."""

    def __init__(self) -> None:
        self._pack = msgpack.Packer(autoreset=True).pack

    def encode(self, message: Message) -> bytes:
        """The bytes of *message*; messages back to back are a frame."""
        if isinstance(message, Batch):
            if None in message.events:
                raise ValueError("an event of a type unknown here cannot be packed")
            body = pack_events(filter(None, message.events))
            return encode_batch(*message[:4], len(message.events), body)
        fields = _lean(message)
        if isinstance(message, Welcome):  # No other has records with optional fields.
            readings = tuple(map(_lean, message.readings))
            fields = tuple([readings if one is message.readings else one for one in fields])
        packed: bytes = self._pack((_NUMBERS[type(message)], *fields))
        return packed


def coalesce(
    pieces: Iterable[bytes], most: int, most_pieces: int = limits.MAX_FRAME
) -> list[bytes]:
    """*pieces* joined, in order, into frames of at most *most* bytes and *most_pieces* pieces.

    A piece that is longer by itself becomes a frame of its own.
    """
    frames: list[bytes] = []
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        if waiting and (size + len(piece) > most or len(waiting) == most_pieces):
            frames.append(b"".join(waiting))
            waiting, size = [], 0
        waiting.append(piece)
        size += len(piece)
    if waiting:
        frames.append(b"".join(waiting))
    return frames
