"""Why there is no journal where one was looked for."""

from __future__ import annotations

from pathlib import Path

from .config import StartError
from .control import ask
from .folder import in_use
from .hints import ELSEWHERE
from .journal import JournalError


def no_journal(path: Path) -> JournalError:
    """The words for whoever looked for a journal at *path*, and found none."""
    why = f"there is no journal at {path}"
    if _in_memory(path.parent):
        # In its folder operators meet it: they gave the right one, and are to look no further.
        words = "the broker there keeps everything in memory, and has nothing to read or copy"
        return JournalError(f"{why}: {words}")
    return JournalError(f"{why}; {ELSEWHERE}")


def _in_memory(folder: Path) -> bool:
    """Whether a broker serves from *folder* that keeps nothing on disk, as it says itself."""
    try:
        # The journal of one that does keep it may have been moved away.
        answer = ask(folder, do="status") if in_use(folder) else {}
    except StartError:
        return False
    return answer.get("ok") is True and answer["status"].get("memory") is True
