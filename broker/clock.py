"""The broker's sense of time: the wall clock for stamps, attended time for leases."""

from __future__ import annotations

from datetime import UTC, datetime

MOST_ATTENDED = 1.0
"""Seconds that leases lose in one turn at most: a broker that was itself stopped or starved
has not listened, so its clients were not silent."""

STEP = 60_000
"""Milliseconds that the wall clock gains between two looks, beyond what went by, from which on it
was set and did not drift."""

DOUBT = 3600.0
"""Seconds for which a clock that was set ahead is not believed when it comes to what cannot be
undone: time to set it right."""

BEHIND = 2000
"""Milliseconds by which the wall clock may be behind the stamps of messages without a word."""

News = tuple[str, float]
"""A line for the broker's log, and what goes into it."""


class TurnClock:
    """The time of the current turn."""

    def __init__(self, time: int = 0, seen: int = 0) -> None:
        """*time*: no earlier than any message's; *seen*: nor than any at which somebody left, in
        milliseconds since 1970."""
        self.now = 0.0
        """Seconds of the monotonic clock, which a broker that was stopped does not miss."""
        self.turn = 0
        """The number of the current turn."""
        self.attended = 0.0
        """Seconds that the broker has listened.  Leases run on it."""
        self.time = time
        """Milliseconds since 1970-01-01 UTC; never falls."""
        self.behind = 0
        """Milliseconds by which the wall clock is behind that."""
        self._steps: list[tuple[float, float]] = []
        """When the wall clock was set lately (`now`), and by how many milliseconds ahead; less
        what was put right since.  All of them ahead, or all of them back."""
        self._latest = self._believed = max(time, seen)
        """The latest time of the wall clock, and the latest at which that was believed."""
        self._told = ""
        """Of what `news` told last."""

    def begin(self, now: float, time: int) -> float:
        """Starts a turn.  *now* is a monotonic clock in seconds; *time* is the wall clock in
        milliseconds since 1970, which may step back.

        Returns by how many seconds the turn before was longer than leases run in one turn.
        """
        if not self.turn:
            self.now, self.behind = now, self.time - time
        # Not by max, min and abs: a call takes longer than all of this, in each turn.
        before, self.now = self.now, now
        passed = now - before if now > before else 0.0
        counted = passed if passed < MOST_ATTENDED else MOST_ATTENDED
        self.attended += counted
        gained = time - self.time + self.behind - passed * 1000
        if time > self.time:
            self.time = time
        if time > self._latest:
            self._latest = time
        self.behind = self.time - time
        self.turn += 1
        if not -STEP < gained < STEP:
            self._was_set(gained)
        return passed - counted

    def _was_set(self, gained: float) -> None:
        """The wall clock was set ahead by *gained* milliseconds."""
        lately = self._set_lately()
        # One that goes back farther is behind now, by which nobody is to be away for longer.
        if gained < 0 < lately and lately + gained > -STEP:
            self._latest = self._believed
        self._steps = _with(self._steps, self.now, gained)

    def _set_lately(self) -> float:
        """By how many milliseconds the wall clock was set ahead lately; below 0, if back."""
        self._steps = [step for step in self._steps if self.now - step[0] <= DOUBT]
        return sum([gained for _, gained in self._steps])

    def _ahead(self) -> float:
        """Milliseconds by which the wall clock is not believed yet."""
        lately = self._set_lately()
        ahead = lately if lately >= STEP else 0.0
        self._believed = max(self._believed, self.wall - round(ahead))
        return ahead

    @property
    def wall(self) -> int:
        """The wall clock as it was told, also if it stepped back: for what ends at a time that
        was reckoned by it."""
        return self.time - self.behind

    @property
    def settled(self) -> int:
        """The wall clock, but for what it was set ahead lately: for what goes for good when it is
        too old.  A clock that is wrong for a moment must not take a month of messages with it."""
        return self.wall - round(self._ahead())

    @property
    def latest(self) -> int:
        """Since when somebody is away who leaves now.  As `time`, it does not fall when the wall
        clock steps back, which would age it; but it does when that was ahead for a moment, and was
        not believed: else it would not age for long."""
        self._ahead()
        return max(self._latest, self.wall)

    def news(self) -> News | None:
        """What is to be told of the wall clock, if that has changed."""
        ahead = self._ahead()
        state = "behind" if self.behind > BEHIND else "ahead" if ahead else ""
        if state == self._told:
            return None
        before, self._told = self._told, state
        if state == "behind":
            words = "the system's clock stepped back; messages keep the newest time there is until"
            return f"clock behind=%.0f s: {words} it catches up", self.behind / 1000
        if state == "ahead":
            words = "the system's clock stepped ahead; what is too old by it stays for an hour"
            return f"clock ahead=%.0f s: {words}", ahead / 1000
        again = "messages get" if before == "behind" else "what is too old goes by"
        return f"clock {before}=%.0f s: {again} the system's time again", 0.0


def _with(steps: list[tuple[float, float]], now: float, gained: float) -> list[tuple[float, float]]:
    """*steps*, and that the clock was set by *gained* milliseconds: it puts those right that go
    the other way, the oldest first, and is a step of its own for the rest only."""
    # To keep both and add them up would not do: the step back would be forgotten first, and the
    # one that put it right be taken for one ahead.
    left = []
    for when, step in steps:
        if step * gained < 0:
            undone = step if abs(step) <= abs(gained) else -gained
            step, gained = step - undone, gained + undone
        left.append((when, step))
    return [step for step in [*left, (now, gained)] if step[1]]


def iso(time: int) -> str:
    """*time* (milliseconds since 1970) in UTC, as ``chat --json`` writes it."""
    words = datetime.fromtimestamp(time / 1000, UTC).isoformat(timespec="milliseconds")
    return words.replace("+00:00", "Z")
