"""The command ``chatbroker``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ..command.config import config_defaults
from ..command.quantities import parse_duration, parse_size
from ..command.run import CommandGroup, run_command
from ..command.status import Status
from .cli_data import backup, check, names
from .cli_operator import COMMANDS
from .config import FOREVER, Config, StartError
from .database import SYNC
from .journal import JournalError
from .logs import set_up


class _Quantity(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # Newer click has one.
    """A number with a unit, or a word for no bound, which gives None."""

    def __init__(
        self, name: str, unbounded: str, parse: Callable[[str], float | None], example: str
    ) -> None:
        self.name = name
        self._unbounded = unbounded
        self._parse = parse
        self._example = example

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | None:
        if value is None or value == self._unbounded:
            return None
        # As on the command line, a number in the config file needs a unit where a text needs one.
        found = self._parse(str(value))
        if found is None or found <= 0:
            words = f"{value!r} is no {self.name} such as {self._example}, nor {self._unbounded!r}"
            self.fail(words, param, ctx)
        return found


DURATION = _Quantity("duration", "forever", parse_duration, "90s, 12h or 30d")
SIZE = _Quantity("size", "unlimited", parse_size, "500MB or 1GB")


@click.group(
    cls=CommandGroup,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="chatbroker")
def chatbroker() -> None:
    """A self-hosted chat broker, for people and shell scripts.

    Example: chatbroker run --port 5555
    """


@chatbroker.command()
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    envvar="CHATBROKER_HOST",
    help="Address to listen on.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=5555,
    show_default=True,
    envvar="CHATBROKER_PORT",
    help="Port to listen on; 0 takes any free one, for both sockets.",
)
@click.option(
    "--pub-port",
    type=click.IntRange(0, 65535),
    envvar="CHATBROKER_PUB_PORT",
    help="Port for broadcasts.  [default: PORT+1]",
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="CHATBROKER_DATA_DIR",
    help="Folder for the data.  [default: one by port in the platform's data folder]",
)
@click.option(
    "--memory",
    is_flag=True,
    envvar="CHATBROKER_MEMORY",
    help="Keep everything in memory only: it is gone with the broker.",
)
@click.option(
    "--sync",
    type=click.Choice(list(SYNC)),
    default="full",
    show_default=True,
    envvar="CHATBROKER_SYNC",
    help="What is on disk when a message is acknowledged.",
)
@click.option(
    "--keep",
    type=DURATION,
    default="30d",
    show_default=True,
    envvar="CHATBROKER_KEEP",
    help="Messages older than this go; 'forever' keeps them.",
)
@click.option(
    "--keep-bytes",
    type=SIZE,
    default="1GB",
    show_default=True,
    envvar="CHATBROKER_KEEP_BYTES",
    help="When messages take more, the oldest of the largest logs go; or 'unlimited'.",
)
@click.option(
    "--claim-ttl",
    type=DURATION,
    default="30d",
    show_default=True,
    envvar="CHATBROKER_CLAIM_TTL",
    help="A name whose user is away for longer is free again; or 'forever'.",
)
@click.option(
    "--ready-file",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="CHATBROKER_READY_FILE",
    help="Write the addresses and the pid here, as JSON, when it serves.",
)
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    envvar="CHATBROKER_VERBOSE",
    help="Log who comes and goes.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    envvar="CHATBROKER_LOG_FORMAT",
    help="How lines of the log look on stderr.",
)
@click.option("--heartbeat", type=click.FloatRange(0.05, 3600), default=5.0, hidden=True)
@click.option("--lease", type=click.FloatRange(0.1, 36000), default=15.0, hidden=True)
@click.option("--grace", type=click.FloatRange(0, 3600), default=3.0, hidden=True)
def run(
    data_dir: Path | None,
    memory: bool,
    ready_file: Path | None,
    verbose: bool,
    log_format: str,
    **_others: Any,
) -> int:
    """Serve until SIGTERM or Ctrl-C.

    Example: chatbroker run --port 5555
    """
    if memory and data_dir is not None:
        raise click.UsageError("give --data-dir or --memory, not both")
    set_up(verbose, log_format)
    # Here, so that --help does not wait for ZeroMQ to load.
    from .server import Server

    context = click.get_current_context()
    server = Server(_config_of(context.params), read_config=lambda: _reread(context))

    def forget_ready() -> None:
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)

    with closing(server), server.signals(forget_ready):
        if ready_file is not None:
            _write_ready_file(ready_file, server.address, server.pub_address)
        click.echo(f"chatbroker ready at {server.address}")
        try:
            server.run()
        finally:
            forget_ready()
    return Status.DONE


def _config_of(given: dict[str, Any]) -> Config:
    """The settings by the options of ``run``."""
    wanted = {name: value for name, value in given.items() if name in Config._fields}
    wanted["host"] = given["host"].strip("[]")
    wanted["claim_ttl"] = FOREVER if given["claim_ttl"] is None else given["claim_ttl"]
    return Config(**wanted)


def _reread(context: click.Context) -> Config:
    """The settings by the options that were given and by what the config file says now.

    Raises StartError."""
    try:
        defaults = config_defaults(chatbroker).get("run", {})
        fresh = click.Context(context.command, context.parent, default_map=defaults)
        given = dict(context.params)
        for param in context.command.params:
            source = context.get_parameter_source(str(param.name))
            if source is not ParameterSource.COMMANDLINE:
                # From its variable, from the file, or what is built in: in this order.
                param.handle_parse_result(fresh, {}, [])
                given[str(param.name)] = fresh.params[str(param.name)]
        return _config_of(given)
    except click.UsageError as error:
        raise StartError(error.format_message()) from None


for _command in (check, backup, names, *COMMANDS):
    chatbroker.add_command(_command)


def _write_ready_file(path: Path, broker: str, pub: str) -> None:
    """Writes it whole or not at all: whoever waits for it may read at any moment."""
    ready = {"broker": broker, "pub": pub, "pid": os.getpid()}
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(json.dumps(ready) + "\n")
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):  # It may be its folder that is not there.
            draft.unlink()
        raise StartError(f"cannot write the ready file {path}: {error.strerror}") from None


def _explain(error: Exception) -> tuple[Status, str] | None:
    return (Status.FAILURE, str(error)) if isinstance(error, StartError | JournalError) else None


def main() -> None:
    """The entry point of ``chatbroker``."""
    sys.exit(run_command("chatbroker", chatbroker, _explain))
