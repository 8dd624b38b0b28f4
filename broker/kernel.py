"""What Linux tells of a TCP connection; other systems tell nothing."""

from __future__ import annotations

import ctypes
import socket

# Linux's numbers.
_TCP_INFO = 11
_FIONREAD = 0x541B
_RECEIVED = 16
"""Where tcpi_bytes_received is in struct tcp_info, in units of eight bytes."""

_libc = ctypes.CDLL(None)


def unread(fd: int) -> int:
    """Bytes that lie in the kernel, to be read from the connection *fd*."""
    count = ctypes.c_int(0)
    _libc.ioctl(fd, _FIONREAD, ctypes.byref(count))
    return count.value


def received_by(fd: int | None) -> int | None:
    """Bytes that the connection *fd* has received since it was made; None if the system does not
    tell.  Without *fd*: of no connection, to see whether it would."""
    if fd is None:
        with socket.socket() as sock:
            return received_by(sock.fileno())
    info = (ctypes.c_uint64 * (_RECEIVED + 1))()
    size = ctypes.c_uint32(ctypes.sizeof(info))
    if _libc.getsockopt(fd, socket.IPPROTO_TCP, _TCP_INFO, info, ctypes.byref(size)):
        return None
    return info[_RECEIVED] if size.value == ctypes.sizeof(info) else None
