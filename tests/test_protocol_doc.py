"""docs/protocol.md is the contract: whoever changes the protocol and not the page fails here.

Its tables of kinds, fields, codes, limits and states are compared with the code; its types
are tried against the decoder; its worked example is played to a broker, byte for byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import count, product
from pathlib import Path
from typing import Any, NamedTuple

import msgpack
import pytest
import zmq

from chatbroker.broker.allowance import MOST_ADDRESSES, Allowance
from chatbroker.broker.answers import MOST_ASKED
from chatbroker.broker.core import RULES, Broker, Needs
from chatbroker.broker.door import MOST_WAITING
from chatbroker.broker.effects import Deliver, Publish
from chatbroker.broker.hold import REMIND
from chatbroker.broker.memory_journal import MemoryJournal
from chatbroker.broker.outgoing import MOST_PUBLISHED, MOST_REPLIES
from chatbroker.broker.session import HOLDING, TRANSITIONS, State
from chatbroker.broker.sockets import PUB_OPTIONS, ROUTER_OPTIONS
from chatbroker.broker.user import Settings
from chatbroker.client.core import PATIENCE, Phase
from chatbroker.client.pace import MARGIN
from chatbroker.wire import limits
from chatbroker.wire.codec import FROM_BROKER, FROM_CLIENT, Decoder, Encoder
from chatbroker.wire.errors import Code, WireError
from chatbroker.wire.messages import (
    DIRECT_LOG,
    ECHO_LOG,
    GREETING_TOPIC,
    KINDS,
    PRESENCE_TOPIC,
    Ack,
    Batch,
    Bye,
    Cursor,
    Echo,
    Enrol,
    Enrolled,
    Error,
    Event,
    Events,
    Farewell,
    Fetch,
    Fetched,
    Follow,
    Hello,
    Info,
    Kind,
    Limits,
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
    topic_of,
)

PAGE = Path(__file__).parent.parent / "docs" / "protocol.md"
TEXT = PAGE.read_text(encoding="utf-8")

# --- reading the page ---------------------------------------------------------------------


def section(title: str) -> str:
    """What stands below the heading *title*, whatever number it has, up to the next heading
    of its level or a higher one."""
    found = re.search(rf"^(#+) (?:[\d.]+ )?{re.escape(title)}$", TEXT, re.MULTILINE)
    assert found is not None, f"docs/protocol.md has no section {title!r}"
    rest = TEXT[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def table(text: str, *columns: str) -> list[list[str]]:
    """The rows of the first table in *text* that begins with these columns."""
    lines = text.splitlines()
    for index, line in enumerate(lines):
        if line.startswith("|") and cells(line)[: len(columns)] == list(columns):
            rows = []
            for row in lines[index + 2 :]:
                if not row.startswith("|"):
                    break
                rows.append(cells(row))
            return rows
    pytest.fail(f"docs/protocol.md lacks a table with the columns {columns}")


def cells(line: str) -> list[str]:
    return [cell.strip().replace("`", "") for cell in line.strip().strip("|").split("|")]


# --- one table for each message, and the types in it --------------------------------------

V, E8, ID = limits.VERSION, b"epoch678", b"sixteen bytes id"
SAMPLES: list[Any] = [
    Hello(V, "alice", ID, b"", 1, True, False, b"", (Follow(ECHO_LOG, b"", Start.NOW, 0),)),
    Send(1, "bob", ("hi",)),
    Echo(1, ("hi",)),
    Info(1, ""),
    Fetch(1, ECHO_LOG, E8, 0, 1000),
    Ping(1, 0, 0, (Cursor(ECHO_LOG, E8, 0),), 9000),
    Bye(),
    Enrol(V, bytes(32)),
    Welcome(
        1, "alice", E8, 1, 1, 0, ID, 5556, 5000, 15000, Limits(1, 2, 3, 4, 5, 6, 7, 8),
        (Reading(ECHO_LOG, E8, 0, 0, E8, 1),), E8,
    ),
    Refused("name_taken", "words", 0),
    Ack(0, 2, (Refusal(1, 1, "no_such_user", "words"),), (Run(2, 2),)),
    Batch(
        ECHO_LOG,
        E8,
        0,
        1,
        Events.of([Event(1, "alice", "", "hi"), Event(1, "alice", "bob", "hi")]),
    ),
    Fetched(1, ECHO_LOG, E8, 0),
    Missed(ECHO_LOG, E8, 0, 1, 1),
    Users(1, (User("alice", 1),), False),
    Presence(True, "alice", 1),
    Pong(1, (Cursor(ECHO_LOG, E8, 0),), 9000, 27000),
    Error("bad_frame", "words", 0, 0),
    Farewell("left", "words"),
    Notice("cannot_store", "words"),
    Enrolled("alice"),
]  # fmt: skip
MESSAGES = {KINDS[type(sample)].name: sample for sample in SAMPLES}
RECORDS: dict[str, type[Any]] = {
    kind.__name__.upper(): kind for kind in (Follow, Cursor, Reading, Refusal, Run, Limits, User)
}
EVENTS = {"EVENT 1": ("type", "time", "sender", "text"), "EVENT 2": ("type", *Event._fields)}


class Row(NamedTuple):
    field: str
    type: str
    optional: bool = False


def fields(title: str) -> list[Row]:
    rows = table(section(title), "#", "field", "type")
    assert [row[0] for row in rows] == [str(n) for n in range(len(rows))], title
    found = [(row[1], *row[2].partition(", optional")) for row in rows]
    return [Row(name, type, bool(optional)) for name, type, optional, _ in found]


def pack(value: object) -> bytes:
    packed: bytes = msgpack.packb(value)
    return packed


def raw(message: Any) -> list[Any]:
    """*message* as nested lists, as anybody's msgpack sees it."""
    unpacked: list[Any] = msgpack.unpackb(Encoder().encode(message))
    return unpacked


