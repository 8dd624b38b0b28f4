"""The commands of ``chatbroker`` that say who is admitted to a secure broker.

``cli`` adds them to the others.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ..command.completion import offered
from ..command.hosts import checked_host, is_loopback
from ..command.run import complain
from ..command.status import Status
from ..wire.errors import BadKey, BadName
from ..wire.keys import key_text, parse_key
from ..wire.names import canonical_name
from .cli_data import (
    all_pages,
    data_dir_option,
    folder_given,
    granted,
    json_option,
    port_option,
    show,
    show_aligned,
)
from .clock import iso
from .completing import admitted
from .config import StartError
from .control import ask
from .folder import in_use
from .hints import ELSEWHERE
from .keyring import load_members
from .members import Members, place_of
from .own_files import require_data
from .quantity import SPAN

WILDCARDS = ("0.0.0.0", "::", "*")


def _ask(folder: Path, **request: Any) -> dict[str, Any]:
    """Has the broker of *folder* do it; its answer.  Raises StartError, Declined."""
    if not in_use(folder):
        words = f"start it with 'chatbroker run --secure', or {ELSEWHERE}"
        raise StartError(f"no broker serves from {folder}; {words}")
    return granted(ask(folder, **request))


def _warn_if_known(name: str, answer: dict[str, Any]) -> None:
    if answer.get("known"):
        words = (
            f"{name} is somebody's here already: by this key they are the same user, mail and all"
        )
        complain("chatbroker", words)


def _named(name: str) -> str:
    try:
        return canonical_name(name)
    except BadName as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@click.argument("name")
@click.option(
    "--for",
    "seconds",
    type=SPAN,
    default="7d",
    show_default=True,
    help="How long it may be accepted.",
)
@click.option("--host", help="The address by which NAME reaches the broker.")
@port_option
@data_dir_option
@json_option
def invite(
    name: str,
    seconds: float,
    host: str | None,
    port: int,
    data_dir: Path | None,
    as_json: bool,
) -> int:
    """Print one line by which NAME gets in, once.

    Who has it gives it to 'chat accept'.  The broker has to be running.

    Example: chatbroker invite alice
    """
    from .gate import KeyPair

    name = _named(name)
    if host is not None:
        try:
            host = checked_host(host)
        except ValueError as error:
            raise click.UsageError(f"--host: {error}") from None
    # The secret is printed here and nowhere else: the broker learns the public half.
    token = KeyPair.fresh()
    folder = folder_given(port, data_dir)
    answer = _ask(folder, do="invite", name=name, key=key_text(token.public), seconds=seconds)
    where = host or str(answer["host"])
    if where in WILDCARDS:
        where = _own_address()
    where = f"[{where}]" if ":" in where else where
    line = f"chat://{name}:{key_text(token.secret)}@{where}:{answer['port']}/{answer['server_key']}"
    expires = iso(int(answer["expires"]))
    if as_json:
        click.echo(json.dumps({"name": name, "invitation": line, "expires": expires}))
    else:
        click.echo(f"chat accept '{line}'")
        complain("chatbroker", f"give this line to {name}; it is good once, until {expires}")
        _warn_if_known(name, answer)
        if is_loopback(where.strip("[]")):
            hint = "; run it with --host 0.0.0.0 for others, or give --host here"
            complain("chatbroker", f"only this machine reaches {where}{'' if host else hint}")
    return Status.DONE


def _own_address() -> str:
    """The address by which others most likely reach this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            # Sends nothing: it only asks which way packets would take.  (RFC 5737, TEST-NET-1)
            sock.connect(("192.0.2.1", 9))
            return str(sock.getsockname()[0])
        except OSError:
            return socket.gethostname()


@click.command()
@click.argument("name")
@click.argument("key")
@port_option
@data_dir_option
def admit(name: str, key: str, port: int, data_dir: Path | None) -> int:
    """Admit KEY, which 'chat keygen' printed, as that of NAME.

    It prints the broker's key, which NAME needs too.

    Example: chatbroker admit alice mfzwk2lt…
    """
    name = _named(name)
    try:
        parse_key(key)
    except BadKey as error:
        raise click.BadParameter(str(error)) from None
    answer = _ask(folder_given(port, data_dir), do="admit", name=name, key=key)
    _warn_if_known(name, answer)
    click.echo(str(answer["server_key"]))
    # By which host they reach it, who made the key knows: it lies by that.
    whole = f"chat://HOST:{answer['port']}/{answer['server_key']}"
    words = f"the address that 'chat keygen' was given, and the broker's key: --broker {whole}"
    complain("chatbroker", f"{name} gets in with {words}")
    return Status.DONE


@click.command()
@click.argument("who", metavar="NAME|KEY", shell_complete=offered(admitted))
@port_option
@data_dir_option
def revoke(who: str, port: int, data_dir: Path | None) -> int:
    """Take back the keys and invitations of NAME, or one KEY; what they do ends at once.

    The name stays theirs; 'chatbroker names release' frees it.

    Example: chatbroker revoke alice
    """
    try:
        parse_key(who)
    except BadKey:
        who = _named(who)
    answer = _ask(folder_given(port, data_dir), do="revoke", name=who)
    if answer.get("unkept"):
        # It is done, and may not last: a script must not take that for done.
        words = (
            f"{who} is out, but would be in again if the broker ended now: {answer['unkept']}; "
            "see to that, and it is stored within seconds"
        )
        complain("chatbroker", words)
        return Status.FAILURE
    return Status.DONE


@click.command()
@port_option
@data_dir_option
@json_option
def members(port: int, data_dir: Path | None, as_json: bool) -> int:
    """List the keys that are admitted, and the invitations that are open.

    Example: chatbroker members --json
    """
    found = _on_the_roll(folder_given(port, data_dir))
    if as_json:
        show(found)
    else:
        show_aligned([(one["name"], one["key"], _when(one)) for one in found])
    return Status.DONE


def _on_the_roll(folder: Path) -> Iterator[dict[str, str]]:
    """Keys and then invitations: as the broker that runs has them, or else as they are kept."""
    if in_use(folder):
        for invited in (False, True):
            request = {"do": "members", "invited": invited}
            yield from all_pages(lambda one: ask(folder, **one), request, place_of)
        return
    require_data(folder)
    roll = Members(load_members(folder), lambda roll: None)
    for invited in (False, True):
        yield from roll.listed(invited, "", sys.maxsize, time.time_ns() // 1_000_000)


def _when(one: dict[str, str]) -> str:
    return f"since {one['since']}" if "since" in one else f"invited, until {one['expires']}"
