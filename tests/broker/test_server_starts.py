"""How a broker begins: its sockets, its ports, and what is left when it cannot."""

from __future__ import annotations

import os
import socket
from contextlib import closing

import pytest
import zmq

from chatbroker.broker import outgoing
from chatbroker.broker.allowance import Allowance
from chatbroker.broker.config import Config, StartError
from chatbroker.broker.gate import Gate
from chatbroker.broker.server import Server
from chatbroker.wire.limits import FRAME_TARGET, MAX_FRAME, PUSH_WINDOW
from chatbroker.wire.messages import (
    GREETING_TOPIC,
)
from serving import WITHIN, SocketPeer

KEEPALIVE = {
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 30,
    zmq.TCP_KEEPALIVE_INTVL: 10,
    zmq.TCP_KEEPALIVE_CNT: 3,
}
BOTH = KEEPALIVE | {
    zmq.BACKLOG: 4096,
    zmq.HANDSHAKE_IVL: 10_000,
    zmq.TCP_MAXRT: 10_000,
    zmq.LINGER: 1000,
    zmq.HEARTBEAT_IVL: 0,
}
"""No heartbeat of the broker's own: one that stalls would drop healthy clients."""


def test_the_router_is_set_as_reliability_needs(servers):
    router = servers()._router
    assert router.getsockopt(zmq.TYPE) == zmq.ROUTER
    wanted = BOTH | {zmq.SNDHWM: 128, zmq.RCVHWM: 64, zmq.MAXMSGSIZE: MAX_FRAME}
    assert {option: router.getsockopt(option) for option in wanted} == wanted


def test_the_pub_is_set_as_reliability_needs(servers):
    pub = servers()._publisher._pub
    assert pub.getsockopt(zmq.TYPE) == zmq.XPUB
    wanted = BOTH | {zmq.SNDHWM: 1000, zmq.RCVHWM: 0, zmq.RCVBUF: 2304, zmq.MAXMSGSIZE: 128}
    assert {option: pub.getsockopt(option) for option in wanted} == wanted


def test_who_subscribes_without_end_is_cut_off_and_others_hear_on(running, context):
    server = running()
    bomber, listener = context.socket(zmq.SUB), context.socket(zmq.SUB)
    with bomber, listener, bomber.get_monitor_socket(zmq.EVENT_DISCONNECTED) as monitor:
        listener.subscribe(GREETING_TOPIC)
        listener.connect(server.pub_address)
        assert listener.poll(WITHIN * 1000)
        bomber.setsockopt(zmq.RECONNECT_IVL, -1)
        for number in range(Allowance().subscriptions):
            bomber.subscribe(b"topic %d" % number)
        bomber.connect(server.pub_address)
        assert not monitor.poll(300)
        bomber.subscribe(b"one more")
        assert monitor.poll(WITHIN * 1000)
        bomber.disable_monitor()
        assert listener.recv() == GREETING_TOPIC
        presence = context.socket(zmq.SUB)
        with presence:
            presence.subscribe(GREETING_TOPIC)
            presence.connect(server.pub_address)
            assert presence.poll(WITHIN * 1000)


def test_who_says_something_else_to_the_pub_is_cut_off(running, context):
    server = running()
    talker = context.socket(zmq.XSUB)
    with talker, talker.get_monitor_socket(zmq.EVENT_DISCONNECTED) as monitor:
        talker.setsockopt(zmq.RECONNECT_IVL, -1)
        talker.connect(server.pub_address)
        for _ in range(Allowance().subscriptions + 1):
            talker.send(b"hello")
        assert monitor.poll(WITHIN * 1000)
        talker.disable_monitor()


def test_a_client_that_never_reads_holds_two_mebibytes_and_no_answer_is_larger(servers):
    """One that reads gets all that it may ask for in one turn, and all that it is pushed."""
    held = servers()._router.getsockopt(zmq.SNDHWM) * FRAME_TARGET
    assert held == 2 * 1024 * 1024
    assert held > outgoing.MOST_REPLIES + MAX_FRAME
    assert held > PUSH_WINDOW + MAX_FRAME


