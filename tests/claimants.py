"""People who claim names, and what others hear of it."""

from __future__ import annotations

from chatbroker.wire.messages import Bye, Farewell, Follow, Info, Pong, Start

KEY, OTHER_KEY = b"alice's own key!", b"mallory's key 16"
LEASE, GRACE, DAY = 15.0, 3.0, 86400.0
UNREAD = Follow("direct", b"", Start.UNREAD, 0)
REPLACED = "the user's next client took this one for dead"


def claims(world, name="alice", credential=KEY, **how):
    """Somebody who claims *name*."""
    return world.joins(name, credential=credential, claim=True, **how)


def leaves(peer) -> None:
    assert peer.says(Bye()).of(Farewell)[0].code == "left"


def on(peer) -> list[str]:
    """Who is on, as *peer* hears it."""
    return [user.name for user in peer.says(Info(1, ""))[0].users]


def asks(world, name="alice", **how) -> list:
    """What somebody else hears who wants *name*, in this turn and the next."""
    stranger = world.connects()
    heard = stranger.joins(name, **how)
    world.turn()
    return [message for message in [*heard, *stranger.hears()] if type(message) is not Pong]


def presence(world) -> list[tuple[str, bool]]:
    return [(message.name, message.on) for message in world.hears(b"presence\0")]
