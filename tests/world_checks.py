"""What must hold in a world, at each step and at the end; and small limits, which are soon met."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from chatbroker.broker.session import State
from chatbroker.broker.user import User
from chatbroker.client import events
from chatbroker.client.commands import Outcome
from chatbroker.client.core import Phase
from chatbroker.wire.errors import Code
from chatbroker.wire.limits import MAX_TEXT
from chatbroker.wire.messages import (
    DIRECT_LOG,
    ECHO_LOG,
    Event,
)
from world import QUIET, Peer, Said, World

# --- small limits ---------------------------------------------------------------------------

WINDOW = 8
MOST_HINTS = 30
MOST_AHEAD = 4

# With the real ones, a test would have to say a million things to meet any of them.
TINY = {
    "WINDOW": WINDOW,
    "MAX_RUNS": 2,
    "MAX_TEXTS": 3,
    "PUSH_WINDOW": 1500,
    "FRAME_TARGET": 150,
    "MAX_FETCH": 300,
    "MAX_USERS": 2,
    "MOST_REPLIES": 3000,
    "MOST_EVENTS": 20,
    "IN_A_FRAME": 5,
    "MOST_HINTS": MOST_HINTS,
    "MOST_AHEAD": MOST_AHEAD,
}


@contextmanager
def tiny_limits() -> Iterator[None]:
    """Has every module that is loaded go by TINY."""
    patched = [
        (module, name, getattr(module, name))
        for module_name, module in sorted(sys.modules.items())
        if module_name.startswith("chatbroker.")
        for name in TINY
        if hasattr(module, name)
    ]
    for module, name, _ in patched:
        setattr(module, name, TINY[name])
    try:
        yield
    finally:
        for module, name, value in patched:
            setattr(module, name, value)


# --- what must hold ---------------------------------------------------------------------------


HEALED = 40.0
"""Seconds after which everything must be well once the trouble has ended."""


class Broken(AssertionError):
    """A promise is broken."""


def demand(holds: object, words: str) -> None:
    if not holds:
        raise Broken(words)


def check_step(world: World) -> None:
    """What holds after every step, seen from above."""
    check_broker(world)
    for peer in world.peers:
        if peer.alive:
            check_bounds(peer)
        check_outcomes(world, peer)
        check_syncs(peer)


def check_broker(world: World) -> None:
    """Names are unique, and nothing grows."""
    broker = world.broker
    registry = broker._registry
    for identity, session in broker._door.bound.items():
        demand(session.state is State.LIVE, f"{session} is bound and not live")
        demand(session.identity == identity, f"{session} is bound to another connection")
    for session in registry.sessions.values():
        if session.state is State.LIVE:
            demand(session.identity in broker._door.bound, f"{session} is live and not bound")
    peers = {peer.session: peer for peer in world.peers}
    joined, founders = Counter[str](), Counter[str]()
    for session in registry.sessions.values():
        if session.user is not None and session.holding:
            name = session.user.name
            demand(registry.users.get(name) is session.user, f"two users hold {name!r}")
            joined[name] += session.exclusive and session.state is State.LIVE
            founders[name] += peers[session.id].founder
    demand(all(n <= 1 for n in joined.values()), f"joined twice: {joined}")
    demand(all(n <= 1 for n in founders.values()), f"held by two strangers: {founders}")
    said, out = broker._said, broker._out
    if not broker.held:
        outcomes = broker._outcomes
        of_the_turn = (
            said._dirty,
            said.routes,
            outcomes.owed,
            outcomes.gaps,
            broker._brake.spenders,
            broker._brake._slowed,
        )
        demand(not any(of_the_turn), "a turn left something behind")
        demand(not out._delivered and not out._published, "a turn left something to say")
    for user in registry.users.values():
        check_read(world, user)
    demand(len(broker._door.waiting) <= 20, "HELLOs pile up")
    demand(len(broker._door.bound) <= len(registry.sessions), "connections pile up")
    journal = world.journal
    demand(journal.events <= world.events, "the journal keeps more than it may")
    keys = {user.mailbox.key for user in registry.users.values()} | {ECHO_LOG}
    demand(journal._logs.keys() <= keys, f"mailboxes of nobody: {journal._logs.keys() - keys}")
    for session in registry.sessions.values():
        demand(len(session._kinds) <= WINDOW, f"{session} keeps too many refusals")
    demand(not world.life.breaches, f"the journal was given {world.life.breaches}")


def check_read(world: World, user: User) -> None:
    """Nothing counts as read that no program of the user's took."""
    readers = [
        peer.readers[DIRECT_LOG]
        for peer in world.peers
        if peer.core.name == user.name and DIRECT_LOG in peer.readers
    ]
    taken = [reader._shown.get(user.mailbox.epoch, 0) for reader in readers]
    events = [e for run in world.life.logs.get(user.mailbox.key, [])[-1:] for e in run]
    # What the user said is no news to the user.
    of_others = [e.text for e in events[max(taken, default=0) : user.read] if e.to == user.name]
    demand(not of_others, f"{user} has read up to {user.read}: {taken}, {of_others}")


