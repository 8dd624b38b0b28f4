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


def verdict(record=RAE, stored=None, sam=SAM) -> list[str]:
    return judge({"sam": sam}, {"rae": record}, STORED | (stored or {}))


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
        ({"rae": MAIL[:1]}, "half: sam:4 is not in rae"),
        ({"sam": MAIL[:1]}, "half: sam:4 is not in sam"),
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


SECOND_LIFE = [*SAM[:-1], ["open", 0.0, 2], ["invoke", 0.0, 2, 7, "*"], ["ok", 0.0, 7], SAM[-1]]


def said(*numbers: int) -> dict[str, list[Stored]]:
    return {"echo": [Stored(at, "sam", "", f"sam:{n}") for at, n in enumerate(numbers, 1)]}


def reordered(stored) -> list[str]:
    return [one for one in verdict([], stored, SECOND_LIFE) if one.startswith("reordered")]


def test_what_a_killed_sender_had_under_way_may_come_after_what_its_next_life_said():
    assert reordered(said(1, 3, 6, 7)) == []
    assert reordered(said(1, 3, 7, 6)) == []


def test_what_was_acknowledged_to_a_sender_comes_before_what_its_next_life_said():
    assert reordered(said(1, 7, 3, 6)) == ["reordered: sam:3 in echo after sam:7"]


def test_within_a_life_the_order_holds_for_what_nobody_acknowledged_too():
    assert reordered(said(1, 6, 3, 7)) == ["reordered: sam:3 in echo after sam:6"]
    assert reordered(said(1, 7, 6, 3))[-1] == "reordered: sam:3 in echo after sam:7"


@pytest.mark.parametrize("code", ["claimed", "not_authorised"])
def test_nobody_is_kept_from_a_name_that_is_theirs(code):
    turned_away = [["turned_away", 0.0, code], *SAM]
    assert verdict(sam=turned_away) == [f"turned away: sam, by {code}"]


def test_whoever_was_killed_may_have_to_wait_for_its_own_last_session():
    assert verdict(sam=[["turned_away", 0.0, "already_joined"], *SAM]) == []


def test_a_sender_that_never_came_to_an_end_is_found():
    assert verdict(sam=SAM[:-1]) == ["sam never came to an end"]


def test_what_newcomers_are_given_in_the_end_is_judged_by_their_mailbox():
    mail = [["shown", 0.0, "direct", n, "sam", "rae", f"sam:{2 * n}"] for n in (1, 2)]
    record = [["open", 0.0, 1, 0, 0], SHOWN[0], SHOWN[3], *mail, ["end", 0.0]]
    newcomers = {"sam in the end": record, "rae in the end": record}
    assert judge({"sam": SAM}, newcomers, STORED) == []
    assert judge({"sam": SAM}, {"sue in the end": record}, STORED) != []
