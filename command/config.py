"""The config file: defaults for options, below variables and above what is built in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import click

from .place import Place, at_home

PROFILE = "profile"
"""The option that names a profile; and the table of the config file that holds them."""


COMMANDS = ("chat", "chatbroker")
"""Those that read the file, each a table of its own."""


def config_path() -> Path:
    """Where the config file is: ``config.toml`` in the platform's config folder, or what
    CHATBROKER_CONFIG names."""
    named = os.environ.get("CHATBROKER_CONFIG")
    return Path(named) if named else Path(click.get_app_dir("chatbroker")) / "config.toml"


class Words(click.types.StringParamType):
    """A text that may be a whole number, such as a position: the config file needs no quotes for
    that."""


class Config(NamedTuple):
    """What the config file says for one command."""

    path: Path
    defaults: dict[str, Any]
    """As click's default_map."""
    profiles: dict[str, dict[str, Any]]
    """The same for each profile, without what it does not say."""

    def profile(self, name: str) -> dict[str, Any]:
        """The profile *name*.  Raises click.UsageError if there is none."""
        if name in self.profiles:
            return self.profiles[name]
        there = ", ".join(sorted(self.profiles)) or "none"
        raise click.UsageError(f"no profile {name!r} in {self.path}; there are: {there}")


def read_config(group: click.Group) -> Config:
    """The table of *group* (``chat`` or ``chatbroker``), and the profiles if it has that option.

    A key is an option's name without its dashes; a table in it belongs to a subcommand, or to an
    option that may be repeated::

        [chat]
        port = 5600
        [chat.listen]
        format = "{from}: {text}"
        [profile.work]
        port = 5700
        [chatbroker.run.limit]
        messages = 1000

    Raises click.UsageError for a file that cannot be read, is no TOML, or has a key that
    nobody reads.
    """
    path = config_path()
    try:
        raw = path.read_bytes()
        import tomllib  # Most have no file, and would wait for it.

        tables = tomllib.loads(raw.decode("utf-8-sig"))  # Some editors begin a file with a mark.
    except (FileNotFoundError, NotADirectoryError):
        if os.environ.get("CHATBROKER_CONFIG"):
            # A slip of the keyboard, most likely: by the defaults it would be another broker, and
            # what is to be kept would go.
            words = f"CHATBROKER_CONFIG names {path}, and there is no such file"
            raise click.UsageError(f"{words}; an empty one will do") from None
        return Config(path, {}, {})
    except OSError as error:
        raise click.UsageError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:  # tomllib's errors, and bad UTF-8.
        raise click.UsageError(f"cannot read {path}: {error}") from None
    except RecursionError:  # tomllib's, too: it goes into each list and table by itself.
        raise click.UsageError(f"cannot read {path}: it is nested too deeply") from None
    assert group.name is not None  # Both commands have one.
    for key, table in tables.items():
        if key not in (group.name, PROFILE) and not isinstance(table, dict):
            raise click.UsageError(f"{path}: {key} stands in no table; put it below [{group.name}]")
        if key not in (group.name, *COMMANDS, PROFILE):
            words = ", ".join(f"[{name}]" for name in COMMANDS)
            raise click.UsageError(
                f"{path}: nobody reads [{key}]; there are {words} and [{PROFILE}.NAME]"
            )
    defaults = _defaults(path, group.name, group, tables.get(group.name, {}))
    return Config(path, defaults, _profiles(path, group, tables.get(PROFILE, {})))


def config_defaults(group: click.Group) -> dict[str, Any]:
    """Of `read_config`, the defaults."""
    return read_config(group).defaults


def _profiles(path: Path, group: click.Group, tables: Any) -> dict[str, dict[str, Any]]:
    if not any(option.name == PROFILE for option in _options(group)):
        return {}
    if not isinstance(tables, dict):
        words = f"put it below [{group.name}], or profiles in [{PROFILE}.NAME]"
        raise click.UsageError(f"{path}: {PROFILE} stands in no table; {words}")
    profiles = {}
    for name, table in tables.items():
        profiles[name] = _defaults(path, f"{PROFILE}.{name}", group, table)
        for part in (profiles[name], *_tables(profiles[name])):
            if PROFILE in part:
                raise click.UsageError(f"{path}: [{PROFILE}.{name}] cannot name another profile")
    return profiles


