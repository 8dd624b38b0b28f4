"""Thousands of clients at one broker: memory, joining, idling, and what all of them hear."""

from __future__ import annotations

import re
import resource
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median

from chatbroker.broker.descriptors import REFUSE_AT
from chatbroker.wire.messages import Ack, Echo, Ping, Pong

from . import on_broker, zmtp
from .crowd import SPEAKER, Crowd, crowd
from .forwarder import TOPIC
from .load import PATIENCE, Stuck, connections
from .plan import Both, Found, Plan
from .prepared import TEXT, forwarded
from .processes import TICK, Server, running_broker, running_forwarder
from .report import Aim, Better, Ratio, Spread, alternate, micro, ratios, table, times, wide
from .sessions import WINDOW, Session, Unexpected

MANY, FEW = 9000, 100

SPARE = 100
"""Descriptors that a broker needs beside its clients'."""

SAMPLE = 400
"""Clients of the forwarder's, which are all alike."""

IDLE = 10.0
"""Seconds for which an idle broker is watched."""

SETTLE = 5.0
"""Seconds until it is idle: it looks at all who came, where descriptors are short."""

AT_ONCE = ((1, 1), (100, 100), (WINDOW, 1))
"""Messages that are said before all of them were heard, and how many to a frame."""


def clients(plan: Plan, both: Both) -> Found:
    """Nine thousand clients with two connections each."""
    many = most_clients(MANY)
    with (
        running_broker("--memory") as large,
        running_broker("--memory") as small,
        crowd(large, many) as crowded,
        crowd(small, FEW) as few,
        ExitStack() as speaking,
    ):
        found, to_many = _joined(many, large, crowded, speaking)
        few.ask("join")
        few.ask("subscribe")
        (to_few,) = speaking.enter_context(on_broker.sessions(small, [SPEAKER]))
        speakers = [_Speaker(large, crowded, many, to_many), _Speaker(small, few, FEW, to_few)]
        _broadcasts(plan, speakers, found)
    return found