def accepted(name: str, value: list[Any]) -> bool:
    decoder = Decoder(FROM_CLIENT if Kind[name] < 16 else FROM_BROKER)
    try:
        (message,) = decoder.decode(pack(value))
    except WireError:
        return False
    if isinstance(message, Send | Echo):
        # What is too long is refused alone, and decoded as something else.
        return raw(message) == value[: len(message) + 1]
    return True


def home(record: str) -> tuple[str, int, Any]:
    """A message that holds *record*: its name, the index of the field, and the record there
    as nested lists."""
    wanted = "EVENT" if record in EVENTS else record
    for name, sample in MESSAGES.items():
        for index, row in enumerate(fields(name)):
            if re.search(rf"\b{wanted}\b", row.type):
                inside = raw(sample)[index]
                if wanted == "EVENT":
                    return name, index, inside[int(record[-1]) - 1]
                return name, index, inside[0] if row.type.startswith("array") else inside
    pytest.fail(f"no message in docs/protocol.md holds {record}")


WIDE = "€"
"""Three bytes of UTF-8, which is what the bounds of strings count."""

# Names are ASCII.  Where a character counts as one here, the name is nobody's anyway.
COUNTED_LOOSELY = {*product(("SEND", "EVENT 1", "EVENT 2"), ("sender", "to"))}


