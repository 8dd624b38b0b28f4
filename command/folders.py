"""The folders of the platform that both commands keep things in."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from .hosts import one_spelling

NOWHERE = Path(os.devnull, "no-home-folder")
"""The data folder of a user who has no home folder: nothing is there, and nothing can be made."""


def data_folder() -> Path:
    """Where the platform keeps a user's data: …/chatbroker.

    The variable CHATBROKER_DATA names another folder; NOWHERE if the system knows of none."""
    named = os.environ.get("CHATBROKER_DATA")
    if named:
        return Path(named)
    # Here, because --help and shell completion need no folder.
    from platformdirs import user_data_path

    try:
        return user_data_path("chatbroker", appauthor=False)
    except RuntimeError:
        return NOWHERE


def file_name(host: str, port: int) -> str:
    """What stands for the broker at *host* and *port* in the name of a file."""
    return f"{quote(one_spelling(host), safe='')}_{port}"
