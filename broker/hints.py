"""What an operator may do about data that cannot be used: the ends of many an error's words."""

from __future__ import annotations

import errno

REPLACE = "put a backup in its place, or move it away to begin anew"
OPENABLE = "it has to be a file that you may open"
ELSEWHERE = "give the broker's --port, or its --data-dir"
ELSEWHERE_ON_DISK = "give one on another file system with --data-dir"


def or_room(error: OSError, otherwise: str) -> str:
    """What helps where nothing is wrong but that the disk is full; else *otherwise*."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "make room there and start it again"
    return otherwise
