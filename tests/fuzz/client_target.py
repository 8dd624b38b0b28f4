"""A client at a hostile broker: no exception, bounded memory, nothing that a terminal obeys."""

from __future__ import annotations

import unicodedata
from unittest.mock import patch

from chatbroker.client import browse, inbox
from chatbroker.client.browse import Browse
from chatbroker.client.commands import Commands, Outcome, Ticket
from chatbroker.client.core import ClientCore, Phase
from chatbroker.client.errors import ClientError, session_error
from chatbroker.client.escape import escape
from chatbroker.client.events import (
    Broadcast,
    Direct,
    Event,
    Joined,
    Left,
    Missed,
    Notice,
    Offline,
    UserInfo,
)
from chatbroker.client.reader import MOST_AHEAD, Reader
from chatbroker.client.render import (
    compile_format,
    json_lines,
    text_lines,
    users_json,
    users_line,
)
from chatbroker.client.starts import Since
from chatbroker.client.terminal.rows import event_row
from chatbroker.wire.codec import FROM_CLIENT, Decoder
from chatbroker.wire.limits import (
    MAX_EVENTS,
    MAX_FRAME,
    MAX_INT,
    MAX_MESSAGES,
    MAX_TEXT,
    PUSH_WINDOW,
    VERSION,
    WINDOW,
)
from chatbroker.wire.messages import Limits, Reading, Welcome

from .script import EPOCHS, LOGS, Script, encode

MOST_STEPS = 300

FEW = 50
"""Events that are kept for a program that does not take them: few, so that they are reached."""

STARTS = (Since.now(), Since.unread(), Since.all(), Since.after(5), Since.last(60))
FORMATS = [
    compile_format(source)
    for source in ("{time}{date}{iso}{epoch}{type}{seq}", "{from}{to}{text}", "{{}}")
]

BIDI = {*"\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"}


def check_line(line: str) -> None:
    """A terminal shows all of *line*, in its order, on one line."""
    for character in line:
        kind = unicodedata.category(character)
        assert kind not in ("Cc", "Zl", "Zp", "Cs"), f"{character!r} in {line!r}"
        assert character not in BIDI, f"{character!r} in {line!r}"


def show(event: Event) -> None:
    """Prints *event* in every format, and as a person at a terminal sees it."""
    row = event_row(event, "alice")
    if row is not None:
        check_line(row.text)
    match event:
        case Broadcast() | Direct() | Joined() | Left() | Missed():
            for render in (text_lines, json_lines, *FORMATS):
                (line,) = render([event])
                check_line(line)
            if isinstance(event, Broadcast | Direct):
                assert event.when.year <= 9999
        case Notice(_, words) | Offline(words):
            check_line(escape(words))


