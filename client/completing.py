"""What the shell offers on TAB where ``chat`` wants a name or an address.

Nothing is sent but a question, as an observer: no name is taken.
"""

from __future__ import annotations

import click

from ..command.completion import PATIENCE
from ..command.config import read_config
from .errors import ClientError

# What asks a broker is imported when one is asked; and what these are used by, too.


def users(context: click.Context, _: str) -> list[str]:
    """Who is on at the broker that the line, the variables and the config file name."""
    from ..wire.names import is_name
    from .client import Client
    from .options import Shared

    try:
        broker = Shared.given(context).broker
        with Client(None, broker, hear=False, timeout=PATIENCE, reconnect=PATIENCE) as client:
            # A shell takes what is offered as it is, and would run what a name may hide.
            return [user.name for user in client.users() if is_name(user.name)]
    except (click.UsageError, ClientError):
        return []  # The line is wrong so far, or nobody is there who would tell.


def own_names(context: click.Context, _: str) -> list[str]:
    """The names that one has used at that broker."""
    from .access import kept_names
    from .address import parse_address
    from .options import Shared

    try:
        return kept_names(parse_address(Shared.given(context).broker))
    except (click.UsageError, ClientError):
        return []


def brokers(_: click.Context, __: str) -> list[str]:
    """The brokers that files tell of."""
    from .access import known_brokers

    try:
        return known_brokers()
    except ClientError:
        return []


def profiles(context: click.Context, _: str) -> list[str]:
    """The profiles of the config file."""
    group = context.find_root().command
    try:
        return sorted(read_config(group).profiles) if isinstance(group, click.Group) else []
    except click.UsageError:
        return []
