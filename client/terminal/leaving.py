"""Leaving while something is under way."""

from __future__ import annotations

from ...command.run import complain
from ..client import Client
from ..errors import OutcomeUnknown, Refused
from ..escape import escape
from ..interrupts import Interrupts
from ..outbox import Outcome
from .conversation import Conversation

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
        raise OutcomeUnknown("not all that was typed was acknowledged: it may be stored or not")
    if refused:
        raise Refused(refused[0].code, "the last of what was typed was refused")
