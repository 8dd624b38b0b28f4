"""The man pages of the two commands, written from the commands themselves.

python -m chatbroker.command.manual FOLDER      FOLDER/man1/chat.1, chat-send.1, …
"""

from __future__ import annotations

import ast
import inspect
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import distribution
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import click

from . import status
from .begin import MODULES
from .config import name_variables
from .roff import Sheet, bold, italic
from .run import CommandGroup

FILES = {
    "~/.config/chatbroker/config.toml": "Defaults for options, in a table for each command. "
    "Another one is named by CHATBROKER_CONFIG.",
}
"""Of both commands, as on Linux."""

VARIABLES = {
    "CHATBROKER_CONFIG": "The config file.",
    "CHATBROKER_DATA": "The folder for data, in place of ~/.local/share/chatbroker.",
}
"""Of both commands."""


class Named(NamedTuple):
    """A command, and the words by which it is called."""

    words: tuple[str, ...]
    command: click.Command

    @property
    def page(self) -> str:
        return "-".join(self.words)


class Help(NamedTuple):
    """What a command's help tells."""

    summary: str
    paragraphs: list[str]
    examples: list[list[str]]
    """Each of one line, or of several."""


def pages(group: CommandGroup, programs: Iterable[str], version: str, date: str) -> dict[str, str]:
    """The pages of *group* and of all commands below it, by their names.

    *programs*: all that belong together.  *date*: of the form 2026-11-22.
    """
    assert group.name is not None  # Both commands have one.
    name_variables(group)
    every = list(_walk(Named((group.name,), group)))
    others = [program for program in programs if program != group.name]
    return {one.page: _page(one, group, every, others, version, date) for one in every}


def _walk(named: Named) -> Iterator[Named]:
    yield named
    if isinstance(named.command, click.Group):
        for word, command in named.command.commands.items():
            if not command.hidden:
                yield from _walk(Named((*named.words, word), command))


def _page(
    one: Named,
    group: CommandGroup,
    every: list[Named],
    others: list[str],
    version: str,
    date: str,
) -> str:
    told = parse_help(one.command.help or "")
    options = [option for option in _options(one) if not option.hidden]
    shared = {str(option.name): option for option in group.params}
    sheet = Sheet(one.page, 1, date, f"chatbroker {version}", "chatbroker manual")
    sheet.section("NAME")
    summary = told.summary[0].lower() + told.summary[1:].rstrip(".")
    sheet.paragraph(f"``{one.page}`` - {summary}")
    sheet.section("SYNOPSIS")
    context = click.Context(one.command, info_name=" ".join(one.words))
    pieces = one.command.collect_usage_pieces(context)
    sheet.line(f"{bold(' '.join(one.words))} {' '.join(map(italic, pieces))}")
    sheet.section("DESCRIPTION")
    for paragraph in (told.summary, *told.paragraphs):
        sheet.paragraph(paragraph)
    below = [other for other in every if other.words[:-1] == one.words]
    if below:
        sheet.section("COMMANDS")
        for other in below:
            summary = parse_help(other.command.help or "").summary
            sheet.item(bold(" ".join(other.words[1:])), f"{summary} See ``{other.page}``(1).")
    sheet.section("OPTIONS")
    for option in options:
        sheet.item(_spelled(option), _explained(option, shared))
    sheet.section("EXIT STATUS")
    for number, meaning in statuses(group.statuses):
        sheet.item(bold(str(number)), meaning)
    sheet.section("ENVIRONMENT")
    for variable, meaning in _environment(one, group, options, shared).items():
        sheet.item(bold(variable), meaning)
    if below:
        sheet.paragraph("Options of a single command have variables too: see its page.")
    sheet.section("FILES")
    for path, meaning in (FILES | group.files).items():
        sheet.item(italic(path), meaning)
    if told.examples:
        sheet.section("EXAMPLES")
        for example in told.examples:
            sheet.example(example)
    sheet.section("SEE ALSO")
    beside = [other for other in every if other.words[:-1] == one.words[:-1] and other != one]
    above = [other for other in every if other.words == one.words[:-1]]
    related = [other.page for other in (*above, *below, *beside)] + others
    sheet.line(", ".join([f"{bold(page)}(1)" for page in related]))
    return str(sheet)


