"""What a program wants to be said, looked at before anything is sent."""

from __future__ import annotations

import pytest

from chatbroker.client.errors import Refused, UsageError
from chatbroker.client.sayable import check_sayable, checked_recipient


def test_a_recipient_is_a_name_in_its_canonical_form():
    assert checked_recipient("Bob") == "bob"


@pytest.mark.parametrize("to", ["", "no name", "everyone", "x" * 1000])
def test_what_is_no_name_is_nobodys(to):
    with pytest.raises(Refused, match=r"^no such user: .*; a name is") as refused:
        checked_recipient(to)
    assert refused.value.code == "no_such_user"
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("to", [None, b"bob", 7])
def test_a_recipient_that_is_no_text_is_misuse(to):
    with pytest.raises(UsageError, match="a name is a str, not"):
        checked_recipient(to)


def test_texts_that_may_be_said_pass():
    assert check_sayable([], 4) is None
    assert check_sayable(["", "four", "üü"], 4) is None


@pytest.mark.parametrize(
    ("text", "code"), [("fives", "too_long"), ("üü!", "too_long"), ("\ud800", "bad_text")]
)
def test_a_text_that_cannot_be_sent_is_refused(text, code):
    with pytest.raises(Refused) as refused:
        check_sayable(["good", text], 4)
    assert refused.value.code == code


def test_a_text_that_is_none_is_misuse_also_beside_one_that_is_too_long():
    with pytest.raises(UsageError, match="a text is a str, not bytes"):
        check_sayable(["too long", b"x"], 4)
