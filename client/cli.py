"""The command ``chat``: parses, calls one function, prints."""

from __future__ import annotations

import gc
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ..command import VERSION
from ..command.completion import offered
from ..command.config import Words
from ..command.place import Place
from ..command.quantities import parse_duration
from ..command.run import CommandGroup, run_command
from ..command.status import Status
from .completing import own_names, users
from .errors import ClientError, NameRefused, UsageError
from .escape import escape
from .options import (
    SECONDS,
    Shared,
    exec_options,
    given_action,
    given_wait,
    shared_options,
    stronger,
    waiting_options,
)

FILES = {
    "~/.local/share/chatbroker/identities/HOST_PORT/NAME": "What proves that one is NAME at that "
    "broker: a credential, and at a secure broker a key. Who loses it loses the name.",
    "~/.local/share/chatbroker/identities/HOST_PORT/.broker": "The public key of a secure broker.",
}

# What a command needs of the client package is imported where it is used: --help and shell
# completion need not wait for ZeroMQ to load.


@click.group(
    cls=CommandGroup,
    no_args_is_help=False,  # A command line without a command is wrong, as any other is.
    files=FILES,
    variables={"NO_COLOR": "No colours on a terminal."},
    context_settings={"help_option_names": ["-h", "--help"]},
)
@shared_options("broker", "port", "user", "timeout", "json")
@click.version_option(VERSION)
def chat(**_: Any) -> None:
    """Talk through a chatbroker, from a terminal or a script.

    Example: chat join alice
    """
    context = click.get_current_context()
    name = context.invoked_subcommand or ""
    command = chat.get_command(context, name)
    # What else a command has no use for says nothing that it could contradict.
    named = context.get_parameter_source("user") is ParameterSource.COMMANDLINE
    if named and command is not None and all(each.name != "user" for each in command.params):
        raise click.UsageError(f"--as: 'chat {name}' has no use for it")


def _bounds(function: Any) -> Any:
    """The options that bound how long to receive."""
    for option in (
        click.option(
            "--idle",
            "quiet",
            type=SECONDS,
            metavar="SECONDS",
            help="Leave when nothing came for so long.",
        ),
        click.option(
            "--for",
            "total",
            type=SECONDS,
            metavar="SECONDS",
            help="Leave after so long.",
        ),
        click.option(
            "--count", type=click.IntRange(min=1), metavar="N", help="Leave after N messages."
        ),
    ):
        function = option(function)
    return function


def _reconnects(default: bool | str = True) -> Callable[[Any], Any]:
    """*default*: what help says of it, if it is more than the number."""
    return click.option(
        "--reconnect",
        type=SECONDS,
        default=30.0,
        show_default=default,
        metavar="SECONDS",
        help="How long to go on trying when the broker is gone.",
    )


_reconnect = _reconnects()


def _formats(*kinds: str) -> Callable[[Any], Any]:
    """How lines look, and of which *kinds* they may be."""

    def decorate(function: Any) -> Any:
        for option in (
            click.option("-0", "nul", is_flag=True, help="End lines with NUL instead of newline."),
            click.option(
                "--format",
                "template",
                metavar="FMT",
                help="Line format: {time} {date} {iso} {epoch} {type} {seq} {from} {to} {text}.",
            ),
            click.option("--only", type=click.Choice(kinds), help="Print only these."),
        ):
            function = option(function)
        return function

    return decorate


def _rendering(shared: Shared, template: str | None, nul: bool) -> tuple[Shared, Any, str]:
    """*shared* with the stronger of --json and --format, its renderer, and the end of lines."""
    template, as_json = stronger(("template", template), ("json", shared.json))
    from .render import compile_format

    try:
        render = None if template is None else compile_format(template)
    except ValueError as error:
        raise click.UsageError(f"--format: {error}") from None
    return shared._replace(json=bool(as_json)), render, "\0" if nul else "\n"


def _looks(function: Any) -> Any:
    """How ``join`` looks and sounds on a terminal."""
    for option in (
        click.option(
            "--keys",
            type=click.Choice(["emacs", "vi"]),
            help="Keys of the line that is typed in.  [default: as in your inputrc]",
        ),
        click.option(
            "--notify",
            type=click.Choice(["bell", "desktop", "off"]),
            default="bell",
            show_default=True,
            help="How the terminal tells of direct messages, and of those that name you.",
        ),
        click.option("--no-color", is_flag=True, help="Show no colours; so does NO_COLOR."),
        click.option(
            "--plain",
            is_flag=True,
            help="Simple lines, as for a screen reader, a dumb terminal or a log.",
        ),
    ):
        function = option(function)
    return function


