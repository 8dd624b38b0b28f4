"""What Linux tells of a TCP connection; other systems tell nothing."""

from __future__ import annotations

import ctypes
import socket

# Linux's numbers.
_TCP_INFO = 11
_ESTABLISHED = 1
_FIONREAD = 0x541B

_libc = ctypes.CDLL(None)


class _TcpInfo(ctypes.Structure):
    """The beginning of Linux's struct tcp_info (4.6 or newer), with the names of linux/tcp.h."""

    _fields_ = (
        ("tcpi_state", ctypes.c_uint8),
        ("_attempts_and_options", ctypes.c_uint8 * 7),
        ("_timeouts_and_sizes", ctypes.c_uint32 * 4),
        ("tcpi_unacked", ctypes.c_uint32),
        ("_losses_times_and_metrics", ctypes.c_uint32 * 19),
        ("_rates", ctypes.c_uint64 * 2),
        ("tcpi_bytes_acked", ctypes.c_uint64),
        ("tcpi_bytes_received", ctypes.c_uint64),
        ("_segments", ctypes.c_uint32 * 2),
        ("tcpi_notsent_bytes", ctypes.c_uint32),
        ("_min_rtt", ctypes.c_uint32),
    )


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
    info = _told_of(fd)
    return None if info is None else int(info.tcpi_bytes_received)


def confirmed_by(fd: int) -> tuple[int, bool] | None:
    """Bytes that were sent by the connection *fd* and that its peer's kernel has confirmed to have
    received, and whether more wait in this one; None if the system does not tell."""
    info = _told_of(fd)
    if info is None:
        return None
    return int(info.tcpi_bytes_acked), bool(info.tcpi_unacked or info.tcpi_notsent_bytes)


def has_ended(fd: int) -> bool:
    """Whether either end of the connection *fd* has ended it; False if the system does not tell."""
    info = _told_of(fd)
    return info is not None and info.tcpi_state != _ESTABLISHED


def _told_of(fd: int) -> _TcpInfo | None:
    info = _TcpInfo()
    size = ctypes.c_uint32(ctypes.sizeof(info))
    if _libc.getsockopt(fd, socket.IPPROTO_TCP, _TCP_INFO, ctypes.byref(info), ctypes.byref(size)):
        return None
    return info if size.value == ctypes.sizeof(info) else None
