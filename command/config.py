"""The config file: defaults for options, below variables and above what is built in."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import click


def config_path() -> Path:
    """Where the config file is: ``config.toml`` in the platform's config folder, or what
    CHATBROKER_CONFIG names."""
    named = os.environ.get("CHATBROKER_CONFIG")
    return Path(named) if named else Path(click.get_app_dir("chatbroker")) / "config.toml"


def config_defaults(group: click.Group) -> dict[str, Any]:
    """The table of *group* (``chat`` or ``chatbroker``), as click's default_map.

    A key is an option's name without its dashes; a table in it belongs to a subcommand, or to an
    option that may be repeated::

        [chat]
        port = 5600
        [chat.listen]
        format = "{from}: {text}"
        [chatbroker.run.limit]
        messages = 1000

    Raises click.UsageError for a file that cannot be read, is no TOML, or has a key that
    nobody reads.
    """
    path = config_path()
    try:
        with path.open("rb") as file:
            tables = tomllib.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:  # tomllib's errors, and bad UTF-8, are ValueErrors.
        raise click.UsageError(f"cannot read {path}: {error}") from None
    assert group.name is not None  # Both commands have one.
    for key, table in tables.items():
        if key != group.name and not isinstance(table, dict):
            raise click.UsageError(f"{path}: {key} stands in no table; put it below [{group.name}]")
    return _defaults(path, group.name, group, tables.get(group.name, {}))


def _defaults(path: Path, where: str, command: click.Command, table: Any) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise click.UsageError(f"{path}: {where} must be a table: [{where}]")
    options = {
        spelling.lstrip("-"): option for option in _options(command) for spelling in option.opts
    }
    commands = command.commands if isinstance(command, click.Group) else {}
    defaults: dict[str, Any] = {}
    for key, value in table.items():
        if key in commands:
            defaults[key] = _defaults(path, f"{where}.{key}", commands[key], value)
        elif isinstance(value, dict) and key in options and options[key].multiple:
            # What may be repeated as NAME=VALUE on the command line is a table here.
            if any(isinstance(each, list | dict | bool) for each in value.values()):
                raise click.UsageError(f"{path}: [{where}.{key}] holds single values")
            defaults[str(options[key].name)] = [f"{name}={each}" for name, each in value.items()]
        elif isinstance(value, list | dict):
            raise click.UsageError(f"{path}: [{where}] {key} must be a single value")
        elif key not in options:
            raise click.UsageError(f"{path}: [{where}] has no option {key!r}")
        elif isinstance(value, bool) and not options[key].is_flag:
            # Where a number is wanted, true would be taken for 1.
            word = str(value).lower()
            raise click.UsageError(f"{path}: [{where}] {key} wants a value, not {word}")
        else:
            defaults[str(options[key].name)] = value
    return defaults


def name_variables(group: click.Group) -> None:
    """Lets every option come from a variable: ``CHAT_BROKER`` for one of the group's own,
    ``CHAT_LISTEN_FORMAT`` for one of a subcommand, unless it has a name of its own."""
    assert group.name is not None
    shared = {option.name for option in _options(group)}
    for option in _options(group):
        _name_variable(option, group.name)
    for name, command in group.commands.items():
        for option in _options(command):
            if option.name not in shared:
                _name_variable(option, f"{group.name}_{name}")


def _name_variable(option: click.Option, prefix: str) -> None:
    longest = max(option.opts, key=len).lstrip("-").replace("-", "_")
    if option.envvar is None and longest not in ("help", "version"):
        option.envvar = f"{prefix}_{longest}".upper()


def _options(command: click.Command) -> list[click.Option]:
    return [param for param in command.params if isinstance(param, click.Option)]
