"""How often clients PING: the more there are, the less often each of them.

A PING of an idle client wakes the broker for a turn of its own, so what idle clients cost is the
number of their PINGs.  All together give some `Settings.pings` a second at most.  Each is told what
to go by in WELCOME, and by the PONGs after it when that has changed.
"""

from __future__ import annotations

from collections.abc import Iterable

from .session import Liveness, Session
from .user import Settings

WORTH_TELLING = 0.25
"""Part of a heartbeat by which another has to differ: as clients come and go it always does a
little."""

MEASURE_EVERY = 10.0
"""Seconds between two looks for the longest lease."""

NO_NEWS = Liveness(0, 0)


class Heartbeats:
    """What each session is told to go by, and what it may go by as far as anyone knows."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._live = 0
        self._usual = self._wanted = self._reckon(0)
        self.longest = settings.lease
        """Seconds: no session has a longer lease."""
        self._measured = 0.0

    def _reckon(self, live: int) -> Liveness:
        heartbeat, lease = self._settings.heartbeat, self._settings.lease
        most = max(heartbeat, self._settings.longest_heartbeat)
        times = min(max(heartbeat, live / self._settings.pings), most) / heartbeat
        return Liveness(round(heartbeat * times * 1000), round(lease * times * 1000))

    def wanted(self, live: int) -> Liveness:
        """What each of *live* sessions should go by."""
        if live != self._live:
            self._live, self._wanted = live, self._reckon(live)
        return self._wanted

    def welcome(self, session: Session, attempt: int, live: int) -> Liveness:
        """What WELCOME tells in answer to the HELLO *attempt*.  If that was answered before, the
        client may go by the first answer, so another would not be heard."""
        if attempt != session.attempt or not session.welcomed.heartbeat:
            session.welcomed = session.liveness = self.wanted(live)
            session.lease = 0.0
            self._told(session)
        return session.welcomed

    def answer(self, session: Session, heartbeat: int, live: int) -> Liveness:
        """What PONG tells a client that goes by *heartbeat* (0: that of WELCOME), or NO_NEWS.

        Until the client says that it goes by what it was told, it may or may not: a PONG is
        lost, or on its way.  So it is told again, and has the longer lease meanwhile.
        """
        told, wanted = session.liveness, self.wanted(live)
        heard = (heartbeat or session.welcomed.heartbeat) == told.heartbeat
        if heard:
            session.lease = told.lease / 1000
        if self._worth_telling(told, wanted):
            session.liveness = wanted
        elif heard:
            return NO_NEWS
        self._told(session)
        return session.liveness

    def _worth_telling(self, told: Liveness, wanted: Liveness) -> bool:
        # The usual one is come back to exactly; it is left again by a quarter only.
        back = wanted == self._usual and wanted != told
        return back or abs(wanted.heartbeat - told.heartbeat) > WORTH_TELLING * told.heartbeat

    def _told(self, session: Session) -> None:
        session.lease = max(session.lease, session.liveness.lease / 1000)
        self.longest = max(self.longest, session.lease)

    def measure(self, sessions: Iterable[Session], clock: float) -> None:
        """Finds now and then that the longest lease is nobody's any more.

        *sessions*: all that are LIVE.  *clock*: seconds."""
        if clock - self._measured >= MEASURE_EVERY:
            self._measured = clock
            self.longest = max([self._settings.lease, *[one.lease for one in sessions]])
