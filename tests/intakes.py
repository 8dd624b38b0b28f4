"""What the tests of the intake put into it, and how they hear what it hands on."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import zmq

from chatbroker.broker.config import Config
from chatbroker.broker.gate import MARK, KeyPair
from chatbroker.broker.memory_journal import MemoryJournal
from chatbroker.broker.server import Server

ALICE, BOB = KeyPair.fresh(), KeyPair.fresh()
A, B = b"\0aaaa", b"\0bbbb"
"""Routing ids, as ZeroMQ makes them."""


@contextmanager
def secure_server() -> Iterator[Server]:
    """A secure broker that has admitted alice and bob; it does not run."""
    server = Server(Config(port=0, secure=True, memory=True), lambda config, port: MemoryJournal())
    members = server._core._members
    members.admit("alice", ALICE.public, 0)
    members.admit("bob", BOB.public, 0)
    yield server
    server.close()


@contextmanager
def reused_descriptor() -> Iterator[int]:
    """A descriptor that two connections had, one after the other."""
    ends = socket.socketpair()
    yield ends[0].fileno()
    for end in ends:
        end.close()


class Said:
    """A frame, as ZeroMQ hands it on: of a key, by a descriptor that may be another's by now."""

    def __init__(self, keys, fd, data, more=False):
        self.bytes = data
        self.more = more
        self._told = {zmq.SRCFD: fd, "Peer-Address": "127.0.0.1", MARK: keys.public.hex()}
        self.get = self._told.__getitem__

    def __len__(self):
        return len(self.bytes)


class Queue:
    """A socket with frames that wait."""

    def __init__(self, frames):
        self._frames = frames

    def __len__(self):
        return len(self._frames)

    def add(self, *frames):
        self._frames += frames

    def recv(self, flags=0, copy=True):
        if not self._frames:
            raise zmq.Again
        return self._frames.pop(0)


class Heard:
    """Stands in for what the core is told."""

    def __init__(self, server, monkeypatch, together=True, full=False):
        self.alone, self.together, self.full = [], [], full
        self.enough = self.most = 1000
        """After so many frames, and of so many commands, it has enough to do."""
        self.bytes = []
        core = server._core
        monkeypatch.setattr(core, "receive", self._receive)
        monkeypatch.setattr(core, "commands_in", lambda said: [*said] if together else [])
        monkeypatch.setattr(core, "receive_commands", self._commands)
        monkeypatch.setattr(core, "reject", self.rejects)
        monkeypatch.setattr(type(core), "full", property(lambda core: self.full))

    def _receive(self, identity, frame, origin):
        self.alone.append((origin.name, frame))
        self.full = len(self.alone) % self.enough == 0

    def _commands(self, identity, commands, size, origin):
        taken = commands[: self.most]
        self.together.append((origin.name, taken))
        self.bytes.append(size)
        self.full = len(taken) < len(commands)
        return commands[len(taken) :], 0

    def rejects(self, identity, code, words):
        self.alone.append((code, words))


def waiting(server, monkeypatch, reused, *said):
    """Has messages wait: of whom, by which routing id, and what, part for part."""
    keys = {"alice": ALICE, "bob": BOB}
    frames = []
    for name, identity, *parts in said:
        frames.append(identity)
        for left, data in zip(range(len(parts))[::-1], parts, strict=True):
            frames.append(Said(keys[name], reused, data, more=left > 0))
    monkeypatch.setattr(server._intake, "_router", Queue(frames))