def values(wanted: str, sample: Any) -> tuple[list[Any], list[Any]]:
    """Values at the bounds of a type, as the page writes it: within, and beyond."""
    most = limits.MAX_INT
    if found := re.fullmatch(r"int(?: (\d+)\.\.(\d+)?)?", wanted):
        low, high = int(found[1] or 0), int(found[2] or most)
        return [low, high], [low - 1, high + 1, True, 1.0, "1", None]
    if found := re.fullmatch(r"= (\d+)", wanted):
        only = int(found[1])
        return [only], [only + 100, float(only), *([True] if only == 1 else []), str(only), None]
    if wanted == "bool":
        return [True, False], [0, 1, None]
    if found := re.fullmatch(r"str <= (\d+)", wanted):
        size = int(found[1])
        return ["", "x" * size, "ä" * (size // 2)], ["x" * (size + 1), WIDE * size, b"x", 1, None]
    if found := re.fullmatch(r"bin (\d+)( or 0)?", wanted):
        size = int(found[1])
        good, bad = [bytes(size)], [bytes(size - 1), bytes(size + 1), "x" * size, None]
        (good if found[2] else bad).append(b"")
        return good, bad
    if found := re.fullmatch(r"array <= (\d+) of [A-Z]+", wanted):
        size = int(found[1])
        many = [
            [f"log{n}" if isinstance(sample[0][0], str) else sample[0][0], *sample[0][1:]]
            for n in range(size + 1)
        ]
        return [[], many[:-1]], [many, [None], None]
    if found := re.fullmatch(r"array 1\.\.(\d+) of (str <= \d+)", wanted):
        good, bad = values(found[2], sample[0])
        many = ["x"] * int(found[1])
        return [[value] for value in good] + [many], [[], [*many, "x"], None] + [
            ["x", value] for value in bad
        ]
    if found := re.fullmatch(r"array of EVENT or (str <= \d+)", wanted):
        good, bad = values(found[1], "")
        within = [[], sample, [*sample, *good, *sample]]
        return within, [[None], [[]], None, ["first"], *[[*sample, value] for value in bad]]
    assert wanted in RECORDS, f"docs/protocol.md: what is the type {wanted!r}?"
    return [sample], [sample[:-1], [], None]


def test_page_and_code_have_the_same_kinds() -> None:
    for title, low, high in (("Client to broker", 0, 16), ("Broker to client", 16, 256)):
        rows = table(section(title), "kind", "name")
        shown = {row[1]: int(row[0]) for row in rows}
        assert shown == {kind.name: kind for kind in Kind if low <= kind < high}


def test_page_and_broker_need_the_same_of_a_sender() -> None:
    rows = table(section("Client to broker"), "kind", "name", "needs")
    words = {
        "nothing": Needs.NOTHING,
        "a session": Needs.SESSION,
        "a session with a name": Needs.USER,
    }
    assert {row[1]: words[row[2]] for row in rows} == {
        KINDS[message].name: rule.needs for message, rule in RULES.items() if message in KINDS
    }


@pytest.mark.parametrize("name", MESSAGES)
def test_page_and_code_have_the_same_fields_of_each_message(name: str) -> None:
    rows = fields(name)
    assert rows[0] == Row("kind", f"= {Kind[name]}")
    assert tuple(row.field for row in rows[1:]) == type(MESSAGES[name])._fields


def test_every_message_of_the_code_is_tried_here() -> None:
    assert set(MESSAGES) == {kind.name for kind in Kind}


@pytest.mark.parametrize("name", RECORDS)
def test_page_and_code_have_the_same_fields_of_each_record(name: str) -> None:
    assert tuple(row.field for row in fields(name)) == RECORDS[name]._fields


@pytest.mark.parametrize("name", EVENTS)
def test_page_and_code_have_the_same_fields_of_each_event(name: str) -> None:
    assert tuple(row.field for row in fields(name)) == EVENTS[name]


# The positions of a batch bound each other: their greatest values are not valid together.
BOUNDED_TOGETHER = {("BATCH", "prev"), ("BATCH", "first")}


@pytest.mark.parametrize("name", MESSAGES)
def test_decoder_draws_the_bounds_that_the_page_draws_for_messages(name: str) -> None:
    sample = raw(MESSAGES[name])
    always = [row.optional for row in fields(name)].count(False)
    assert accepted(name, sample)
    assert accepted(name, [*sample, [["of a later version"]]])
    assert all(accepted(name, sample[:size]) for size in range(always, len(sample)))
    assert not accepted(name, sample[: always - 1])
    for index, row in enumerate(fields(name)):
        good, bad = values(row.type, sample[index])
        for value in good:
            if (name, row.field) not in BOUNDED_TOGETHER:
                changed = [*sample[:index], value, *sample[index + 1 :]]
                assert accepted(name, changed), (row, value)
        for value in bad:
            if (name, row.field) in COUNTED_LOOSELY and WIDE in str(value):
                continue
            changed = [*sample[:index], value, *sample[index + 1 :]]
            assert not accepted(name, changed), (row, value)


@pytest.mark.parametrize("record", [*RECORDS, *EVENTS])
def test_decoder_draws_the_bounds_that_the_page_draws_for_records(record: str) -> None:
    name, place, sample = home(record)
    message = raw(MESSAGES[name])
    alone = record == "LIMITS"

    def with_record(value: list[Any]) -> list[Any]:
        return [*message[:place], value if alone else [value], *message[place + 1 :]]

    assert accepted(name, with_record(sample))
    assert accepted(name, with_record([*sample, [["of a later version"]]]))
    always = [row.optional for row in fields(record)].count(False)
    assert all(accepted(name, with_record(sample[:size])) for size in range(always, len(sample)))
    assert not accepted(name, with_record(sample[: always - 1]))
    for index, row in enumerate(fields(record)):
        good, bad = values(row.type, sample[index])
        for value in good:
            changed = with_record([*sample[:index], value, *sample[index + 1 :]])
            assert accepted(name, changed), (row, value)
        for value in bad:
            # An event of a higher type is one of a later version.
            if row.field == "type" and type(value) is int:
                continue
            if (record, row.field) in COUNTED_LOOSELY and WIDE in str(value):
                continue
            changed = with_record([*sample[:index], value, *sample[index + 1 :]])
            assert not accepted(name, changed), (row, value)


def test_page_and_code_have_the_same_starts() -> None:
    rows = table(section("FOLLOW"), "start", "name")
    assert {row[1]: int(row[0]) for row in rows} == {start.name: start for start in Start}


# --- codes, limits, states, names ---------------------------------------------------------


def test_page_and_code_have_the_same_codes() -> None:
    rows = table(section("Codes"), "code", "in", "when")
    codes = [code for row in rows for code in row[0].split()]
    assert sorted(set(codes)) == sorted(code.value for code in Code)


def test_page_and_code_have_the_same_limits() -> None:
    rows = table(section("Limits"), "limit", "value")
    shown = {row[0]: row[1] for row in rows}
    assert shown == {name: str(value) for name, value in vars(limits).items() if name.isupper()}


def test_page_and_code_have_the_same_times() -> None:
    rows = table(section("Times"), "time", "default")
    shown = {row[0]: float(row[1].split()[0]) for row in rows}
    times = {
        name: Settings(1)._asdict()[name]
        for name in ("heartbeat", "longest_heartbeat", "lease", "grace", "claim_ttl", "forget")
    }
    assert shown == {**times, "patience": PATIENCE}


def test_page_names_how_many_pings_are_wanted() -> None:
    settings = Settings(1)
    assert f"some {settings.pings:.0f} a second" in section("Leases")
    assert f"over {settings.pings * settings.heartbeat:,.0f} sessions" in section("Leases")


def test_page_names_what_a_broker_says_to_a_connection_in_a_turn() -> None:
    for title in ("DEALER and ROUTER", "Windows", "Security"):
        assert f"at most {MOST_REPLIES // 1024} KiB" in section(title)
    assert f"a session's first {MOST_ASKED} FETCHes and INFOs" in section("Windows")


def test_page_names_how_many_frames_wait_for_a_connection() -> None:
    text = section("Security")
    assert f"at most {ROUTER_OPTIONS[zmq.RCVHWM]} frames that came" in text
    assert f"at most {ROUTER_OPTIONS[zmq.SNDHWM]} frames of" in text
    size = MOST_PUBLISHED // 1024
    assert f"for each SUB at most {PUB_OPTIONS[zmq.SNDHWM]} (of up to {size} KiB," in text


def test_page_names_how_many_sessions_a_broker_keeps() -> None:
    settings = Settings(1)
    text = section("Security")
    for number, what in (
        (settings.most_users, "users"),
        (settings.most_sessions, "sessions that have not lapsed"),
        (settings.most_lapsed, "that have"),
        (Allowance().sessions, "of one user"),
        (Allowance().address_sessions, "LIVE ones from one address"),
        (MOST_WAITING, "HELLOs that wait"),
    ):
        assert f"at most {number:,} {what}" in text


def test_page_names_the_rates() -> None:
    messages, sizes, history, joins, claims, *_ = Allowance()
    mib = 1024 * 1024
    for words in (
        f"{messages.per_second:,} commands and {sizes.per_second // mib} MiB a second",
        f"{history.per_second // mib} MiB a second of answers to FETCH",
        f"and {history.burst // mib} MiB at once",
        f"{60 * joins.per_second} new sessions a minute, and {joins.burst:,} at once",
        f"{60 * claims.per_second} new claims a minute, and {claims.burst} at once",
        f"last {MOST_ADDRESSES:,} addresses",
    ):
        assert words in section("Security")
    assert (messages.burst, sizes.burst) == (10 * messages.per_second, 10 * sizes.per_second)
    assert "and ten times that at once" in section("Security")
    assert f"what comes in {MARGIN:g} s" in section("Rates")


def test_page_names_how_often_a_broker_says_that_it_cannot_store() -> None:
    for title in ("A broker that cannot store", "Codes"):
        assert f"again every {REMIND:g} s" in section(title)


def test_page_and_broker_have_the_same_states_of_a_session() -> None:
    text = section("The session at the broker")
    rows = table(text, "state", "happening", "next state")
    assert {(row[0], row[1]): row[2] for row in rows} == {
        (state.name, happening.name): after.name
        for (state, happening), after in TRANSITIONS.items()
    }
    states = {row[0]: row[1] for row in table(text, "state", "holds its name")}
    assert states == {state.name: "yes" if state in HOLDING else "no" for state in State}


def test_page_and_client_have_the_same_phases() -> None:
    rows = table(section("The phases of a client"), "phase", "meaning")
    assert {row[0] for row in rows} == {phase.name for phase in Phase}


def test_page_names_the_logs_and_topics() -> None:
    for name in (ECHO_LOG, DIRECT_LOG):
        assert f"`{name}`" in section("Logs")
    rows = table(section("SUB and PUB"), "topic")
    shown = {bytes.fromhex(row[1]) for row in rows}
    assert shown == {topic_of(ECHO_LOG), PRESENCE_TOPIC, GREETING_TOPIC}


# --- the worked example -------------------------------------------------------------------

# bob2 and bob3 are bob, over a second and a third connection.
PEERS = {name: bytes((0, 0, 0, 0, n)) for n, name in enumerate(("alice", "bob", "bob2", "bob3"), 1)}
HEADER = re.compile(r"turn (\d+), time (\d+): (\w+) -> (\w+)(?:, never received by bob)?")
PARTS = {
    "away": Run._fields,
    **dict.fromkeys(("cursors", "heads"), Cursor._fields),
    "follows": Follow._fields,
    "limits": Limits._fields,
    "readings": Reading._fields,
    "refused": Refusal._fields,
    "users": User._fields,
}


class Block(NamedTuple):
    """A frame, or a topic and a frame, as the page prints it."""

    turn: int
    time: int
    sender: str
    receiver: str
    lost: bool
    lines: list[str]

    def bytes(self, part: int = -1) -> bytes:
        parts = "\n".join(self.lines).split("-- next part --\n")
        found = [re.match(r"(?:[0-9a-f]{2} ?)+", line) for line in parts[part].splitlines()]
        assert None not in found, self.lines
        return bytes.fromhex(" ".join(match[0] for match in found if match))


def blocks() -> list[Block]:
    found = []
    for text in re.findall(r"^```hex\n(.*?)^```$", section("Worked example"), re.M | re.S):
        first, *lines = text.splitlines()
        header = HEADER.fullmatch(first)
        assert header is not None, first
        turn, time, sender, receiver = header.groups()
        lost = first.endswith("never received by bob")
        found.append(Block(int(turn), int(time), sender, receiver, lost, lines))
    return found


def explain(frame: bytes) -> list[str]:
    """The lines under which the page prints *frame*: each msgpack item and what it is."""
    lines: list[str] = []
    covered = b""

    def line(packed: bytes, depth: int, words: str) -> None:
        nonlocal covered
        covered += packed
        for start in range(0, len(packed), 12):
            here = packed[start : start + 12].hex(" ")
            lines.append(f"{here:37}{'  ' * depth}{words}" if not start else here)

    def walk(value: Any, depth: int, words: str, names: tuple[str, ...] = ()) -> None:
        if not isinstance(value, list):
            shown = f"{len(value)} bytes" if isinstance(value, bytes) else json.dumps(value)
            return line(pack(value), depth, f"{words}: {shown}")
        line(
            msgpack.Packer().pack_array_header(len(value)), depth, f"{words}: array of {len(value)}"
        )
        field = words.split("[")[0]
        if field == "events" and names == ():
            names = EVENTS[f"EVENT {value[0]}"] if "[" in words else ()
        elif "[" in words or field == "limits":
            names = PARTS[field]
        for index, item in enumerate(value):
            walk(item, depth + 1, names[index] if names else f"{words}[{index}]")
        return None

    unpacker = msgpack.Unpacker()
    unpacker.feed(frame)
    for message in unpacker:
        name = Kind(message[0]).name
        walk(message, 0, name, ("kind", *type(MESSAGES[name])._fields))
    # So the layout is what section "Encoding" says: heads of arrays and scalars in their
    # shortest form, in order, and nothing else.
    assert covered == frame
    return lines


def play(printed: list[Block]) -> Iterator[Block]:
    """What happens when the client frames of *printed* reach a broker, as blocks."""
    draws = count(0xE1)
    broker = Broker(Settings(pub_port=5556), MemoryJournal(), lambda n: bytes([next(draws)]) * n)
    names = {identity: name for name, identity in PEERS.items()}
    for block in printed:
        if block.receiver != "broker":
            continue
        frame = block.bytes()
        yield block._replace(lines=explain(frame))
        broker.begin((block.time - printed[0].time) / 1000, block.time)
        broker.receive(PEERS[block.sender], frame)
        for effect in broker.commit() + broker.acknowledge():
            answer = block._replace(sender="broker", lost=False)
            if isinstance(effect, Deliver):
                name = names[effect.identity]
                yield answer._replace(receiver=name, lines=explain(effect.frame))
            elif isinstance(effect, Publish):
                topic = f"{effect.topic.hex(' '):37}topic: {effect.topic[:-1].decode()}, NUL"
                lines = [topic, "-- next part --", *explain(effect.frame)]
                yield answer._replace(receiver="subscribers", lines=lines)


def test_worked_example_is_what_broker_says() -> None:
    printed = blocks()
    assert printed
    played = list(play(printed))
    for here, there in zip(printed, played, strict=False):
        assert here._replace(lost=False) == there._replace(lost=False)
    assert len(printed) == len(played)


def test_worked_example_shows_what_it_is_meant_to() -> None:
    seen: list[Any] = []
    for block in blocks():
        decoder = Decoder(FROM_CLIENT if block.receiver == "broker" else FROM_BROKER)
        frame = block.bytes()
        messages = decoder.decode(frame)
        assert b"".join(map(Encoder().encode, messages)) == frame
        seen += messages
    shown = {type(message) for message in seen}
    assert shown >= {Hello, Welcome, Send, Batch, Ack, Echo, Fetch, Fetched, Ping, Pong, Bye}
    farewells = [message.code for message in seen if isinstance(message, Farewell)]
    assert farewells == [Code.REPLACED, Code.LEFT, Code.LEFT]
    hellos = [message for message in seen if isinstance(message, Hello)]
    assert [hello.attempt for hello in hellos] == [1, 1, 2, 1]
    assert [hello.claim for hello in hellos] == [False, True, True, True]
    assert len({hello.credential for hello in hellos if hello.claim} - {b""}) == 1
    assert [message.born for message in seen if isinstance(message, Welcome)] == [1, 1, 1, 1]
    assert [r.code for m in seen if isinstance(m, Ack) for r in m.refused] == [Code.NO_SUCH_USER]
    assert [run for m in seen if isinstance(m, Ack) for run in m.away] == [(6, 6)]


def test_bob_of_the_worked_example_knows_by_the_rule_of_the_page_that_his_session_goes_on() -> None:
    session, attempts, born, new = b"", 0, 0, []
    for block in blocks():
        if block.sender.startswith("bob"):
            for message in Decoder(FROM_CLIENT).decode(block.bytes()):
                if isinstance(message, Hello):
                    if message.session != session:
                        session, attempts, born = message.session, 0, 0
                    attempts += 1
                    assert message.attempt == attempts
        elif block.receiver.startswith("bob") and not block.lost:
            for message in Decoder(FROM_BROKER).decode(block.bytes()):
                if isinstance(message, Welcome):
                    assert message.attempt == attempts
                    new.append(message.born != born)
                    born = message.born
    assert new == [True, False, True]


class PlainReader:
    """A reader of one log, written from section "Reading" and not from the client."""

    def __init__(self, log: str) -> None:
        self.log = log
        self.epoch = b""
        self.cursor = self.head = 0
        self.shown: list[str] = []

    def take(self, message: Any) -> None:
        if isinstance(message, Welcome):
            (reading,) = [r for r in message.readings if r.log == self.log]
            if reading.epoch != self.epoch:
                self.cursor = reading.start
            self.epoch, self.head = reading.epoch, reading.head
        elif isinstance(message, Batch) and (message.log, message.epoch) == (self.log, self.epoch):
            self.head = max(self.head, message.first + len(message.events) - 1)
            if message.prev <= self.cursor:
                for position, event in enumerate(message.events, message.first):
                    if position > self.cursor and event is not None:
                        self.shown.append(event.text)
                        self.cursor = position


def follow_bob(log: str) -> tuple[list[str], list[Fetch], list[PlainReader]]:
    """What Bob is shown of *log*, what he fetches of it, and his readers: one for each session."""
    readers, fetches = [], []
    session = b""
    for block in blocks():
        if block.sender.startswith("bob"):
            for message in Decoder(FROM_CLIENT).decode(block.bytes()):
                if isinstance(message, Fetch) and message.log == log:
                    assert readers[-1].cursor < readers[-1].head
                    assert message[1:4] == (log, readers[-1].epoch, readers[-1].cursor)
                    fetches.append(message)
                elif isinstance(message, Hello):
                    if message.session != session:
                        session = message.session
                        readers.append(PlainReader(log))
                    else:
                        wanted = Follow(log, readers[-1].epoch, Start.AFTER, readers[-1].cursor)
                        assert wanted in message.follows
                elif isinstance(message, Ping):
                    known = Cursor(log, readers[-1].epoch, readers[-1].cursor)
                    assert known in message.cursors
        elif block.receiver.startswith(("bob", "subscribers")) and not block.lost:
            for message in Decoder(FROM_BROKER).decode(block.bytes()):
                if readers:
                    readers[-1].take(message)
    return [text for reader in readers for text in reader.shown], fetches, readers


def test_bob_of_the_worked_example_heals_his_hole_by_the_rules_of_the_page() -> None:
    shown, fetches, readers = follow_bob(ECHO_LOG)
    assert len(fetches) == 1
    assert shown == ["hello, all", "anyone here?", "hello?", "carol?", "back soon"]
    assert [(reader.cursor, reader.head) for reader in readers] == [(5, 5), (5, 5)]


def test_bob_of_the_worked_example_reads_what_was_said_while_he_was_away() -> None:
    shown, fetches, readers = follow_bob(DIRECT_LOG)
    assert len(fetches) == 1
    assert shown == ["hi bob", "call me"]
    assert [(reader.cursor, reader.head) for reader in readers] == [(1, 1), (2, 2)]
