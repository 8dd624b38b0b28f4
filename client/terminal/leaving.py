"""Leaving while something is under way."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from ...command.run import complain
from ..client import Client
from ..commands import Outcome
from ..errors import OutcomeUnknown, Refused, Unreachable
from ..escape import escape
from ..interrupts import Interrupts
from .conversation import Conversation

UNKNOWN = "not all that was typed was acknowledged: it may be stored or not"

MOST_TOLD = 20
"""Messages that are told one by one."""

MOST_WORDS = 300
"""Characters that are told of each."""

GRACE = 0.5
"""Seconds after which a person is told what is being waited for."""


def wait_for_answers(client: Client, interrupts: Interrupts, conversation: Conversation) -> None:
    """Returns when the broker has all that was typed.

    Raises Refused if it refused something of it that nobody was told of, OutcomeUnknown and
    Unreachable; KeyboardInterrupt if the person does not want to wait."""
    # Those of which it is known by now were told to nobody, either.
    waiting = [*conversation.unresolved]
    if not waiting:
        return
    last = waiting[-1]
    if not client.wait_until(lambda: last.done, GRACE):
        count = sum(not receipt.done for receipt in waiting)
        words = "message is" if count == 1 else "messages are"
        complain("chat", f"{count} {words} not stored yet; waiting (Ctrl-C does not wait)")
        client.wait_until(lambda: last.done)
    interrupts.check()
    refused = [receipt for receipt in waiting if receipt.outcome is Outcome.REFUSED]
    for receipt in refused:
        complain("chat", escape(f"{receipt.words} (not sent: {receipt.text})"))
    if any(receipt.outcome in (Outcome.UNKNOWN, Outcome.UNSENT) for receipt in waiting):
        raise OutcomeUnknown(UNKNOWN)
    if refused:
        raise Refused(refused[0].code, "the last of what was typed was refused")


@contextmanager
def telling_what_is_lost(
    conversation: Conversation, typed: Collection[str | None] = ()
) -> Iterator[None]:
    """Around all that a person does: where an exception ends it, tells what of what they typed
    the broker is not known to have.  The screen on which it stood is gone by then.  *typed*: lines
    that were not looked at yet.

    Raises OutcomeUnknown at the end if there was something in between of which nobody knows, or
    if the broker is gone and may have some of it, whatever was waited for."""
    try:
        yield
    except BaseException as error:
        lost = [*conversation.unresolved]
        lost = [one for one in lost if one.outcome not in (Outcome.ACCEPTED, Outcome.REFUSED)]
        for receipt in lost[:MOST_TOLD]:
            words = escape(receipt.text[:MOST_WORDS])
            words += "…" if len(receipt.text) > MOST_WORDS else ""
            to = "" if receipt.to is None else f" to {escape(receipt.to)}"
            state = "sent, not acknowledged" if receipt.sent else "not sent"
            complain("chat", f"{state}{to}: {words}")
        if len(lost) > MOST_TOLD:
            complain("chat", f"… and {len(lost) - MOST_TOLD} more")
        if lines := [line for line in typed if line]:
            complain(
                "chat", f"not sent: {len(lines)} lines, from {escape(lines[0][:MOST_WORDS])!r} on"
            )
        doubt = conversation.in_doubt or any(receipt.sent for receipt in lost)
        if isinstance(error, Unreachable) and doubt:
            raise OutcomeUnknown(UNKNOWN) from None
        raise
    if conversation.in_doubt:
        raise OutcomeUnknown(UNKNOWN)
