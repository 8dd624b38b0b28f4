"""The public class, against real brokers: names, credentials, identities."""

from __future__ import annotations

import pytest

from chatbroker.client import (
    Client,
    ClientError,
    Direct,
    Identity,
    IdentityError,
    NameRefused,
    Unreachable,
    UsageError,
)
from chatbroker.client import client as client_module
from chatbroker.wire.messages import Hello
from chatbroker.wire.messages import Refused as HelloRefused
from hearing import WITHIN, texts

# --- names and credentials ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "two words", "-dash", "x" * 33, "ünï"])
def test_what_is_no_name_is_refused_before_connecting(name):
    with pytest.raises(NameRefused, match="not a valid name") as caught:
        Client(name, "tcp://127.0.0.1:1")
    assert caught.value.code == "bad_name"


@pytest.mark.parametrize("address", ["127.0.0.1:5555", "tcp://host:0", "ipc:///tmp/x"])
def test_what_is_no_address_is_misuse(address):
    with pytest.raises(UsageError):
        Client("alice", address)


def test_a_second_alice_is_refused_and_the_first_is_not_disturbed(connect):
    alice = connect("alice")
    with pytest.raises(NameRefused, match="name 'alice' is taken on tcp://") as caught:
        connect("alice")
    assert caught.value.code == "name_taken"
    alice.send("alice", "still here")
    assert texts(alice, 1) == ["still here"]


def test_a_name_is_free_as_soon_as_its_client_is_closed(connect):
    for _ in range(3):
        connect("alice").close()


def read(client):
    """The position in the mailbox up to which the broker is told that the user has read."""
    return [cursor.position for cursor in client._core.inbox.cursors() if cursor.log == "direct"]


@pytest.mark.parametrize(
    "come_back",
    [
        lambda bob: bob.receive(0),
        lambda bob: bob.wait_until(lambda: True),
        lambda bob: bob.close(),
    ],
    ids=["receive", "wait_until", "close"],
)
def test_mail_is_read_when_the_program_comes_back_after_it_took_it(connect, come_back):
    """Who is killed in between has not shown it."""
    bob = connect("bob", presence=False)
    connect("alice").send("bob", "hi")
    while not isinstance(bob.receive(WITHIN), Direct):
        pass
    assert read(bob) == []
    come_back(bob)
    assert read(bob) == [1]


def test_mail_that_was_taken_last_is_unread_if_an_exception_ends_it(connect):
    """Whoever fails over a message has not handled it."""
    bob = connect("bob", presence=False)
    connect("alice").send("bob", "hi")
    with pytest.raises(ValueError, match="cannot handle it"), bob:  # noqa: PT012
        while not isinstance(bob.receive(WITHIN), Direct):
            pass
        raise ValueError("cannot handle it")
    assert bob.closed
    assert read(bob) == []


def test_mail_is_read_as_soon_as_it_is_handled(connect):
    bob = connect("bob", presence=False)
    alice = connect("alice")
    for text in ("one", "two", "three"):
        alice.send("bob", text)
    assert bob.sync()
    assert [event.text for event in bob.waiting(1, 9)] == ["one", "two", "three"]
    assert read(bob) == []
    bob.handled(2)
    assert read(bob) == [1]
    assert [event.text for event in bob.waiting(0, 9)] == ["two", "three"]
    bob.handled(9)
    assert read(bob) == [3]
    assert bob.waiting_events == 0


def test_one_credential_is_one_user_in_several_clients(connect):
    first = connect("alice", exclusive=False)
    second = connect("alice", exclusive=False, credential=first.credential)
    bob = connect("bob")
    bob.send("alice", "to both")
    assert [texts(client, 1) for client in (first, second)] == [["to both"]] * 2
    assert [user.name for user in bob.users()] == ["alice", "bob"]
    first.close()
    bob.send("alice", "to one")
    assert texts(second, 1) == ["to one"]


def test_an_exclusive_client_is_the_only_one_of_its_user(connect):
    first = connect("alice")
    with pytest.raises(NameRefused, match="already joined") as caught:
        connect("alice", credential=first.credential)
    assert caught.value.code == "already_joined"


def test_a_sender_attaches_to_a_user_who_is_on(connect):
    alice = connect("alice")
    sender = connect("alice", hear=False, credential=alice.credential)
    sender.echo("by the way")
    sender.send("alice", "hi")
    assert "hi" in texts(alice, 2)
    assert sender.waiting_events == 1  # Online; a sender hears nothing.


