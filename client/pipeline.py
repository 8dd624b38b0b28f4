"""Messages under way: receipts, and many of them at once."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from enum import Enum, auto
from types import TracebackType
from typing import TYPE_CHECKING, Self, overload

from ..wire.errors import Code
from .address import no_answer
from .commands import Commands, Outcome, Ticket
from .errors import (
    MAYBE,
    ClientError,
    OutcomeUnknown,
    Refused,
    Unreachable,
    UsageError,
    session_error,
)
from .sayable import checked_recipient

if TYPE_CHECKING:
    from .client import Client
    from .core import ClientCore


class Receipt(Ticket):
    """A command that is under way, from `Pipeline.send` or `Pipeline.echo`."""

    __slots__ = ("_client",)

    def __init__(self, client: Client, commands: Commands, at: int = 0) -> None:
        super().__init__(commands, at)
        self._client = client

    def wait(self, timeout: float | None = None) -> None:
        """Returns when the broker has it.

        *timeout* in seconds; None: as long as the broker answers, and ``reconnect`` seconds
        when it does not.  Raises Refused or OutcomeUnknown; Unreachable, or what `Client.ended`
        tells (NotAuthorised, say), if it was not sent.
        """
        self._client._settle(self, deadline(timeout))


class Receipts(Sequence[Receipt]):
    """The receipts of commands that were given together; each is made when it is looked at."""

    __slots__ = ("_client", "_commands", "_places")

    def __init__(self, client: Client, commands: Commands, places: range | None = None) -> None:
        self._client, self._commands = client, commands
        self._places = range(len(commands)) if places is None else places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, at: int) -> Receipt: ...
    @overload
    def __getitem__(self, at: slice) -> list[Receipt]: ...
    def __getitem__(self, at: int | slice) -> Receipt | list[Receipt]:
        if isinstance(at, slice):
            return [Receipt(self._client, self._commands, place) for place in self._places[at]]
        return Receipt(self._client, self._commands, self._places[at])

    def part(self, start: int, stop: int) -> Receipts:
        """Those from *start* to *stop*."""
        return Receipts(self._client, self._commands, self._places[start:stop])

    @property
    def known(self) -> int:
        """How many, from the first on, have an outcome that is known."""
        places = self._places
        return min(self._commands.known(places.start), places.stop) - places.start

    @property
    def plain(self) -> bool:
        """Whether the broker has all of them, and there is nothing to be told of any."""
        return self._commands.plain(self._places)


def away_words(receipt: Receipt) -> str:
    """What to tell the sender of a message to somebody who is not on."""
    return f"{receipt.to} is away; he will get it"


class Pipeline:
    """Many messages under way at once, from `Client.pipeline`.

    As a context manager it waits at its end until all are resolved, and raises Refused for
    the first one that was refused, or as `flush` does.  What was not sent when the block was left,
    in whatever way, will not be.  Several threads may use one; a signal handler may not.
    """

    def __init__(self, client: Client, keep_refused: bool = True) -> None:
        self._client = client
        self._keep_refused = keep_refused
        self._saying = threading.Lock()
        """Who has it says something: what is pending is in the order of the outbox."""
        self._lock = threading.Lock()
        """Of what follows."""
        self._pending: deque[Commands] = deque()
        self._under_way = 0
        """How many are in `_pending`."""
        self._looked_at = 0
        """How many of the first ones, whose outcomes are known, were looked at."""
        self._given_up: Receipt | None = None
        """The first one whose outcome will never be known; else the first that was never sent."""
        self.refused: list[Receipt] = []
        """Those that were refused so far, in order; each has ``code`` and ``words``."""

    def send(self, to: str, text: str) -> Receipt:
        """Sends *text* to one user and does not wait, but for room if very many are under way.

        Raises as `Client.send` does, but for refusals of the broker: those are in the receipt.
        OutcomeUnknown is about what was sent before; *text* was not."""
        return self._submit(checked_recipient(to), [text])[0]

    def echo(self, text: str) -> Receipt:
        """Sends *text* to everyone and does not wait."""
        return self._submit(None, [text])[0]

    def send_many(self, to: str, texts: Iterable[str]) -> Receipts:
        """As `send` for each of *texts*, faster.  If it raises Refused, none of them is sent."""
        return self._submit(checked_recipient(to), texts)

    def echo_many(self, texts: Iterable[str]) -> Receipts:
        """As `echo` for each of *texts*, faster.  If it raises Refused, none of them is sent."""
        return self._submit(None, texts)

    @property
    def pending(self) -> int:
        """How many are under way: their outcome is not known yet."""
        with self._lock:
            self._reap()
            return self._under_way - self._looked_at

    def _submit(self, to: str | None, texts: Iterable[str]) -> Receipts:
        if isinstance(texts, str):
            raise UsageError("many texts are wanted, not one str")
        commands = Commands(to, tuple(texts))
        with self._saying:
            self._client._submit(commands, None, Waits.FOR_ROOM)
            with self._lock:
                if commands:
                    self._pending.append(commands)
                    self._under_way += len(commands)
                self._reap()
        return Receipts(self._client, commands)

    def _reap(self) -> None:
        """Looks at those whose outcomes are known by now; the lock is held."""
        while self._pending:
            commands = self._pending[0]
            known = commands.known(self._looked_at)
            self._look_at(commands, self._looked_at, known)
            self._looked_at = known
            if known < len(commands):
                return
            self._pending.popleft()
            self._under_way -= known
            self._looked_at = 0

    def _look_at(self, commands: Commands, start: int, stop: int) -> None:
        outcomes = commands.outcomes[start:stop]
        if outcomes.count(Outcome.ACCEPTED) == len(outcomes):
            return
        for at, outcome in enumerate(outcomes, start):
            if outcome is Outcome.ACCEPTED:
                continue
            receipt = Receipt(self._client, commands, at)
            if outcome is Outcome.REFUSED:
                if self._keep_refused:
                    self.refused.append(receipt)
            elif self._given_up is None or (
                # Of one that is unknown nobody may hear that it was not sent.
                (self._given_up.outcome, outcome) == (Outcome.UNSENT, Outcome.UNKNOWN)
            ):
                self._given_up = receipt

    def flush(self, timeout: float | None = None) -> None:
        """Waits until all are resolved.  Raises OutcomeUnknown; or, if some were not sent and the
        outcomes of the others are known, Unreachable or what `Client.ended` tells (NotAuthorised,
        say).  What was not sent by then is when a broker answers: then it may be called again."""
        until = deadline(timeout)
        if self._pending:
            # A refusal is no failure here; it is in `refused`.
            self._client._await(lambda: not self.pending, until, Waits.FOR_OUTCOMES)
        if self._given_up is not None:
            raise failure(self._given_up, self._client.ended)

    def _withdraw(self) -> None:
        """Takes back what was never sent."""
        client = self._client
        with client._changes.lock, self._lock:
            client._core.outbox.withdraw_unsent(self._pending)
        client.notify()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.flush()
        finally:
            # Nobody will flush again: what went later might have been said once more by then.
            self._withdraw()
        if kind is None and self.refused:
            raise failure(self.refused[0])


def failure(receipt: Receipt, ended: ClientError | None = None) -> ClientError:
    """The exception for a message that was not accepted.  *ended*: why the session is over, if the
    broker ended it."""
    if receipt.outcome is Outcome.REFUSED:
        return Refused(receipt.code, receipt.words)
    if receipt.outcome is Outcome.UNKNOWN:
        why = "" if ended is None else f" ({ended})"
        return OutcomeUnknown(f"sent, but not acknowledged{why}: {MAYBE}")
    return ended or Unreachable("not sent: the connection was given up before; send it again")


class Waits(Enum):
    """What somebody waits for."""

    FOR_ANSWER = auto()
    """Of the broker, to what changes nothing there."""
    FOR_EVENTS = auto()
    """As long as it takes, or for a time."""
    FOR_ROOM = auto()
    """That comes when what was given to be sent before has its outcomes."""
    FOR_OUTCOMES = auto()
    """Of what was given to be sent."""


def deadline(timeout: float | None) -> float | None:
    """When *timeout* seconds from now are over (monotonic clock); None for never."""
    return None if timeout is None else time.monotonic() + timeout


def unacknowledged(broker: str) -> OutcomeUnknown:
    """The exception for who waited in vain for what *broker* may have."""
    return OutcomeUnknown(f"sent, but not acknowledged by {broker} in time: {MAYBE}")


def given_up(
    core: ClientCore, receipt: Receipt | None, broker: str, there: bool, doubt: bool
) -> ClientError:
    """The exception for who waited in vain, for *receipt* or for anything else.  *there*: whether
    something is at the address.  *doubt*: whether what others sent matters."""
    if receipt is not None and core.outbox.withdraw(receipt):
        return Unreachable(f"no answer from {broker}; nothing was sent, try again")
    if receipt is not None or (doubt and core.outbox.uncertain):
        return unacknowledged(broker)
    if core.doubted:
        return session_error(Code.NOT_ALLOWED.value, core.doubted, broker)
    if core.put_off:
        return Unreachable(f"{core.put_off} on {broker}; try again later")
    return no_answer(broker, there)