class Hostile:
    """A client core, its program, and a broker that says what it likes."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.now = 100.0
        name = script.pick(("alice", "", "bob"))
        logs = script.pick((("echo", "direct"), ("echo",), (), ("direct",)))
        self.core = ClientCore(
            name,
            b"session-of-alice",
            [Reader(log, script.pick(STARTS)) for log in logs],
            presence=script.chance(),
            exclusive=script.chance(),
            claim=script.chance(),
        )
        self.tickets: list[Ticket] = []
        self.browses: list[Browse] = []
        self.decoder = Decoder(FROM_CLIENT)
        if script.byte() < 192:
            self.core.connected(self.now)
            self._send()
            bounds = Limits(MAX_FRAME, MAX_TEXT, WINDOW, PUSH_WINDOW)
            readings = tuple([Reading(log, EPOCHS[0], 0, 0) for log in logs])
            welcome = (VERSION, name, EPOCHS[0], 1, 1, 0, b"c" * 16, 5556, 5000, 15000, bounds)
            self.core.received(encode(Welcome(*welcome, readings)), self.now)

    def step(self) -> None:
        script, core = self.script, self.core
        match script.byte() % 16:
            case 0 | 1 | 2 | 3 | 4:
                pieces = [encode(self._message()) for _ in range(1 + script.byte() % 4)]
                if script.chance():
                    pieces *= 1 + script.byte() % 32
                self._hear(b"".join(pieces)[:MAX_FRAME])
            case 5:
                self._hear(script.raw())
            case 6:
                core.connected(self.now)
            case 7:
                core.disconnected()
            case 8:
                core.greeted(self.now)
            case 9 | 10:
                self._send()
            case 11:
                self.now += script.pick((0.0, 0.1, 1.0, 3.0, 20.0))
            case 12:
                self._say()
            case 13:
                for event in core.inbox.take(script.byte()):
                    show(event)
                core.taken(self.now)
            case 14:
                self._ask()
            case 15:
                core.leave()

    def _say(self) -> None:
        """Gives the client a few commands, as a program does while the session is not over."""
        if self.core.phase not in (Phase.LEAVING, Phase.OVER):
            for _ in range(1 + self.script.byte() % 40):
                to, text = self.script.pick((None, "bob")), self.script.words(MAX_TEXT)
                commands = Commands(to, [text] * (1 + self.script.byte() % 3))
                self.tickets += [Ticket(commands, at) for at in range(len(commands))]
                self.core.submit(commands)

    def _message(self):  # type: ignore[no-untyped-def]
        position = max([r.position for r in self.core.inbox.readers.values()], default=0)
        return self.script.from_broker(self.core._attempt, position)

    def _hear(self, frame: bytes) -> None:
        if self.script.chance():
            self.core.published(frame, self.now)
        else:
            self.core.received(frame, self.now)

    def _ask(self) -> None:
        script, core = self.script, self.core
        match script.byte() % 4:
            case 0 if len(core._queries) < 10:
                query = core.ask_users()
                users = [UserInfo(*user) for user in query.users]
                check_line(users_line(users))
                check_line(users_json(users))
            case 1 if len(self.browses) < 4:
                self.browses.append(Browse(script.pick(LOGS), after=script.number()))
                core.inbox.browses.begin(self.browses[-1])
            case 2:
                core.ask_heads()
            case _:
                for walk in self.browses:
                    for event in walk.take() if walk.ready else ():
                        show(event)

    def _send(self) -> None:
        """What it says is the protocol, whatever it heard."""
        for frame in self.core.outgoing(self.now):
            assert len(frame) <= MAX_FRAME
            # A broker that numbers up to the last number there is leaves none for what follows.
            if self.core.outbox.resolved < MAX_INT - 100_000:
                assert len(self.decoder.decode(frame)) <= MAX_MESSAGES

    def check(self) -> None:
        core = self.core
        assert 0.0 <= core.pause(self.now) < 1e18
        assert len(core.inbox.events) <= inbox.MOST_HINTS + MAX_EVENTS
        assert all(len(reader._ahead) <= MOST_AHEAD for reader in core.inbox.readers.values())
        assert all(len(walk._page) <= browse.MOST_EVENTS + MAX_EVENTS for walk in self.browses)
        # None is lost: each has its outcome, or waits for it.
        assert len(core.outbox) == sum(not ticket.done for ticket in self.tickets)
        if core.phase is Phase.OVER and core.refusal is not None:
            error = session_error(core.refusal.code, core.refusal.words, "tcp://broker:5555")
            assert isinstance(error, ClientError)
            check_line(escape(str(error)))

    def finish(self) -> None:
        """The program goes on taking what came."""
        while events := self.core.inbox.take(1000):
            for event in events:
                show(event)
        for ticket in self.tickets:
            assert ticket.done == (ticket.outcome is not Outcome.PENDING)
            check_line(escape(ticket.words))


def client(data: bytes) -> None:
    """A client that hears what *data* makes of a broker."""
    hostile = Hostile(Script(data))
    with (
        patch.object(inbox, "MOST_EVENTS", FEW),
        patch.object(inbox, "MOST_HINTS", 2 * FEW),
        patch.object(browse, "MOST_EVENTS", FEW),
    ):
        for _ in range(MOST_STEPS):
            if not hostile.script:
                break
            hostile.step()
            hostile.check()
        hostile.finish()


def words(data: bytes) -> None:
    """Whatever was written, escaped."""
    # As a terminal's input or a file's name is decoded: what is no UTF-8 as lone surrogates.
    text = data.decode("utf-8", "surrogateescape")
    check_line(escape(text))
    assert escape(escape(text)) == escape(text)
