"""How a terminal draws attention."""

from __future__ import annotations

import pytest

from chatbroker.client.terminal.alerts import MOST_WORDS, Alerts


@pytest.mark.parametrize(
    ("kind", "variables", "expected"),
    [
        ("off", {}, ""),
        ("bell", {"TERM": "xterm"}, "\a"),
        ("desktop", {"TERM": "xterm"}, "\x1b]9;bob: a;b\x1b\\"),
        ("desktop", {"TERM": "linux"}, "\a"),
        ("desktop", {}, "\x1b]9;bob: a;b\x1b\\"),
        ("desktop", {"TERM": "rxvt-unicode"}, "\x1b]777;notify;chat;bob: a,b\x1b\\"),
        ("desktop", {"TERM": "xterm", "VTE_VERSION": "7"}, "\x1b]777;notify;chat;bob: a,b\x1b\\"),
        (
            "desktop",
            {"TERM": "screen", "TMUX": "x"},
            "\x1bPtmux;\x1b\x1b]9;bob: a;b\x1b\x1b\\\x1b\\",
        ),
    ],
)
def test_what_is_written(kind, variables, expected):
    assert Alerts(kind, variables).sequence("bob: a;b") == expected


def test_a_long_message_is_cut():
    assert len(Alerts("desktop", {}).sequence("x" * 10_000)) < MOST_WORDS + 20
