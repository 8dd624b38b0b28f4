"""Keys as people pass them on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbroker.wire.errors import BadKey
from chatbroker.wire.keys import key_text, parse_key
from chatbroker.wire.limits import KEY_LENGTH


@given(st.binary(min_size=KEY_LENGTH, max_size=KEY_LENGTH))
def test_a_key_survives_being_written_and_needs_no_quoting(key):
    text = key_text(key)
    assert parse_key(text) == key
    assert len(text) == 52
    assert text.isalnum()


@pytest.mark.parametrize(
    "text", ["", "a" * 51, "a" * 53, "a" * 51 + "b", "a" * 51 + "=", "A" * 52, "1" * 52, "ä" * 52]
)
def test_what_is_not_exactly_a_key_is_refused_and_not_repeated(text):
    with pytest.raises(BadKey, match="52") as caught:
        parse_key(text)
    assert not text or text not in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_a_key_in_its_one_spelling_or_none(text):
    try:
        key = parse_key(text)
    except BadKey:
        return
    assert key_text(key) == text