def _tables(defaults: dict[str, Any]) -> list[dict[str, Any]]:
    return [value for value in defaults.values() if isinstance(value, dict)]


class Profile(NamedTuple):
    """The profile that is in force."""

    name: str
    options: dict[str, Any]
    """What it says, as click's default_map."""
    named: bool
    """Whether the command line named it: then it is stronger than variables."""

    @staticmethod
    def of(context: click.Context) -> Profile | None:
        """The one that is in force for a command."""
        profile: Profile | None = context.find_root().meta.get(_IN_FORCE)
        return profile

    def put_in_force(self, context: click.Context) -> None:
        context.find_root().meta[_IN_FORCE] = self

    def sets(self, context: click.Context, option: str) -> bool:
        """Whether it says something of an option of the command of *context*."""
        table = self.options
        if context.parent is not None:
            table = table.get(str(context.info_name), {})
        return option in table

    def over(self, defaults: dict[str, Any]) -> dict[str, Any]:
        """*defaults*, and over them what the profile says."""
        merged = defaults | self.options
        for name, table in self.options.items():
            if isinstance(table, dict):
                merged[name] = defaults.get(name, {}) | table
        return merged

    def variables(self, group: click.Group) -> list[str]:
        """The variables that it speaks for."""
        found = []
        for command in (group, *group.commands.values()):
            table = self.options if command is group else self.options.get(str(command.name), {})
            for option in _options(command):
                if option.name in table and isinstance(option.envvar, str):
                    found.append(option.envvar)
        return found


_IN_FORCE = f"{__name__}.profile"


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
            if not all(_is_one(each, *_SINGLE) for each in value.values()):
                raise click.UsageError(f"{path}: [{where}.{key}] holds single values")
            defaults[str(options[key].name)] = [f"{name}={each}" for name, each in value.items()]
        elif key not in options:
            what = "command" if isinstance(value, dict) else "option"
            raise click.UsageError(f"{path}: [{where}] has no {what} {key!r}")
        else:
            try:
                defaults[str(options[key].name)] = _value(options[key], value)
            except ValueError as error:
                raise click.UsageError(f"{path}: [{where}] {key} {error}") from None
    return defaults


_SINGLE = (str, int, float)
_LARGEST = 2**63 - 1
"""The integers of TOML are those of 64 bits; tomllib gives larger ones, too."""


def _value(option: click.Option, value: Any) -> Any:
    """What the file says of *option*, if it is of a type that may stand there.

    click converts texts, as of the command line: of another type it may make what nobody meant
    (true is 1, and 2.9 is 2), or fail.  Raises ValueError, which says what is wanted.
    """
    if isinstance(value, list | dict) and not option.multiple:
        raise ValueError("must be a single value")
    if option.multiple:
        fits = isinstance(value, list) and all(_is_one(each, str) for each in value)
        wanted = "a list of texts, or a table"
    elif option.is_flag:
        fits, wanted = isinstance(value, bool), "true or false"
    elif isinstance(option.type, click.types.IntParamType):
        fits, wanted = _is_one(value, str, int), "a whole number"
    elif isinstance(option.type, Words):
        fits, wanted = _is_one(value, str, int), "a whole number, or a text in quotes"
    elif isinstance(option.type, _TEXTS):
        fits, wanted = _is_one(value, str), "a text in quotes"
    else:
        fits, wanted = _is_one(value, *_SINGLE), "a number, or a text in quotes"
    if not fits:
        raise ValueError(f"wants {wanted}, not {_told(value)}")
    if isinstance(option.type, Place):
        # The shell, which does it on the command line, does not see this one.
        try:
            return at_home(value)
        except ValueError as error:
            raise ValueError(f"is {value!r}, and {error}") from None
    return value


_TEXTS = (click.types.StringParamType, click.Choice, click.Path)


def _is_one(value: Any, *types: type) -> bool:
    """Whether *value* is of one of *types*.  A bool is no number."""
    if isinstance(value, bool) or not isinstance(value, types):
        return False
    return not isinstance(value, int) or abs(value) <= _LARGEST


def _told(value: Any) -> str:
    """A value of a config file as words have it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "a list of something else"
    if isinstance(value, int) and abs(value) > _LARGEST:
        return "one of more than 64 bits"
    return repr(value) if isinstance(value, str) else str(value)


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
