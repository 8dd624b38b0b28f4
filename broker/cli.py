"""The command ``chatbroker``."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ..command import VERSION
from ..command.config import config_defaults, config_path
from ..command.local import Local, clear_local, remove_local, write_local
from ..command.place import Place
from ..command.run import CommandGroup, run_command, words_of
from ..command.status import Status
from ..command.streams import silence_stdout
from .cli_data import Declined, backup, check, names
from .cli_limits import Limit, allowance
from .cli_members import admit, invite, members, revoke
from .cli_operator import COMMANDS
from .config import FOREVER, Config, StartError
from .database import SYNC
from .journal import CannotStore, JournalError
from .logs import log, set_up, speak_as
from .quantity import DURATION, SIZE, Seconds
from .ready_file import ReadyFile
from .signals import Signals

if TYPE_CHECKING:
    from .metrics import Metrics


FILES = {
    "~/.local/share/chatbroker/broker-PORT": "The data of the broker on PORT: what was said, "
    "names, the audit log, bans and mutes, keys. Another folder is named by --data-dir.",
    "~/.local/share/chatbroker/run/HOST_PORT.json": "How the commands of its own user find in to a "
    "secure broker.",
}


@click.group(
    cls=CommandGroup,
    no_args_is_help=False,
    files=FILES,
    variables={
        "NOTIFY_SOCKET": "Where systemd is told, by 'chatbroker run', how it is.",
        "WATCHDOG_USEC": "How often systemd wants to be told.",
    },
    statuses=(Status.DONE, Status.FAILURE, Status.USAGE, Status.REFUSED, Status.INTERRUPTED),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(VERSION)
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
    type=Place(file_okay=False),
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
    "--secure",
    is_flag=True,
    envvar="CHATBROKER_SECURE",
    help="Encrypt, and let in only whom you invite; see 'chatbroker invite'.",
)
@click.option(
    "--insecure",
    is_flag=True,
    envvar="CHATBROKER_INSECURE",
    help="Let in everyone who reaches --host, and encrypt nothing.",
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
    "--limit",
    "limits",
    type=Limit(),
    multiple=True,
    metavar="NAME=VALUE",
    envvar="CHATBROKER_LIMIT",
    help="What a user or an address may do, such as messages=1000; may be repeated.",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    envvar="CHATBROKER_METRICS_PORT",
    help="Serve /metrics and /healthz over HTTP; 0 takes any free port.  [default: not at all]",
)
@click.option(
    "--metrics-host",
    default="127.0.0.1",
    show_default=True,
    envvar="CHATBROKER_METRICS_HOST",
    help="Address to serve them on.",
)
@click.option(
    "--ready-file",
    type=Place(dir_okay=False),
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
@click.option("--heartbeat", type=Seconds(0.05, 3600), default=5.0, hidden=True)
@click.option("--lease", type=Seconds(0.1, 36000), default=15.0, hidden=True)
@click.option("--grace", type=Seconds(0, 3600), default=3.0, hidden=True)
def run(
    data_dir: Path | None,
    memory: bool,
    secure: bool,
    insecure: bool,
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
    given = click.get_current_context().get_parameter_source
    for name in ("sync", "keep", "keep_bytes") if memory else ():
        # What the config file or a variable has may be meant for other brokers.
        if given(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"--{name.replace('_', '-')} is about the disk: not with --memory"
            )
    if secure and insecure:
        raise click.UsageError("give --secure or --insecure, not both")
    told = None if ready_file is None else ReadyFile(ready_file)
    set_up(verbose, log_format)
    with ExitStack() as stack:
        signals = stack.enter_context(Signals())
        # Here, so that --help does not wait for ZeroMQ to load.
        from .notify import Notifier
        from .opening import open_journal
        from .server import Server
        from .sockets import lean_frames, loopback

        context = click.get_current_context()
        config = _config_of(context.params)
        in_the_open = not secure and not loopback(config.host)
        if in_the_open and not insecure:
            raise click.UsageError(
                f"--host {config.host} is reached from other machines, and everyone there could "
                "read all and take any name: give --secure, or --insecure if that is meant"
            )
        metrics = None
        if config.metrics_port is not None:
            metrics = _load_metrics()(config.metrics_host, config.metrics_port)
        server = Server(
            config,
            open_journal if metrics is None else metrics.open_journal,
            Notifier(os.environ),
            read_config=Rereading(context),
        )
        stack.enter_context(closing(server))
        if told is not None:
            # Not before the folder and the ports are its own: who cannot start changes nothing.
            told.clear()

        if in_the_open:
            words = "insecure host=%s: everyone there comes in, nothing is encrypted"
            log.warning(words, config.host)

        def forget_ready() -> None:
            # That this stops is not held up by it: what is left there is out of date.
            if told is not None:
                try:
                    told.remove()
                except OSError as error:
                    words = "ready-file path=%s cannot be removed: %s"
                    log.warning(words, ready_file, error.strerror)
            if secure:
                try:
                    remove_local(config.host, server.port, os.getpid())
                except OSError as error:
                    log.warning("own user: the key left for them cannot be removed: %s", error)

        stack.enter_context(signals.attend(server, forget_ready))
        local = server.local()
        ready: dict[str, str | int] = {
            "broker": server.address,
            "pub": server.pub_address,
            "pid": os.getpid(),
        }
        if local is not None:
            ready["server_key"] = local.server_key
        if metrics is not None:
            stack.callback(metrics.close)
            metrics.serve(server, config)
            ready["metrics"] = metrics.address
            click.echo(f"chatbroker: metrics at {metrics.address}", err=True)
        try:
            if told is not None:
                # Before the data are a secure broker's for good: there may be no room for it.
                told.write(ready)
            server.keep_keys()
            try:
                _let_own_user_in(config.host, server.port, local)
                if told is not None:
                    told.show()
                _say_ready(server.address)
            except BaseException:
                server.take_back_keys()
                raise
            lean_frames()
            server.run()
        finally:
            forget_ready()
    return Status.DONE


def _config_of(given: dict[str, Any]) -> Config:
    """The settings by the options of ``run``."""
    wanted = {name: value for name, value in given.items() if name in Config._fields}
    wanted["allowance"] = allowance(given["limits"])
    for host in ("host", "metrics_host"):
        wanted[host] = given[host].strip("[]")
        if not wanted[host]:
            # To some libraries it stands for all addresses.
            raise click.UsageError(f"--{host.replace('_', '-')} is empty; give an address")
    wanted["claim_ttl"] = FOREVER if given["claim_ttl"] is None else given["claim_ttl"]
    return Config(**wanted)


class Rereading:
    """Reads the settings of a running broker again; *context*: that of ``run``."""

    def __init__(self, context: click.Context) -> None:
        self._context = context
        self._there = config_path().exists()
        """Whether there was a config file when it was last read."""

    def __call__(self) -> Config:
        """The settings by the options that were given and by what the config file says now.

        Raises StartError."""
        path = config_path()
        there = path.exists()
        if self._there and not there:
            # Not what was meant, most likely; and by the defaults messages would go at once that
            # were to be kept for longer.
            raise StartError(f"{path} is gone; an empty file has the defaults hold")
        if there and not path.is_file():
            # A pipe is empty by now, or has the loop wait for who writes into it.
            raise StartError(f"cannot read {path} again: it is no regular file; a restart reads it")
        found = _reread(self._context)
        self._there = there
        return found


def _reread(context: click.Context) -> Config:
    try:
        defaults = config_defaults(chatbroker).get("run", {})
        # From their variables, from the file, or what is built in: in this order.
        fresh = context.command.make_context("run", [], context.parent, default_map=defaults)
        given = fresh.params
        for name, value in context.params.items():
            if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                given[name] = value
        return _config_of(given)
    except click.UsageError as error:
        raise StartError(words_of(error)) from None


for _command in (check, backup, names, invite, admit, revoke, members, *COMMANDS):
    chatbroker.add_command(_command)


def _let_own_user_in(host: str, port: int, local: Local | None) -> None:
    """Has the commands of this user find in to a secure broker."""
    try:
        if local is None:
            clear_local(host, port)  # That of a secure broker which was killed.
        else:
            write_local(port, local)
    except OSError as error:
        log.warning("own user: commands find no way in by themselves: %s", error)


def _say_ready(address: str) -> None:
    try:
        click.echo(f"chatbroker ready at {address}")
    except OSError as error:
        silence_stdout()  # Else what it still holds is tried, and complained of, once more.
        raise StartError(
            f"cannot say on stdout that it is ready: {error.strerror}; the broker ended, "
            "start it with a stdout that takes a line"
        ) from None


def _load_metrics() -> type[Metrics]:
    try:
        from .metrics import Metrics
    except ModuleNotFoundError as error:
        if error.name != "prometheus_client":
            raise
        raise StartError(
            "cannot serve metrics: prometheus-client is not installed; "
            "install it with: pip install 'chatbroker[metrics]'"
        ) from None
    return Metrics


def _explain(error: Exception) -> tuple[Status, str] | None:
    if isinstance(error, CannotStore):
        return Status.FAILURE, f"{error}; see to that, and try again"
    if isinstance(error, Declined):
        return Status.REFUSED, str(error)
    return (Status.FAILURE, str(error)) if isinstance(error, StartError | JournalError) else None


def main() -> None:
    """The entry point of ``chatbroker``."""
    speak_as("chatbroker")
    sys.exit(run_command("chatbroker", chatbroker, _explain))
