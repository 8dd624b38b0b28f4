"""The options that the commands of ``chat`` share, before and after the command's name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import click
from click.core import ParameterSource

from ..command.completion import offered
from ..command.config import PROFILE, Profile
from ..command.quantities import parse_duration
from ..wire.errors import BadName
from ..wire.names import canonical_name
from .address import DEFAULT, parse_address
from .completing import brokers, own_names, profiles
from .errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])


class _Seconds(click.FloatRange):
    """Any time from 0 on, in seconds or as a duration such as 10m; nan is none."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        in_units = parse_duration(str(value))
        try:
            if in_units is None and math.isnan(float(value)):
                raise ValueError
        except ValueError:
            self.fail(f"{value!r} is no number of seconds and no duration such as 10m", param, ctx)
        seconds: float = super().convert(value if in_units is None else in_units, param, ctx)
        return seconds


SECONDS = _Seconds(min=0)

_SHARED: dict[str, Callable[[F], F]] = {
    "broker": click.option(
        "--broker",
        metavar="ADDRESS",
        shell_complete=offered(brokers),
        help=f"The broker's address.  [default: {DEFAULT}]",
    ),
    "port": click.option(
        "--port",
        type=click.IntRange(1, 65535),
        help="Short for --broker tcp://127.0.0.1:PORT.",
    ),
    "user": click.option(
        "--as",
        "user",
        metavar="NAME",
        envvar="CHAT_USER",
        shell_complete=offered(own_names),
        help="The name to use.",
    ),
    "timeout": click.option(
        "--timeout",
        type=SECONDS,
        metavar="SECONDS",
        help="How long to wait for the broker to answer.  [default: 5]",
    ),
    "json": click.option("--json", is_flag=True, default=None, help="One JSON object a line."),
    # Read by `CommandGroup`, before all others.
    PROFILE: click.option(
        "--profile",
        metavar="NAME",
        shell_complete=offered(profiles),
        help="Take options from [profile.NAME] of the config file.",
    ),
}


def shared_options(*names: str) -> Callable[[F], F]:
    """Gives a command the named shared options, and --profile; `Shared.given` reads them."""

    def decorate(function: F) -> F:
        for name in (PROFILE, *reversed(names)):
            function = _SHARED[name](function)
        return function

    return decorate


class Shared(NamedTuple):
    """The shared options, from wherever they were given."""

    broker: str
    user: str | None
    timeout: float
    json: bool
    profile: str | None = None
    """Of the config file, the profile whose options count."""

    @classmethod
    def given(cls, context: click.Context | None = None) -> Shared:
        """The strongest source, as docs/cli.md ranks them; nearer the command over farther.

        *context*: that of a line which is being completed; else the one that is carried out.
        """
        context = context or click.get_current_context()
        broker, broker_rank = _find(context, "broker")
        port, port_rank = _find(context, "port")
        if broker is not None and port is not None and broker_rank == port_rank:
            words = "" if not broker_rank else "; in variables or the config file they are both"
            raise click.UsageError(f"give --broker or --port, not both{words}")
        if port is not None and port_rank < broker_rank:
            broker = f"tcp://127.0.0.1:{port}"
        address = DEFAULT if broker is None else broker
        try:
            parse_address(address)
        except UsageError as error:
            raise click.UsageError(str(error)) from None
        timeout = _find(context, "timeout")[0]
        profile = Profile.of(context)
        return cls(
            address,
            _find(context, "user")[0],
            5.0 if timeout is None else timeout,
            bool(_find(context, "json")[0]),
            None if profile is None else profile.name,
        )


def stronger(*given: tuple[str, Any]) -> list[Any]:
    """Of options that exclude each other, the one from the stronger source; None for the
    others.  Raises click.UsageError if two come from the same."""
    context = click.get_current_context()
    set_ones = [(name, value) for name, value in given if value not in (None, False)]
    ranks = {name: _find(context, name)[1] for name, _ in set_ones}
    best = min(ranks.values(), default=0)
    winners = [name for name, _ in set_ones if ranks[name] == best]
    if len(winners) > 1:
        spelled = " or ".join({"template": "--format"}.get(name, f"--{name}") for name in winners)
        raise click.UsageError(f"give {spelled}, not both")
    return [value if name in winners else None for name, value in given]


