"""What one client leaves to the next of the same user: here, how far mail was shown."""

from __future__ import annotations

import time

import pytest

from chatbroker.client import Direct, Identity
from chatbroker.client.core import ClientCore
from chatbroker.client.legacy import Legacy
from chatbroker.client.reader import MOST_LIVES, Reader, Untold
from chatbroker.client.starts import Since
from hearing import WITHIN

BROKER = "tcp://127.0.0.1:5555"
SESSION = b"session-of-alice"
ONE, OTHER = b"direct-1", b"direct-2"

pytestmark = pytest.mark.usefixtures("data_folder")


@pytest.fixture
def identity():
    return Identity.of(BROKER, "alice")


@pytest.fixture
def file(identity):
    return identity.path.with_name(".alice.shown")


class Reads:
    """A client of alice's that reads her mail."""

    def __init__(self, identity):
        self._legacy = Legacy(identity, SESSION, False)
        self.had = dict(self._legacy.untold())
        self.reader = Reader("direct", Since.unread(), self.had)
        self._core = ClientCore("alice", SESSION, [self.reader])

    def leaves(self, **untold):
        """With *untold*, by life, in the place of all that it came with."""
        self.reader._told = {}
        self.reader._shown = {name.encode().ljust(8, b"-"): at for name, at in untold.items()}
        self._legacy.end(self._core)


def test_what_is_not_told_is_left_for_the_next_until_that_has_told_it(identity, file):
    Reads(identity).leaves(one=7)
    assert file.stat().st_mode & 0o777 == 0o600
    second = Reads(identity)
    assert second.had == {b"one-----": Untold(0, 7)}
    second.leaves()
    assert Reads(identity).had == {}


def test_who_has_told_all_leaves_no_file(identity, file):
    Reads(identity).leaves()
    assert not file.exists()


def test_of_two_that_leave_the_one_that_was_further_counts(identity):
    first, second, third = [Reads(identity) for _ in range(3)]
    second.leaves(one=7, two=1)
    first.leaves(one=4)
    third.leaves()  # It told what it showed: nothing is known of what the others did.
    assert Reads(identity).had == {b"one-----": Untold(0, 7), b"two-----": Untold(0, 1)}


def test_what_another_left_meanwhile_stays(identity):
    Reads(identity).leaves(one=7)
    first, second = Reads(identity), Reads(identity)
    second.leaves(one=9)
    first.leaves()
    assert Reads(identity).had == {b"one-----": Untold(0, 9)}


def test_of_too_many_lives_the_oldest_are_forgotten(identity):
    for first in (0, 80):
        Reads(identity).leaves(**{f"life{first + number}": 1 for number in range(80)})
        lives = list(Reads(identity).had)
    assert len(lives) <= MOST_LIVES
    assert lives[-1] == b"life159-"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        '{"00": [0, 1]}',
        '{"xx": [0, 1]}',
        '{"%s": 1}' % ("00" * 8),
        '{"%s": [1, 1]}' % ("00" * 8),
        '{"%s": [-1, 1]}' % ("00" * 8),
        '{"%s": [0, true]}' % ("00" * 8),
        '{"%s": "01"}' % ("00" * 8),
        '{"%s": [0, 1, 2]}' % ("00" * 8),
        '{"%s": [0, 9223372036854775808]}' % ("00" * 8),
        '{"%s": [0, 7]}5}' % ("00" * 8),
        "[" * 100_000,
        "\xff",
    ],
)
def test_a_broken_file_says_nothing_and_is_written_over(identity, file, text):
    file.write_bytes(text.encode("latin-1"))
    reads = Reads(identity)
    assert reads.had == {}
    reads.leaves(one=7)
    assert Reads(identity).had == {b"one-----": Untold(0, 7)}


def test_what_cannot_be_opened_says_nothing_and_ends_nobody(identity, file):
    file.mkdir()
    reads = Reads(identity)
    assert reads.had == {}
    reads.leaves(one=7)


def test_who_has_no_identity_leaves_nothing(identity, file):
    Reads(None).leaves(one=7)
    assert not file.exists()


# --- with a broker ------------------------------------------------------------------------


@pytest.fixture
def bob_at(chatbroker, data_folder):
    """Bob's clients, by an identity in a file."""

    def comes(**options):
        identity = Identity.of(chatbroker.address, "bob")
        return chatbroker.client(
            "bob", identity=identity, exclusive=False, presence=False, **options
        )

    return comes


def mail(client, count):
    """The texts of that many messages that come for *client*; it has shown all of them."""
    found = []
    until = time.monotonic() + WITHIN
    while len(found) < count and time.monotonic() < until:
        found += [e.text for e in client.receive_many(0.1) if isinstance(e, Direct)]
    client.receive(0)
    return found


@pytest.fixture
def untold(chatbroker, bob_at, short_goodbyes):
    """Bob has shown a message, and left without the broker's hearing of it."""
    bob = bob_at()
    with chatbroker.client("alice", hear=False) as alice:
        alice.send("bob", "one")
        while not isinstance(bob.receive(WITHIN), Direct):
            pass
        bob._core.outgoing = lambda now: []
        bob.close()
        alice.send("bob", "two")


@pytest.mark.usefixtures("untold")
def test_the_next_client_begins_after_what_was_shown_and_tells_it(chatbroker, bob_at):
    with bob_at() as bob:
        assert mail(bob, 1) == ["two"]
    chatbroker.client("carol", hear=False).send("bob", "three")
    kept = Identity.of(chatbroker.address, "bob").path.with_name(".bob.shown")
    assert kept.read_text() == "{}"
    kept.unlink()
    with bob_at() as bob:
        assert mail(bob, 1) == ["three"]


@pytest.mark.usefixtures("untold")
def test_who_wants_all_is_given_all(bob_at):
    with bob_at(since_direct=Since.all()) as bob:
        assert mail(bob, 2) == ["one", "two"]


@pytest.mark.usefixtures("untold")
def test_who_only_sends_leaves_it_for_who_reads(chatbroker, bob_at):
    bob_at(hear=False).close()
    with bob_at() as bob:
        assert mail(bob, 1) == ["two"]
