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


def config_defaults(command: str) -> dict[str, Any]:
    """The table of *command* (``chat`` or ``chatbroker``), as click's default_map.

    A key is an option's name; a table in it belongs to a subcommand::

        [chat]
        port = 5600
        [chat.listen]
        format = "{from}: {text}"

    Raises click.UsageError for a file that cannot be read or is no TOML.
    """
    path = config_path()
    try:
        with path.open("rb") as file:
            tables = tomllib.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:  # tomllib's errors, and bad UTF-8, are ValueErrors.
        raise click.UsageError(f"cannot read {path}: {error}") from None
    table = tables.get(command, {})
    if not isinstance(table, dict):
        raise click.UsageError(f"{path}: {command} must be a table: [{command}]")
    return _as_click_names(table)


def _as_click_names(table: dict[str, Any]) -> dict[str, Any]:
    return {
        key.replace("-", "_"): _as_click_names(value) if isinstance(value, dict) else value
        for key, value in table.items()
    }