def check_bounds(peer: Peer) -> None:
    core = peer.core
    demand(len(core.outbox._flying) <= WINDOW, f"{peer} has too many commands under way")
    demand(
        len(core.inbox.events) <= MOST_HINTS + 20, f"{peer} keeps {len(core.inbox.events)} events"
    )
    demand(len(core._pings._extra) <= 50, f"{peer} keeps {len(core._pings._extra)} pings")
    for reader in peer.readers.values():
        demand(len(reader._ahead) <= MOST_AHEAD, f"{peer} keeps batches")


def check_outcomes(world: World, peer: Peer) -> None:
    """What an outcome says is so when it is told."""
    for said in peer.said:
        if said.done and not said.checked:
            said.checked = True
            check_outcome(world, peer, said)


def check_outcome(world: World, peer: Peer, said: Said) -> None:
    life = world.epochs.get(peer.core._epoch)
    match said.outcome:
        case Outcome.ACCEPTED:
            demand(any(said.text in life.homes for life in world.lives), f"{said}, but not stored")
        case Outcome.REFUSED:
            demand(life is not None and said.text not in life.homes, f"{said}, but stored")
            expected = {Code.NO_SUCH_USER}
            if len(said.text) > MAX_TEXT:
                expected.add(Code.TOO_LONG)
            demand(said.to is not None and said.code in expected, f"{said}, as {said.code}")
        case Outcome.UNKNOWN:
            forgotten = life is not None and peer.session in life.forgotten
            over = peer.core.phase is Phase.OVER or not peer.alive
            demand(forgotten or over, f"{said}, but the session is known")
        case Outcome.UNSENT:
            stored = any(said.text in life.homes for life in world.lives)
            demand(not stored, f"{said}, but stored")


def check_syncs(peer: Peer) -> None:
    """Whoever is told to be caught up is."""
    for sync in list(peer.syncs):
        ref, heads = sync
        if peer.core.caught_up(ref):
            peer.syncs.remove(sync)
            for log, (epoch, head) in heads.items():
                reader = peer.readers[log]
                demand(
                    reader.epoch != epoch or reader.position >= head,
                    f"{peer} is caught up at {reader.position} of {head} in {log}",
                )


def heal(world: World) -> None:
    """Ends all trouble; then everybody gets what is theirs, and soon."""
    world.noise, world.capacity, world.most_frames = QUIET, 1000, 512
    world.journal.full = False
    world.stall(0.0)
    for peer in world.peers:
        peer.losing.clear()
        peer.taking = True
        peer.thaw()
    if not world.settle(HEALED):
        stuck = [peer for peer in world.peers if peer.alive and not world._rests(peer)]
        raise Broken(f"stuck: {stuck}")
    # Those who went without a word are missed by now.
    world.run(world.broker.longest_lease + world.settings.grace + 1.0)
    asking = [peer for peer in world.peers if peer.alive]
    for peer in asking:
        query = peer.core.ask_users()
        world.settle()
        on = sorted({p.core.name for p in asking if DIRECT_LOG in p.readers})
        seen = [user.name for user in query.users]
        demand(query.done and seen == on, f"{peer} sees {seen}, and there are {on}")


def check_end(world: World) -> None:
    """What holds when all is quiet again."""
    sessions = world.broker._registry.sessions
    for peer in world.peers:
        if peer.alive:
            demand(peer.core.phase is Phase.READY, f"{peer} is not back")
            demand(sessions[peer.session].state is State.LIVE, f"{peer} is nobody to the broker")
        check_end_of(peer)
        for said in peer.said:
            demand(said.done or peer.killed, f"{said}, and nobody can say why")
            check_delivered(world, said)
        for log in peer.readers:
            check_reading(world, peer, log)
    there = [peer.core.name for peer in world.peers if peer.alive and peer.core._exclusive]
    demand(len(set(there)) == len(there), f"two of a name: {there}")
    demand(not world.broker._door.waiting, "HELLOs wait for nothing")
    demand(len(world.broker._door.bound) == sum(p.alive for p in world.peers), "dead connections")
    for life in world.lives:
        check_stored(world, life.logs)


