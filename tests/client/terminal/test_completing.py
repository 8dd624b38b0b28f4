"""What Tab offers."""

from __future__ import annotations

import pytest

from chatbroker.client.terminal.completing import common, offers
from chatbroker.client.terminal.typed import COMMANDS


def texts(before, names=("bertha", "bob", "carol")):
    return [offer.text for offer in offers(before, names)]


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("se", ["send "]),
        ("/se", ["/send "]),
        ("h", ["history ", "help"]),
        ("b", ["bertha: ", "bob: "]),
        ("r", ["reply "]),
        ("send b", ["bertha ", "bob "]),
        ("send B", ["bertha ", "bob "]),
        ("/send c", ["carol "]),
        ("to ", ["bertha", "bob", "carol", "everyone"]),
        ("to e", ["everyone"]),
        ("hello b", ["bertha", "bob"]),
        ("hello ", []),
        ("send bob hi c", ["carol"]),
        ("zz", []),
    ],
)
def test_what_tab_offers(before, expected):
    assert texts(before) == expected


def test_an_empty_line_is_offered_every_command_with_what_it_takes():
    found = list(offers("", ["bob"]))
    assert [offer.shown for offer in found] == [command.usage for command in COMMANDS.values()]
    assert all(offer.hint for offer in found)


def test_an_offer_replaces_what_was_begun():
    (offer,) = offers("send bo", ["bob"])
    assert offer.replaces == 2


@pytest.mark.parametrize(
    ("given", "expected"),
    [(["send "], "send "), (["bertha ", "bob "], "b"), (["a", "b"], ""), (["ab", "abc"], "ab")],
)
def test_what_all_begin_with(given, expected):
    assert common(given) == expected
