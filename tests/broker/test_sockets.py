"""The broker's two sockets: where they are bound, and what is said when they cannot be."""

from __future__ import annotations

import socket

import pytest
import zmq

from chatbroker.broker import sockets as module
from chatbroker.broker.config import StartError
from chatbroker.broker.sockets import (
    PUB_OPTIONS,
    ROUTER_OPTIONS,
    bind_pub,
    bind_router,
    bound_to,
    endpoint,
    free_port,
    loopback,
    port_of,
)
from serving import needs_ipv6


@pytest.mark.parametrize(
    ("host", "where"),
    [
        ("127.0.0.1", "tcp://127.0.0.1:"),
        ("localhost", "tcp://127.0.0.1:"),
        ("0.0.0.0", "tcp://0.0.0.0:"),
        ("*", "tcp://0.0.0.0:"),
        pytest.param("::1", "tcp://[::1]:", marks=needs_ipv6),
        pytest.param("::", "tcp://[::]:", marks=needs_ipv6),
    ],
)
def test_port_0_takes_any_free_one_of_the_address(context, host, where):
    for bind in (bind_router, bind_pub):
        sock = bind(context, host, 0, None)
        assert bound_to(sock) == f"{where}{port_of(sock)}"
        assert port_of(sock) > 0


def test_the_options_are_those_that_are_told(context):
    for bind, options in ((bind_router, ROUTER_OPTIONS), (bind_pub, PUB_OPTIONS)):
        sock = bind(context, "127.0.0.1", 0, None)
        told = (zmq.AFFINITY, zmq.RCVHWM, zmq.SNDHWM, zmq.MAXMSGSIZE, zmq.LINGER, zmq.BACKLOG)
        for option in told:
            assert sock.getsockopt(option) == options[option]


def test_a_socket_is_made_secure_before_it_is_bound(context):
    seen = []

    def secure(sock):
        seen.append(sock.getsockopt(zmq.LAST_ENDPOINT))

    pub = bind_pub(context, "127.0.0.1", 0, secure)
    bind_router(context, "127.0.0.1", 0, secure)
    assert seen == [b"", b""]
    # The handshake of CURVE has longer messages than any subscription.
    assert pub.getsockopt(zmq.MAXMSGSIZE) > PUB_OPTIONS[zmq.MAXMSGSIZE]


def test_a_port_in_use_is_told_as_scripts_know_it(context):
    port = port_of(bind_router(context, "127.0.0.1", 0, None))
    words = f"cannot listen on tcp://127.0.0.1:{port}: address already in use"
    with pytest.raises(StartError) as told:
        bind_router(context, "127.0.0.1", port, None)
    assert str(told.value) == words
    with pytest.raises(StartError) as told:
        bind_pub(context, "127.0.0.1", port, None)
    assert str(told.value) == f"{words} (for broadcasts; --pub-port chooses another)"


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_of_another_machine_is_told(context, host, monkeypatch):
    if host.endswith(".invalid"):  # Whatever the resolver here makes of it.

        def fail(*asked):
            raise socket.gaierror(-2, "Name or service not known")

        monkeypatch.setattr(module.socket, "getaddrinfo", fail)
    # The same words, whoever listens there.
    words = f"cannot listen on tcp://{host}:%d: no such address on this machine$"
    with pytest.raises(StartError, match=words % 5555):
        bind_router(context, host, 5555, None)
    with pytest.raises(StartError, match=words % 0):
        free_port(host)


@pytest.mark.parametrize("host", ["a..b", ".x", "a" * 64, "127.0.0.1\0b", "a..b::"])
def test_a_host_that_has_no_name_is_on_no_machine(context, host):
    assert loopback(host)
    for bind in (lambda: bind_router(context, host, 5555, None), lambda: free_port(host)):
        with pytest.raises(StartError, match=r"cannot listen on .*: no such address on this"):
            bind()


def test_a_free_port_is_free(context):
    port = free_port("127.0.0.1")
    assert port_of(bind_router(context, "127.0.0.1", port, None)) == port


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "::1"])
def test_what_only_this_machine_reaches(host):
    assert loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "*", "::", "10.0.0.7", "192.0.2.1", "2001:db8::1"])
def test_what_others_reach(host):
    assert not loopback(host)


def test_where_nothing_can_listen_nobody_reaches_it(monkeypatch):
    def fail(*asked):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(module.socket, "getaddrinfo", fail)
    assert loopback("no-such-host.invalid")


def test_an_address_of_ipv6_is_written_in_brackets():
    assert endpoint("::1", 5555) == "tcp://[::1]:5555"
    assert endpoint("127.0.0.1", 5555) == "tcp://127.0.0.1:5555"


def test_routing_ids_are_others_at_each_start(monkeypatch):
    seeds = []

    class Libc:
        def __init__(self, name):
            self.srand = seeds.append

    monkeypatch.setattr(module.ctypes, "CDLL", Libc)
    for _ in range(3):
        module.seed_routing_ids()
    assert len(set(seeds)) > 1


def test_each_socket_has_a_thread_of_its_own():
    context, _ = module.fresh_context()
    with context:
        threads = range(context.get(zmq.IO_THREADS))
        serving = [
            {thread for thread in threads if options[zmq.AFFINITY] & 1 << thread}
            for options in (ROUTER_OPTIONS, PUB_OPTIONS)
        ]
    assert [len(some) for some in serving] == [1, 1]
    assert serving[0] != serving[1]


def test_messages_do_not_hold_the_buffer_that_they_came_in():
    context, _ = module.fresh_context()
    with zmq.Context() as plain, context:
        try:
            assert plain.get(module.ZERO_COPY_RECV) == 1
        except zmq.ZMQError:
            pytest.skip("this libzmq has no such option")
        assert context.get(module.ZERO_COPY_RECV) == 0


def test_a_libzmq_without_that_option_will_do(monkeypatch):
    monkeypatch.setattr(module, "ZERO_COPY_RECV", 9999)
    context, _ = module.fresh_context()
    context.term()


def test_lean_frames_tell_all_that_the_broker_asks(monkeypatch):
    """Also of a message that is passed on as it is, as the publisher does."""
    monkeypatch.setattr(zmq, "Frame", zmq.Frame)  # Undone afterwards.
    module.lean_frames()
    with (
        zmq.Context() as context,
        context.socket(zmq.ROUTER) as router,
        context.socket(zmq.DEALER) as dealer,
    ):
        dealer.connect(f"tcp://127.0.0.1:{router.bind_to_random_port('tcp://127.0.0.1')}")
        dealer.send_multipart([b"one", b"two"])
        assert router.poll(5000)
        _, *parts = [router.recv(copy=False) for _ in range(3)]
        assert [type(part) for part in parts] == [zmq.backend.Frame] * 2
        assert [(part.bytes, len(part), part.more) for part in parts] == [
            (b"one", 3, True),
            (b"two", 3, False),
        ]
        assert parts[0].get("Peer-Address") == "127.0.0.1"
        assert parts[0].get(zmq.SRCFD) > 0
        with (
            context.socket(zmq.PAIR) as one,
            context.socket(zmq.PAIR) as other,
        ):
            one.bind("inproc://lean")
            other.connect("inproc://lean")
            one.send(parts[0], zmq.SNDMORE, copy=False)
            one.send(parts[1], copy=False)
            assert other.poll(5000)
            assert other.recv_multipart() == [b"one", b"two"]
