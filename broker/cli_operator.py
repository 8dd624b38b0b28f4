"""The commands of ``chatbroker`` by which an operator sees and acts: status, kick, ban, unban,
bans, mute, unmute, announce.

``cli`` adds them to the others.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import click

from ..command.completion import offered
from ..command.quantities import parse_duration
from ..command.run import complain, means_stdin
from ..command.status import Status
from ..wire.limits import MAX_WORDS
from .cli_data import (
    Declined,
    all_pages,
    data_dir_option,
    folder_given,
    granted,
    json_option,
    port_option,
    show,
    show_aligned,
)
from .completing import banned, held, known, muted

EVERY = 1.0
"""Seconds between two looks of ``--watch``."""

CLEAR = "\x1b[H\x1b[2J"
"""Clears the screen of a terminal."""

reason_option = click.option("--reason", default="", help="Why: the user is told.")
for_option = click.option(
    "--for",
    "duration",
    metavar="DURATION",
    help="How long, such as 90s, 12h or 30d.  [default: until it is lifted]",
)


def _ask(port: int, data_dir: Path | None, **request: Any) -> dict[str, Any]:
    """The answer to *request*.  Raises StartError, Declined."""
    from .office import put

    return granted(put(folder_given(port, data_dir), request))


def _do(port: int, data_dir: Path | None, **request: Any) -> int:
    """Has *request* carried out."""
    _ask(port, data_dir, **request)
    return Status.DONE


def _impose(
    kind: str, who: str, port: int, data_dir: Path | None, reason: str, duration: str | None
) -> int:
    """Bans or mutes, and says so if nobody is called that."""
    request = {"do": kind, "name": who, "reason": reason, "seconds": _seconds(duration)}
    if _ask(port, data_dir, **request).get("known") is False:
        words = f"nobody has the name {who!r} so far; the {kind} holds for whoever comes with it"
        complain("chatbroker", words)
    return Status.DONE


def _seconds(duration: str | None) -> float | None:
    if duration is None:
        return None
    seconds = parse_duration(duration)
    if not seconds:
        raise click.UsageError(f"--for: {duration!r} is no duration such as 90s, 12h or 30d")
    return seconds


@click.command()
@port_option
@data_dir_option
@json_option
@click.option("--watch", is_flag=True, help="Again every second, until Ctrl-C.")
def status(port: int, data_dir: Path | None, as_json: bool, watch: bool) -> int:
    """Show how the broker is: who is on, what is said, what waits.

    Example: chatbroker status --port 5555 --watch
    """
    from .status import lines_of

    while True:
        found = _ask(port, data_dir, do="status")["status"]
        if as_json:
            click.echo(json.dumps(found))
        else:
            block = "\n".join(lines_of(found))
            click.echo((CLEAR if watch and sys.stdout.isatty() else "") + block)
            if watch and not sys.stdout.isatty():
                click.echo()
        if not watch:
            return Status.DONE
        sys.stdout.flush()
        time.sleep(EVERY)


@click.command()
@click.argument("name", shell_complete=offered(held))
@port_option
@data_dir_option
@reason_option
def kick(name: str, port: int, data_dir: Path | None, reason: str) -> int:
    """End the sessions of NAME, who may come back.

    Example: chatbroker kick alice --reason "too loud"
    """
    return _do(port, data_dir, do="kick", name=name, reason=reason)


@click.command()
@click.argument("who", metavar="NAME|KEY", shell_complete=offered(known))
@port_option
@data_dir_option
@reason_option
@for_option
def ban(who: str, port: int, data_dir: Path | None, reason: str, duration: str | None) -> int:
    """Keep NAME, or whoever has the public key KEY, out.

    Example: chatbroker ban alice --for 12h --reason spam
    """
    return _impose("ban", who, port, data_dir, reason, duration)


@click.command()
@click.argument("who", metavar="NAME|KEY", shell_complete=offered(banned))
@port_option
@data_dir_option
def unban(who: str, port: int, data_dir: Path | None) -> int:
    """Let NAME, or whoever has the public key KEY, in again.

    Example: chatbroker unban alice
    """
    return _do(port, data_dir, do="unban", name=who)


@click.command()
@port_option
@data_dir_option
@json_option
def bans(port: int, data_dir: Path | None, as_json: bool) -> int:
    """List who is banned or muted, since when, until when and why.

    Example: chatbroker bans --port 5555
    """
    from .office import put

    folder = folder_given(port, data_dir)
    found = [
        one
        for kind in ("ban", "mute")
        for one in all_pages(lambda r: put(folder, r), {"do": "bans", "kind": kind}, _who)
    ]
    if as_json:
        show(found)
    else:
        show_aligned([_row_of(one) for one in found])
    return Status.DONE


def _who(one: dict[str, Any]) -> str:
    """The name or the key that is met by a ban or a mute."""
    return str(one.get("name") or one["key"])


def _row_of(one: dict[str, Any]) -> tuple[str, ...]:
    until = f"until {one['until']}" if one["until"] else ""
    return one["kind"], _who(one), f"since {one['since']}", until, one["reason"]


@click.command()
@click.argument("name", shell_complete=offered(known))
@port_option
@data_dir_option
@reason_option
@for_option
def mute(name: str, port: int, data_dir: Path | None, reason: str, duration: str | None) -> int:
    """Refuse what NAME says, who still hears.

    Example: chatbroker mute alice --for 10m
    """
    return _impose("mute", name, port, data_dir, reason, duration)


@click.command()
@click.argument("name", shell_complete=offered(muted))
@port_option
@data_dir_option
def unmute(name: str, port: int, data_dir: Path | None) -> int:
    """Let NAME speak again.

    Example: chatbroker unmute alice
    """
    return _do(port, data_dir, do="unmute", name=name)


@click.command()
@click.argument("text", nargs=-1, required=True)
@port_option
@data_dir_option
def announce(text: tuple[str, ...], port: int, data_dir: Path | None) -> int:
    """Tell TEXT to everybody who is there now; it is not kept.

    '-' reads it from stdin.

    Example: chatbroker announce "back in five minutes"
    """
    words = _from_stdin() if means_stdin(text) else " ".join(text)
    return _do(port, data_dir, do="announce", words=words)


def _from_stdin() -> str:
    """All of stdin, without the newline (LF or CR LF) at its end.  Raises Declined."""
    # One byte beyond that tells whether it is too long.
    words = sys.stdin.buffer.read(MAX_WORDS + 3)
    # Of CR LF both; a CR by itself is a part of the text.
    words = words[:-1].removesuffix(b"\r") if words.endswith(b"\n") else words
    if len(words) > MAX_WORDS:
        raise Declined(f"an announcement is at most {MAX_WORDS} bytes, and stdin has more")
    try:
        return words.decode()
    except UnicodeDecodeError:
        raise Declined("an announcement is UTF-8, and what came on stdin is not") from None


COMMANDS = (status, kick, ban, unban, bans, mute, unmute, announce)