# --- identities ---------------------------------------------------------------------------


@pytest.fixture
def alice_at():
    """Alice's identity at a broker; the lock is given back after the test."""
    made = []

    def make(broker):
        made.append(Identity.of(broker.address, "alice"))
        return made[-1]

    yield make
    for identity in made:
        identity.unlock()


def test_an_identity_is_one_user_however_many_clients(chatbroker, alice_at):
    identity = alice_at(chatbroker)
    with (
        chatbroker.client("alice", identity=identity, exclusive=False) as one,
        chatbroker.client("Alice", identity=alice_at(chatbroker), exclusive=False) as other,
    ):
        assert one.credential == other.credential == identity.credential
        with pytest.raises(NameRefused):
            chatbroker.client("alice")


def test_an_identity_is_of_one_name_at_one_broker(chatbroker, alice_at):
    identity = alice_at(chatbroker)
    for name, options in (("bob", {}), (None, {}), ("alice", {"credential": b"c" * 16})):
        with pytest.raises(UsageError):
            chatbroker.client(name, identity=identity, **options)
    with pytest.raises(UsageError):
        Client("alice", "tcp://127.0.0.1:1", identity=identity, timeout=0)


def test_a_locked_identity_remembers_who_joined(chatbroker, alice_at):
    first, attached = alice_at(chatbroker), alice_at(chatbroker)
    assert first.lock()
    with chatbroker.client("alice", identity=first) as client:
        session = client._core._session
        assert (client._core._claim, client._core._replaces) == (True, b"")
        chatbroker.client("alice", identity=attached, exclusive=False)
        assert alice_at(chatbroker).previous == session
    first.unlock()
    assert attached.lock()
    with chatbroker.client("alice", identity=attached) as client:
        assert client._core._replaces == session


def test_the_next_client_of_an_identity_takes_over_from_one_that_could_not_say_goodbye(
    chatbroker, alice_at, monkeypatch
):
    """To the broker that session is there until its lease runs out."""
    identity = alice_at(chatbroker)
    assert identity.lock()
    client = chatbroker.client("alice", identity=identity)
    session = client._core._session
    monkeypatch.setattr(client._core, "outgoing", lambda now: [])
    client.close()
    assert identity.previous == session
    with chatbroker.client("alice", identity=identity) as again:
        assert again._core._replaces == session
        assert alice_at(chatbroker).previous == again._core._session


def test_what_ends_before_the_broker_is_asked_is_not_remembered(puppets, alice_at, monkeypatch):
    def cannot(*_):
        raise ClientError("too many open files")

    puppet = puppets()
    identity = alice_at(puppet)
    assert identity.lock()
    identity.remember(b"session-of-alice")
    monkeypatch.setattr(client_module, "Link", cannot)
    with pytest.raises(ClientError, match="too many open files"):
        Client("alice", puppet.address, identity=identity)
    assert alice_at(puppet).previous == b"session-of-alice"


def test_what_cannot_be_remembered_ends_it_before_the_broker_is_asked(
    puppets, alice_at, monkeypatch
):
    def cannot(session):
        raise IdentityError("no space left")

    links = []
    link = client_module.Link
    monkeypatch.setattr(client_module, "Link", lambda *it: links.append(link(*it)) or links[-1])
    puppet = puppets()
    identity = alice_at(puppet)
    assert identity.lock()
    monkeypatch.setattr(identity, "remember", cannot)
    with pytest.raises(IdentityError, match="no space left"):
        Client("alice", puppet.address, identity=identity)
    assert links[0]._dealer.closed
    assert not puppet.heard.of(Hello)


def test_who_never_joined_is_not_remembered(puppets, alice_at):
    def refuses(puppet, identity, message):
        if isinstance(message, Hello):
            puppet.tells(identity, HelloRefused("already_joined", "'alice' is already joined"))

    puppet = puppets(refuses)
    before = alice_at(puppet)
    assert before.lock()
    before.remember(b"session-of-alice")
    before.unlock()
    identity = alice_at(puppet)
    assert identity.lock()
    with pytest.raises(NameRefused):
        Client("alice", puppet.address, identity=identity)
    puppet.close()
    with pytest.raises(Unreachable):
        Client("alice", puppet.address, identity=identity, timeout=0.05)
    assert alice_at(puppet).previous == b"session-of-alice"
