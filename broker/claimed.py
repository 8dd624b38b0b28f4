"""What an operator sees of claimed names, and how one is released."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from .absent import no_journal
from .audit import note_once
from .config import StartError
from .control import ask
from .database import FILE
from .folder import as_its_owner, in_use
from .journal import Commit
from .opening import own_journal
from .operator import unknown
from .snapshot import Snapshot, reading


class Claim(NamedTuple):
    """A name that stays its user's while they are away."""

    name: str
    seen: int
    """When it was last held, as far as is stored, in milliseconds since 1970."""
    unread: int
    """Messages in the mailbox that the user has not confirmed to have read."""
    held: bool
    """Whether a session holds it, of the broker that serves: without one nobody does."""


def claims(path: Path) -> list[Claim]:
    """The claims in the database at *path*, sorted by name; a broker may be writing to it.

    Raises JournalError.
    """
    with reading(path) as db:
        kept = Snapshot(db)
    heads = kept.heads()
    lost = {log.key: log.lost for log in kept.logs.values()}
    # As they were when it was last stored: of a broker that was killed, they are stored still.
    holding = {session.user for session in kept.sessions.values() if session.holding}
    if holding and not _served(path.parent):
        holding = set()
    found = []
    for name, user in sorted(kept.users.items()):
        if user.claimed:
            unread = heads.get(user.log, 0) - max(user.read, lost.get(user.log, 0))
            found.append(Claim(name, user.seen, max(unread, 0), name in holding))
    return found


def _served(folder: Path) -> bool:
    try:
        return in_use(folder)
    except StartError:
        return False  # Nobody serves from where nothing can be written.


def release(folder: Path, name: str, fresh: bytes) -> str:
    """Frees *name* (in its canonical form): by the broker that serves from *folder*, or in its
    data if none does.  Why it was refused, in words; empty if it was done.

    *fresh*: an epoch, should these data begin a new one.  Raises StartError, JournalError.
    """
    if in_use(folder):
        answer = ask(folder, do="release", name=name)
        return "" if answer.get("ok") is True else str(answer.get("words", "refused"))
    with as_its_owner(folder):
        return _release_alone(folder, name, fresh)


def _release_alone(folder: Path, name: str, fresh: bytes) -> str:
    path = folder / FILE
    if not path.exists():
        raise no_journal(path)
    journal = own_journal(folder)
    try:
        logs = {user.name: user.log for user in journal.load(fresh).users}
        if name not in logs:
            return unknown(name)
        journal.commit(Commit(gone=[name], dropped=[logs[name]]))
        note_once(folder, "release", user=name)
    finally:
        journal.close()
    return ""