def test_routing_ids_differ_from_one_start_to_the_next(running, context):
    """libzmq seeds nothing: without care the first id would be the same at every start."""
    seen = set()
    for _ in range(3):
        server = running()
        identities = []
        receive = server._core.receive
        server._core.receive = lambda identity, frame, origin, receive=receive, seen=identities: (
            seen.append(identity),
            receive(identity, frame, origin),
        )
        peer = SocketPeer(context, server)
        peer.joins("alice")
        peer.socket.close()
        seen.add(identities[0])
    assert len(seen) == 3


def test_both_ports_are_free_ones_and_told(servers):
    one, other = servers(), servers()
    ports = {one.port, other.port, *(int(s.pub_address.rpartition(":")[2]) for s in (one, other))}
    assert len(ports) == 4
    assert one.address == f"tcp://127.0.0.1:{one.port}"


def test_the_port_for_broadcasts_may_be_chosen(servers):
    free = servers()
    port = int(free.pub_address.rpartition(":")[2])
    free.close()
    assert servers(pub_port=port).pub_address == f"tcp://127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("host", "address"),
    [("localhost", "tcp://localhost:"), ("0.0.0.0", "tcp://0.0.0.0:"), ("::1", "tcp://[::1]:")],
)
def test_a_host_may_be_a_name_or_an_address(servers, host, address):
    if host == "::1" and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        server = servers(host=host)
    except StartError as error:
        if host == "::1" and "no such address" in str(error):
            pytest.skip("no IPv6 here")
        raise
    assert server.address.startswith(address)


# --- starting -----------------------------------------------------------------------------


@pytest.fixture
def taken():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_port_in_use(servers, taken):
    with pytest.raises(StartError) as caught:
        servers(port=taken)
    assert str(caught.value) == (
        f"cannot listen on tcp://127.0.0.1:{taken}: address already in use"
    )


def test_a_port_for_broadcasts_in_use_says_how_to_choose_another(servers, taken):
    with pytest.raises(StartError, match=r"already in use .*--pub-port chooses another"):
        servers(pub_port=taken)


def test_one_port_cannot_be_both(servers):
    free = servers()
    free.close()
    with pytest.raises(StartError, match="already in use"):
        servers(port=free.port, pub_port=free.port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_of_another_machine(servers, host):
    with pytest.raises(StartError, match=f"cannot listen on tcp://{host}:"):
        servers(host=host)


def test_a_server_that_could_not_start_leaves_nothing_open(servers, taken):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(StartError):
            servers(pub_port=taken)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("why", ["port", "broadcasts", "folder", "gate"])
def test_a_secure_start_that_is_refused_leaves_the_data_a_plain_brokers(
    taken, tmp_path, monkeypatch, data_folder, why
):
    folder, busy = tmp_path / "folder", tmp_path / "busy"
    with closing(Server(Config(port=0, data_dir=folder))):
        pass
    if why == "gate":
        monkeypatch.setattr(Gate, "prove", refuse)
    wanted = {
        "port": Config(port=taken, data_dir=folder),
        "broadcasts": Config(port=0, pub_port=taken),
        "folder": Config(port=0, data_dir=busy),
        "gate": Config(port=0, data_dir=folder),
    }[why]
    with closing(Server(Config(port=0, data_dir=busy))), pytest.raises(StartError):
        Server(wanted._replace(secure=True))
    assert not data_folder.exists()
    for plain in (folder, busy):
        Server(Config(port=0, data_dir=plain)).close()


def test_the_data_are_a_secure_brokers_when_nothing_else_keeps_it_from_serving(tmp_path):
    config = Config(port=0, data_dir=tmp_path / "data")
    with closing(Server(config._replace(secure=True))):
        pass
    with closing(Server(config)):
        pass
    with closing(Server(config._replace(secure=True))) as server:
        server.keep_keys()
    with pytest.raises(StartError, match="are a secure broker's"):
        Server(config)


def refuse(*_):
    raise StartError("it stands open")
