"""The checker finds each kind of breach, and nothing in a run without any."""

from __future__ import annotations

import pytest

from torture.verdict import Stored, judge

ECHO = [Stored(1, "sam", "", "sam:1"), Stored(2, "sam", "", "sam:3")]
MAIL = [Stored(1, "sam", "rae", "sam:2"), Stored(2, "sam", "rae", "sam:4")]
STORED = {"echo": ECHO, "rae": MAIL, "sam": MAIL}
SAM = [
    ["open", 0.0, 1],
    ["invoke", 0.0, 1, 1, "*"],
    ["invoke", 0.0, 1, 2, "rae"],
    ["invoke", 0.0, 1, 3, "*"],
    ["invoke", 0.0, 1, 4, "rae"],
    ["invoke", 0.0, 1, 5, "nobody"],
    ["invoke", 0.0, 1, 6, "*"],
    ["ok", 0.0, 1],
    ["ok", 0.0, 2],
    ["ok", 0.0, 3],
    ["unknown", 0.0, 4],
    ["refused", 0.0, 5, "no_such_user"],
    ["end", 0.0],
]
SHOWN = [
    ["shown", 0.0, "echo", 1, "sam", "*", "sam:1"],
    ["shown", 0.0, "direct", 1, "sam", "rae", "sam:2"],
    ["shown", 0.0, "direct", 2, "sam", "rae", "sam:4"],
    ["shown", 0.0, "echo", 2, "sam", "*", "sam:3"],
]
RAE = [["open", 0.0, 1, 0, 0], *SHOWN, ["end", 0.0]]


def verdict(record=RAE, stored=None) -> list[str]:
    return judge({"sam": SAM}, {"rae": record}, STORED | (stored or {}))


def test_a_run_without_a_breach_is_clean():
    assert verdict() == []


def test_what_nobody_acknowledged_may_be_missing():
    mail = MAIL[:1]
    seen = [RAE[0], *SHOWN[:2], SHOWN[3], ["end", 0.0]]
    assert verdict(seen, {"rae": mail, "sam": mail}) == []
    assert verdict(seen) != []


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        ({"echo": ECHO[:1]}, "lost: sam:3 was acknowledged and is not in echo"),
        ({"rae": MAIL[1:]}, "lost: sam:2 was acknowledged and is not in rae"),
        ({"sam": []}, "lost: sam:2 was acknowledged and is not in sam"),
        ({"echo": [*ECHO, Stored(3, "sam", "", "sam:3")]}, "doubled: sam:3 in echo"),
        ({"echo": [*ECHO, Stored(4, "sam", "", "sam:6")]}, "numbers:"),
        (
            {"echo": [Stored(1, "sam", "", "sam:3"), Stored(2, "sam", "", "sam:1")]},
            "reordered:",
        ),
        ({"echo": [*ECHO, Stored(3, "sam", "", "sam:99")]}, "invented:"),
        ({"echo": [*ECHO, Stored(3, "sue", "", "sam:6")]}, "invented:"),
        ({"echo": [*ECHO, Stored(3, "sam", "", "sam:4")]}, "astray:"),
        ({"echo": [*ECHO, Stored(3, "sam", "", "sam:5")]}, "refused, but stored: sam:5"),
    ],
)
def test_what_is_wrong_in_the_data_is_found(stored, words):
    assert any(breach.startswith(words) for breach in verdict(stored=stored))


@pytest.mark.parametrize(
    ("rae", "words"),
    [
        ([RAE[0], SHOWN[0], SHOWN[3], SHOWN[1], RAE[-1]], "rae was shown 1 of 2 in direct"),
        ([RAE[0], SHOWN[3]], "rae was shown 2 of echo after 0"),
        ([RAE[0], SHOWN[0], *SHOWN], "rae was shown 1 of echo after 1"),
        ([RAE[0], *SHOWN], "rae never came to an end"),
        ([*RAE, ["missed", 0.0, "echo"]], "rae was told that something of echo"),
        ([RAE[0], *SHOWN, ["open", 0.0, 2, 1, 2]], "rae went on in echo at 1 instead of 2"),
        (
            [RAE[0], ["shown", 0.0, "echo", 1, "sam", "*", "sam:2"]],
            "rae was shown what is not in echo",
        ),
        (
            [RAE[0], SHOWN[1], ["open", 0.0, 2, 0, "unread"], SHOWN[2], SHOWN[1]],
            "rae was shown 1 of direct after 2",
        ),
    ],
)
def test_what_a_reader_should_not_have_seen_is_found(rae, words):
    assert any(breach.startswith(words) for breach in verdict(rae))


def test_a_reader_of_the_unread_may_see_again_what_it_had_not_confirmed():
    again = [RAE[0], *SHOWN, ["open", 0.0, 2, 2, "unread"], *SHOWN[1:3], ["end", 0.0]]
    assert verdict(again) == []
