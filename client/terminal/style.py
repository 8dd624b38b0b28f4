"""The colours and attributes of what is shown.

Nothing is told by colour alone: who cannot see it, or wants none, misses nothing.
"""

from __future__ import annotations

from .rows import NICK_COLOURS

_NICKS = (
    *("#d7005f", "#af5f00", "#008700", "#0087af", "#5f5fd7", "#af00d7"),
    *("#d75f00", "#008787", "#875faf", "#5f8700", "#d70087", "#0087d7"),
)
"""Neither so light that they vanish on white, nor so dark that they do on black."""

assert len(_NICKS) == NICK_COLOURS

STYLES: dict[str, str] = {
    **{f"nick.{number}": colour for number, colour in enumerate(_NICKS)},
    "time": "ansibrightblack",
    "own": "bold",
    "direct": "ansimagenta",
    "mention": "bold",
    "caller": "bold reverse",
    "pending": "ansibrightblack italic",
    "presence": "ansibrightblack",
    "told": "",
    "refused": "ansired bold",
    "warning": "bold",
    "mark": "ansibrightblack bold",
    "url": "underline",
    "status": "reverse",
    "question": "bold reverse",
    "prompt": "bold",
}
