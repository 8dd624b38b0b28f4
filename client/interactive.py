"""``chat join`` on a terminal: which kind of terminal it is, and what its person wants."""

from __future__ import annotations

import os
import threading
from importlib import import_module
from shutil import get_terminal_size
from typing import NamedTuple

from .interrupts import Interrupts
from .options import Shared
from .receiving import Joining, joined

LEAST_LINES = 5
"""Of what was said before, on however small a screen."""


class Wishes(NamedTuple):
    """What a person wants of the terminal."""

    plain: bool
    """Simple lines, whatever the terminal can do."""
    colour: bool
    notify: str
    """``bell``, ``desktop`` or ``off``."""
    keys: str | None
    """``emacs`` or ``vi``; None: as their inputrc says."""


def run_interactive(shared: Shared, joining: Joining, wishes: Wishes) -> int:
    """A person at a terminal."""
    plain = wishes.plain or os.environ.get("TERM", "dumb") == "dumb"
    if not plain:
        # What draws takes a while to load: meanwhile the broker can answer.
        loading = threading.Thread(target=import_module, args=(f"{__package__}.terminal.screen",))
        loading.start()
    screenful = max(get_terminal_size().lines - 6, LEAST_LINES)
    with Interrupts() as interrupts, joined(shared, joining, interrupts) as client:
        if plain:
            from .terminal.plain import converse as converse_plainly

            return converse_plainly(client, interrupts, screenful, wishes.notify == "bell")
        loading.join()
        from .terminal.alerts import Alerts
        from .terminal.inputrc import vi_keys
        from .terminal.screen import Looks, converse

        vi = vi_keys() if wishes.keys is None else wishes.keys == "vi"
        colour = wishes.colour and not os.environ.get("NO_COLOR")
        looks = Looks(colour, Alerts(wishes.notify, os.environ), vi)
        return converse(client, interrupts, screenful, looks)
