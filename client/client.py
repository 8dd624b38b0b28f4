"""The public class: a client that runs in the background of a program."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Self

from ..wire.errors import BadName
from ..wire.limits import ID_LENGTH, MAX_TEXT
from ..wire.messages import DIRECT_LOG, ECHO_LOG
from ..wire.names import canonical_name
from .access import find_access
from .address import DEFAULT, parse_address
from .browse import Browse
from .changes import Changes
from .commands import Commands, Outcome
from .core import ClientCore, Phase
from .errors import ClientError, NameRefused, NewHistory, UsageError, session_error
from .events import Event, UserInfo
from .identity import Identity
from .interrupts import Interrupts
from .link import Link
from .pipeline import Pipeline, Receipt, Waits, deadline, failure, given_up
from .reader import Reader
from .sayable import check_sayable, checked_recipient
from .starts import Since
from .takeover import Takeover

MOST_PENDING = 8192
"""Commands that may wait unresolved in a pipeline before it holds its caller back."""

GOODBYE = 0.5
"""Seconds that `Client.close` waits for the broker to let the name go."""


class Client:
    """A user, or an observer, at a broker.

    *name*: the user to be; None for an observer, who hears broadcasts and sends nothing.
    *broker*: ``tcp://HOST:PORT``, or ``chat://HOST:PORT/KEY`` of a secure one; what else that
    takes is in files, as ``chat accept`` left it (docs/cli.md, "Secure brokers").
    *hear*: whether to receive messages, and *mail*: those to the user alone.  One that does not
    take mail, which stays unread, is not listed by ``users`` and not announced.
    *presence*: whether to receive Joined and Left.
    *since*: from where to read the public log, and the mailbox (*since_direct*).
    *timeout*: seconds to wait for an answer of a broker that is there.
    *reconnect*: seconds to go on trying when it is gone; then Unreachable is raised, or
    OutcomeUnknown if something was sent and not acknowledged.
    *credential*: what `credential` of an earlier client of the same user gave.  With it and
    *exclusive* false, several clients are one user.
    *identity*: who the user is, as kept in a file, instead of *credential*.  The name is then
    claimed: it stays the user's while they are away, and mail waits for them.  With a locked
    one, an exclusive client takes over from a session that died; one client at a time.
    *interrupts*: has waiting calls raise what a signal asks for; for programs of one thread
    that are ended by signals, such as the command ``chat``.

    The constructor connects and returns when the broker has let the client in.  It raises
    UsageError, NameRefused, NotAuthorised, IdentityError (also for the file of a broker's key),
    Unreachable or ProtocolError; ClientError if no descriptors are left.

    A thread in the background keeps the connection, heartbeats and recovery going.  The
    methods may be called from several threads, and not in a signal handler, which may raise.
    """

    def __init__(
        self,
        name: str | None = None,
        broker: str = DEFAULT,
        *,
        hear: bool = True,
        mail: bool = True,
        presence: bool | None = None,
        since: Since | None = None,
        since_direct: Since | None = None,
        timeout: float = 5.0,
        reconnect: float = 30.0,
        credential: bytes = b"",
        exclusive: bool = True,
        identity: Identity | None = None,
        interrupts: Interrupts | None = None,
    ) -> None:
        address = parse_address(broker)
        session = os.urandom(ID_LENGTH)
        exclusive = exclusive and name is not None and hear
        if name is not None:
            try:
                name = canonical_name(name)
            except BadName as error:
                raise NameRefused(error.code.value, str(error)) from None
        if identity is not None:
            if credential or not identity.is_of(name, address):
                raise UsageError("an identity is of one name at one broker; it has the credential")
            credential = identity.credential
        self._takeover = takeover = Takeover(identity, session, exclusive)
        find = partial(find_access, address, name, identity)
        readers = [Reader(ECHO_LOG, since or Since.now())] if hear else []
        if hear and mail and name is not None:
            readers.append(Reader(DIRECT_LOG, since_direct or Since.unread()))
        self.broker = broker
        self.timeout = timeout
        self.reconnect = reconnect
        self._core = ClientCore(
            name or "",
            session,
            readers,
            credential=credential,
            exclusive=exclusive,
            presence=hear if presence is None else presence,
            claim=identity is not None,
            replaces=takeover.replaces,
        )
        self._changes = Changes()
        self._closing = self._opened = self._over = False
        self._crash: BaseException | None = None
        self._down_since: float | None = None
        self._interrupts = interrupts
        self._link = Link(self._core, find, self._changes.lock)
        try:
            takeover.begin()
        except BaseException:
            self._link.close()
            raise
        if interrupts is not None:
            interrupts.on_signal(self._link.wake)
        self._thread = threading.Thread(target=self._run, name="chatbroker client", daemon=True)
        self._thread.start()
        try:
            self._await(lambda: self._core.phase is Phase.READY, deadline(timeout))
            self._opened = True
        except BaseException:
            self.close()
            takeover.take_back(self._core)
            raise

    # --- what there is to know ------------------------------------------------------------

    @property
    def name(self) -> str:
        """The name as the broker knows it; empty for an observer."""
        return self._core.name

    @property
    def credential(self) -> bytes:
        """What proves later that one is the same user.  Keep it secret."""
        return self._core.credential

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closing

    def began(self, log: str) -> tuple[int, int]:
        """After which position this client began to read *log* (``echo`` or ``direct``), and that
        of the newest event then or later.  Raises UsageError if it does not follow *log*."""
        reader = self._core.inbox.readers.get(log)
        if reader is None:
            raise UsageError(f"this client does not follow {log!r}")
        return reader.start, reader.head

    @property
    def max_text(self) -> int:
        """The longest text that the broker takes, in bytes of UTF-8."""
        limits = self._core.limits
        return limits.max_text if limits else MAX_TEXT

    @property
    def patience(self) -> float:
        """Seconds to wait for an answer, a lost connection included."""
        return max(self.timeout, self.reconnect)

    @property
    def listening(self) -> bool:
        """Whether everything that is said from now on will be received."""
        return self._core.listening

    @property
    def greetings(self) -> int:
        """How often it began to hear who comes and goes: in between it did not."""
        return self._core.greeting.count

    # --- sending --------------------------------------------------------------------------

    def send(self, to: str, text: str, timeout: float | None = None) -> Receipt:
        """Sends *text* to the user *to*; returns when the broker has it.

        The receipt tells in ``away`` whether *to* is not on now, and will get it later.

        *text*: at most `max_text` bytes of UTF-8, any characters.  *timeout* in seconds; None:
        the client's.  Raises Refused (no such user, too long), OutcomeUnknown, UsageError; and
        Unreachable, or what `ended` tells: then it was not sent and will not be.
        """
        return self._say(checked_recipient(to), text, timeout)

    def echo(self, text: str, timeout: float | None = None) -> Receipt:
        """Sends *text* to everyone; otherwise as `send`."""
        return self._say(None, text, timeout)

    def pipeline(self, keep_refused: bool = True) -> Pipeline:
        """For many messages: each is sent without waiting for the one before it.

        *keep_refused*: whether to collect the refused ones, in a list that grows without end.
        """
        return Pipeline(self, keep_refused)

    def users(self, timeout: float | None = None) -> list[UserInfo]:
        """Who is on, sorted by name.  Raises Unreachable."""
        until = deadline(self.timeout if timeout is None else timeout)
        with self._changes.lock:
            self._check_open()
            query = self._core.ask_users()
        self._link.wake()
        try:
            self._await(lambda: query.done, until)
        finally:
            with self._changes.lock:
                self._core.forget(query)
        return [UserInfo(*user) for user in query.users]

    # --- receiving ------------------------------------------------------------------------

    def receive(self, timeout: float | None = None) -> Event | None:
        """The next event, or None when *timeout* seconds went by without one.

        Raises Unreachable when the broker is gone for longer than ``reconnect``.
        """
        taken = self.receive_many(timeout, 1)
        return taken[0] if taken else None

    def receive_many(self, timeout: float | None = None, most: int = 1000) -> list[Event]:
        """The events that are there, up to *most*; waits for the first as `receive` does.  What was
        taken before counts as shown then, and is not unread the next time."""
        taken: list[Event] = []

        # Taken where it is looked for: another thread may be waiting for the same event.
        def take() -> bool:
            taken.extend(self._take(most))
            return bool(taken)

        self._await(take, deadline(timeout), Waits.FOR_EVENTS)
        return taken

    def _take(self, most: int, shown: bool = False) -> list[Event]:
        """Takes up to *most* events; *shown*: they count as shown now.  The lock is held."""
        inbox = self._core.inbox
        asked = inbox.asks
        taken = inbox.take(most)
        if shown:
            inbox.shown()
        to_send = self._core.taken(time.monotonic())
        if to_send or (inbox.asks and not asked):
            self._link.wake()  # There is room again to go on reading, or mail to confirm.
        return taken

    def events(self, timeout: float | None = None) -> Iterator[Event]:
        """Events as they come; ends when *timeout* seconds go by without one."""
        while (event := self.receive(timeout)) is not None:
            yield event

    def browse(self, browse: Browse) -> Iterator[list[Event]]:
        """The pages of *browse*; the next is asked for when one is taken.  `history` walks
        through them.  Raises NewHistory, Unreachable."""
        core = self._core
        with self._changes.lock:
            self._check_open()
            core.inbox.browses.begin(browse)
        try:
            while True:
                self._link.wake()
                self._await(lambda: browse.ready, deadline(self.patience))
                with self._changes.lock:
                    page, over = browse.take(), browse.over
                if browse.failed:
                    raise NewHistory(
                        f"the broker at {self.broker} has another history by now; begin anew"
                    )
                if page:
                    yield page
                if over:
                    return
        finally:
            with self._changes.lock:
                core.inbox.browses.end(browse)

    def sync(self, timeout: float | None = None) -> bool:
        """Waits until everything that was said before this call has been received (it may
        still wait in `receive`).  False if that took longer than *timeout* seconds, or if
        there is no room for it before `receive` is called."""
        until = deadline(self.timeout if timeout is None else timeout)
        with self._changes.lock:
            self._check_open()
            ref = self._core.ask_heads()
        self._link.wake()
        caught_up = False

        def over() -> bool:
            nonlocal caught_up
            caught_up = self._core.caught_up(ref)
            stuck = self._core.inbox.stuck(time.monotonic())
            return caught_up or (stuck and self._core.answered(ref))

        self._await(over, until, Waits.FOR_EVENTS)
        return caught_up

    def wait_listening(self, timeout: float | None = None) -> bool:
        """Waits until `listening`; False if that took longer than *timeout* seconds."""
        until = deadline(self.timeout if timeout is None else timeout)
        return self._await(lambda: self._core.listening, until, Waits.FOR_EVENTS)

    def wait_until(self, ready: Callable[[], bool], timeout: float | None = None) -> bool:
        """Waits until *ready* gives True; False if that took longer than *timeout* seconds.

        *ready* is called again whenever something happened: an event came, a receipt was
        resolved, `notify` was called.  It must be quick and must not call the client's methods;
        its properties are fine.
        What was taken before counts as shown.  Raises as `receive` does.
        """
        until = deadline(timeout)
        with self._changes.lock:
            self._core.inbox.shown()
            to_send = self._core.taken(time.monotonic())
        if to_send:
            self._link.wake()
        return self._await(ready, until, Waits.FOR_EVENTS)

    def notify(self) -> None:
        """Has every `wait_until` look again.  May be called from any thread."""
        with self._changes.lock:
            self._changes.tell()

    @property
    def waiting_events(self) -> int:
        """How many events `receive` would give without waiting."""
        return len(self._core.inbox.events)

    def waiting(self, start: int, stop: int) -> list[Event]:
        """Of the events that `receive` would give, those from *start* to *stop*: not taken.

        With `handled` it is for a program that must not lose one, whatever ends it."""
        with self._changes.lock:
            return self._core.inbox.look(start, stop)

    def handled(self, count: int) -> None:
        """The first *count* of them are done with: they are taken, and count as shown."""
        with self._changes.lock:
            self._take(count, shown=True)

    # --- the end --------------------------------------------------------------------------

    @property
    def ended(self) -> ClientError | None:
        """Why the broker ended the session, such as NotAuthorised; None if it did not.  Whatever
        is asked of it afterwards raises that."""
        refusal = self._core.refusal
        return refusal and session_error(refusal.code, refusal.words, self.broker)

    def close(self) -> None:
        """Leaves: the name is free at once, and what was taken counts as shown.  What became of
        what is unresolved is not known then (`Outcome.UNKNOWN`), or it was never sent
        (`Outcome.UNSENT`)."""
        self._leave(shown=True)

    def _leave(self, shown: bool) -> None:
        with self._changes.lock:
            if self._closing:
                return
            self._closing = True
            if shown:
                self._core.inbox.shown()
            self._core.leave()
        self._link.wake()
        self._thread.join()
        self._takeover.end(self._core)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        """Closes it.  What was taken last was not shown, perhaps, if an exception ends it: that is
        unread the next time."""
        self._leave(shown=kind is None)

    # --- inside ---------------------------------------------------------------------------

    def _run(self) -> None:
        core, link = self._core, self._link
        leave_by = 0.0
        crash: BaseException | None = None
        try:
            while core.phase is not Phase.OVER:
                now = time.monotonic()
                if self._closing:
                    leave_by = leave_by or now + GOODBYE
                    if now >= leave_by:
                        break
                link.step(0.1 if self._closing else 1.0)
                with self._changes.lock:
                    now = time.monotonic()
                    since = now if self._down_since is None else self._down_since
                    self._down_since = since if core.silent(now) else None
                    self._changes.tell()
        except BaseException as error:  # noqa: BLE001 - nobody else can tell the program
            crash = error
        finally:
            with self._changes.lock:
                core.outbox.abandon()
                self._over = True
                self._crash = crash
                self._changes.tell()
            link.close()

    def _say(self, to: str | None, text: str, timeout: float | None) -> Receipt:
        until = deadline(self.timeout if timeout is None else timeout)
        commands = Commands(to, (text,))
        self._submit(commands, until, Waits.FOR_ANSWER)
        receipt = Receipt(self, commands)
        self._settle(receipt, until)
        return receipt

    def _submit(self, commands: Commands, until: float | None, waits: Waits) -> None:
        """Sends all of them, or raises and sends none."""
        check_sayable(commands.texts, self.max_text)
        if not self._core.name:
            raise UsageError("an observer has no name to send as; give the client one")
        outbox = self._core.outbox
        if len(outbox) >= MOST_PENDING:
            self._await(lambda: len(outbox) < MOST_PENDING // 2, until, waits)
        with self._changes.lock:
            self._check_open()
            if self._core.submit(commands):
                self._link.wake()

    def _settle(self, receipt: Receipt, until: float | None) -> None:
        self._link.wake()
        self._await(lambda: receipt.done, until, Waits.FOR_OUTCOMES, receipt)
        if receipt.outcome is not Outcome.ACCEPTED:
            raise failure(receipt, self.ended) from self._crash

    def _check_open(self) -> None:
        if self._crash is not None:
            raise ClientError(f"the client broke: {self._crash!r}") from self._crash
        if (ended := self.ended) is not None:
            raise ended
        if self._closing:
            raise UsageError("the client is closed")

    def _await(
        self,
        ready: Callable[[], bool],
        until: float | None,
        waits: Waits = Waits.FOR_ANSWER,
        receipt: Receipt | None = None,
    ) -> bool:
        """Waits until *ready*; True then.  At *until* it gives False who waits for events, and
        raises for others.  Raises too when the broker is gone for too long."""
        while True:
            with self._changes.lock:
                if ready():
                    return True
                # What was given to be sent has an outcome when all is over, and not before.
                if waits is not Waits.FOR_OUTCOMES or self._over:
                    self._check_open()
                if self._interrupts is not None:
                    self._interrupts.check()
                now = time.monotonic()
                ends = [] if until is None else [until]
                if self._opened and self._down_since is not None:
                    ends.append(self._down_since + self.reconnect)
                if ends and now >= min(ends):
                    if waits is Waits.FOR_EVENTS and until is not None and now >= until:
                        return False
                    doubt = waits is not Waits.FOR_ANSWER
                    raise given_up(self._core, receipt, self.broker, self._link.there, doubt)
                change = self._changes.ticket()
            # An hour at a time: a lock cannot wait for as long as a float can say.
            change.acquire(timeout=min([*(end - now for end in ends), 3600.0]))
