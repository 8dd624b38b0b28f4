"""Handing one's own key over, to a broker spoken by hand."""

from __future__ import annotations

import socket
import threading
from unittest.mock import Mock

import pytest
import zmq

from chatbroker.client import enrol as enrol_module
from chatbroker.client import link as link_module
from chatbroker.client.access import Access
from chatbroker.client.enrol import enrol
from chatbroker.client.errors import ClientError, NotAuthorised, ProtocolError, Unreachable
from chatbroker.client.link import fresh_secret, public_key
from chatbroker.wire.codec import FROM_CLIENT, Decoder, Encoder
from chatbroker.wire.limits import VERSION
from chatbroker.wire.messages import Enrol, Enrolled, Notice, Refused

WITHIN = 15.0
BROKER = "chat://127.0.0.1:1"
SERVER = fresh_secret()


class Broker:
    """A ROUTER that admits every key, and answers each frame with what comes next in a list."""

    def __init__(self, *answers):
        self.asked = []
        self._answers = [*answers]
        self._stop = threading.Event()
        self._context = zmq.Context()
        self._router = self._context.socket(zmq.ROUTER)
        self._router.setsockopt(zmq.LINGER, 0)
        self._router.setsockopt(zmq.CURVE_SERVER, 1)
        self._router.setsockopt(zmq.CURVE_SECRETKEY, SERVER)
        self.port = self._router.bind_to_random_port("tcp://127.0.0.1")
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        decode, encode = Decoder(FROM_CLIENT).decode, Encoder().encode
        while not self._stop.is_set():
            if not self._router.poll(20):
                continue
            identity, frame = self._router.recv_multipart()
            self.asked += decode(frame)
            answer = self._answers.pop(0) if self._answers else None
            if answer is not None:
                packed = answer if type(answer) is bytes else encode(answer)
                self._router.send_multipart([identity, packed])

    def close(self):
        self._stop.set()
        self._thread.join(WITHIN)
        self._router.close()
        self._context.term()


@pytest.fixture
def brokers():
    made = []

    def make(*answers):
        made.append(Broker(*answers))
        return made[-1]

    yield make
    for broker in made:
        broker.close()


@pytest.fixture
def handed_over():
    """What is called before the broker is told anything."""
    return Mock()


def access(port):
    return Access("127.0.0.1", port, public_key(SERVER), fresh_secret(), "alice", invited=True)


def test_the_public_half_is_handed_over_and_whose_it_is_comes_back(brokers, handed_over):
    broker, secret = brokers(Enrolled("alice")), fresh_secret()
    assert enrol(access(broker.port), secret, BROKER, WITHIN, handed_over) == "alice"
    assert broker.asked == [Enrol(VERSION, public_key(secret))]


def test_it_is_said_again_until_there_is_an_answer(brokers, monkeypatch, handed_over):
    monkeypatch.setattr(enrol_module, "ASK_AGAIN", 0.05)
    broker = brokers(None, Notice("cannot_store", "wait"), Enrolled("alice"))
    assert enrol(access(broker.port), fresh_secret(), BROKER, WITHIN, handed_over) == "alice"
    assert len(broker.asked) >= 3
    handed_over.assert_called_once()


def test_it_is_not_said_again_at_once(brokers, handed_over):
    """A broker that cannot store would hear nothing else."""
    broker = brokers(Notice("cannot_store", "wait"))
    with pytest.raises(Unreachable):
        enrol(access(broker.port), fresh_secret(), BROKER, enrol_module.ASK_AGAIN / 2, handed_over)
    assert len(broker.asked) <= 1


def test_a_refusal_is_told(brokers, handed_over):
    broker = brokers(Refused("not_allowed", "the invitation was used"))
    with pytest.raises(NotAuthorised, match=f"the invitation was used on {BROKER}"):
        enrol(access(broker.port), fresh_secret(), BROKER, WITHIN, handed_over)


def test_a_broker_that_cannot_store_is_no_fault_of_the_invitation(brokers, handed_over):
    broker = brokers(Refused("cannot_store", "the key cannot be stored now"))
    words = f"the key cannot be stored now on {BROKER}; tell the broker's operator"
    with pytest.raises(ClientError, match=words) as told:
        enrol(access(broker.port), fresh_secret(), BROKER, WITHIN, handed_over)
    assert told.value.status == 1


def test_what_is_not_the_protocol_is_told(brokers, handed_over):
    broker = brokers(b"\xc1")
    with pytest.raises(ProtocolError, match="not the protocol"):
        enrol(access(broker.port), fresh_secret(), BROKER, WITHIN, handed_over)


def test_silence_ends_in_time(brokers, handed_over):
    silent = socket.create_server(("127.0.0.1", 0))
    with silent, pytest.raises(Unreachable, match="though something is there"):
        enrol(access(silent.getsockname()[1]), fresh_secret(), BROKER, WITHIN / 10, handed_over)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable, match="is it running"):
            enrol(access(nobody.getsockname()[1]), fresh_secret(), BROKER, 0.05, handed_over)


def test_another_brokers_key_is_told(brokers, handed_over):
    wrong = access(brokers().port)._replace(server_key=public_key(fresh_secret()))
    with pytest.raises(NotAuthorised, match="is not proved by the broker"):
        enrol(wrong, fresh_secret(), BROKER, WITHIN, handed_over)
    assert not handed_over.called


def test_a_key_that_was_told_may_be_admitted_although_the_invitation_is_refused(
    brokers, in_thread, until, handed_over
):
    """By a broker that was killed before it answered; the next one knows the invitation as used."""
    broker = brokers()
    asking = in_thread(
        lambda: enrol(access(broker.port), fresh_secret(), BROKER, WITHIN, handed_over)
    )
    until(lambda: broker.asked)
    broker.close()
    with zmq.Context() as context, context.socket(zmq.ROUTER) as another:
        another.bind(f"tcp://127.0.0.1:{broker.port}")  # Refuses the handshake, for another reason.
        with pytest.raises(NotAuthorised):
            asking.result()
    handed_over.assert_called_once()


def test_without_descriptors_it_says_so_and_asks_nobody(monkeypatch, handed_over):
    monkeypatch.setattr(link_module, "descriptors_needed", lambda count: 30)
    access = Access("127.0.0.1", 1)
    with pytest.raises(ClientError, match="too many open files: a client needs some 30; allow"):
        enrol(access, fresh_secret(), BROKER, WITHIN, handed_over)
