"""The commands of ``chatbroker`` by which an operator sees and acts: status, kick, ban, unban,
bans, mute, unmute, announce.

``cli`` adds them to the others.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ..command.quantities import parse_duration
from ..command.run import complain
from ..command.status import Status
from .cli_data import data_dir_option, data_folder_of, json_option, port_option

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
    """The answer to *request*.  Raises StartError."""
    from .office import put

    return put(data_folder_of(port, data_dir), request)


def _do(port: int, data_dir: Path | None, **request: Any) -> int:
    """Has *request* carried out; the exit status."""
    answer = _ask(port, data_dir, **request)
    if answer.get("ok") is True:
        return Status.DONE
    complain("chatbroker", str(answer.get("words", "refused")))
    return Status.REFUSED


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
        answer = _ask(port, data_dir, do="status")
        found = answer.get("status")
        if not isinstance(found, dict):
            complain("chatbroker", str(answer.get("words", "refused")))
            return Status.REFUSED
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
@click.argument("name")
@port_option
@data_dir_option
@reason_option
def kick(name: str, port: int, data_dir: Path | None, reason: str) -> int:
    """End the sessions of NAME, who may come back.

    Example: chatbroker kick alice --reason "too loud"
    """
    return _do(port, data_dir, do="kick", name=name, reason=reason)


@click.command()
@click.argument("who", metavar="NAME|KEY")
@port_option
@data_dir_option
@reason_option
@for_option
def ban(who: str, port: int, data_dir: Path | None, reason: str, duration: str | None) -> int:
    """Keep NAME, or whoever has the public key KEY, out.

    Example: chatbroker ban alice --for 12h --reason spam
    """
    seconds = _seconds(duration)
    return _do(port, data_dir, do="ban", name=who, reason=reason, seconds=seconds)


@click.command()
@click.argument("who", metavar="NAME|KEY")
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
    for one in _listed(port, data_dir):
        if as_json:
            click.echo(json.dumps(one))
            continue
        words = [one["kind"], one.get("name", one.get("key")), f"since {one['since']}"]
        words += [f"until {one['until']}"] if one["until"] else []
        words += [one["reason"]] if one["reason"] else []
        click.echo("  ".join(words))
    return Status.DONE


def _listed(port: int, data_dir: Path | None) -> Iterator[dict[str, Any]]:
    for kind in ("ban", "mute"):
        after, more = "", True
        while more:
            answer = _ask(port, data_dir, do="bans", kind=kind, after=after)
            listed, more = answer.get("listed", []), bool(answer.get("more"))
            yield from listed
            after = listed[-1].get("name", listed[-1].get("key")) if listed else ""


@click.command()
@click.argument("name")
@port_option
@data_dir_option
@reason_option
@for_option
def mute(name: str, port: int, data_dir: Path | None, reason: str, duration: str | None) -> int:
    """Refuse what NAME says, who still hears.

    Example: chatbroker mute alice --for 10m
    """
    seconds = _seconds(duration)
    return _do(port, data_dir, do="mute", name=name, reason=reason, seconds=seconds)


@click.command()
@click.argument("name")
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

    Example: chatbroker announce "back in five minutes"
    """
    return _do(port, data_dir, do="announce", words=" ".join(text))


COMMANDS = (status, kick, ban, unban, bans, mute, unmute, announce)