@chat.command()
@click.argument("name", shell_complete=offered(own_names))
@click.option("--attach", is_flag=True, help="Join beside another session of the same user.")
@click.option("--stay", is_flag=True, help="Go on receiving when the input has ended.")
@_bounds
@_reconnects("30; at a terminal for ever")
@_looks
@shared_options("broker", "port", "timeout", "json")
def join(
    name: str,
    attach: bool,
    stay: bool,
    count: int | None,
    total: float | None,
    quiet: float | None,
    reconnect: float,
    plain: bool,
    no_color: bool,
    notify: str,
    keys: str | None,
    **_: Any,
) -> int:
    """Join as NAME: type commands, see what arrives.

    On a terminal this is interactive.  Otherwise each line of stdin is one command: info,
    send USER MESSAGE, echo MESSAGE, help, quit.

    Example: printf 'send bob hi\\necho hello\\n' | chat join alice
    """
    from .meter import Bounds
    from .receiving import Joining, run_lines

    shared = Shared.given()
    bounds = Bounds(count, total, quiet)
    # What bounds line mode asks for it; and a prompt has no place in a file or a pipe.
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    joining = Joining(name, attach, reconnect)
    if terminal and not (shared.json or stay or bounds.given):
        from .interactive import Wishes, run_interactive

        context = click.get_current_context()
        if context.get_parameter_source("reconnect") is ParameterSource.DEFAULT:
            # A person sees that the broker is gone, and leaves when they want to.
            joining = joining._replace(reconnect=math.inf)
        return run_interactive(shared, joining, Wishes(plain, not no_color, notify, keys))
    return run_lines(shared, joining, bounds, stay or bounds.given)


def _sources(function: Any) -> Any:
    """Where the messages of ``send`` and ``echo`` come from."""
    for option in (
        click.option(
            "--file",
            "path",
            type=Place(exists=True, dir_okay=False),
            help="Send the contents of a file as one message.",
        ),
        click.option("--lines", is_flag=True, help="Send each line of stdin as a message."),
        click.argument("text", nargs=-1),
    ):
        function = option(function)
    return function


@chat.command()
@click.argument("recipient", metavar="USER", shell_complete=offered(users))
@_sources
@waiting_options
@_reconnect
@shared_options("broker", "port", "user", "timeout", "json")
def send(recipient: str, **given: Any) -> int:
    """Send a message to one user.

    TEXT is one message; '-' sends all of stdin as one.  Exit status 0: the broker has it.

    Example: chat send bob "the build is green"
    """
    return _one_shot(recipient, **given)


@chat.command()
@_sources
@waiting_options
@_reconnect
@shared_options("broker", "port", "user", "timeout", "json")
def echo(**given: Any) -> int:
    """Send a message to everyone.

    TEXT is one message; '-' sends all of stdin as one.  Exit status 0: the broker has it.

    Example: tail -f app.log | chat echo --lines --as logs
    """
    return _one_shot(None, **given)


def _one_shot(
    recipient: str | None,
    text: tuple[str, ...],
    lines: bool,
    path: Path | None,
    awaited: str | None,
    seconds: float,
    reconnect: float,
    **_: Any,
) -> int:
    if bool(text) + lines + (path is not None) != 1:
        raise click.UsageError("give TEXT, '-', --lines or --file, and only one of them")
    shared = Shared.given()
    wait = given_wait(awaited, seconds)
    if lines:
        from .sending import send_lines

        return send_lines(shared, recipient, reconnect, wait)
    from .sending import send_one

    return send_one(shared, recipient, text, path, reconnect, wait)


@chat.command()
@shared_options("broker", "port", "timeout", "json")
def info(**_: Any) -> None:
    """List who is on, one name per line.

    Example: chat info --json
    """
    from .sending import show_users

    show_users(Shared.given())


@chat.command()
@_bounds
@_formats("direct", "broadcast", "presence")
@click.option(
    "--since",
    type=Words(),
    metavar="WHEN",
    default="now",
    show_default=True,
    help="Begin at: all, now, a position (seq), or a duration such as 10m.",
)
@exec_options
@_reconnect
@shared_options("broker", "port", "user", "timeout", "json")
def listen(
    count: int | None,
    total: float | None,
    quiet: float | None,
    only: str | None,
    template: str | None,
    nul: bool,
    since: str,
    command: str | None,
    shell: bool,
    jobs: int,
    reconnect: float,
    **_: Any,
) -> int:
    """Print what arrives; without --as, what is said to everyone.

    Example: chat listen --as bob --count 1 --for 60
    """
    shared, render, end = _rendering(Shared.given(), template, nul)
    if only == "direct" and shared.user is None:
        raise click.UsageError("--only direct needs a name: --as NAME")
    starts = _starts(since, only)
    action = given_action(command, shell, jobs)
    from .meter import Bounds
    from .receiving import run_listen

    bounds = Bounds(count, total, quiet)
    return run_listen(shared, reconnect, bounds, starts, only, render, end, action)


