"""Newcomers wait outside while those who are there go on."""

from __future__ import annotations

import select
import socket
import sys

import pytest

from chatbroker.broker.listener import Listener

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="filters are the kernel's")

WITHIN = 10.0


@pytest.fixture
def port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def knocks(listening):
    sock = socket.socket()
    sock.setblocking(False)
    sock.connect_ex(listening.getsockname())
    return sock


def is_in(sock, within):
    return bool(select.select([], [sock], [], within)[1])


def test_newcomers_wait_and_those_who_stand_go_on(port):
    listener = Listener(port.getsockname()[1])
    with socket.create_connection(port.getsockname()) as ours, port.accept()[0] as theirs:
        listener.shut(True)
        listener.shut(True)
        ours.sendall(b"hi")
        assert theirs.recv(2) == b"hi"
        with knocks(port) as waiting:
            assert not is_in(waiting, 0.05)
            listener.shut(False)
            with knocks(port) as next_one:
                assert is_in(next_one, WITHIN)


def test_where_nobody_listens_nobody_waits(port):
    number = port.getsockname()[1]
    port.close()
    listener = Listener(number)
    listener.shut(True)
    with socket.create_server(("127.0.0.1", number)) as again, knocks(again) as sock:
        assert is_in(sock, WITHIN)


def test_that_it_listens_no_more_harms_nobody(port):
    listener = Listener(port.getsockname()[1])
    port.close()
    listener.shut(True)
    listener.shut(False)
