"""Messages under way: receipts, and many of them at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from .errors import MAYBE, ClientError, OutcomeUnknown, Refused, Unreachable, UsageError
from .outbox import Outcome, Ticket

if TYPE_CHECKING:
    from .client import Client


class Receipt(Ticket):
    """A command that is under way, from `Pipeline.send` or `Pipeline.echo`."""

    __slots__ = ("_client",)

    def __init__(self, client: Client, to: str | None, text: str) -> None:
        Ticket.__init__(self, to, text)  # super() takes a third longer.
        self._client = client

    def wait(self, timeout: float | None = None) -> None:
        """Returns when the broker has it.

        *timeout* in seconds; None: as long as the broker answers, and ``reconnect`` seconds
        when it does not.  Raises Refused, OutcomeUnknown, Unreachable.
        """
        self._client._settle(self, timeout)


def away_words(receipt: Receipt) -> str:
    """What to tell the sender of a message to somebody who is not on."""
    return f"{receipt.to} is away; he will get it"


class Pipeline:
    """Many messages under way at once, from `Client.pipeline`.

    As a context manager it waits at its end until all are resolved, and raises Refused for
    the first one that was refused.
    """

    def __init__(self, client: Client, keep_refused: bool = True) -> None:
        self._client = client
        self._keep_refused = keep_refused
        self._pending: deque[Receipt] = deque()
        self._given_up: Receipt | None = None
        """The first one whose outcome will never be known, or that was never sent."""
        self.refused: list[Receipt] = []
        """Those that were refused so far, in order; each has ``code`` and ``words``."""

    def send(self, to: str, text: str) -> Receipt:
        """Sends *text* to one user and does not wait.  Raises as `Client.send` does, but for
        refusals of the broker: those are in the receipt."""
        return self._submit(self._client._checked_to(to), [text])[0]

    def echo(self, text: str) -> Receipt:
        """Sends *text* to everyone and does not wait."""
        return self._submit(None, [text])[0]

    def send_many(self, to: str, texts: Iterable[str]) -> list[Receipt]:
        """As `send` for each of *texts*, faster.  If it raises Refused, none of them is sent."""
        return self._submit(self._client._checked_to(to), texts)

    def echo_many(self, texts: Iterable[str]) -> list[Receipt]:
        """As `echo` for each of *texts*, faster.  If it raises Refused, none of them is sent."""
        return self._submit(None, texts)

    @property
    def pending(self) -> int:
        """How many are under way: their outcome is not known yet."""
        self._reap()
        return len(self._pending)

    def _submit(self, to: str | None, texts: Iterable[str]) -> list[Receipt]:
        if isinstance(texts, str):
            raise UsageError("many texts are wanted, not one str")
        client = self._client
        receipts = [Receipt(client, to, text) for text in texts]
        client._submit(receipts)
        self._pending.extend(receipts)
        self._reap()
        return receipts

    def _reap(self) -> None:
        pending, under_way, accepted = self._pending, Outcome.PENDING, Outcome.ACCEPTED
        while pending and (outcome := pending[0].outcome) is not under_way:
            receipt = pending.popleft()
            if outcome is accepted:
                continue
            if outcome is not Outcome.REFUSED:
                self._given_up = self._given_up or receipt
            elif self._keep_refused:
                self.refused.append(receipt)

    def flush(self, timeout: float | None = None) -> None:
        """Waits until all are resolved.  Raises OutcomeUnknown, Unreachable."""
        if self._pending:
            # They resolve in order: when the last one has, all have.  A refusal is no failure
            # here; it is in `refused`.
            last = self._pending[-1]
            self._client._await(lambda: last.done, timeout)
        self._reap()
        if self._given_up is not None:
            raise failure(self._given_up)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            return
        self.flush()
        if self.refused:
            raise failure(self.refused[0])


def failure(receipt: Receipt) -> ClientError:
    """The exception for a message that was not accepted."""
    if receipt.outcome is Outcome.REFUSED:
        return Refused(receipt.code, receipt.words)
    if receipt.outcome is Outcome.UNKNOWN:
        return OutcomeUnknown(f"sent, but not acknowledged: {MAYBE}")
    return Unreachable("not sent: the connection was given up before; send it again")
