"""How a broker is, for an operator to read: as an object, and as lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..command import VERSION
from ..wire.bucket import UNLIMITED, Rate
from ..wire.limits import MAX_FRAME, PUSH_WINDOW, WINDOW
from .allowance import UNBOUNDED
from .config import FOREVER, Config
from .hand import Survey
from .journal import Journal


class Facts(NamedTuple):
    """What only the sockets know."""

    address: str
    pub_address: str
    port: int
    secure: bool
    clients: int
    """Connections that said something."""
    subscribers: int
    descriptors: int
    most_descriptors: int
    frames: int
    """Frames that were given to ZeroMQ, for one connection or for all who subscribed."""
    skipped: int
    """Of them, those that were dropped because a pipe was full."""


def status_of(
    config: Config,
    facts: Facts,
    survey: Survey,
    journal: Journal,
    held: str,
    uptime: float,
    counted: Sequence[tuple[int, float]],
) -> dict[str, Any]:
    """The status as an object.

    *held*: why nothing can be stored; empty if it can.
    *uptime*: seconds.  *counted*: of messages and of frames, how many there were and how
    many a second.
    """
    (said, said_rate), (sent, sent_rate) = counted
    return {
        "version": VERSION,
        "address": facts.address,
        "pub": facts.pub_address,
        "secure": facts.secure,
        "memory": config.memory,
        "uptime": round(uptime, 1),
        "users": {"known": survey.known, "on": survey.on, "claimed": survey.claimed},
        "sessions": {"live": survey.live, "gone": survey.gone, "lapsed": survey.lapsed},
        "connections": {"clients": facts.clients, "subscribers": facts.subscribers},
        "descriptors": {"used": facts.descriptors, "limit": facts.most_descriptors},
        "messages": {"total": said, "per_second": said_rate},
        "frames": {"total": sent, "per_second": sent_rate},
        "skipped": facts.skipped,
        "queues": {
            "waiting": survey.waiting,
            "unconfirmed": survey.unconfirmed,
            "largest": [{"user": user, "bytes": count} for user, count in survey.slow],
        },
        "unread": {
            "total": survey.unread,
            "largest": [{"user": user, "unread": count} for user, count in survey.lagging],
        },
        "journal": {"messages": journal.messages, "bytes": journal.size},
        "held": held or None,
        "limits": {
            "keep": None if config.memory else config.keep,
            "keep_bytes": journal.most_bytes,
            "claim_ttl": None if config.claim_ttl >= FOREVER else config.claim_ttl,
            "sync": None if config.memory else config.sync,
            "frame": MAX_FRAME,
            "window": WINDOW,
            "push_window": PUSH_WINDOW,
            **{name: _limit(value) for name, value in config.allowance._asdict().items()},
        },
    }


def _limit(value: Rate | int) -> dict[str, float] | int | None:
    """A limit as an object says it; None for no bound."""
    if value in (UNLIMITED, UNBOUNDED):
        return None
    return value._asdict() if isinstance(value, Rate) else value


def lines_of(status: dict[str, Any]) -> list[str]:
    """The status as lines: what it is about, and the numbers."""
    users, sessions, unread = status["users"], status["sessions"], status["unread"]
    reached, files = status["connections"], status["descriptors"]
    said, sent, journal = status["messages"], status["frames"], status["journal"]
    limits, held = status["limits"], status["held"]
    mode = "secure" if status["secure"] else "plain"
    kept = "in memory" if status["memory"] else f"on disk, sync {limits['sync']}"
    queues = status["queues"]
    largest = ", ".join([f"{one['user']} {one['unread']}" for one in unread["largest"]])
    slow = ", ".join([f"{one['user']} {one['bytes']}" for one in queues["largest"]])
    found = {
        "broker": f"{status['address']} ({mode}), chatbroker {status['version']}",
        "up": _span(status["uptime"]),
        "users": f"{users['on']} on, {users['known']} known, {users['claimed']} claimed",
        "sessions": "{live} live, {gone} gone, {lapsed} lapsed".format(**sessions),
        "connections": "{clients} clients, {subscribers} subscribers".format(**reached)
        + ", {used} of {limit} descriptors".format(**files),
        "messages": "{per_second}/s, {total} in all".format(**said),
        "frames sent": "{per_second}/s, {total} in all".format(**sent)
        + f", {status['skipped']} skipped",
        "queues": f"{queues['unconfirmed']} bytes pushed and not confirmed"
        + (f" ({slow})" if slow else "")
        + f", {queues['waiting']} wait for a name",
        "unread": f"{unread['total']}" + (f" ({largest})" if largest else ""),
        "journal": f"{journal['messages']} messages, {journal['bytes']} bytes, {kept}",
        "limits": f"keep {_span(limits['keep'])} and {_size(limits['keep_bytes'])}, "
        f"claims {_span(limits['claim_ttl'])}, texts {limits['text']} bytes",
        "per user": f"messages {_rate(limits['messages'])}, bytes {_rate(limits['bytes'])}, "
        f"history {_rate(limits['history'])}, sessions {_most(limits['sessions'])}, "
        f"outstanding {limits['window']}, subscriptions {_most(limits['subscriptions'])}",
        "per address": f"joins {_rate(limits['joins'])}, claims {_rate(limits['claims'])}, "
        f"sessions {_most(limits['address_sessions'])}",
        "storing": f"no: {held}" if held else "yes",
    }
    return [f"{what + ':':13}{_plain(words)}" for what, words in found.items()]


def _span(seconds: float | None) -> str:
    if seconds is None:
        return "forever"
    days, rest = divmod(round(seconds), 86400)
    hours, rest = divmod(rest, 3600)
    parts = [(days, "d"), (hours, "h"), (rest // 60, "m"), (rest % 60, "s")]
    return " ".join([f"{count}{unit}" for count, unit in parts if count]) or "0s"


def _rate(rate: dict[str, float] | None) -> str:
    if rate is None:
        return "unlimited"
    return f"{round(rate['per_second'], 2):.12g}/s ({rate['burst']:.12g} at once)"


def _most(most: int | None) -> str:
    return "unlimited" if most is None else str(most)


def _size(size: int | None) -> str:
    return "any size" if size is None else f"{size} bytes"


def _plain(words: str) -> str:
    """A path, say, may hold anything."""
    return "".join([c if c.isprintable() else "?" for c in words])