def check_delivered(world: World, said: Said) -> None:
    """What was accepted is where it belongs; what was not sent is nowhere."""
    found = [life.homes[said.text] for life in world.lives if said.text in life.homes]
    if said.outcome is Outcome.UNSENT:
        demand(not found, f"{said}, but stored")
    elif said.outcome is Outcome.ACCEPTED:
        wanted = {ECHO_LOG} if said.to is None else {f"@{said.peer.core.name}", f"@{said.to}"}
        # The mailbox of one who left in the same turn is gone with its owner.
        gone = {f"@{peer.core.name}" for peer in world.peers if not peer.alive}
        named = [{key.partition(":")[0] for key in keys} for keys in found]
        demand(any(wanted - gone <= names <= wanted for names in named), f"{said}, and in {found}")


def check_end_of(peer: Peer) -> None:
    """Nobody is sent away but for a name that somebody else has."""
    refusal = peer.core.refusal
    if refusal is not None:
        taken = refusal.code in (Code.NAME_TAKEN, Code.NAME_CLAIMED, Code.ALREADY_JOINED)
        rivals = [p for p in peer.world.peers if p.core.name == peer.core.name and p is not peer]
        demand(taken and rivals, f"{peer} was sent away: {refusal}")


def check_stored(world: World, logs: dict[str, list[list[Event]]]) -> None:
    """Each text once, from whom it came, in the order in which it was said."""
    for key, lives in logs.items():
        stored = [event for events in lives for event in events]
        last: dict[int, int] = {}
        for event in stored:
            index, number = (int(part) for part in event.text.split("."))
            peer = world.peers[index]
            demand(event.sender == peer.core.name, f"{event} is not of {peer}")
            demand(last.get(index, 0) < number, f"{key}: {event} comes again or too late")
            last[index] = number
            demand((key == ECHO_LOG) == (event.to == ""), f"{event} is in {key}")
        times = [event.time for events in lives[-1:] for event in events]
        demand(times == sorted(times), f"{key}: time runs backwards")


def check_reading(world: World, peer: Peer, log: str) -> None:
    """From where it began to the head: every position shown once, in order, or missed."""
    reader = peer.readers[log]
    kind = events.Broadcast if log == ECHO_LOG else events.Direct
    shown: list[list[events.Broadcast | events.Direct]] = [[]]
    position = reader.begun[0].start if reader.begun else 0
    for event in peer.taken:
        if isinstance(event, events.Missed) and event.log == log:
            if event.lost is None:
                shown.append([])
                demand(len(shown) <= len(reader.begun), f"{peer}: {log} went on as another")
                position = reader.begun[len(shown) - 1].start
            else:
                position += event.lost
                gone = dropped(world, peer, log, reader.begun[len(shown) - 1].epoch)
                demand(position <= gone, f"{peer} missed what is kept: {event} up to {position}")
        elif isinstance(event, kind):
            position += 1
            demand(event.seq == position, f"{peer}: {event} comes at {position} of {log}")
            shown[-1].append(event)
    if peer.alive:
        demand(len(shown) == max(len(reader.begun), 1), f"{peer}: another {log} in silence")
        demand(position == reader.position, f"{peer}: {log} shown to {position}")
    runs = iter(
        [
            run
            for life in world.lives
            for key, lives in life.logs.items()
            if (key == ECHO_LOG if log == ECHO_LOG else key.startswith(f"@{peer.core.name}"))
            for run in lives
        ]
    )
    for part in shown:
        # Each part is of one life of the log, and of a later one than the part before.
        if part:
            found = any(all(_is_in(run, event) for event in part) for run in runs)
            demand(found, f"{peer} was shown what was never so stored in {log}: {part}")


def dropped(world: World, peer: Peer, log: str, epoch: bytes) -> int:
    """The position up to which one life of a log is no longer kept."""
    if log == ECHO_LOG:
        return world.epochs[epoch].dropped.get(log, 0)
    key = f"@{peer.core.name}:{epoch.hex()}"
    return max([life.dropped.get(key, 0) for life in world.lives])


def _is_in(run: list[Event], shown: events.Broadcast | events.Direct) -> bool:
    if shown.seq > len(run):
        return False
    stored = run[shown.seq - 1]
    to = shown.to if isinstance(shown, events.Direct) else ""
    return stored == (shown.time, shown.sender, to, shown.text)
