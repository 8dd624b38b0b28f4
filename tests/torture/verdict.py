"""What came of a run: every breach of the promises that its records show.

A pure function of what senders and readers noted, and of what is stored in the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple


class Stored(NamedTuple):
    """A message in a log."""

    seq: int
    sender: str
    to: str
    """Empty for a broadcast."""
    text: str


class _Invoked(NamedTuple):
    sender: str
    n: int
    to: str


Records = Mapping[str, Iterable[Sequence[Any]]]


def outcomes(senders: Records) -> tuple[dict[str, _Invoked], dict[str, str]]:
    """What was to be sent, by text, and what each sender heard of it."""
    invoked: dict[str, _Invoked] = {}
    heard: dict[str, str] = {}
    for sender, record in senders.items():
        for what, _, *values in record:
            if what == "invoke":
                _, n, to = values
                invoked[f"{sender}:{n}"] = _Invoked(sender, n, to)
            elif what in ("ok", "unknown", "unsent", "refused"):
                heard[f"{sender}:{values[0]}"] = what
    return invoked, heard


def judge(senders: Records, readers: Records, stored: Mapping[str, Sequence[Stored]]) -> list[str]:
    """The breaches.  *stored*: ``echo``, and by their names the mailboxes of all users."""
    invoked, heard = outcomes(senders)
    breaches = []
    for log, messages in stored.items():
        breaches += _judge_log(log, messages, invoked, heard)
    places = {log: {message.text for message in messages} for log, messages in stored.items()}
    for text, outcome in heard.items():
        to = invoked[text].to
        wanted = ["echo"] if to == "*" else [to, invoked[text].sender]
        if outcome == "ok":
            breaches += [
                f"lost: {text} was acknowledged and is not in {log}"
                for log in wanted
                if text not in places.get(log, ())
            ]
        elif outcome in ("refused", "unsent"):
            breaches += [
                f"{outcome}, but stored: {text} in {log}" for log in places if text in places[log]
            ]
    for reader, record in readers.items():
        breaches += _judge_reader(reader, list(record), stored)
    return breaches


def _judge_log(
    log: str,
    messages: Sequence[Stored],
    invoked: Mapping[str, _Invoked],
    heard: Mapping[str, str],
) -> list[str]:
    breaches = []
    doubled = [text for text, n in Counter([m.text for m in messages]).items() if n > 1]
    breaches += [f"doubled: {text} in {log}" for text in doubled]
    last: dict[str, int] = {}
    for place, message in enumerate(messages, 1):
        if message.seq != place:
            breaches.append(f"numbers: {message} is at {place} of {log}")
        said = invoked.get(message.text)
        if said is None or said.sender != message.sender:
            breaches.append(f"invented: {message} in {log}")
            continue
        right = said.to == "*" if log == "echo" else log in (said.to, said.sender)
        if not right or (message.to or "*") != said.to:
            breaches.append(f"astray: {message} in {log}, sent to {said.to}")
        if said.n < last.get(said.sender, 0):
            breaches.append(f"reordered: {message} in {log} after {last[said.sender]}")
        last[said.sender] = said.n
    return breaches


def _judge_reader(
    reader: str, record: Sequence[Sequence[Any]], stored: Mapping[str, Sequence[Stored]]
) -> list[str]:
    breaches: list[str] = []
    at = {"echo": 0, "direct": 0}
    fresh: dict[str, bool] = {}
    ended = False
    for what, _, *values in record:
        if what == "open":
            _, echo, direct = values
            # What is unread begins where the broker says: before what is new, never after.
            fresh = {"direct": direct == "unread"}
            starts = {"echo": echo} | ({} if direct == "unread" else {"direct": direct})
            for log, start in starts.items():
                if start != at[log]:
                    breaches.append(f"{reader} went on in {log} at {start} instead of {at[log]}")
        elif what == "shown":
            log, seq, sender, to, text = values
            lies = stored.get("echo" if log == "echo" else reader, ())
            right = 0 < seq <= len(lies) and lies[seq - 1] == Stored(
                seq, sender, "" if to == "*" else to, text
            )
            if not right:
                breaches.append(f"{reader} was shown what is not in {log}: {seq} {sender}: {text}")
            if seq <= at[log] and fresh.get(log):
                at[log] = seq - 1  # Again, after a kill; from there on in order.
            fresh[log] = False
            if seq != at[log] + 1:
                breaches.append(f"{reader} was shown {seq} of {log} after {at[log]}")
            at[log] = max(seq, at[log])
        elif what == "missed":
            breaches.append(f"{reader} was told that something of {values[0]} is no longer kept")
        elif what == "end":
            ended = True
    if ended:
        for log in ("echo", "direct"):
            head = len(stored.get("echo" if log == "echo" else reader, ()))
            if at[log] < head:
                breaches.append(f"{reader} was shown {at[log]} of {head} in {log}")
    else:
        breaches.append(f"{reader} never came to an end")
    return breaches
