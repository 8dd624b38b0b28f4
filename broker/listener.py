"""The socket that listens at a port, beneath ZeroMQ: has newcomers wait outside for a while.

ZeroMQ accepts whoever comes, at once, and knows no way to pause.  But the kernel has one: a filter
on the socket that listens drops what would make a connection.  Those that stand go on, and who
knocks does so again after a second, by itself.

Linux only.  Elsewhere nobody waits.
"""

from __future__ import annotations

import ctypes
import os
import socket
import sys

from .connections import borrowed

# Linux's numbers.
_ATTACH_FILTER, _DETACH_FILTER = 26, 27


class _Instruction(ctypes.Structure):
    """struct sock_filter."""

    _fields_ = (
        ("code", ctypes.c_ushort),
        ("yes", ctypes.c_ubyte),
        ("no", ctypes.c_ubyte),
        ("value", ctypes.c_uint),
    )


class _Filter(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.POINTER(_Instruction)))


_NOTHING = _Filter(1, ctypes.pointer(_Instruction(6, 0, 0, 0)))
"""Lets nothing through: its one instruction is BPF_RET, of 0 bytes."""


class Listener:
    """The socket of this process that listens at *port*."""

    def __init__(self, port: int) -> None:
        self._fd = _listening_at(port)
        self._shut = False

    def shut(self, shut: bool) -> None:
        """Has newcomers wait, or lets them in."""
        if shut == self._shut or self._fd < 0:
            return
        self._shut = shut
        try:
            with borrowed(self._fd) as sock:
                if shut:
                    sock.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, bytes(_NOTHING))
                else:
                    sock.setsockopt(socket.SOL_SOCKET, _DETACH_FILTER, 0)
        except OSError:
            self._fd = -1  # A kernel without filters, or it listens no more.


def _listening_at(port: int) -> int:
    """The descriptor of the socket that listens at *port*; -1 if the system does not tell."""
    if sys.platform != "linux":
        return -1
    for name in os.listdir("/proc/self/fd"):
        try:
            with borrowed(int(name)) as sock:
                if (
                    sock.family in (socket.AF_INET, socket.AF_INET6)
                    and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                    and sock.getsockname()[1] == port
                ):
                    return sock.fileno()
        except OSError:
            continue  # No socket, or gone.
    return -1
