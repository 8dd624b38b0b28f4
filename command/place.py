"""Options and arguments that are paths."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click


class Place(click.Path):
    """A path, as a `Path`.  The empty one is none: of a script that has not set its variable it
    would mean the folder that one is in."""

    def __init__(self, **options: bool) -> None:
        super().__init__(path_type=Path, **options)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("it is empty; give a path", param, ctx)
        if "\0" in str(value):
            self.fail("it has a NUL character in it, as no path has", param, ctx)
        return super().convert(value, param, ctx)


def at_home(text: str) -> str:
    """The path *text*, with the home that a ``~`` or ``~user`` at its beginning stands for, as a
    shell has it.  Raises ValueError if there is none."""
    found = os.path.expanduser(text)
    if found.startswith("~"):
        raise ValueError(f"there is no home {text.partition('/')[0]}")
    return found
