"""How a command ends: one line of words, one exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import click

from .config import config_defaults, name_variables
from .status import Status


class StdoutClosed(Exception):
    """Whoever read stdout has gone (`| head`)."""


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

    def make_context(
        self, info_name: str | None, args: list[str], *more: Any, **extra: Any
    ) -> click.Context:
        name_variables(self)
        # Whoever asks what there is may have to mend the file.
        if not {"--help", "-h", "--version"} & {*args}:
            try:
                extra.setdefault("default_map", config_defaults(self))
            except click.UsageError:
                # A line that is being completed shows no errors.
                if not extra.get("resilient_parsing"):
                    raise
        return super().make_context(info_name, args, *more, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # click would end with status 1; a reader that has enough is no failure.
            raise StdoutClosed from None


def run_command(
    name: str, command: CommandGroup, explain: Callable[[Exception], tuple[Status, str] | None]
) -> int:
    """Runs *command* with this process's arguments; returns the exit status.

    *explain* gives the status and the words for an exception of the command's own.  Any
    other is a bug, and shows its traceback.
    """
    _prepare_streams()
    if f"_{name}_COMPLETE".upper() in os.environ:
        from .completion import take_over_bash

        take_over_bash()
    try:
        try:
            status = _run(name, command, explain)
        finally:
            # Here and not at exit: a full or closed stdout is noticed while it can be told.
            sys.stdout.flush()
    except (StdoutClosed, BrokenPipeError):
        silence_stdout()
        return Status.DONE
    except OSError as error:
        complain(name, f"cannot write: {error.strerror or error}; what is missing was not printed")
        silence_stdout()
        return Status.FAILURE
    return status


def silence_stdout() -> None:
    """Nobody reads stdout any more: what is written to it goes nowhere, also at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _prepare_streams() -> None:
    """Gives every standard stream a file, and has none of them fail over a character."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            # Closed by the caller (`>&-`).  Another file would take its number otherwise; the
            # lowest free one is this, as those below are open by now.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115
        if mode == "w":
            getattr(sys, name).reconfigure(errors="backslashreplace")


def _run(
    name: str, command: CommandGroup, explain: Callable[[Exception], tuple[Status, str] | None]
) -> int:
    try:
        returned = command.main(prog_name=name, standalone_mode=False)
    except click.exceptions.Exit as exit:
        return exit.exit_code
    except (click.Abort, KeyboardInterrupt):
        return Status.INTERRUPTED
    except click.UsageError as error:
        command_path = error.ctx.command_path if error.ctx is not None else name
        complain(name, f"{error.format_message().rstrip('.')}; see '{command_path} --help'")
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


def complain(name: str, words: str) -> None:
    """One line on stderr: what happened, to what, what to do next."""
    # If it cannot be said (a full disk, say), the status still tells.
    with suppress(OSError):
        print(f"{name}: {words}", file=sys.stderr, flush=True)
