"""Which keys a person is used to, by what they told readline."""

from __future__ import annotations

import os
import re
from pathlib import Path

_MODE = re.compile(r"\s*set\s+editing-mode\s+(vi|emacs)\s*$", re.IGNORECASE)


def vi_keys() -> bool:
    """Whether the file that INPUTRC names, else ``~/.inputrc``, else ``/etc/inputrc``, asks for
    the keys of vi.  As with readline, a file that cannot be read asks for nothing."""
    named = os.environ.get("INPUTRC")
    for path in [Path(named)] if named else [Path("~/.inputrc"), Path("/etc/inputrc")]:
        try:
            lines = path.expanduser().read_text(errors="replace").splitlines()
        except (OSError, RuntimeError):  # RuntimeError: a user without a home.
            continue
        return _asks_for_vi(lines)
    return False


def _asks_for_vi(lines: list[str]) -> bool:
    """The last ``set editing-mode`` that holds for every program."""
    vi = False
    depth = 0
    for line in lines:
        word = line.split(maxsplit=1)[0].lower() if line.split() else ""
        if word == "$if":
            depth += 1
        elif word == "$endif":
            depth = max(depth - 1, 0)
        elif depth == 0 and (match := _MODE.match(line)):
            vi = match[1].lower() == "vi"
    return vi
