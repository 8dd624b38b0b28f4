"""How a command ends: one line of words, one exit status."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click
from click.core import ParameterSource

from .config import PROFILE, Config, Profile, config_path, name_variables, read_config
from .status import Status
from .streams import StdoutClosed, prepare_streams, silence_stdout

LITERAL = "chatbroker.literal"
"""In a context's ``meta``: whether some arguments stand after ``--``."""


def means_stdin(text: Sequence[str]) -> bool:
    """Whether *text*, the words of a message on the command line, stands for stdin.

    A dash after ``--`` is a dash: who hands on what others wrote must not lose its own stdin by
    it."""
    context = click.get_current_context(silent=True)
    return (*text,) == ("-",) and (context is None or not context.meta.get(LITERAL))


class CommandGroup(click.Group):
    """A command with subcommands, whose defaults may stand in the config file.

    For its manual: *files* that it keeps and *variables* that it heeds beside those of options,
    with what they are; *statuses* with which it ends.
    """

    def __init__(
        self,
        *args: Any,
        files: dict[str, str] | None = None,
        variables: dict[str, str] | None = None,
        statuses: Sequence[Status] = tuple(Status),
        **attributes: Any,
    ) -> None:
        super().__init__(*args, **attributes)
        self.files = files or {}
        self.variables = variables or {}
        self.statuses = statuses

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[LITERAL] = "--" in args[:-1]
        return super().parse_args(ctx, args)

    def make_context(
        self, info_name: str | None, args: list[str], *more: Any, **extra: Any
    ) -> click.Context:
        name_variables(self)
        # Whoever asks what there is may have to mend the file.
        if {"--help", "-h", "--version"} & {*args} or "default_map" in extra:
            return super().make_context(info_name, args, *more, **extra)
        try:
            config = read_config(self)
            profile = self._profile(args, config)
        except click.UsageError:
            # A line that is being completed shows no errors.
            if not extra.get("resilient_parsing"):
                raise
            return super().make_context(info_name, args, *more, **extra)
        defaults = config.defaults if profile is None else profile.over(config.defaults)
        if profile is not None and profile.named:
            # click asks a variable before the file.  Whoever names a profile means what it says.
            for variable in profile.variables(self):
                os.environ.pop(variable, None)
        context = super().make_context(info_name, args, *more, default_map=defaults, **extra)
        if profile is not None:
            profile.put_in_force(context)
        return context

    def _profile(self, args: list[str], config: Config) -> Profile | None:
        """The profile that the command line, a variable or the file names.

        Raises click.UsageError for one that there is not."""
        option = next((one for one in self.params if one.name == PROFILE), None)
        if option is None:
            return None
        # All options are parsed with what the profile says, so it is looked for before: as
        # shell completion does it, without complaints.
        context, given, rest = _given(self, args)
        name: Any = given.get(PROFILE)
        command = self.commands.get(rest[0]) if rest else None
        table: dict[str, Any] = {}
        if command is not None:
            name = _given(command, rest[1:], context)[1].get(PROFILE, name)
            table = config.defaults.get(rest[0], {})
        named = name is not None
        if not named:
            in_file = table.get(PROFILE, config.defaults.get(PROFILE))
            name = os.environ.get(str(option.envvar)) or in_file
        # On the command line an empty name is for none, whatever the others say.
        return Profile(name, config.profile(name), named) if name else None


def _given(
    command: click.Command, args: list[str], parent: click.Context | None = None
) -> tuple[click.Context, dict[str, Any], list[str]]:
    """The options in *args*, as they are written, and what is left after them; and the context,
    for subcommands."""
    # As `make_context` makes it: click keeps what it finds out of the first one, such as how
    # help is asked for.
    settings = {**command.context_settings, "resilient_parsing": True}
    context = command.context_class(command, parent=parent, info_name=command.name, **settings)
    options, rest, _ = command.make_parser(context).parse_args([*args])
    return context, options, rest


def run_command(
    name: str, command: CommandGroup, explain: Callable[[Exception], tuple[Status, str] | None]
) -> int:
    """Runs *command* with this process's arguments; returns the exit status.

    *explain* gives the status and the words for an exception of the command's own.  Any
    other is a bug, and shows its traceback.
    """
    prepare_streams()
    if f"_{name}_COMPLETE".upper() in os.environ:
        from .completion import take_over_bash

        take_over_bash()
    try:
        try:
            status = _run(name, command, explain)
            if status == Status.INTERRUPTED:
                # Of what was being written nobody knows how much was: it is not written again.
                silence_stdout()
        finally:
            # Here and not at exit: a full or closed stdout is noticed while it can be told.
            sys.stdout.flush()
    except StdoutClosed:
        silence_stdout()
        return Status.DONE
    except OSError as error:
        complain(name, f"cannot write: {error.strerror or error}; what is missing was not printed")
        silence_stdout()
        return Status.FAILURE
    return status


def _run(
    name: str, command: CommandGroup, explain: Callable[[Exception], tuple[Status, str] | None]
) -> int:
    try:
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # See `begin`.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        returned = command.main(prog_name=name, standalone_mode=False)
    except click.exceptions.Exit as exit:
        return exit.exit_code
    except (click.Abort, KeyboardInterrupt):
        return Status.INTERRUPTED
    except click.UsageError as error:
        command_path = error.ctx.command_path if error.ctx is not None else name
        words = f"{words_of(error)}; see '{command_path} --help'"
        complain(name, words + _of_dashes(error))
        return Status.USAGE
    except click.ClickException as error:
        complain(name, error.format_message())
        return error.exit_code
    except StdoutClosed:
        raise
    except Exception as error:
        explained = explain(error)
        if explained is None:
            raise
        status, words = explained
        complain(name, words)
        return status
    return returned if isinstance(returned, int) else Status.DONE


def words_of(error: click.UsageError) -> str:
    """What is wrong; and where that stands, if it is not on the command line."""
    words = error.format_message().rstrip(".")
    if isinstance(error, click.BadParameter) and error.param is not None and error.ctx is not None:
        source = error.ctx.get_parameter_source(str(error.param.name))
        if source is ParameterSource.ENVIRONMENT:
            words += f" (in the variable {error.param.envvar})"
        elif source is ParameterSource.DEFAULT_MAP:
            words += f" (in {config_path()})"
    return words


def _of_dashes(error: click.UsageError) -> str:
    """What to do about a text that was taken for an option."""
    if not isinstance(error, click.NoSuchOption) or error.ctx is None:
        return ""
    params = error.ctx.command.params
    takes_text = any(isinstance(one, click.Argument) and one.nargs < 0 for one in params)
    return "; '--' stands before a text that begins with a dash" if takes_text else ""


def complain(name: str, words: str) -> None:
    """One line on stderr: what happened, to what, what to do next."""
    print(f"{name}: {words}", file=sys.stderr, flush=True)
