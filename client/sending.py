"""The commands that send and leave: ``chat send``, ``chat echo``, ``chat info``."""

from __future__ import annotations

import getpass
import os
import re
import sys
from pathlib import Path

import click

from ..command.run import complain, means_stdin
from ..command.status import Status
from .access import is_own_user, own_names
from .address import parse_address
from .client import Client
from .commands import Outcome
from .errors import MAYBE, ClientError, NameRefused, Refused, UsageError
from .escape import escape
from .events import Notice, Offline, Online
from .feed import LONGEST, Entry, Feed, Result, decode_line
from .identity import Identity
from .input import BadLine
from .interrupts import Interrupts
from .options import Shared, Wait
from .output import Output
from .pipeline import Pipeline, Receipt, Receipts, away_words
from .waiting import wait_for_user

ATTEMPTS = 5
"""Free names that are tried before giving up."""


def free_name() -> str:
    """A name for a sender that needs none of its own, such as ``root-7f3a``."""
    try:
        login = getpass.getuser()
    except (KeyError, OSError):  # A user id without a name, as in some containers.
        login = "user"
    base = re.sub(r"[^a-z0-9_.-]", "", login.lower()).lstrip("_.-")[:20] or "user"
    return f"{base}-{os.urandom(2).hex()}"


def named(shared: Shared) -> Identity | None:
    """Who the user is that ``--as`` names; None without it."""
    return None if shared.user is None else Identity.of(shared.broker, shared.user)


def _name_by_key(broker: str) -> str | None:
    """The name that one has a key for at the secure broker; None where any free one will do.

    Raises UsageError if there are several."""
    address = parse_address(broker)
    names = own_names(address)
    if not names or is_own_user(address):
        return None
    if len(names) > 1:
        raise UsageError(f"you have several names at {broker}: {', '.join(names)}; give --as NAME")
    return names[0]


def _sender(
    shared: Shared, reconnect: float, interrupts: Interrupts, presence: bool = False
) -> Client:
    """A client that follows nothing: it costs the broker nothing to push to.

    *presence*: but it hears who comes and goes."""
    shared = shared._replace(user=shared.user or _name_by_key(shared.broker))
    identity = named(shared)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return Client(
                free_name() if shared.user is None else shared.user,
                shared.broker,
                hear=False,
                presence=presence,
                timeout=shared.timeout,
                reconnect=reconnect,
                identity=identity,
                interrupts=interrupts,
            )
        except NameRefused as error:
            if shared.user is not None or error.code != "name_taken" or attempt == ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def message_from(text: tuple[str, ...], path: Path | None) -> str | None:
    """The one message to send; None if stdin was to be it and is empty.

    Raises Refused for what cannot be sent."""
    if path is not None:
        try:
            with path.open("rb") as file:
                raw = file.read(LONGEST)
        except OSError as error:
            raise click.UsageError(f"cannot read {path}: {error.strerror}") from None
    elif means_stdin(text):
        try:
            raw = sys.stdin.buffer.read(LONGEST)
        except OSError as error:
            raise ClientError(f"cannot read standard input: {error.strerror}") from None
        if not raw:
            return None
    else:
        return _typed(" ".join(text))
    # Of CR LF both; a CR by itself is a part of the text.
    return _decoded(raw[:-1].removesuffix(b"\r") if raw.endswith(b"\n") else raw)


def _typed(words: str) -> str:
    """*words* of a command line.  Bytes that the locale does not know may be UTF-8 all the same."""
    unknown = any("\udc80" <= character <= "\udcff" for character in words)
    return _decoded(os.fsencode(words)) if unknown else words


def _decoded(raw: bytes) -> str:
    try:
        return decode_line(raw)
    except BadLine as bad:
        raise Refused(bad.code, str(bad)) from None


def _has_come(client: Client, wait: Wait | None) -> bool:
    """Returns when whom to wait for is on; False, and says so, if they did not come in time."""
    if wait is None or wait_for_user(client, *wait, report_change):
        return True
    complain("chat", f"{wait.user} was not on within {wait.seconds:g} s; nothing was sent")
    return False


