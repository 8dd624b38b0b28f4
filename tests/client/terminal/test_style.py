from __future__ import annotations

import re
from pathlib import Path

from chatbroker.client.terminal import style
from chatbroker.client.terminal.rows import NICK_COLOURS
from chatbroker.client.terminal.style import STYLES


def test_whatever_is_shown_has_its_style_and_no_style_is_in_vain():
    """One without is shown like anything else, and nobody is told."""
    modules = Path(style.__file__).parent.glob("*.py")
    shown = {name for one in modules for name in re.findall(r"class:([a-z]+)", one.read_text())}
    assert shown | {"caller", "mention"} == {name.partition(".")[0] for name in STYLES}


def test_each_nick_has_a_colour_of_its_own():
    colours = {STYLES[f"nick.{number}"] for number in range(NICK_COLOURS)}
    assert len(colours) == NICK_COLOURS