def most_clients(wanted: int) -> int:
    """*wanted*, or as many as there are descriptors for; then it says so.

    A broker has two for each client.  While it has used four fifths of all it takes no new
    sessions: so all join before they subscribe.
    """
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return wanted
    most = min(wanted, (limit - SPARE) // 2, int(limit * REFUSE_AT) - SPARE)
    if most < wanted:
        print(
            f"\n{most} clients and not {wanted}: the system grants {limit} descriptors"
            " (RLIMIT_NOFILE)",
            flush=True,
        )
    return most


def _joined(
    many: int, server: Server, crowded: Crowd, speaking: ExitStack
) -> tuple[Found, Session]:
    """What so many take, and the session of who is to speak to them; *speaking* ends it."""
    before = _resident(server)
    start = time.perf_counter()
    cpu = server.cpu()
    crowded.ask("join")
    joined, join_cpu = time.perf_counter() - start, server.cpu().since(cpu)
    sessions = _resident(server)
    # Later there may be no descriptors left for a session.
    (speaker,) = speaking.enter_context(on_broker.sessions(server, [SPEAKER]))
    start = time.perf_counter()
    crowded.ask("subscribe")
    subscribed = time.perf_counter() - start
    whole = _resident(server)
    # Those who came first were told the heartbeat of a few.
    crowded.ask("ping")
    time.sleep(SETTLE)
    cpu, start = server.cpu(), time.perf_counter()
    time.sleep(IDLE)
    idle = server.cpu().since(cpu)
    watched = time.perf_counter() - start
    client, bare = (whole - before) / many, _bare()
    rows = [
        ("memory a client", _kilo(client)),
        ("  of which with a session alone", _kilo((sessions - before) / many)),
        ("  a client of the forwarder's, for comparison", _kilo(bare)),
        ("until all have a WELCOME", f"{joined:.2f} s"),
        ("  the broker's CPU meanwhile, a client", micro(join_cpu.whole / many)),
        ("until all have subscribed", f"{subscribed:.2f} s"),
        ("CPU of the idle broker", _share(idle.whole / watched)),
        ("  of which its main thread", _share(idle.main / watched)),
    ]
    print(table(f"{many} clients that PING, two connections each", ("", ""), rows), flush=True)
    found = Found(
        [
            Aim(f"{many} clients in 55 KB each", _kilo(client), client <= 55_000),
            Aim(f"{many} clients have joined in 8 s", f"{joined:.2f} s", joined <= 8),
            Aim(
                f"{many} idle clients take 5 % of a core",
                _share(idle.whole / watched),
                idle.whole / watched <= 0.05,
            ),
        ],
        [Ratio("clients / forwarder: memory of each", Spread.of([client / bare]), Better.LESS)],
    )
    return found, speaker


def _bare() -> float:
    """Bytes that a client takes at the forwarder: what libzmq alone needs for two connections.

    Each has sent and got something, as theirs at the broker."""
    names = [b"%06d" % number for number in range(SAMPLE)]
    with running_forwarder() as server:
        before = _resident(server)
        with (
            connections(server.broker, b"DEALER", names) as dealers,
            connections(server.pub, b"SUB", [b""] * SAMPLE) as subs,
        ):
            for inbox, name in zip(dealers, names, strict=True):
                inbox.sock.sendall(forwarded(name, TEXT.encode()))
                inbox.fill()
            for inbox in subs:
                inbox.sock.sendall(zmtp.subscribe(TOPIC))
                inbox.sock.settimeout(0.05)
            for inbox in subs:
                until = time.monotonic() + PATIENCE
                while not inbox.fill():
                    if time.monotonic() > until:
                        raise Stuck("a subscriber of the forwarder's hears nothing")
                    dealers[0].sock.sendall(forwarded(TOPIC, TEXT.encode()))
            return (_resident(server) - before) / SAMPLE


def _resident(server: Server) -> int:
    """Bytes of memory that the process has."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None  # Linux tells it of every process that runs.
    return int(found[1]) * 1024


def _kilo(bytes: float) -> str:
    return f"{bytes / 1000:.1f} KB"


def _share(of_a_core: float) -> str:
    return f"{of_a_core * 100:.1f} % of a core"


# --- what all of them hear ----------------------------------------------------------------


def _broadcasts(plan: Plan, speakers: Sequence[_Speaker], found: Found) -> None:
    """So many messages at a time, the next when all have heard the last."""
    many, few = [speaker.readers for speaker in speakers]
    rows = []
    for at_once, a_frame in AT_ONCE:
        # The same number of deliveries to the few as to the many.
        times_many = max(round(plan.seconds * (5 if at_once == a_frame else 1)), 1)
        how = f"{at_once} at a time, {a_frame} a frame"
        costs = alternate(
            plan.rounds,
            {
                f"{speaker.readers} readers, {how}": partial(
                    speaker.cost, times_many * many // speaker.readers, at_once, a_frame
                )
                for speaker in speakers
            },
        )
        to_many, to_few = costs.values()
        ratio = ratios(to_many, to_few)
        for name, all_of in costs.items():
            beside = times(ratio) if all_of is to_many else ""
            rows.append((name, micro(median(all_of)), wide(Spread.of(all_of)), beside))
        what = f"clients, thousands / {few} readers, {how}: CPU a delivery"
        found.ratios.append(Ratio(what, ratio, Better.LESS))
        what = f"a delivery to {many} readers in 1.2 times the CPU of one to {few}"
        found.aims.append(Aim(f"{what} ({how})", times(ratio), ratio.middle <= 1.2))
    head = ("broadcasts", "CPU a delivery", "spread", f"of {few} readers'")
    print(table("Broadcasts to clients", head, rows), flush=True)


class _Speaker:
    """Says things to everyone, and waits until everyone has heard them."""

    def __init__(self, server: Server, crowded: Crowd, readers: int, session: Session) -> None:
        self._server = server
        self._crowd = crowded
        self.readers = readers
        self._session = session
        self._said = 0
        self._begin()

    def _begin(self) -> None:
        """Speaks until all subscriptions have taken effect."""
        until = time.monotonic() + PATIENCE * 4
        while self._crowd.deaf():
            if time.monotonic() > until:
                raise Stuck("not every subscription took effect")
            self._say(1, 1)
            time.sleep(0.1)
        self._crowd.ask(f"hear {self._said}")

    def _say(self, messages: int, a_frame: int) -> None:
        """Says so many, and waits until they are acknowledged."""
        for _ in range(messages // a_frame):
            self._session.say(Echo(self._said + 1, (TEXT,) * a_frame))
            self._said += a_frame
        acked = 0
        while acked < self._said:
            for message in self._session.messages():
                if isinstance(message, Ack):
                    acked = message.upto
                elif not isinstance(message, Pong):
                    raise Unexpected(f"not an ACK: {message}")

    def cost(self, repeat: int, at_once: int, a_frame: int) -> float:
        """Seconds of CPU for each delivery, when *at_once* messages are said *repeat* times."""
        self._session.say(Ping(1, self._said, self._said, ()))
        self._crowd.ask("quiet")
        cpu = self._server.cpu()
        for _ in range(repeat):
            self._say(at_once, a_frame)
            self._crowd.ask(f"hear {self._said}")
        used = self._server.cpu().since(cpu)
        self._crowd.ask("ping")
        return max(used.whole, TICK) / (repeat * at_once * self.readers)