_DEFAULT = 5
"""The rank of what nobody gave."""


def _rank(context: click.Context, name: str) -> int:
    """Where the value of an option came from; lower is stronger."""
    source = context.get_parameter_source(name)
    if source is ParameterSource.COMMANDLINE:
        return 0
    if source is ParameterSource.ENVIRONMENT:
        return 2
    if source is ParameterSource.DEFAULT_MAP:
        profile = Profile.of(context)
        if profile is None or not profile.sets(context, name):
            return 4
        return 1 if profile.named else 3
    return _DEFAULT


def _find(context: click.Context, name: str) -> tuple[Any, int]:
    """The value of a shared option, and the rank of where it came from."""
    best: tuple[Any, int] = (None, _DEFAULT)
    at: click.Context | None = context
    while at is not None:
        value, rank = at.params.get(name), _rank(at, name)
        if rank < _DEFAULT and value is None:
            # Nobody was told yet, if the line is only being completed.
            raise click.UsageError(f"--{name}: not understood")
        if rank < best[1]:
            best = value, rank
        at = at.parent
    return best


# --- groups of options that belong together -------------------------------------------------


def _useless_without(needed: str, **given: str) -> None:
    """Refuses options (parameters and how they are spelled) that say nothing without *needed*.

    In a variable or a file they may wait for it."""
    context = click.get_current_context()
    for name, spelled in given.items():
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{spelled} needs {needed}")


def exec_options(function: F) -> F:
    """What ``chat listen`` runs for each message; see `given_action`."""
    for option in (
        click.option(
            "--jobs",
            type=click.IntRange(min=1),
            default=1,
            metavar="N",
            show_default=True,
            help="How many commands of --exec may run at once.",
        ),
        click.option("--shell", is_flag=True, help="Have the command of --exec run by sh."),
        click.option(
            "--exec",
            "command",
            metavar="CMD",
            help="Run CMD for each message: its text on stdin, CHAT_MESSAGE_FROM and so on set.",
        ),
    ):
        function = option(function)
    return function


def given_action(command: str | None, shell: bool, jobs: int) -> Any:
    """The `Action` of `exec_options`; None without ``--exec``."""
    if command is None:
        _useless_without("--exec", shell="--shell", jobs="--jobs")
        return None
    from shutil import which

    from .action import Action, parse_command

    try:
        words = parse_command(command, shell)
    except ValueError as error:
        raise click.UsageError(f"--exec: {error}") from None
    if which(words[0]) is None:
        raise click.UsageError(f"--exec: there is no command {words[0]!r}; --shell has sh run it")
    return Action(words, jobs)


class Wait(NamedTuple):
    """For whom to wait before something is sent."""

    user: str
    seconds: float


def waiting_options(function: F) -> F:
    """For whom ``chat send`` and ``chat echo`` wait; see `given_wait`."""
    for option in (
        click.option(
            "--wait",
            "seconds",
            type=SECONDS,
            default=60.0,
            metavar="SECONDS",
            show_default=True,
            help="How long to wait for --wait-for-user; inf for ever.",
        ),
        click.option(
            "--wait-for-user", "awaited", metavar="NAME", help="Send nothing before NAME is on."
        ),
    ):
        function = option(function)
    return function


def given_wait(awaited: str | None, seconds: float) -> Wait | None:
    """For whom to wait; None for nobody."""
    if awaited is None:
        _useless_without("--wait-for-user", seconds="--wait")
        return None
    try:
        return Wait(canonical_name(awaited), seconds)
    except BadName as error:
        raise click.UsageError(f"--wait-for-user: {error}") from None
