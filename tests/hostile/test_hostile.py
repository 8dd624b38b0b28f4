"""Whatever strangers do: memory is bounded, and others are served and lose nothing."""

from __future__ import annotations

import sys

import pytest

from hostile.attacks import ATTACKS
from hostile.stage import HEADER, Stage

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

MOST_GROWTH = 300
"""MiB by which the broker may grow.  docs/hostile.md has what was seen."""


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_the_harm_is_bounded_and_others_are_served(attack):
    stage = Stage(1, *ATTACKS[attack])
    try:
        figures = stage.run(attack)
    finally:
        stage.close()
    print(HEADER, figures.row, sep="\n")
    assert figures.peak - figures.before < MOST_GROWTH
