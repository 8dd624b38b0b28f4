"""What the shell offers on TAB where ``chatbroker`` wants a name: what the running broker knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .config import StartError
from .control import ask
from .folder import folder_of


def _folder(context: click.Context) -> Path | None:
    """The data folder that the line, the variables and the config file name; None if they are
    wrong."""
    port, data_dir = context.params.get("port"), context.params.get("data_dir")
    if data_dir is not None:
        return Path(data_dir)
    return None if port is None else folder_of(port)


def _ask(context: click.Context, **request: Any) -> dict[str, Any] | None:
    """What the broker there answers; None if none does, or it cannot tell."""
    folder = _folder(context)
    if folder is None:
        return None
    try:
        answer = ask(folder, **request)
    except StartError:
        return None
    return answer if answer.get("ok") is True else None


def _names(context: click.Context, begun: str, held: bool) -> list[str]:
    answer = _ask(context, do="names", begin=begun, only_held=held)
    # Of more than fit, the common beginning is not known: whoever types another letter sees them.
    return answer["names"] if answer is not None and not answer["more"] else []


def known(context: click.Context, begun: str) -> list[str]:
    """Names that are somebody's."""
    return _names(context, begun, held=False)


def held(context: click.Context, begun: str) -> list[str]:
    """Names whose users are there."""
    return _names(context, begun, held=True)


def banned(context: click.Context, _: str) -> list[str]:
    """Who is banned: names and keys."""
    return _under(context, "ban")


def muted(context: click.Context, _: str) -> list[str]:
    """Who is muted."""
    return _under(context, "mute")


def _under(context: click.Context, kind: str) -> list[str]:
    found: list[str] = []
    more = True
    while more:
        answer = _ask(context, do="bans", kind=kind, after=found[-1] if found else "")
        if answer is None:
            return []
        found += [one.get("name") or one["key"] for one in answer["listed"]]
        more = answer["more"]
    return found


def admitted(context: click.Context, _: str) -> list[str]:
    """Whose keys are admitted to a secure broker, or who is invited."""
    from .keyring import load_members

    folder = _folder(context)
    if folder is None:
        return []
    try:
        roll = load_members(folder)
    except StartError:
        return []
    return sorted({one.name for some in (roll.members, roll.invitations) for one in some})