def parse_help(text: str) -> Help:
    """The parts of a command's docstring: a summary, paragraphs, and what follows ``Example:``
    or ``Examples:``."""
    text = inspect.cleandoc(text.partition("\f")[0])
    blocks = [block for block in re.split(r"\n\s*\n", text) if block.strip()]
    paragraphs, examples, in_examples = [], [], False
    for block in blocks:
        lines = [line.strip() for line in block.splitlines() if line.strip() != "\b"]
        match = re.match(r"Examples?:\s*", lines[0]) if lines else None
        if match:
            in_examples = True
            lines[0] = lines[0][match.end() :]
        lines = [line for line in lines if line]
        if lines and in_examples:
            examples.append(lines)
        elif lines:
            paragraphs.append(" ".join(lines))
    return Help(paragraphs[0] if paragraphs else "", paragraphs[1:], examples)


def statuses(wanted: Iterable[status.Status]) -> list[tuple[int, str]]:
    """The exit statuses and their meanings, which stand below them in ``status``."""
    [body] = [
        node.body
        for node in ast.parse(inspect.getsource(status)).body
        if isinstance(node, ast.ClassDef)
    ]
    told: dict[str, str] = {}
    for line, below in pairwise(body):
        if isinstance(line, ast.Assign) and isinstance(below, ast.Expr):
            told[ast.unparse(line.targets[0])] = ast.literal_eval(below.value)
    return [(one.value, told[one.name]) for one in wanted]


def _options(one: Named) -> list[click.Option]:
    context = click.Context(one.command, info_name=one.words[-1])
    # As its group has it: -h where the group says so.
    context.help_option_names = ["-h", "--help"]
    params = one.command.get_params(context)
    return [param for param in params if isinstance(param, click.Option)]


def _spelled(option: click.Option) -> str:
    """An option and its value, as roff."""
    names = ", ".join(
        [bold(name) for name in sorted((*option.opts, *option.secondary_opts), key=len)]
    )
    value = _value(option)
    return f"{names} {italic(value)}" if value else names


def _value(option: click.Option) -> str:
    if option.is_flag or option.count:
        return ""
    if option.metavar is not None:
        return option.metavar
    if isinstance(option.type, click.Choice):
        return "|".join(map(str, option.type.choices))
    return option.type.name.upper().removesuffix(" RANGE")


def _explained(option: click.Option, shared: Mapping[str, click.Parameter]) -> str:
    """What an option means, its bounds, its default and its variable."""
    words, default = _default(option)
    least, most = getattr(option.type, "min", None), getattr(option.type, "max", None)
    if least is not None and most is not None:
        words += f" From {least} to {most}."
    elif least is not None and option.metavar != "SECONDS":
        words += f" At least {least}."
    if default:
        # Words, or what might be typed.
        words += f" Default: {default if ' ' in default else f'``{default}``'}."
    variable = _variable(option, shared)
    return f"{words} Variable: ``{variable}``." if variable else words


def _default(option: click.Option) -> tuple[str, str]:
    """The words of an option's help, and its default apart from them; empty for none."""
    words = option.help or ""
    match = re.search(r"\s*\[default: (.*?)\]$", words)
    if match:
        return words[: match.start()], match[1]
    value = option.default
    if isinstance(option.show_default, str):
        return words, option.show_default
    shown = option.show_default and not option.is_flag
    if shown and isinstance(value, str):
        return words, value
    return words, f"{value:.12g}" if shown and isinstance(value, int | float) else ""


def _variable(option: click.Option, shared: Mapping[str, click.Parameter]) -> str:
    """The variable from which an option comes, perhaps by way of the group's of its name."""
    named = option.envvar or getattr(shared.get(str(option.name)), "envvar", None)
    return named if isinstance(named, str) else " ".join(named or ())


def _environment(
    one: Named,
    group: CommandGroup,
    options: list[click.Option],
    shared: Mapping[str, click.Parameter],
) -> dict[str, str]:
    found = {
        variable: f"Stands for ``{max(option.opts, key=len)}`` where that is not given."
        for option in options
        if (variable := _variable(option, shared))
    }
    return found | VARIABLES | (group.variables if one.command is group else {})


def _programs() -> list[CommandGroup]:
    return [getattr(import_module(module), name) for name, module in MODULES.items()]


def main(folder: Path) -> None:
    """Writes all pages below *folder*.  SOURCE_DATE_EPOCH is heeded (reproducible-builds.org)."""
    seconds = float(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    date = time.strftime("%Y-%m-%d", time.gmtime(seconds))
    programs = _programs()
    names = [str(program.name) for program in programs]
    below = folder / "man1"
    below.mkdir(parents=True, exist_ok=True)
    for program in programs:
        for name, page in pages(program, names, distribution("chatbroker").version, date).items():
            (below / f"{name}.1").write_text(page, encoding="ascii")


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit("usage: python -m chatbroker.command.manual FOLDER")
    try:
        main(Path(sys.argv[1]))
    except OSError as error:
        sys.exit(f"cannot write the pages to {sys.argv[1]}: {error.strerror}")
