"""What a user and an address may do: the defaults, and the buckets that hold them to it.

Nothing here stops anybody for good.  Whoever is over a rate waits until it is made up for; whoever
has as many sessions as are allowed closes one.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Sequence
from ipaddress import IPv6Address, ip_address
from math import inf
from typing import Any, NamedTuple

from ..wire.bucket import UNLIMITED, Bucket, Rate
from ..wire.codec import FROM_CLIENT, Decoder
from ..wire.limits import MAX_TEXT
from ..wire.messages import Echo, Send

MIB = 1024 * 1024

UNBOUNDED = sys.maxsize
"""Of what is counted and not measured by the second."""

MOST_ADDRESSES = 10_000
"""Addresses that are remembered.  Of one that was not seen for longer than so many others, it is
forgotten what it has used up."""


class Allowance(NamedTuple):
    """What an operator may set (``chatbroker run --limit``)."""

    messages: Rate = Rate(100_000, 1_000_000)
    """Commands of one user.  Ten seconds' worth at once: a pipe of a million lines goes at full
    speed, and a flood without end does not."""
    bytes: Rate = Rate(32 * MIB, 320 * MIB)
    """Frames with commands of one user."""
    history: Rate = Rate(32 * MIB, 256 * MIB)
    """Answers to FETCH to one user, or to the observers of one address."""
    joins: Rate = Rate(100, 20_000)
    """New sessions from one address: 6000 a minute.  A team behind one address, or scripts that
    run ``chat send`` in a loop, do not get there."""
    claims: Rate = Rate(1, 1000)
    """Names that are claimed anew from one address: 60 a minute."""
    sessions: int = 64
    """Of one user; lapsed ones make room."""
    address_sessions: int = 20_000
    """LIVE ones from one address."""
    text: int = MAX_TEXT
    """Bytes of a text; may only be lowered."""
    subscriptions: int = 16
    """Topics that one connection may subscribe to, those that it gave up again included.  There
    are three."""


DEFAULTS = Allowance()


class Spent:
    """What one user has used up, in all sessions together."""

    __slots__ = ("_bytes", "_messages", "bytes", "history", "messages", "until")

    def __init__(self, allowance: Allowance) -> None:
        self._messages = Bucket(allowance.messages)
        self._bytes = Bucket(allowance.bytes)
        self.history = Bucket(allowance.history)
        self.until = -inf
        """When the user may say more, if that is to come."""
        self.messages = self.bytes = 0
        """What was said in this turn, which is not taken yet: a frame costs two additions."""

    def wait(self, now: float) -> float:
        """Seconds until the user may say more; 0 if that is now."""
        return max(self.until - now, 0.0)

    def settle(self, now: float) -> None:
        """Takes what was said in this turn."""
        self.until = max(self._messages.take(self.messages, now), self._bytes.take(self.bytes, now))
        self.messages = self.bytes = 0


class Place:
    """What comes from one address, and what it has used up."""

    __slots__ = ("claims", "history", "joins", "live")

    def __init__(self, allowance: Allowance) -> None:
        self.live = 0
        """LIVE sessions."""
        self.allow(allowance)

    def allow(self, allowance: Allowance) -> None:
        """Has *allowance* hold from now on, of which nothing is used up."""
        self.joins = Bucket(allowance.joins)
        self.claims = Bucket(allowance.claims)
        self.history = Bucket(allowance.history)
        """Of its observers."""


class Places:
    """The addresses that clients came from lately, who came last last."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._all: OrderedDict[str, Place] = OrderedDict()

    def __len__(self) -> int:
        return len(self._all)

    def allow(self, allowance: Allowance) -> None:
        """Has *allowance* hold from now on, of which nothing is used up."""
        self._allowance = allowance
        for place in self._all.values():
            place.allow(allowance)

    def find(self, address: str) -> Place:
        """The place that *address* belongs to, found or made."""
        network = network_of(address)
        place = self._all.get(network)
        if place is None:
            place = self._all[network] = Place(self._allowance)
            if len(self._all) > MOST_ADDRESSES:
                self._all.popitem(last=False)
        else:
            self._all.move_to_end(network)
        return place


def told(rate: Rate) -> tuple[int, int]:
    """*rate* as WELCOME tells it, with 0 for any."""
    return (0, 0) if rate == UNLIMITED else (int(rate.per_second), int(rate.burst))


class Decoding:
    """Decodes frames of clients, to whom a broker allows texts of so many bytes."""

    def __init__(self, allowance: Allowance) -> None:
        self._decoder = Decoder(FROM_CLIENT)
        self.allow(allowance)

    def allow(self, allowance: Allowance) -> None:
        """Has *allowance* hold from now on."""
        decoder, most = self._decoder, allowance.text
        self.decode: Callable[[bytes], list[Any]] = decoder.decode
        self.decode_commands: Callable[[Sequence[bytes]], list[Any]] = decoder.decode_commands
        if most < MAX_TEXT:
            self.decode = lambda frame: shortened(decoder.decode(frame), most)
            self.decode_commands = lambda frames: shortened(decoder.decode_commands(frames), most)


def shortened(messages: Sequence[Any], most: int) -> list[Any]:
    """*messages* of a client, with None for each text that is longer than *most* bytes, as the
    codec puts it for what no broker takes."""

    def fit(text: str | None) -> str | None:
        return None if text is None or len(text.encode()) > most else text

    return [
        message._replace(texts=tuple(map(fit, message.texts)))
        if type(message) in (Send, Echo)
        else message
        for message in messages
    ]


def network_of(address: str) -> str:
    """What counts as one address: of IPv6 the first 64 bits, for whoever has one of them has
    them all."""
    try:
        ip = ip_address(address.strip("[]").partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(IPv6Address(int(ip) >> 64 << 64))
    return str(ip)
