"""The commands of ``chatbroker`` that look after its data: check, backup, names.

``cli`` adds them to the others.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from ..command.completion import offered
from ..command.place import Place
from ..command.run import complain
from ..command.status import Status
from ..wire.errors import BadName
from ..wire.limits import EPOCH_LENGTH
from ..wire.names import canonical_name
from .clock import iso
from .columns import aligned
from .completing import known
from .database import FILE
from .folder import folder_of
from .journal import JournalError

_F = TypeVar("_F", bound=Callable[..., Any])

port_option = click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=5555,
    show_default=True,
    envvar="CHATBROKER_PORT",
    help="Port of the broker that is meant.",
)
data_dir_option = click.option(
    "--data-dir",
    type=Place(),
    envvar="CHATBROKER_DATA_DIR",
    help="Folder of its data.  [default: the one of the port]",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object a line on stdout."
)


class Declined(Exception):
    """The broker does not do what it was asked for; the words say why, on one line."""


def granted(answer: dict[str, Any]) -> dict[str, Any]:
    """*answer*, if the broker did what it was asked for.  Raises Declined."""
    if answer.get("ok") is True:
        return answer
    raise Declined(str(answer.get("words", "refused")))


def all_pages(
    put: Callable[[dict[str, Any]], dict[str, Any]],
    request: dict[str, Any],
    place: Callable[[dict[str, Any]], str],
) -> Iterator[dict[str, Any]]:
    """What a broker lists in pages: *put* asks for one, *place* tells where an entry is in the
    list.  Raises Declined."""
    after, more = "", True
    while more:
        answer = granted(put(request | {"after": after}))
        for one in answer["listed"]:
            after = place(one)
            yield one
        more = answer["more"]


def folder_given(port: int, data_dir: Path | None) -> Path:
    """The folder that these options mean."""
    return folder_of(port) if data_dir is None else data_dir


def show(found: Iterable[dict[str, Any]]) -> None:
    """Prints a list, one JSON object a line."""
    for one in found:
        click.echo(json.dumps(one))


def show_aligned(rows: Sequence[Sequence[str]]) -> None:
    """Prints a list for people, in columns."""
    for line in aligned(rows):
        click.echo(line)


def _iso(time: int) -> str | None:
    """*time* (milliseconds since 1970; 0 for none) in UTC."""
    return iso(time) if time else None


@click.command()
@click.argument("path", required=False, type=Place())
@port_option
@data_dir_option
@json_option
def check(path: Path | None, port: int, data_dir: Path | None, as_json: bool) -> int:
    """Say whether the stored data are whole; a broker may be running.

    PATH is a data folder or a database file, such as a backup.

    Example: chatbroker check --port 5555
    """
    context = click.get_current_context()
    for name, spelled in (("port", "--port"), ("data_dir", "--data-dir")):
        if path is not None and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"give PATH or {spelled}, not both")
    from .check import check_journal, journal_at

    found = journal_at(path if path is not None else folder_given(port, data_dir), FILE)
    try:
        report = check_journal(found)
    except JournalError as error:
        if path is None:
            raise
        # What a broker's own file is to be replaced by is no advice for any other.
        raise JournalError(str(error).partition(";")[0]) from None
    for fault in report.faults:
        complain("chatbroker", f"{found}: {fault}")
    if report.count > len(report.faults):
        complain("chatbroker", f"{found}: {report.count - len(report.faults)} more faults")
    if as_json:
        told: dict[str, Any] = {"path": str(found), "faults": report.count}
        if report.summary is not None:
            told |= report.summary._asdict()
            told |= {"oldest": _iso(told["oldest"]), "newest": _iso(told["newest"])}
        click.echo(json.dumps(told))
    elif not report.count and report.summary is not None:
        kept = report.summary
        when = f", from {iso(kept.oldest)} to {iso(kept.newest)}" if kept.newest else ""
        click.echo(
            f"{found}: whole; {kept.messages} messages in {kept.logs} logs{when}; "
            f"{kept.users} users, {kept.sessions} sessions; {kept.bytes} bytes"
        )
    return Status.FAILURE if report.count else Status.DONE


@click.command()
@click.argument("file", type=Place())
@port_option
@data_dir_option
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
def backup(file: Path, port: int, data_dir: Path | None, force: bool) -> int:
    """Copy the stored data into FILE; a broker may be running.

    Example: chatbroker backup broker.backup --port 5555
    """
    if str(file) == "-":
        raise click.UsageError("a backup is a file, and is not written to stdout")
    from .backup import back_up
    from .signals import ended_in_order

    folder = folder_given(port, data_dir)
    with ended_in_order():
        back_up(folder / FILE, file, force)
    if sys.stderr.isatty():  # To a job that makes one each night it is no news.
        words = f"to restore it, stop the broker, remove {folder / FILE}* and copy {file}"
        complain("chatbroker", f"{words} to {folder / FILE}")
    return Status.DONE


@click.group(no_args_is_help=False)
def names() -> None:
    """List the names that are claimed, or release one.

    Example: chatbroker names list --port 5555
    """


@names.command("list")
@port_option
@data_dir_option
@json_option
def list_names(port: int, data_dir: Path | None, as_json: bool) -> int:
    """List the claimed names: when each was last held, and how much mail is unread.

    Example: chatbroker names list --port 5555
    """
    from .claimed import claims

    found = claims(folder_given(port, data_dir) / FILE)
    if as_json:
        show([claim._asdict() | {"seen": iso(claim.seen)} for claim in found])
    else:
        show_aligned(
            [
                (
                    claim.name,
                    "held now" if claim.held else f"last seen {iso(claim.seen)}",
                    f"{claim.unread} unread",
                )
                for claim in found
            ]
        )
    return Status.DONE


@names.command("release")
@click.argument("name", shell_complete=offered(known))
@port_option
@data_dir_option
def release_name(name: str, port: int, data_dir: Path | None) -> int:
    """Free NAME for whoever asks next; its mailbox goes with it, and its sessions end.

    Example: chatbroker names release alice --port 5555
    """
    from .claimed import release

    try:
        words = release(
            folder_given(port, data_dir), canonical_name(name), os.urandom(EPOCH_LENGTH)
        )
    except BadName as error:
        words = str(error)
    if words:
        complain("chatbroker", words)
        return Status.REFUSED
    return Status.DONE
