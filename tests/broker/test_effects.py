from __future__ import annotations

import typing

import pytest

from chatbroker.broker.effects import Deliver, Effect, Note, Publish

ONE_OF_EACH = [
    Deliver(b"\0one", b"frame"),
    Publish(b"echo\0", b"frame"),
    Note("joined", {"user": "alice"}),
]


def test_these_are_all_the_effects_there_are():
    assert {type(effect) for effect in ONE_OF_EACH} == set(typing.get_args(Effect))


@pytest.mark.parametrize("effect", ONE_OF_EACH)
def test_an_effect_is_a_value_and_cannot_change(effect):
    assert effect == type(effect)(*effect)
    for name in effect._fields:
        with pytest.raises(AttributeError):
            setattr(effect, name, None)


def test_who_performs_effects_tells_them_apart_by_their_type():
    assert [type(effect).__name__ for effect in ONE_OF_EACH] == ["Deliver", "Publish", "Note"]
    assert len({type(effect) for effect in ONE_OF_EACH}) == len(ONE_OF_EACH)
