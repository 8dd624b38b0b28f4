"""Getting in to a secure broker: which keys are made, handed over, kept and told."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from chatbroker.client import admission as module
from chatbroker.client.access import known_server, own_names, remember_server
from chatbroker.client.address import parse_address
from chatbroker.client.admission import accept, keygen, whoami
from chatbroker.client.errors import NotAuthorised, Unreachable, UsageError
from chatbroker.client.identity import Identity
from chatbroker.client.link import fresh_secret, public_key
from chatbroker.client.options import Shared
from chatbroker.wire.keys import key_text

TOKEN = fresh_secret()
SERVER = public_key(fresh_secret())
BROKER = "chat://127.0.0.1:5555"
ANOTHER = fresh_secret()
INVITATION = f"chat://alice:{key_text(TOKEN)}@127.0.0.1:5555/{key_text(SERVER)}"


@pytest.fixture(autouse=True)
def data(data_folder):
    return data_folder


@pytest.fixture(autouse=True)
def broker(monkeypatch):
    """Stands for a broker: whom it admits, and what was asked of it."""

    broker = SimpleNamespace(
        admits=set(), handed_over=[], tried=[], stores=True, refuses=None, lets_in=True
    )

    def enrol(access, key, where, timeout, hand_over):
        assert access.invited
        assert access.secret in (TOKEN, ANOTHER)
        if broker.lets_in:
            hand_over()
            broker.handed_over.append(key)
        if broker.stores:
            broker.admits.add(key)
        if broker.refuses is not None:
            raise broker.refuses

    class Client:
        def __init__(self, name, where, *, identity, **options):
            broker.tried.append((name, where))
            if identity.key not in broker.admits:
                raise NotAuthorised("an invitation is needed")

        def close(self):
            pass

    monkeypatch.setattr(module, "enrol", enrol)
    monkeypatch.setattr(module, "Client", Client)
    return broker


def shared(user=None, as_json=False, broker=BROKER):
    return Shared(broker, user, 1.0, as_json)


def key_of(name="alice"):
    identity = Identity.kept(BROKER, name)
    return b"" if identity is None else identity.key


def spare_of(name="alice"):
    return Identity.kept(BROKER, name).spare


def give_key(name="alice"):
    identity = Identity.of(BROKER, name)
    identity.lock()
    identity.take_key(fresh_secret())
    identity.unlock()
    return identity.key


# --- accept -------------------------------------------------------------------------------


def test_who_accepts_hands_over_a_key_of_their_own_and_knows_the_broker(broker, capsys):
    assert accept(shared(), f" {INVITATION}\n") == 0
    assert broker.handed_over == [key_of()]
    assert key_of() not in (b"", TOKEN)
    assert known_server(parse_address(BROKER)) == SERVER
    told = capsys.readouterr()
    assert told.out == f"you are alice at {BROKER}\n"
    assert told.err == "chat: next: chat join alice\n"
    # With the key in it: nothing is known of the broker yet.
    assert broker.tried == [("alice", f"{BROKER}/{key_text(SERVER)}")]


def test_where_to_go_on_is_told_if_it_is_another_broker_than_that_of_the_options(broker, capsys):
    accept(shared(broker="tcp://127.0.0.1:1"), INVITATION)
    assert capsys.readouterr().err == f"chat: next: chat join alice --broker {BROKER}\n"


def test_a_program_is_told_in_json(broker, capsys):
    accept(shared(as_json=True), INVITATION)
    key = key_text(public_key(key_of()))
    assert json.loads(capsys.readouterr().out) == {
        "type": "you",
        "name": "alice",
        "broker": BROKER,
        "key": key,
    }


def test_what_was_accepted_may_be_accepted_again(broker):
    accept(shared(), INVITATION)
    key = key_of()
    accept(shared(), INVITATION)
    assert (len(broker.handed_over), key_of()) == (1, key)


def test_a_key_that_was_taken_back_is_not_handed_over_again(broker):
    former = give_key()
    accept(shared(), INVITATION)
    assert key_of() != former
    assert broker.handed_over == [key_of()]


def test_one_that_was_handed_over_by_another_invitation_is_not_handed_over_again_either(broker):
    """It may have been admitted by that, unheard, and taken back because somebody else has it."""
    give_key()
    broker.stores, broker.refuses = False, Unreachable("no answer")
    with pytest.raises(Unreachable):
        accept(shared(), INVITATION)
    another = INVITATION.replace(key_text(TOKEN), key_text(ANOTHER))
    broker.stores, broker.refuses = True, None
    assert accept(shared(), another) == 0
    first, second = broker.handed_over
    assert key_of() == second != first


@pytest.mark.parametrize("ends", [Unreachable("no answer"), KeyboardInterrupt()])
def test_a_key_that_may_be_admitted_stays_until_another_is_handed_over(broker, ends):
    """Its user may be banned for now, and both keys be refused for that."""
    former = give_key()
    broker.stores, broker.refuses = False, Unreachable("no answer")
    with pytest.raises(Unreachable):
        accept(shared(), INVITATION)
    (spare,) = broker.handed_over
    broker.lets_in, broker.refuses = False, ends
    with pytest.raises(type(ends)):
        accept(shared(), INVITATION.replace(key_text(TOKEN), key_text(ANOTHER)))
    assert (key_of(), spare_of()) == (former, spare)


@pytest.mark.parametrize("has_key", [True, False])
def test_an_invitation_that_is_no_good_leaves_all_as_it_was(broker, has_key):
    former = give_key() if has_key else b""
    broker.stores = broker.lets_in = False
    broker.refuses = NotAuthorised("it was used")
    with pytest.raises(NotAuthorised, match="it was used"):
        accept(shared(), INVITATION)
    assert (key_of(), spare_of()) == (former, b"")
    assert known_server(parse_address(BROKER)) == b""


def test_a_first_key_that_was_refused_is_kept_and_not_used(broker):
    """To use none is better than one in vain."""
    broker.stores, broker.refuses = False, NotAuthorised("it was used")
    with pytest.raises(NotAuthorised, match="it was used"):
        accept(shared(), INVITATION)
    assert (key_of(), [spare_of()]) == (b"", broker.handed_over)


def test_a_key_whose_outcome_is_unknown_is_kept_to_be_tried_again(broker):
    broker.stores = False
    broker.refuses = Unreachable("no answer")
    with pytest.raises(Unreachable):
        accept(shared(), INVITATION)
    (handed_over,) = broker.handed_over
    assert key_of() == handed_over
    # It did arrive.
    broker.admits.add(handed_over)
    assert accept(shared(), INVITATION) == 0
    assert key_of() == handed_over
    assert len(broker.handed_over) == 1


@pytest.mark.parametrize("has_key", [True, False])
def test_who_was_admitted_and_did_not_hear_it_is_in(broker, has_key):
    """The broker was killed in between: the next one refuses the invitation, which was used."""
    former = give_key() if has_key else b""
    broker.refuses = NotAuthorised("it was used")
    assert accept(shared(), INVITATION) == 0
    assert broker.handed_over == [key_of()]
    assert key_of() not in (former, b"")
    assert spare_of() == b""


@pytest.mark.parametrize("has_key", [True, False])
@pytest.mark.parametrize("ends", [Unreachable("no answer"), KeyboardInterrupt(), NotAuthorised("")])
@pytest.mark.parametrize("admitted", ["the former", "the new one"])
def test_no_key_that_may_be_admitted_is_lost(broker, has_key, ends, admitted):
    former = give_key() if has_key else b""
    broker.stores, broker.refuses = False, ends
    for _ in range(2):
        with pytest.raises(type(ends)):
            accept(shared(), INVITATION)
    known = {former, *broker.handed_over} - {b""}
    assert known == {key_of(), spare_of()} - {b""}
    # The one that worked last is the one to go on with, if there was one.
    assert key_of() == former or not has_key
    key = former if admitted == "the former" and has_key else broker.handed_over[0]
    broker.admits.add(key)
    assert accept(shared(), INVITATION) == 0
    assert (key_of(), spare_of()) == (key, b"")
    assert len(broker.handed_over) == 2


def test_a_key_that_is_not_known_to_be_admitted_is_handed_over_again(broker):
    give_key()
    broker.stores, broker.refuses = False, Unreachable("no answer")
    with pytest.raises(Unreachable):
        accept(shared(), INVITATION)
    broker.stores, broker.refuses = True, None
    assert accept(shared(), INVITATION) == 0
    assert broker.handed_over == [key_of()] * 2
    assert spare_of() == b""


def test_an_invitation_to_another_broker_at_a_known_address_is_refused(broker):
    remember_server(parse_address(f"{BROKER}/{key_text(public_key(fresh_secret()))}"))
    with pytest.raises(NotAuthorised, match="known by another key"):
        accept(shared(), INVITATION)
    assert (broker.handed_over, broker.tried, key_of()) == ([], [], b"")


def test_who_is_joined_gets_no_other_key_meanwhile(broker):
    joined = Identity.of(BROKER, "alice")
    assert joined.lock()
    with pytest.raises(UsageError, match=r"'alice' is joined, or .*; leave first"):
        accept(shared(), INVITATION)
    assert broker.handed_over == []
    joined.unlock()
    # And whatever came of it, nobody is kept out afterwards.
    broker.stores = False
    broker.refuses = NotAuthorised("it was used")
    with pytest.raises(NotAuthorised):
        accept(shared(), INVITATION)
    assert joined.lock()
    joined.unlock()


def test_what_is_no_invitation_shows_no_secret():
    with pytest.raises(UsageError, match="not an invitation") as told:
        accept(shared(), INVITATION[:-5])
    assert key_text(TOKEN) not in str(told.value)


# --- keygen -------------------------------------------------------------------------------


def test_a_key_is_made_once_and_only_its_public_half_is_told(capsys):
    assert keygen(shared(), "alice") == keygen(shared(), "alice") == 0
    told = capsys.readouterr()
    assert told.out == f"{key_text(public_key(key_of()))}\n" * 2
    assert "'chatbroker admit alice KEY', and tells you what that prints" in told.err
    assert key_text(key_of()) not in told.out + told.err


def test_the_brokers_key_is_asked_for_only_if_it_is_not_known(capsys):
    keygen(shared(broker=f"{BROKER}/{key_text(SERVER)}"), "alice")
    assert "asks it for" not in capsys.readouterr().err
    assert known_server(parse_address(BROKER)) == SERVER


# --- whoami -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "words"),
    [([], "you have none of your own"), (["bob", "alice"], "you have several: alice, bob")],
)
def test_without_a_name_there_has_to_be_one(broker, capsys, names, words):
    for name in names:
        give_key(name)
    assert whoami(shared()) == 4
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", f"chat: no name at {BROKER}: {words}; give --as NAME\n")
    assert broker.tried == []


def test_a_name_that_was_never_used_here_is_not_made(broker, capsys):
    assert whoami(shared("alice")) == 4
    assert "'alice' was never used here; 'chat join' claims it" in capsys.readouterr().err
    assert own_names(parse_address(BROKER)) == []
    assert Identity.kept(BROKER, "alice") is None


def test_the_name_is_told_when_the_broker_has_confirmed_it(broker, capsys):
    key = give_key()
    with pytest.raises(NotAuthorised):
        whoami(shared())
    assert capsys.readouterr().out == ""
    broker.admits.add(key)
    assert whoami(shared()) == 0
    assert capsys.readouterr().out == "alice\n"
    remember_server(parse_address(f"{BROKER}/{key_text(SERVER)}"))
    whoami(shared(as_json=True))
    assert json.loads(capsys.readouterr().out)["key"] == key_text(public_key(key))


def test_who_needs_no_key_has_none(broker, capsys):
    broker.admits.add(b"")
    Identity.of(BROKER, "alice")
    assert whoami(shared("alice", as_json=True)) == 0
    assert json.loads(capsys.readouterr().out)["key"] is None
