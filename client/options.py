"""The options that the commands of ``chat`` share, before and after the command's name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import click
from click.core import ParameterSource

from ..command.completion import offered
from .address import DEFAULT, parse_address
from .completing import brokers, own_names
from .errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])


class _Seconds(click.FloatRange):
    """Any time from 0 on; nan is none."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            if math.isnan(float(value)):
                raise ValueError
        except ValueError:
            self.fail(f"{value!r} is not a number of seconds", param, ctx)
        seconds: float = super().convert(value, param, ctx)
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
}


def shared_options(*names: str) -> Callable[[F], F]:
    """Gives a command the named shared options; `Shared.given` reads them."""

    def decorate(function: F) -> F:
        for name in reversed(names):
            function = _SHARED[name](function)
        return function

    return decorate


class Shared(NamedTuple):
    """The shared options, from wherever they were given."""

    broker: str
    user: str | None
    timeout: float
    json: bool

    @classmethod
    def given(cls, context: click.Context | None = None) -> Shared:
        """Option over variable over file over default; nearer the command over farther.

        *context*: that of a line which is being completed; else the one that is carried out.
        """
        context = context or click.get_current_context()
        broker, broker_rank = _find(context, "broker")
        port, port_rank = _find(context, "port")
        if broker is not None and port is not None and broker_rank == port_rank:
            raise click.UsageError("give --broker or --port, not both")
        if port is not None and port_rank < broker_rank:
            broker = f"tcp://127.0.0.1:{port}"
        address = DEFAULT if broker is None else broker
        try:
            parse_address(address)
        except UsageError as error:
            raise click.UsageError(str(error)) from None
        timeout = _find(context, "timeout")[0]
        return cls(
            address,
            _find(context, "user")[0],
            5.0 if timeout is None else timeout,
            bool(_find(context, "json")[0]),
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


_RANKS = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP)


def _find(context: click.Context, name: str) -> tuple[Any, int]:
    """The value of a shared option, and the rank of where it came from (lower is stronger)."""
    best: tuple[Any, int] = (None, len(_RANKS))
    at: click.Context | None = context
    while at is not None:
        value, source = at.params.get(name), at.get_parameter_source(name)
        if source in _RANKS and value is None:
            # Nobody was told yet, if the line is only being completed.
            raise click.UsageError(f"--{name}: not understood")
        if source in _RANKS and _RANKS.index(source) < best[1]:
            best = value, _RANKS.index(source)
        at = at.parent
    return best
