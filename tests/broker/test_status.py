"""How a broker is, as lines and as an object."""

from __future__ import annotations

import json
from argparse import Namespace

import pytest

from chatbroker.broker.allowance import UNBOUNDED, Allowance
from chatbroker.broker.config import FOREVER, Config
from chatbroker.broker.hand import Survey
from chatbroker.broker.status import Facts, lines_of, status_of
from chatbroker.wire.bucket import UNLIMITED, Rate
from chatbroker.wire.limits import WINDOW

FACTS = Facts("tcp://127.0.0.1:1", "tcp://127.0.0.1:2", 1, False, 3, 2, 25, 20_000, 40, 1)
SURVEY = Survey(5, 2, 4, 3, 1, 6, 2, 700, [("carol", 700)], 9, [("alice", 7), ("bob", 2)])


def status(config=Config(), held="", uptime=90_061.5, facts=FACTS, survey=SURVEY):  # noqa: B008
    counted = [(100, 12.5), (40, 3.0)]
    journal = Namespace(messages=50, size=4096, most_bytes=config.keep_bytes)
    return status_of(config, facts, survey, journal, held, uptime, counted)


def shown(**how):
    return dict(line.split(":", 1) for line in lines_of(status(**how)))


def test_the_object_has_what_the_page_says_and_travels():
    found = json.loads(json.dumps(status()))
    assert found["users"] == {"known": 5, "on": 2, "claimed": 4}
    assert found["sessions"] == {"live": 3, "gone": 1, "lapsed": 6}
    assert found["connections"] == {"clients": 3, "subscribers": 2}
    assert found["messages"] == {"total": 100, "per_second": 12.5}
    assert found["unread"]["largest"][0] == {"user": "alice", "unread": 7}
    assert (found["held"], found["secure"], found["skipped"]) == (None, False, 1)
    assert status(held="the disk is full")["held"] == "the disk is full"


def test_each_limit_in_force_is_there():
    allowance = Allowance(messages=Rate(10, 20), bytes=UNLIMITED, sessions=UNBOUNDED, text=100)
    limits = json.loads(json.dumps(status(Config(allowance=allowance))))["limits"]
    assert set(Allowance._fields) < set(limits)
    assert limits["messages"] == {"per_second": 10, "burst": 20}
    assert (limits["bytes"], limits["sessions"], limits["text"]) == (None, None, 100)
    assert (limits["window"], limits["subscriptions"]) == (WINDOW, 16)
    lines = shown(config=Config(allowance=allowance))
    assert lines["limits"].endswith("texts 100 bytes")
    assert "messages 10/s (20 at once), bytes unlimited, history 33554432/s" in lines["per user"]
    assert f"sessions unlimited, outstanding {WINDOW}, subscriptions 16" in lines["per user"]
    assert lines["per address"].strip().startswith("joins 100/s (20000 at once), claims 1/s")


def test_queues_are_shown():
    assert status()["queues"] == {
        "waiting": 2,
        "unconfirmed": 700,
        "largest": [{"user": "carol", "bytes": 700}],
    }
    found = "700 bytes pushed and not confirmed (carol 700), 2 wait for a name"
    assert shown()["queues"].strip() == found


def test_no_bound_is_null():
    limits = status(Config(keep=None, keep_bytes=None, claim_ttl=FOREVER))["limits"]
    assert (limits["keep"], limits["keep_bytes"], limits["claim_ttl"]) == (None, None, None)


def test_the_lines_say_it_for_people():
    lines = shown()
    assert lines["up"].strip() == "1d 1h 1m 2s"
    assert lines["users"].strip() == "2 on, 5 known, 4 claimed"
    assert lines["unread"].strip() == "9 (alice 7, bob 2)"
    assert lines["limits"].strip() == "keep 30d and 1000000000 bytes, claims 30d, texts 16384 bytes"
    assert lines["storing"].strip() == "yes"
    assert "(plain)" in lines["broker"]
    unbounded = shown(config=Config(keep=None, keep_bytes=None, claim_ttl=FOREVER))
    assert (
        unbounded["limits"].strip()
        == "keep forever and any size, claims forever, texts 16384 bytes"
    )
    assert shown(uptime=0.1)["up"].strip() == "0s"


def test_secure_and_in_memory_are_said():
    lines = shown(config=Config(memory=True), facts=FACTS._replace(secure=True))
    assert "(secure)" in lines["broker"]
    assert lines["journal"].endswith("in memory")


def test_what_holds_on_disk_only_is_not_said_of_memory():
    # That of the journal holds, whatever was asked for.
    limits = status(Config(memory=True, keep=5.0, keep_bytes=1000, sync="off"))["limits"]
    assert (limits["keep"], limits["keep_bytes"], limits["sync"]) == (None, 1000, None)


@pytest.mark.parametrize("held", ["a\nb", "\x1b[31mred", "x\u202ey"])
def test_a_path_in_a_reason_cannot_write_to_the_terminal(held):
    line = lines_of(status(held=held))[-1]
    assert line.isprintable()
    assert line.startswith("storing:     no: ")
