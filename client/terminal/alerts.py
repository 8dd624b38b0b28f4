"""How a terminal draws attention to a message: its bell, or a notification of the desktop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

BELL = "\a"

LEAST_PAUSE = 1.0
"""Seconds between two: a flood of messages is one event to a person."""

MOST_WORDS = 200
"""Characters of a notification."""


class Alerts(NamedTuple):
    """What to write to the terminal; *kind* is ``bell``, ``desktop`` or ``off``."""

    kind: str
    variables: Mapping[str, str]
    """Of the environment: they tell which terminal it is."""

    def sequence(self, words: str) -> str:
        """What to write for a message that reads *words*, which are escaped already."""
        if self.kind == "off":
            return ""
        if self.kind == "bell":
            return BELL
        term = self.variables.get("TERM", "")
        if term.startswith("linux"):
            return BELL  # There is no desktop, and the console takes the words for text.
        shown = words[:MOST_WORDS]
        # OSC 777 came with rxvt; VTE's terminals and foot know it.  The others that know any
        # know OSC 9, which came with iTerm2.
        if "VTE_VERSION" in self.variables or term.startswith(("rxvt", "foot")):
            osc = f"\x1b]777;notify;chat;{shown.replace(';', ',')}\x1b\\"
        else:
            osc = f"\x1b]9;{shown}\x1b\\"
        if "TMUX" in self.variables:
            # tmux hands it on, if it may (allow-passthrough).
            doubled = osc.replace("\x1b", "\x1b\x1b")
            osc = f"\x1bPtmux;{doubled}\x1b\\"
        return osc
