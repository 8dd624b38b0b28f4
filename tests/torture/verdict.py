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
    life: int
    """Which session of its sender's it was."""
    n: int
    to: str

    @property
    def logs(self) -> list[str]:
        """Where it belongs."""
        return ["echo"] if self.to == "*" else [self.to, self.sender]


Records = Mapping[str, Sequence[Sequence[Any]]]


def outcomes(senders: Records) -> tuple[dict[str, _Invoked], dict[str, str]]:
    """What was to be sent, by text, and what each sender heard of it."""
    invoked: dict[str, _Invoked] = {}
    heard: dict[str, str] = {}
    for sender, record in senders.items():
        for what, _, *values in record:
            if what == "invoke":
                life, n, to = values
                invoked[f"{sender}:{n}"] = _Invoked(sender, life, n, to)
            elif what in ("ok", "unknown", "unsent", "refused"):
                heard[f"{sender}:{values[0]}"] = what
    return invoked, heard


def judge(senders: Records, readers: Records, stored: Mapping[str, Sequence[Stored]]) -> list[str]:
    """The breaches.  *readers*: by the user's name, and what words may follow it.  *stored*:
    ``echo``, and by their names the mailboxes of all users."""
    invoked, heard = outcomes(senders)
    breaches = []
    for log, messages in stored.items():
        breaches += _judge_log(log, messages, invoked, heard)
    places = {log: {message.text for message in messages} for log, messages in stored.items()}
    for text, message in invoked.items():
        outcome = heard.get(text, "unknown")
        missing = [log for log in message.logs if text not in places.get(log, ())]
        if outcome == "ok":
            breaches += [f"lost: {text} was acknowledged and is not in {log}" for log in missing]
        elif outcome in ("refused", "unsent"):
            breaches += [
                f"{outcome}, but stored: {text} in {log}" for log in places if text in places[log]
            ]
        elif 0 < len(missing) < len(message.logs):
            breaches.append(f"half: {text} is not in {missing[0]}, and in the other mailbox")
    for name, record in {**senders, **readers}.items():
        breaches += _judge_ways(name, record)
    for reader, record in readers.items():
        breaches += _judge_reader(reader, record, stored)
    return breaches


def _judge_ways(name: str, record: Iterable[Sequence[Any]]) -> list[str]:
    """Everybody came in with the name that is theirs, and did all that they were to do."""
    breaches = []
    ended = False
    for what, _, *values in record:
        ended = ended or what == "end"
        # A session of one's own that is not known to be dead yet is waited for.
        if what == "turned_away" and values[0] != "already_joined":
            breaches.append(f"turned away: {name}, by {values[0]}")
    return breaches if ended else [*breaches, f"{name} never came to an end"]


def _judge_log(
    log: str,
    messages: Sequence[Stored],
    invoked: Mapping[str, _Invoked],
    heard: Mapping[str, str],
) -> list[str]:
    breaches = []
    doubled = [text for text, n in Counter([m.text for m in messages]).items() if n > 1]
    breaches += [f"doubled: {text} in {log}" for text in doubled]
    order = _Order(log)
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
        breaches += order.breaches(said, heard.get(message.text) == "ok")
    return breaches


class _Order:
    """Whether what was said after another comes after it in a log.

    What a sender that was killed had under way may be taken in when its next session has said
    something already: nobody waited for it.  So across sessions only what was acknowledged
    has to come first.
    """

    def __init__(self, log: str) -> None:
        self._log = log
        self._last: dict[tuple[str, int], int] = {}
        """The number of the last one of each session."""
        self._newest: dict[str, _Invoked] = {}
        """The last one of the newest session of each sender."""

    def breaches(self, said: _Invoked, acknowledged: bool) -> list[str]:
        session, newest = (said.sender, said.life), self._newest.get(said.sender, said)
        late = said.life < newest.life and acknowledged
        last = newest.n if late else self._last.get(session, 0)
        self._last[session] = max(self._last.get(session, 0), said.n)
        if said.life >= newest.life:
            self._newest[said.sender] = said
        if last <= said.n:
            return []
        return [f"reordered: {said.sender}:{said.n} in {self._log} after {said.sender}:{last}"]


def _judge_reader(
    reader: str, record: Sequence[Sequence[Any]], stored: Mapping[str, Sequence[Stored]]
) -> list[str]:
    breaches: list[str] = []
    logs = {"echo": stored.get("echo", ()), "direct": stored.get(reader.split()[0], ())}
    at = {"echo": 0, "direct": 0}
    fresh: dict[str, bool] = {}
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
            lies = logs[log]
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
            for log in ("echo", "direct"):
                head = len(logs[log])
                if at[log] < head:
                    breaches.append(f"{reader} was shown {at[log]} of {head} in {log}")
    return breaches
