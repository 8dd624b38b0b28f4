"""The life that a log had before, if its data went back in time: a copy was put back, or a power
cut undid commits.  Up to where the data end when they are taken up, both lives are the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple


class Former(NamedTuple):
    """Of one log."""

    epoch: bytes
    head: int
    """Up to here it is what it was."""


def pack_former(former: Mapping[str, Former]) -> bytes:
    """*former*, by the keys of the logs, as it is stored."""
    return json.dumps({key: (one.epoch.hex(), one.head) for key, one in former.items()}).encode()


def unpack_former(data: bytes) -> dict[str, Former]:
    """The opposite of `pack_former`; of nothing, none.  Raises ValueError for what is no such."""
    if not data:
        return {}
    try:
        found = json.loads(data).items()
        former = {key: Former(bytes.fromhex(epoch), head) for key, (epoch, head) in found}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"not the lives that logs had before: {error}") from None
    if not all(type(one.head) is int for one in former.values()):
        raise ValueError("not the lives that logs had before")
    return former
