"""Which settings of a running broker take effect at once, when they are read again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .allowance import Allowance
from .config import Config


class Reach(NamedTuple):
    """How a running broker is told of a setting."""

    retain: Callable[[Config], None]
    """What the journal keeps."""
    adjust: Callable[..., None]
    """The core's, by the names that they have in `user.Settings`."""
    log: Callable[[Config], None]
    subscribe: Callable[[int], None]
    """To how many topics a connection may."""


AT_ONCE: dict[str, Callable[[Reach, Config], Any]] = {
    "keep": lambda reach, config: reach.retain(config),
    "keep_bytes": lambda reach, config: reach.retain(config),
    "claim_ttl": lambda reach, config: reach.adjust(claim_ttl=config.claim_ttl),
    "allowance": lambda reach, config: _allow(reach, config.allowance),
    "verbose": lambda reach, config: reach.log(config),
    "log_format": lambda reach, config: reach.log(config),
}
"""By their names in `Config`.  All others need a restart."""


def _spelled(name: str) -> str:
    """What the option is called that *name* of `Config` comes from."""
    return "limit" if name == "allowance" else name.replace("_", "-")


def _allow(reach: Reach, allowance: Allowance) -> None:
    reach.adjust(allowance=allowance)
    reach.subscribe(allowance.subscriptions)


def apply(old: Config, new: Config, reach: Reach) -> tuple[Config, list[str], list[str]]:
    """Has those settings hold that differ, and can hold at once: what is in force now, which
    changed, and which wait for a restart, by the names of their options."""
    before, after = old._asdict(), new._asdict()
    differ = [name for name in before if before[name] != after[name]]
    changed = [name for name in differ if name in AT_ONCE]
    for name in changed:
        AT_ONCE[name](reach, new)
    in_force = old._replace(**{name: after[name] for name in changed})
    waiting = [name for name in differ if name not in AT_ONCE]
    return in_force, [*map(_spelled, changed)], [*map(_spelled, waiting)]
