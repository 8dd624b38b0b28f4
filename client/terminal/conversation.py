"""What a person's lines and the broker's events come to, whatever they are shown on.

All of it runs in the one thread that draws.  What has to wait for the broker is given to a
`Worker`, and comes back to that thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import inf
from typing import NamedTuple, Protocol

from ...wire.messages import DIRECT_LOG, ECHO_LOG
from ...wire.names import EVERYONE, is_name
from ..address import parse_address, plain_text
from ..client import Client
from ..commands import Outcome
from ..errors import NewHistory, Refused
from ..events import Broadcast, Direct, Event, Joined, Left, Missed, Notice, Offline, Online
from ..history import History
from ..input import BadLine, EchoLine, HelpLine, InfoLine, QuitLine, SendLine
from ..pipeline import Receipt, away_words, failure
from ..render import users_line
from .backlog import Backlog
from .rows import Row, event_row, mark_row, mentions, pending_row, told_row
from .typed import (
    PastLine,
    ReplyLine,
    SayLine,
    ToLine,
    Typed,
    help_lines,
    is_reply,
    parse_typed,
)

MOST_PENDING = 1000
"""Messages that may wait for the broker.  Each is on the screen; nobody types so many."""

LOGS = (ECHO_LOG, DIRECT_LOG)

BEGINNING = "nothing is kept from before this"


class Display(Protocol):
    """What shows rows to a person."""

    def add(self, row: Row) -> None:
        """Shows *row* as the newest."""

    def add_past(self, rows: Sequence[Row]) -> None:
        """Shows *rows* above all others, the oldest first."""

    def set_pending(self, rows: Sequence[Row]) -> None:
        """What is under way, below all others."""

    def alert(self, row: Row) -> None:
        """*row* is meant for this person above all."""


Job = Callable[[], Callable[[], None]]
"""Waits for the broker as long as it takes; gives what is to be done with the answer in the
thread that draws."""


class Pending:
    """A message under way."""

    __slots__ = ("_row", "_state", "receipt", "seen")

    def __init__(self, receipt: Receipt) -> None:
        self.receipt = receipt
        self.seen = False
        """Whether it came back by the log, as all that is stored does."""
        self._state = ""
        self._row: Row | None = None

    def row(self, me: str, state: str) -> Row:
        """How it is shown; the same row as long as its *state* is the same, as there may be many
        that are shown again with each line."""
        if self._row is None or state != self._state:
            self._state = state
            self._row = pending_row(self.receipt.to, self.receipt.text, me, state)
        return self._row


class State(NamedTuple):
    """What the status bar tells."""

    online: tuple[str, ...]
    connected: bool
    pending: int


class Conversation:
    """A person's part in what is said."""

    def __init__(
        self,
        client: Client,
        display: Display,
        work: Callable[[Job], None],
        keys: Sequence[str] = (),
    ) -> None:
        """*keys*: lines of help about those of the display."""
        self._client = client
        self._display = display
        self._work = work
        self._keys = keys
        self._pipeline = client.pipeline(keep_refused=False)
        self._me = client.name
        self._online: set[str] = set()
        self.greetings = 0
        """What the client counted when it was last asked who is on.  Another thread may look."""
        self._connected = True
        self._last_from: str | None = None
        self._reply_to: str | None = None
        """To whom the reply goes that is being typed."""
        self._pending: deque[Pending] = deque()
        """What is not both resolved and seen, in the order in which it was typed."""
        self.unresolved: deque[Receipt] = deque()
        """What the broker has not answered.  Another thread may look whether the first is done."""
        self.in_doubt = False
        """Whether something was sent of which nobody will know whether it is stored."""
        self._old: dict[str, int] = {}
        """Of each log, the newest position of when one joined: what is not after it is old."""
        self._backlog: Backlog | None = None
        self._recalling = False
        self._forgot = False
        """Whether the newest of what is being recalled was dropped from the screen meanwhile."""
        self._life = 0
        """How often the broker has begun a new history."""
        self.to: str | None = None
        """To whom plain text goes; None for everyone."""

    # --- what there is to know ------------------------------------------------------------

    @property
    def broker(self) -> str:
        """Its address, without the key that it may have."""
        return plain_text(parse_address(self._client.broker))

    @property
    def prompt(self) -> str:
        return f"{self._reply_to or self.to or EVERYONE}> "

    @property
    def state(self) -> State:
        return State(tuple(sorted(self._online)), self._connected, len(self.unresolved))

    @property
    def names(self) -> set[str]:
        """Whom one may want to name."""
        known = {name for name in (self.to, self._last_from) if name is not None}
        return {name for name in self._online | known if is_name(name)}

    # --- the beginning --------------------------------------------------------------------

    def begin(self, screenful: int) -> None:
        """Shows who one is, and a screenful of what was said before."""
        client = self._client
        self._tell(f"joined as {client.name} on {self.broker}; 'help' lists the commands")
        began = {log: client.began(log) for log in LOGS}
        self._old = {log: head for log, (_, head) in began.items()}
        self._backlog = self._new_backlog([(log, start) for log, (start, _) in began.items()])
        self.recall(screenful)
        start, head = began[DIRECT_LOG]
        if head > start:
            self._display.add(mark_row(f"you were away: {head - start} new"))
        self._ask_who_is_on()

    def _ask_who_is_on(self) -> None:
        self.greetings = self._client.greetings

        def ask() -> Callable[[], None]:
            return partial(self._know, [user.name for user in self._client.users(inf)])

        self._work(ask)

    def _know(self, names: Iterable[str]) -> None:
        self._online = {*names}

    def recall(self, count: int) -> None:
        """Shows *count* more messages of what was said before."""
        backlog = self._backlog
        if backlog is None or self._recalling:
            return
        self._recalling = True
        life = self._life

        def read() -> Callable[[], None]:
            try:
                return partial(self._recalled, backlog, life, backlog.more(count))
            except NewHistory:
                return partial(self._recalled, None, life, [])

        self._work(read)

    def _recalled(self, backlog: Backlog | None, life: int, found: list[Event]) -> None:
        self._recalling = False
        if life != self._life:
            # Another history began meanwhile: these have no place in it.
            self._forgot = False
            return
        if self._last_from is None:
            senders = [event.sender for event in found if isinstance(event, Direct)]
            self._last_from = next((name for name in senders[::-1] if name != self._me), None)
        rows = self.rows_of(found)
        if self._forgot:
            # What these would stand above was dropped meanwhile.
            self._forgot = False
            self.forget(rows)
            return
        if backlog is None or backlog.exhausted:
            if self._backlog is not None and rows:
                rows.insert(0, mark_row(BEGINNING))
            self._backlog = None
        self._display.add_past(rows)

    def forget(self, rows: Iterable[Row]) -> None:
        """*rows*, the oldest, are shown no more; they can be recalled."""
        given: dict[str, int] = {}
        for row in rows:
            if row.place is not None and row.place.life == self._life:
                given[row.place.log] = max(row.place.position, given.get(row.place.log, 0))
        if self._backlog is None:
            self._backlog = self._new_backlog([(log, 0) for log in LOGS])
        backlog = self._backlog
        self._forgot = self._recalling

        def rewind() -> Callable[[], None]:
            backlog.rewind(given)  # In the thread that reads it.
            return lambda: None

        self._work(rewind)

    def _new_backlog(self, ends: Iterable[tuple[str, int]]) -> Backlog:
        return Backlog(History(self._client), ends)

    def rows_of(self, events: Iterable[Event]) -> list[Row]:
        """What is shown of *events*."""
        return [
            row for event in events if (row := event_row(event, self._me, self._life)) is not None
        ]

    # --- what the broker says -------------------------------------------------------------

    def take(self, events: Sequence[Event]) -> None:
        """Shows what came, and what became of what was sent."""
        for event in events:
            self._take(event)
        if self._client.greetings != self.greetings:
            self._ask_who_is_on()  # Who came or went before, it may not have heard.
        while self.unresolved and self.unresolved[0].done:
            self._resolved(self.unresolved.popleft())
        self._show_pending()

    def _take(self, event: Event) -> None:
        rows = self.rows_of([event])
        for row in rows:
            self._display.add(row)
        match event:
            case Broadcast() | Direct():
                self._said(event, *rows)
            case Joined(user=user):
                self._online.add(user)
            case Left(user=user):
                self._online.discard(user)
            case Offline():
                self._connected = False
            case Online(again=again):
                self._connected = True
                if again:
                    self._ask_who_is_on()
            case Missed(log, lost):
                # What was sent to that log may be among it: it is stored, and will not be seen.
                self._forget_seen(direct=log == DIRECT_LOG)
                if lost is None:
                    self._begin_anew(log)
            case Notice():
                pass

    def _begin_anew(self, log: str) -> None:
        """The broker has another history.  Where reading begins in it, what is before is what it
        was, and stands on the screen as far as it was given."""
        if self._backlog is not None:
            # What is being recalled will not be shown, and is had again.
            ends = {} if self._recalling else self._backlog.ends
            starts = [(each, self._client.began(each)[0]) for each in LOGS]
            self._backlog = self._new_backlog(
                [(each, min(start, ends.get(each, start))) for each, start in starts]
            )
        self._life += 1
        self._old[log] = 0

    def _said(self, event: Broadcast | Direct, row: Row) -> None:
        to = event.to if isinstance(event, Direct) else None
        if event.sender == self._me:
            self._seen(to, event.text)
            return
        direct = to is not None
        if direct:
            self._last_from = event.sender
        old = event.seq <= self._old.get(DIRECT_LOG if direct else ECHO_LOG, 0)
        if not old and (direct or mentions(event.text, self._me)):
            self._display.alert(row)

    def _seen(self, to: str | None, text: str) -> None:
        """One's own message came back: no longer is it under way."""
        for pending in self._pending:
            if not pending.seen and (pending.receipt.to, pending.receipt.text) == (to, text):
                pending.seen = True
                return

    def _forget_seen(self, direct: bool) -> None:
        for pending in self._pending:
            if (pending.receipt.to is not None) == direct and pending.receipt.sent:
                pending.seen = True

    def _resolved(self, receipt: Receipt) -> None:
        if receipt.outcome is Outcome.ACCEPTED:
            if receipt.away:
                self._tell(f"* {away_words(receipt)}")
            return
        if receipt.outcome is Outcome.REFUSED:
            self._refuse(f"{receipt.words} (not sent: {receipt.text})")
        elif receipt.outcome is Outcome.UNKNOWN:
            # The broker may have forgotten the session: the conversation goes on.
            self.in_doubt = True
            self._refuse(f"{failure(receipt)}: {receipt.text}")
        # What was never sent is said by what ends the conversation.

    def _show_pending(self) -> None:
        self._pending = deque(pending for pending in self._pending if not _over(pending))
        self._display.set_pending(
            [
                pending.row(self._me, self._state_of(pending.receipt))
                for pending in self._pending
                if not pending.seen
            ]
        )

    def _state_of(self, receipt: Receipt) -> str:
        if receipt.done:
            return "stored"
        return "sending…" if self._connected else "waiting…"

    # --- what the person types ------------------------------------------------------------

    def begun(self, line: str) -> None:
        """*line* is being typed.  A reply goes to whom it was for when it was begun, whoever
        writes meanwhile."""
        if not is_reply(line):
            self._reply_to = None
        elif self._reply_to is None:
            self._reply_to = self._last_from

    def typed(self, line: str) -> bool:
        """Does what *line* asks for; False if that is to leave."""
        try:
            asked = parse_typed(line)
            return asked is None or self._carry_out(asked)
        except (BadLine, Refused) as refused:
            self._refuse(str(refused))
        finally:
            self._reply_to = None
            self._show_pending()
        return True

    def _carry_out(self, asked: Typed) -> bool:
        match asked:
            case SayLine(text):
                self._send(self.to, text)
            case SendLine(to, text):
                self._send(to, text)
            case EchoLine(text):
                self._send(None, text)
            case ReplyLine(text):
                to = self._reply_to or self._last_from
                if to is None:
                    raise BadLine("usage", "nobody has sent you a direct message yet")
                self._send(to, text)
            case ToLine(to):
                self.to = to
                known = self._connected and self._online  # As soon as it was asked.
                absent = ", who is not on" if to and known and to not in self._online else ""
                self._tell(f"* plain text goes to {to or EVERYONE} now{absent}")
            case InfoLine():
                self._work(self._who)
            case PastLine(count):
                if self._backlog is None:
                    self._tell("* nothing more is kept of what was said before")
                self.recall(count)
            case HelpLine():
                for text in (*help_lines(), *self._keys):
                    self._tell(text)
            case QuitLine():
                return False
        return True

    @property
    def room(self) -> int:
        """How many messages more may wait for the broker."""
        return MOST_PENDING - len(self.unresolved)

    @property
    def connected(self) -> bool:
        """Whether there is a broker, as far as is known."""
        return self._connected

    def _send(self, to: str | None, text: str) -> None:
        if self.room <= 0:
            raise BadLine("busy", f"{MOST_PENDING} messages wait for the broker; not sent: {text}")
        pipeline = self._pipeline
        receipt = pipeline.echo(text) if to is None else pipeline.send(to, text)
        self.unresolved.append(receipt)
        self._pending.append(Pending(receipt))

    def _who(self) -> Callable[[], None]:
        users = self._client.users(inf)  # As long as what was typed would be waited for.

        def show() -> None:
            self._know(user.name for user in users)
            self._tell(users_line(users))

        return show

    def _tell(self, words: str) -> None:
        self._display.add(told_row(words))

    def _refuse(self, words: str) -> None:
        self._display.add(told_row(f"! {words}", "class:refused"))


def _over(pending: Pending) -> bool:
    """Whether nothing more is to be told of it."""
    outcome = pending.receipt.outcome
    return outcome not in (Outcome.PENDING, Outcome.ACCEPTED) or (
        outcome is Outcome.ACCEPTED and pending.seen
    )