@chat.command()
@_formats("direct", "broadcast")
@click.option(
    "--with",
    "partner",
    metavar="USER",
    shell_complete=offered(users),
    help="Only what was said in private with USER.",
)
@click.option(
    "--since",
    type=Words(),
    metavar="WHEN",
    default="all",
    show_default=True,
    help="Begin at: all, now, a position (seq), or a duration such as 7d.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the newest N.")
@click.option("--grep", metavar="TEXT", help="Only what holds TEXT, in capitals or not.")
@shared_options("broker", "port", "user", "timeout", "json")
def history(
    only: str | None,
    template: str | None,
    nul: bool,
    partner: str | None,
    since: str,
    limit: int | None,
    grep: str | None,
    **_: Any,
) -> int:
    """Print what was said before; without --as, to everyone.

    Example: chat history --as bob --with alice --since 7d
    """
    shared, render, end = _rendering(Shared.given(), template, nul)
    if shared.user is None and (partner is not None or only == "direct"):
        needs = "--with" if partner is not None else "--only direct"
        raise click.UsageError(f"{needs} needs a name: --as NAME")
    if partner is not None:
        if only == "broadcast":
            raise click.UsageError("give --with or --only broadcast, not both")
        only = "direct"
    start = _starts(since, only)[only == "direct"]
    if since.isdigit() and shared.user is not None and only is None:
        raise click.UsageError("--since: a position belongs to one log; give --only or --with")
    from .recalling import Question, run_history

    return run_history(shared, Question(partner, start, limit, grep, only), render, end)


@chat.command()
@click.argument("invitation")
@shared_options("timeout", "json")
def accept(invitation: str, **_: Any) -> int:
    """Get in to a secure broker, by an invitation.

    INVITATION is the line that its operator gave you; '-' reads it from stdin.

    Example: chat accept 'chat://alice:TOKEN@chat.example.org:5555/KEY'
    """
    from .admission import accept as get_in

    return get_in(Shared.given(), sys.stdin.readline() if invitation == "-" else invitation)


@chat.command()
@click.argument("name")
@shared_options("broker", "port")
def keygen(name: str, **_: Any) -> int:
    """Make a key for NAME, and print its public half.

    The broker's operator has to admit it.  Who has an invitation needs no keygen.

    Example: chat keygen alice --broker chat://chat.example.org:5555/KEY
    """
    from .admission import keygen as make_key

    return make_key(Shared.given(), name)


@chat.command()
@shared_options("broker", "port", "user", "timeout", "json")
def whoami(**_: Any) -> int:
    """Print the name that you have at a broker.

    Example: chat whoami --broker chat://chat.example.org:5555
    """
    from .admission import whoami as tell

    return tell(Shared.given())


def _starts(since: str, only: str | None) -> Any:
    """Where to begin in the public log and in the mailbox, from ``--since``."""
    from .starts import Since

    try:
        if since == "now":
            return Since.now(), Since.unread()
        if since == "all":
            return Since.all(), Since.all()
        seconds = parse_duration(since)
        if seconds is not None:
            return Since.last(seconds), Since.last(seconds)
        if since.isascii() and since.isdigit() and len(since) < 30:
            # A position belongs to one log: the mailbox if only that is wanted.
            position = Since.after(int(since))
            return (Since.now(), position) if only == "direct" else (position, Since.unread())
    except UsageError as error:
        raise click.UsageError(f"--since: {since!r}: {error}") from None
    raise click.UsageError(
        f"--since: {since!r} is not all, now, a position or a duration such as 10m"
    )


def _explain(error: Exception) -> tuple[Status, str] | None:
    if not isinstance(error, ClientError):
        return None
    words = escape(str(error))
    match error:
        case NameRefused(code="name_taken"):
            words += "; choose another, or see who is on with 'chat info'"
        case NameRefused(code="name_claimed"):
            words += "; choose another, or have its owner or an operator release it"
        case NameRefused(code="already_joined"):
            words += "; --attach shares it"
    return error.status, words


def main() -> None:
    """The entry point of ``chat``."""
    status = run_command("chat", chat, _explain)
    # The process ends, and its memory with it: to look through all of that for what nobody uses
    # is a tenth of what `chat send` takes.
    gc.freeze()
    sys.exit(status)
