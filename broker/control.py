"""What an operator asks of a running broker, and what it answers.

A request and its answer are JSON objects of one line each, over a socket in the data folder
that only the folder's owner can open.  ``server`` has the broker's end of it, `ask` the other.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import select
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from .config import StartError
from .standing import Standing

log = logging.getLogger("chatbroker")

SOCKET = "control"
"""Its name in the data folder."""

MOST_BYTES = 64 * 1024
"""Of one request."""

PATIENCE = 10.0
"""Seconds that a broker may take to answer."""


MOST_VISITORS = 16
"""Connections at a time; another one takes the place of the first."""

BACKLOG = 128
"""Connections that wait to be accepted: who comes when there are more is turned away."""


CarryOut = Callable[[dict[str, Any], int | None], dict[str, Any]]
"""Does what a request asks for, by the user of that id if the system tells; the answer."""


class Desk:
    """The broker's end: hears requests within a turn, answers when the turn is stored.

    *watch* and *forget* are told of sockets that want to be heard.
    """

    def __init__(
        self,
        folder: Path,
        watch: Callable[[socket.socket], None],
        forget: Callable[[socket.socket], None],
    ) -> None:
        self._path = folder / SOCKET
        self._watch = watch
        self._forget = forget
        self._heard: dict[socket.socket, bytes] = {}
        """Who is here, and what they said so far."""
        self._away = False
        """Whether new ones are not waited for."""
        self._answers: list[tuple[socket.socket, dict[str, Any]]] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.setblocking(False)
        try:
            # What is there is of a broker that was killed: the folder's lock is ours.
            self._path.unlink(missing_ok=True)
            before = os.umask(0o177)
            try:
                self._listener.bind(str(self._path))
            finally:
                os.umask(before)
            self._listener.listen(BACKLOG)
            self._standing = Standing(self._path)
        except OSError as error:
            # Its path may be longer than a socket's may be.  The broker serves all the same.
            log.warning("control path=%s cannot be opened: %s", self._path, error)
            self._listener.close()
            return
        self._watch(self._listener)

    def hear(self, carry_out: CarryOut, at_once: bool = False) -> None:
        """Takes what has come; has *carry_out* answer each whole request.

        *at_once*: no turn is to be waited for, whoever asks is answered now.
        """
        if self._listener.fileno() < 0:
            return
        for _ in range(MOST_VISITORS):
            try:
                visitor, _address = self._listener.accept()
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE) and not self._away:
                    # Whoever waits would wake the loop again and again.  It is said too when
                    # nobody waits, and by a turn for those who are here.
                    self._forget(self._listener)
                    self._away = True
                break  # Else none is there, or it has gone again.
            visitor.setblocking(False)
            if len(self._heard) == MOST_VISITORS:
                # Who came first has had the time to ask.  To let the new one wait would wake
                # the loop for it again and again.
                self._dismiss(next(iter(self._heard)))
            self._heard[visitor] = b""
            self._watch(visitor)
        for visitor in list(self._heard):
            self._hear_one(visitor, carry_out, at_once)

    def tidy(self) -> None:
        """Goes on listening, if there was no descriptor for a visitor."""
        if self._away:
            self._away = False
            self._watch(self._listener)

    def _dismiss(self, visitor: socket.socket) -> None:
        del self._heard[visitor]
        self._forget(visitor)
        visitor.close()

    def _hear_one(self, visitor: socket.socket, carry_out: CarryOut, at_once: bool) -> None:
        try:
            some = visitor.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            some = b""  # Gone, in whatever way.
        self._heard[visitor] += some
        line = self._heard[visitor]
        if some and not line.endswith(b"\n") and len(line) <= MOST_BYTES:
            return
        if not line.endswith(b"\n"):
            self._dismiss(visitor)
            return
        if _has_gone(visitor):
            # Whoever gave up was told that nothing was answered, and may have asked again.
            log.info("control request is left undone: whoever asked has gone")
            self._dismiss(visitor)
            return
        self._forget(visitor)
        del self._heard[visitor]
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            request = None
        if not isinstance(request, dict):
            self._give(visitor, {"ok": False, "words": "a request is a JSON object"})
        elif at_once:
            self._give(visitor, carry_out(request, _user_of(visitor)))
        else:
            self._answers.append((visitor, carry_out(request, _user_of(visitor))))

    def tell(self) -> None:
        """Gives the answers: what was asked for is stored."""
        for visitor, answer in self._answers:
            self._give(visitor, answer)
        self._answers.clear()

    def _give(self, visitor: socket.socket, answer: dict[str, Any]) -> None:
        try:
            visitor.sendall(json.dumps(answer).encode() + b"\n")
        except OSError as error:  # Gone, or does not read: that is the visitor's affair.
            log.info("control answer was not taken: %s", error)
        visitor.close()

    def close(self) -> None:
        """Closes all sockets."""
        for visitor in list(self._heard):
            self._dismiss(visitor)
        for visitor, _ in self._answers:
            visitor.close()
        self._answers.clear()
        if self._listener.fileno() >= 0:
            if not self._away:
                self._forget(self._listener)
            self._listener.close()
            with suppress(OSError):
                # It may be another's by now, if the folder was moved away and made anew.
                self._standing.insist()
                self._path.unlink()


def _has_gone(visitor: socket.socket) -> bool:
    """Whether the other end is closed; one that only says no more still waits for its answer."""
    poller = select.poll()
    poller.register(visitor, 0)
    return any(what & select.POLLHUP for _, what in poller.poll(0))


def _user_of(visitor: socket.socket) -> int | None:
    """The user id of whoever is at the other end; None where the system does not tell."""
    credentials = getattr(socket, "SO_PEERCRED", None)
    if credentials is None:
        return None
    # Three ints: process, user, group.
    found = visitor.getsockopt(socket.SOL_SOCKET, credentials, 12)
    return int.from_bytes(found[4:8], sys.byteorder)


def listens(folder: Path) -> bool:
    """Whether a broker hears operators in *folder*."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(PATIENCE)
        try:
            sock.connect(str(folder / SOCKET))
        except OSError:
            return False  # There is none, or it is of a broker that was killed.
    return True


def ask(folder: Path, **request: Any) -> dict[str, Any]:
    """Puts *request* to the broker that serves from *folder*; its answer.

    Raises StartError if no broker answers there.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(PATIENCE)
        advice = "try again, and see its log"
        try:
            sock.connect(str(folder / SOCKET))
            sock.sendall(json.dumps(request).encode() + b"\n")
            # It leaves undone what it comes to when nobody waits for it any more.
            advice = "it may be done, or not: see to that, and its log, before you try again"
            answer = b""
            while not answer.endswith(b"\n") and (some := sock.recv(4096)):
                answer += some
            if not answer:
                raise OSError(errno.ECONNRESET, "it ended meanwhile")
            answered: dict[str, Any] = json.loads(answer)
        except (OSError, ValueError) as error:
            if type(error) is OSError and error.errno is None:
                # Python's own word, before the system is asked.
                raise StartError(
                    f"the path {folder / SOCKET} is too long for a socket; "
                    "give the broker, and here, a shorter --data-dir, such as a link to it"
                ) from None
            words = getattr(error, "strerror", None) or str(error)
            raise StartError(f"the broker of {folder} does not answer: {words}; {advice}") from None
        return answered
