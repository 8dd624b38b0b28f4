"""Where an operator is heard: the desk, what may be asked there, and what is written down.

`Office` belongs to a running broker.  `stand_in` does what can be done without one.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import NamedTuple

from . import audit
from .audit import Audit, note_once
from .config import Config, StartError
from .control import Desk, ask
from .core import Broker
from .database import FILE
from .effects import Effect, Note
from .folder import DataFolder, as_its_owner, folder_of, in_use
from .hints import ELSEWHERE
from .journal import Journal
from .kept_file import SANCTIONS, KeptFile, sanctions_in
from .logs import log, say, set_up
from .memory_journal import MemoryJournal
from .operator import ACTIONS, Answer, Operator, Request, Surroundings, whom
from .own_files import require_data
from .rates import Rates
from .reread import Reach, apply
from .sanctions import CannotKeep, Kind, Sanctions
from .secure import Secure
from .status import Facts, status_of
from .user import Settings

DECISIONS = frozenset({"refused", "claim_lapsed", "enrolled"})
"""The notes of the core that belong into the audit log."""


CATCH_UP = 5.0
"""Seconds between two attempts to keep what was taken back and could not be kept."""


class Edge(NamedTuple):
    """What the office needs of the sockets."""

    perform: Callable[[list[Effect]], None]
    part_with: Callable[[Collection[bytes]], list[bytes]]
    facts: Callable[[], Facts]
    subscribe: Callable[[int], None]
    """Has so many topics be the most that one connection may subscribe to."""
    watch: Callable[[socket.socket], None]
    forget: Callable[[socket.socket], None]


class Office:
    """One for each broker.

    *folder*: where the broker keeps its data; None if it keeps none.
    *read_config*: reads the settings again.  Raises StartError.
    """

    def __init__(
        self,
        config: Config,
        folder: Path | None,
        core: Broker,
        journal: Journal,
        sanctions: Sanctions,
        secure: Secure | None,
        edge: Edge,
        read_config: Callable[[], Config] | None,
    ) -> None:
        self._config = config
        self._kept = None if folder is None else KeptFile(folder / SANCTIONS)
        self._core = core
        self._journal = journal
        self._sanctions = sanctions
        self._edge = edge
        self._read_config = read_config
        self._secure = secure
        self._catch_up_at = 0.0
        self._clock = core.clock
        self._started = time.monotonic()
        self._rates = Rates()
        self.audit = Audit(None if folder is None else folder / audit.FILE, core.clock)
        around = Surroundings(
            edge.perform,
            edge.part_with,
            self.audit.note,
            self._status,
            lambda: core.clock.settled,
            secure,
        )
        self._operator = Operator(core.hand, sanctions, around)
        self._place = _meeting_place(edge.facts().port) if config.memory else None
        where = self._place.path if self._place is not None else folder
        self._desk = None if where is None else Desk(where, edge.watch, edge.forget)
        # What was over before was told when it was, if anybody was there.
        sanctions.at(time.time_ns() // 1_000_000)

    # --- within turns ---------------------------------------------------------------------

    def expire(self) -> None:
        """Lifts the bans and mutes that are over, and has those hold again that are not."""
        turned = self._sanctions.at(self._clock.wall)
        for event, sanctions in (("expired", turned.over), ("resumed", turned.again)):
            for sanction in sanctions:
                self.audit.note(event, kind=sanction.kind.value, **whom(sanction))
        for sanction in turned.again:
            # Whom a ban is on may have come meanwhile.
            if sanction.kind is Kind.BAN:
                self._operator.enforce(sanction)
            else:
                self._operator.tell_mute(sanction)

    def tidy(self) -> None:
        """Does what has time until nobody waits."""
        now = self._clock.now
        self.audit.tidy()
        self._rates.sample(now, self._totals)
        if self._desk is not None:
            self._desk.tidy()
        if self._secure is not None and self._secure.behind and now >= self._catch_up_at:
            self._catch_up_at = now + CATCH_UP
            self._secure.catch_up()

    def hear(self, held: bool) -> None:
        """Does what operators ask for.  *held*: whether nothing can be stored now."""
        if self._desk is not None:
            carry_out, wall = self._operator.carry_out, self._clock.wall
            self._desk.hear(lambda request, by: carry_out(request, by, wall, held), held)

    def tell(self) -> None:
        """What was asked for is stored."""
        if self._desk is not None:
            self._desk.tell()

    def note(self, note: Note) -> None:
        """Writes down what the core noted."""
        if note.what in DECISIONS:
            self.audit.note(note.what, **note.fields)
        else:
            say(note.what, note.grave, **note.fields)

    def _totals(self) -> tuple[int, int]:
        return int(self._core.counts.batches.total), self._edge.facts().frames

    def _status(self) -> Answer:
        totals = self._totals()
        return status_of(
            self._config,
            self._edge.facts(),
            self._core.hand.survey(),
            self._journal,
            self._core.held_because,
            self._clock.now - self._started,
            list(zip(totals, self._rates.per_second(self._clock.now, *totals), strict=True)),
        )

    # --- rereading ------------------------------------------------------------------------

    def reread(self) -> None:
        """Takes up what changed in the config file and in that of bans and mutes, and goes on
        in a new audit log.  What cannot be read changes nothing."""
        self.audit.reopen()
        for what, take_up in (("config", self._reread_config), ("sanctions", self._take_up)):
            try:
                take_up()
            except (StartError, CannotKeep, ValueError) as error:
                log.warning("reread of=%s failed, what was stays: %s", what, error)
                self.audit.note("reread_failed", of=what)

    def _reread_config(self) -> None:
        if self._read_config is None:
            return
        try:
            wanted = self._read_config()
        except StartError:
            raise
        except Exception as error:  # noqa: BLE001 - what the file says ends no broker that serves
            raise StartError(repr(error)) from None
        reach = Reach(
            lambda config: self._journal.retain(config.keep, config.keep_bytes),
            self._core.hand.adjust,
            lambda config: set_up(config.verbose, config.log_format),
            self._edge.subscribe,
        )
        self._config, changed, waiting = apply(self._config, wanted, reach)
        self.audit.note("reread", changed=changed, needs_restart=waiting)
        if waiting:
            log.warning("reread waiting=%s: a restart makes it hold", ",".join(waiting))

    def _take_up(self) -> None:
        if self._kept is not None:
            kept = self._kept.read()
            if not kept and any(self._sanctions.listed(kind, most=1) for kind in Kind):
                # Whoever was banned is not let in because a file was lost.
                raise CannotKeep(f"{self._kept.path} is gone; 'chatbroker unban' lifts a ban")
            self._sanctions.take_up(kept)
            # What is kept has those that are over until it is written again.
            self._sanctions.at(self._clock.wall)
            for ban in self._sanctions.listed(Kind.BAN):
                self._operator.enforce(ban)

    def close(self) -> None:
        """Is heard no more.  A folder that was only to meet in goes."""
        if self._secure is not None and (why := self._secure.catch_up()):
            log.warning("members what was revoked is admitted at the next start: %s", why)
        if self._desk is not None:
            self._desk.close()
        if self._place is not None:
            self._place.remove()
        self.audit.close()


def _meeting_place(port: int) -> DataFolder | None:
    """Where operators meet a broker that keeps nothing; None if it cannot be had."""
    path = folder_of(port)
    try:
        if str(path).startswith("~"):
            raise StartError("there is no home")
        return DataFolder(path)
    except StartError as error:
        # What it hints at is for those who want to keep data there.
        words = str(error).partition(";")[0]
        log.warning("control path=%s cannot be had, no operator is heard: %s", path, words)
        return None


def put(folder: Path, request: Request) -> Answer:
    """Puts *request* to the broker that serves from *folder*; if none does, does what can be done
    without one.  Raises StartError."""
    if in_use(folder):
        return ask(folder, **request)
    if not ACTIONS[request["do"]].alone:
        raise StartError(f"no broker runs at {folder}; start it, or {ELSEWHERE}")
    require_data(folder)
    with as_its_owner(folder):
        return stand_in(folder, request)


def stand_in(folder: Path, request: Request) -> Answer:
    """What a broker would do that nobody is on."""
    lock, journal = DataFolder(folder), folder / FILE
    try:
        if journal.exists():
            # A broker whose lock and socket were removed would not hear of it.
            lock.hold(journal)
        now = time.time_ns() // 1_000_000
        sanctions = sanctions_in(folder)
        sanctions.at(now)
        nobody = Broker(Settings(pub_port=0), MemoryJournal(), os.urandom, None, sanctions)
        note = partial(note_once, folder)
        around = Surroundings(_perform_nothing, _nobody, note, dict, lambda: now)
        operator = Operator(nobody.hand, sanctions, around)
        answer = operator.carry_out(request, os.getuid(), now, held=False)
        answer.pop("known", None)  # Users are in the journal, which it does not open.
        return answer
    finally:
        lock.close()


def _perform_nothing(effects: list[Effect]) -> None:
    assert not effects


def _nobody(keys: Collection[bytes]) -> list[bytes]:
    return []