def send_one(
    shared: Shared,
    recipient: str | None,
    text: tuple[str, ...],
    path: Path | None,
    reconnect: float = 0.0,
    wait: Wait | None = None,
) -> int:
    """Sends one message, from where `message_from` finds it, and waits until the broker has it.

    *reconnect*: how long the broker may be gone while it waits for a user."""
    bears = shared.timeout if wait is None else reconnect
    output = Output(as_json=shared.json)
    sent: list[Receipt] = []
    try:
        message = message_from(text, path)
        if message is None:
            return Status.DONE
        with (
            Interrupts() as interrupts,
            _sender(shared, bears, interrupts, wait is not None) as client,
        ):
            if not _has_come(client, wait):
                return Status.OUT_OF_TIME
            pipe = client.pipeline()
            try:
                sent.append(
                    pipe.echo(message) if recipient is None else pipe.send(recipient, message)
                )
                sent[0].wait(client.timeout)
            except Refused:
                report_connection(client)  # Why somebody is muted, say.
                raise
        if shared.json:
            output.record(type="accepted", line=1, **_away(sent[0]))
            output.flush()
        elif sent[0].away:
            complain("chat", escape(away_words(sent[0])))
    except Refused as refused:
        if shared.json:
            output.record(type="refused", line=1, code=refused.code, text=str(refused))
            try:
                output.flush()
            except OSError:
                complain("chat", escape(str(refused)))
                raise
        raise
    except (KeyboardInterrupt, SystemExit, OSError):
        # The status says why it ended, and this what became of the message.
        if sent and sent[0].outcome in _FATES:
            complain("chat", _FATES[sent[0].outcome])
        raise
    return Status.DONE


_FATES = {
    Outcome.ACCEPTED: "the message is stored",
    Outcome.UNSENT: "the message was not sent",
    Outcome.UNKNOWN: f"the message was sent, but not acknowledged: {MAYBE}",
}


def _away(receipt: Receipt) -> dict[str, bool]:
    """What JSON says of an accepted message beside that."""
    return {"away": True} if receipt.away else {}


def send_lines(
    shared: Shared, recipient: str | None, reconnect: float, wait: Wait | None = None
) -> int:
    """Sends each line of stdin, many under way at once."""

    def handle(line: str, client: Client, pipeline: Pipeline) -> Receipt:
        return pipeline.echo(line) if recipient is None else pipeline.send(recipient, line)

    def say_all(lines: list[str], pipeline: Pipeline) -> Receipts:
        if recipient is None:
            return pipeline.echo_many(lines)
        return pipeline.send_many(recipient, lines)

    refused = False
    with (
        Interrupts() as interrupts,
        _sender(shared, reconnect, interrupts, wait is not None) as client,
    ):
        if not _has_come(client, wait):
            return Status.OUT_OF_TIME
        output = Output(as_json=shared.json, interrupts=interrupts)
        feed = Feed(client, handle, say_all=say_all)

        def tell() -> None:
            nonlocal refused
            try:
                for entry in feed.take():
                    refused |= report_entry(entry, output)
            finally:
                output.flush()

        with feed.reading(tell):
            while not feed.finished:
                feed.wait(lambda: feed.ready or client.waiting_events > 0, tell)
                report_connection(client)
                tell()
                if output.closed:
                    feed.finish()
    return Status.REFUSED if refused else Status.DONE


def report_connection(client: Client) -> None:
    """Says on stderr when the connection went and came, for a client that hears nothing."""
    if client.waiting_events:
        for event in client.receive_many(0):
            report_change(event)


def report_change(event: object) -> bool:
    """Says on stderr that the connection went or came, or what the broker says of itself; False
    if *event* is about something else."""
    if isinstance(event, Offline):
        complain("chat", escape(f"{event.why}; reconnecting"))
    elif isinstance(event, Online):
        if event.again:
            complain("chat", "connected again")
    elif isinstance(event, Notice):
        complain("chat", escape(event.line))
    else:
        return False
    return True


def report_entry(entry: Entry, output: Output) -> bool:
    """Says what became of lines; True if any was refused."""
    if entry.plain and not (output.json or output.told_away):
        return False
    refused = False
    for line, result in enumerate(entry.results[entry.told :], entry.line + entry.told):
        refused |= _report(line, result, output)
        entry.told += 1  # After it: whatever ends this, what was not told is known.
    return refused


def _report(line: int, result: Result, output: Output) -> bool:
    """Says what became of a line; True if it was refused."""
    if isinstance(result, Receipt) and result.outcome is Outcome.ACCEPTED:
        if output.json:
            output.record(type="accepted", line=line, **_away(result))
        elif result.away and result.to not in output.told_away:
            # Once is enough: of a thousand lines to one user, a thousand would be noise.
            output.told_away.add(result.to)
            complain("chat", f"line {line}: {escape(away_words(result))}")
        elif not result.away:
            output.told_away.discard(result.to)
        return False
    if isinstance(result, Receipt):
        code, words = result.code, result.words
    elif isinstance(result, BadLine | Refused):
        code, words = result.code, str(result)
    else:
        return False
    if output.json:
        output.record(type="refused", line=line, code=code, text=words)
    complain("chat", f"line {line}: {escape(words)}")
    return True


def show_users(shared: Shared) -> None:
    """Prints who is on."""
    output = Output(as_json=shared.json)
    with (
        Interrupts() as interrupts,
        Client(
            None, shared.broker, hear=False, timeout=shared.timeout, interrupts=interrupts
        ) as client,
    ):
        users = client.users()
    if shared.json:
        output.users(users)
        output.flush()
    else:
        sys.stdout.write("".join([f"{escape(user.name)}\n" for user in users]))
        sys.stdout.flush()
