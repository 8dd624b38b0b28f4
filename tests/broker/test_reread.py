"""Which settings hold at once when they are read again."""

from __future__ import annotations

import pytest

from chatbroker.broker.allowance import Allowance
from chatbroker.broker.config import Config
from chatbroker.broker.reread import AT_ONCE, Reach, apply


class Told:
    def __init__(self):
        self.heard = []
        self.reach = Reach(
            lambda config: self.heard.append(("retain", config.keep, config.keep_bytes)),
            lambda **changed: self.heard.append(("adjust", changed)),
            lambda config: self.heard.append(("log", config.verbose, config.log_format)),
            lambda most: self.heard.append(("subscribe", most)),
        )


@pytest.fixture
def told():
    return Told()


def test_nothing_changed_is_nothing_done(told):
    assert apply(Config(), Config(), told.reach) == (Config(), [], [])
    assert told.heard == []


@pytest.mark.parametrize(
    ("changed", "heard"),
    [
        ({"keep": 5.0}, ("retain", 5.0, 1_000_000_000)),
        ({"keep_bytes": None}, ("retain", 30 * 86400.0, None)),
        ({"claim_ttl": 7.0}, ("adjust", {"claim_ttl": 7.0})),
        ({"verbose": True}, ("log", True, "text")),
        ({"log_format": "json"}, ("log", False, "json")),
    ],
)
def test_what_holds_at_once_is_told(told, changed, heard):
    new = Config(**changed)
    spelled = [name.replace("_", "-") for name in changed]  # As the options are.
    assert apply(Config(), new, told.reach) == (new, spelled, [])
    assert told.heard == [heard]


def test_limits_are_told_to_the_core_and_to_the_sockets(told):
    new = Config(allowance=Allowance(subscriptions=7))
    assert apply(Config(), new, told.reach) == (new, ["limit"], [])
    assert told.heard == [("adjust", {"allowance": new.allowance}), ("subscribe", 7)]


def test_what_waits_for_a_restart_is_not_in_force_and_is_named_again(told):
    new = Config(port=6000, sync="off", keep=5.0)
    in_force, changed, waiting = apply(Config(), new, told.reach)
    assert (changed, waiting) == (["keep"], ["port", "sync"])
    assert in_force == Config(keep=5.0)
    assert apply(in_force, new, told.reach) == (in_force, [], ["port", "sync"])
    # Taken back before the restart, it is no change.
    assert apply(in_force, Config(keep=5.0), told.reach) == (in_force, [], [])


def test_the_table_names_settings_that_there_are():
    assert set(AT_ONCE) <= set(Config._fields)
