"""What a user interface sees."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from chatbroker.client import events
from chatbroker.client.events import Broadcast, Direct, Notice, UserInfo

MOMENT = datetime(2026, 11, 22, 12, 3, 44, 123_000, tzinfo=UTC)
MILLISECONDS = 1_795_349_024_123


@pytest.mark.parametrize(
    "event",
    [
        Broadcast(1, MILLISECONDS, "bob", "hi"),
        Direct(1, MILLISECONDS, "bob", "alice", "hi"),
        UserInfo("bob", MILLISECONDS),
    ],
)
def test_when_is_a_moment_with_its_zone(event):
    assert abs((event.when - MOMENT).total_seconds()) < 1e-6
    assert event.when.tzinfo is UTC


def test_a_notice_tells_who_speaks():
    assert Notice("storing", "words").line == "words"
    assert Notice("announcement", "words").line == "announcement: words"


@pytest.mark.parametrize("time", [2**53, 2**63 - 1])
def test_a_broker_with_a_clock_gone_mad_has_a_last_moment(time):
    assert Broadcast(1, time, "bob", "hi").when.year == 9999
    assert UserInfo("bob", time).when.year == 9999


def test_every_event_is_one_of_the_union():
    names = {kind.__name__ for kind in events.Event.__args__}
    assert names == {
        "Broadcast",
        "Direct",
        "Joined",
        "Left",
        "Missed",
        "Online",
        "Offline",
        "Notice",
    }


def test_events_are_told_apart_by_their_type():
    with pytest.raises(AttributeError):
        Broadcast(1, 2, "bob", "hi").to  # noqa: B018
