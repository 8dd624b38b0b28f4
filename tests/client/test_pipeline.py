"""Receipts and pipelines: of a client whose messages the test resolves, and of real ones."""

from __future__ import annotations

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace

import pytest
from tickets import resolve

from chatbroker.client import Client, OutcomeUnknown, Pipeline, Receipt, Refused, Unreachable
from chatbroker.client import client as client_module
from chatbroker.client.commands import Outcome
from chatbroker.client.errors import NotAuthorised, UsageError
from chatbroker.client.pipeline import Receipts, Waits, failure
from chatbroker.wire.messages import Ack, Bye, Echo, Farewell, Refusal, Send

WITHIN = 15.0
"""Seconds; more than anything here takes on a busy machine."""


class Quiet:
    """Stands for a client: the test says what becomes of its messages."""

    ended = None

    def __init__(self):
        self.receipts = []
        self.deadlines = []
        self.later = []
        """Outcomes that come one by one, while somebody waits."""
        self._changes = SimpleNamespace(lock=nullcontext())
        self._core = SimpleNamespace(outbox=self)
        self.withdrawn = []

    def withdraw_unsent(self, given):
        self.withdrawn += given

    def notify(self):
        """Nobody waits elsewhere."""

    def _submit(self, commands, until, waits):
        assert (until, waits) == (None, Waits.FOR_ROOM)
        self.receipts += Receipts(self, commands)

    def _await(self, ready, until, waits):
        assert waits is Waits.FOR_OUTCOMES
        self.deadlines.append(until)
        while not ready():
            if not self.later:
                raise Unreachable("no broker answers")
            self.resolves(self.later.pop(0))

    def resolves(self, *outcomes):
        """The next messages have these outcomes."""
        pending = [receipt for receipt in self.receipts if not receipt.done]
        for receipt, outcome in zip(pending, outcomes, strict=False):
            why = ("no_such_user", f"no such user: {receipt.to}")
            resolve(receipt, outcome, *(why if outcome is Outcome.REFUSED else ()))


class Settled(Quiet):
    """A client whose messages have their outcomes at once."""

    def __init__(self, *outcomes):
        super().__init__()
        self.outcomes = [*outcomes]

    def _submit(self, commands, until, waits):
        super()._submit(commands, until, waits)
        for _ in range(len(commands)):
            self.resolves(self.outcomes.pop(0) if self.outcomes else Outcome.ACCEPTED)


@pytest.fixture
def client():
    return Quiet()


@pytest.fixture
def pipeline(client):
    return Pipeline(client)


GIVEN_UP = pytest.mark.parametrize(
    ("outcome", "error"), [(Outcome.UNKNOWN, OutcomeUnknown), (Outcome.UNSENT, Unreachable)]
)


# --- saying -------------------------------------------------------------------------------


def test_what_is_said_is_under_way_and_nobody_waits(client, pipeline):
    to_bob, to_all = pipeline.send("BOB", "hi"), pipeline.echo("hello")
    assert client.receipts == [to_bob, to_all]
    assert (to_bob.to, to_bob.text) == ("bob", "hi")
    assert (to_all.to, to_all.text) == (None, "hello")
    assert not to_bob.done
    assert client.deadlines == []


def test_many_are_said_at_once(client, pipeline):
    to_bob, to_all = pipeline.send_many("BOB", ["hi", "ho"]), pipeline.echo_many(iter("abc"))
    assert client.receipts == [*to_bob, *to_all]
    assert [(receipt.to, receipt.text) for receipt in client.receipts] == [
        ("bob", "hi"),
        ("bob", "ho"),
        (None, "a"),
        (None, "b"),
        (None, "c"),
    ]
    assert pipeline.pending == 5
    assert not pipeline.echo_many([])


def test_what_is_refused_before_it_is_sent_is_not_of_the_pipeline(client, pipeline):
    with pytest.raises(Refused, match="no such user: nobody at all"):
        pipeline.send("nobody at all", "hi")
    pipeline.flush()
    assert pipeline.refused == []


def test_what_is_resolved_is_let_go():
    """A pipeline may say millions of messages, one after the other."""
    pipeline = Pipeline(Settled())
    for number in range(1000):
        pipeline.echo(str(number))
    assert pipeline.pending == 0


def test_one_text_is_not_many(client, pipeline):
    for say in (pipeline.echo_many, partial(pipeline.send_many, "bob")):
        with pytest.raises(UsageError, match="not one str"):
            say("abc")
    assert pipeline.pending == 0


def test_how_many_are_under_way_is_known(client, pipeline):
    for number in range(3):
        pipeline.echo(str(number))
    assert pipeline.pending == 3
    client.resolves(Outcome.ACCEPTED, Outcome.REFUSED)
    assert pipeline.pending == 1


def test_what_is_refused_is_collected_as_it_goes_on():
    client = Settled(Outcome.ACCEPTED, Outcome.REFUSED, Outcome.ACCEPTED, Outcome.REFUSED)
    pipeline = Pipeline(client)
    receipts = [pipeline.send(f"user{number}", "hi") for number in range(4)]
    assert pipeline.refused == [receipts[1], receipts[3]]
    assert [receipt.words for receipt in pipeline.refused] == [
        "no such user: user1",
        "no such user: user3",
    ]


def test_what_is_refused_is_collected_in_order(client, pipeline):
    """Also if a later one was resolved when an earlier one is not."""
    receipts = [pipeline.send("nobody", str(number)) for number in range(3)]
    resolve(receipts[1], Outcome.REFUSED)
    pipeline.echo("more")
    assert pipeline.refused == []
    client.resolves(Outcome.REFUSED, Outcome.ACCEPTED, Outcome.ACCEPTED)
    pipeline.flush()
    assert pipeline.refused == receipts[:2]


# --- receipts of many -----------------------------------------------------------------------


def test_the_receipts_of_many_are_a_sequence(client, pipeline):
    receipts = pipeline.send_many("bob", [*"abcd"])
    assert len(receipts) == 4
    assert [receipt.text for receipt in receipts] == ["a", "b", "c", "d"]
    assert (receipts[1], receipts[-1]) == (client.receipts[1], client.receipts[3])
    assert receipts[1:3] == client.receipts[1:3]
    assert receipts[::-2] == client.receipts[::-2]
    with pytest.raises(IndexError):
        receipts[4]


def test_a_part_of_them_is_known_and_plain_by_itself(client, pipeline):
    receipts = pipeline.echo_many([*"abcde"])
    client.resolves(Outcome.ACCEPTED, Outcome.REFUSED, Outcome.ACCEPTED)
    assert [receipts.part(*part).known for part in ((0, 5), (1, 2), (2, 5), (3, 5))] == [3, 1, 1, 0]
    plain = [receipts.part(*part).plain for part in ((0, 1), (0, 2), (2, 3), (2, 4))]
    assert plain == [True, False, True, False]
    middle = receipts.part(1, 4).part(1, 3)
    assert (list(middle), middle.known, middle.plain) == (client.receipts[2:4], 1, False)


def test_of_many_those_that_are_refused_are_collected_as_their_outcomes_come(client, pipeline):
    receipts = pipeline.send_many("nobody", [*"abcd"])
    client.resolves(Outcome.ACCEPTED, Outcome.REFUSED)
    assert (pipeline.pending, pipeline.refused) == (2, [receipts[1]])
    assert (pipeline.pending, pipeline.refused) == (2, [receipts[1]])  # Each once.
    client.resolves(Outcome.REFUSED, Outcome.ACCEPTED)
    pipeline.echo("more")
    assert (pipeline.pending, pipeline.refused) == (1, [receipts[1], receipts[2]])


def test_of_many_those_that_are_accepted_are_no_failure_beside_one_that_is_refused(
    client, pipeline
):
    """Whoever heard that they were not sent would send them again."""
    receipts = pipeline.send_many("nobody", [*"abc"])
    client.resolves(Outcome.ACCEPTED, Outcome.REFUSED, Outcome.ACCEPTED)
    pipeline.flush()
    assert pipeline.refused == [receipts[1]]


def test_several_threads_may_use_a_pipeline():
    """None of what is refused is lost, or collected twice."""
    each, client = 2000, Settled()
    client.outcomes = [Outcome.REFUSED] * 2 * each
    pipeline = Pipeline(client)
    over = threading.Event()

    def say(whom):
        for number in range(each):
            pipeline.send(whom, str(number))

    def look():
        # Who looks without a pause has the lock nearly always, and those who say wait for it.
        while not over.wait(0.0005):
            assert pipeline.pending >= 0

    with ThreadPoolExecutor() as pool:
        looking = [pool.submit(look) for _ in range(2)]
        try:
            for saying in [pool.submit(say, whom) for whom in ("nobody", "noone")]:
                saying.result(WITHIN)
        finally:
            over.set()
        for one in looking:
            one.result(WITHIN)
    assert pipeline.pending == 0
    assert pipeline.refused == client.receipts


# --- flushing -----------------------------------------------------------------------------


def test_a_pipeline_that_said_nothing_has_nothing_to_wait_for(client, pipeline):
    pipeline.flush()
    assert client.deadlines == []


@pytest.mark.parametrize("timeout", [None, 0.5])
def test_flushing_waits_until_the_last_is_resolved(client, pipeline, timeout):
    receipts = [pipeline.echo(str(number)) for number in range(3)]
    client.later = [Outcome.ACCEPTED] * 3
    pipeline.flush(timeout)
    assert all(receipt.done for receipt in receipts)
    (until,) = client.deadlines
    assert until is timeout is None or 0 < until - time.monotonic() <= timeout


def test_flushing_waits_for_all_although_the_last_was_taken_back(client, pipeline):
    receipts = pipeline.echo_many([*"abc"])
    resolve(receipts[-1], Outcome.UNSENT)
    client.later = [Outcome.ACCEPTED, Outcome.ACCEPTED]
    with pytest.raises(Unreachable):
        pipeline.flush()
    assert [receipt.outcome for receipt in receipts[:2]] == [Outcome.ACCEPTED] * 2
    assert client.later == []


def test_that_one_was_never_sent_does_not_hide_that_another_is_unknown(client, pipeline):
    """Or who sends all of them again would send that one twice."""
    for became in ([Outcome.UNSENT, Outcome.UNKNOWN], [Outcome.UNKNOWN, Outcome.UNSENT]):
        pipeline = Pipeline(client)
        for outcome in became:
            pipeline.echo(outcome.name)
            client.resolves(outcome)
        with pytest.raises(OutcomeUnknown):
            pipeline.flush()


def test_nothing_is_nothing_to_wait_for(client, pipeline):
    pipeline.echo("a")
    pipeline.echo_many([])
    client.later = [Outcome.ACCEPTED]
    pipeline.flush()
    assert (pipeline.pending, client.later) == (0, [])


def test_a_refusal_is_no_failure_of_a_flush(client, pipeline):
    receipt = pipeline.send("nobody", "hi")
    client.later = [Outcome.REFUSED]
    pipeline.flush()
    assert pipeline.refused == [receipt]


def test_a_pipeline_may_be_told_to_keep_no_refusals(client):
    pipeline = Pipeline(client, keep_refused=False)
    receipt = pipeline.send("nobody", "hi")
    client.later = [Outcome.REFUSED]
    pipeline.flush()
    assert pipeline.refused == []
    assert receipt.outcome is Outcome.REFUSED


@GIVEN_UP
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_pipeline_owns_up_to_every_message_that_was_given_up(outcome, error, place):
    """Also to one that was given up before the last was said."""
    outcomes = [Outcome.ACCEPTED] * 3
    outcomes[place] = outcome
    pipeline = Pipeline(Settled(*outcomes))
    for number in range(3):
        pipeline.echo(str(number))
    for _ in range(2):
        with pytest.raises(error):
            pipeline.flush()


def test_of_several_that_were_given_up_the_first_is_told(client, pipeline):
    """It was sent, so nobody may say that nothing was."""
    for number in range(3):
        pipeline.echo(str(number))
    client.resolves(Outcome.UNKNOWN, Outcome.UNSENT, Outcome.UNSENT)
    with pytest.raises(OutcomeUnknown):
        pipeline.flush()


def test_a_flush_that_was_in_vain_may_be_repeated(client, pipeline):
    receipt = pipeline.echo("hi")
    with pytest.raises(Unreachable):
        pipeline.flush(0.1)
    assert not receipt.done
    client.later = [Outcome.ACCEPTED]
    pipeline.flush(0.2)
    assert receipt.outcome is Outcome.ACCEPTED
    first, second = client.deadlines
    assert second > first


@GIVEN_UP
def test_after_a_flush_in_vain_what_was_given_up_is_told(client, pipeline, outcome, error):
    pipeline.echo("hi")
    with pytest.raises(Unreachable):
        pipeline.flush()
    client.resolves(outcome)
    with pytest.raises(error):
        pipeline.flush()


@GIVEN_UP
def test_who_was_kicked_hears_so_of_what_was_not_sent(client, pipeline, outcome, error):
    pipeline.echo("hi")
    client.resolves(outcome)
    client.ended = NotAuthorised("'bob' was kicked")
    with pytest.raises(NotAuthorised if outcome is Outcome.UNSENT else error):
        pipeline.flush()


# --- as a context manager -----------------------------------------------------------------


def test_the_end_of_the_block_waits_as_long_as_it_takes(client):
    client.later = [Outcome.ACCEPTED]
    with Pipeline(client) as pipeline:
        receipt = pipeline.echo("hi")
    assert receipt.outcome is Outcome.ACCEPTED
    assert client.deadlines == [None]


def test_the_end_of_the_block_raises_the_first_refusal(client):
    client.later = [Outcome.ACCEPTED, Outcome.REFUSED, Outcome.REFUSED]
    with pytest.raises(Refused, match="user: bob"), Pipeline(client) as pipeline:  # noqa: PT012
        for name in ("alice", "bob", "carol"):
            pipeline.send(name, "hi")
    assert [receipt.to for receipt in pipeline.refused] == ["bob", "carol"]


def test_refusals_that_nobody_keeps_are_not_raised(client):
    client.later = [Outcome.REFUSED]
    with Pipeline(client, keep_refused=False) as pipeline:
        receipt = pipeline.send("nobody", "hi")
    assert receipt.outcome is Outcome.REFUSED


@GIVEN_UP
def test_what_was_given_up_matters_more_than_a_refusal(client, outcome, error):
    client.later = [Outcome.REFUSED, outcome]
    with pytest.raises(error), Pipeline(client) as pipeline:  # noqa: PT012
        pipeline.send("nobody", "hi")
        pipeline.echo("hi")
    assert len(pipeline.refused) == 1


def test_what_was_not_sent_by_the_end_of_a_block_is_taken_back(client):
    """Nobody flushes again: it would be sent when whoever heard of it has said it once more."""
    client.later = [Outcome.ACCEPTED]
    with pytest.raises(Unreachable), Pipeline(client) as pipeline:  # noqa: PT012
        pipeline.echo("stored")
        pipeline.echo("not sent")
        pipeline.send("bob", "nor this")
    assert [commands.texts for commands in client.withdrawn] == [("not sent",), ("nor this",)]


@pytest.mark.parametrize("ends", [Unreachable("no answer"), KeyboardInterrupt(), KeyError("mine")])
def test_nor_is_it_sent_later_however_the_block_ends(client, ends):
    with pytest.raises(type(ends)), Pipeline(client) as outer:  # noqa: PT012
        outer.echo("before")
        with Pipeline(client) as inner:
            inner.echo("hi")
            raise ends
    assert [commands.texts for commands in client.withdrawn] == [("hi",), ("before",)]


def test_what_is_waited_for_in_vain_at_the_end_of_a_block_is_taken_back(client, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(client, "_await", interrupted)
    with pytest.raises(KeyboardInterrupt), Pipeline(client) as pipeline:
        pipeline.echo("hi")
    assert [commands.texts for commands in client.withdrawn] == [("hi",)]


def test_an_error_in_the_block_is_not_covered_by_a_refusal():
    client = Settled(Outcome.REFUSED)
    with pytest.raises(KeyError), Pipeline(client) as pipeline:  # noqa: PT012
        pipeline.send("nobody", "hi")
        raise KeyError("mine")


def test_after_an_error_in_the_block_nobody_waits(client):
    with pytest.raises(KeyError), Pipeline(client) as pipeline:  # noqa: PT012
        pipeline.echo("hi")
        raise KeyError("mine")
    assert client.deadlines == []


# --- what is raised for a message ---------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "error", "words"),
    [
        (Outcome.REFUSED, Refused, "no such user: bob"),
        (Outcome.UNKNOWN, OutcomeUnknown, "may be stored or not"),
        (Outcome.UNSENT, Unreachable, "not sent"),
    ],
)
def test_each_outcome_but_success_has_its_exception(client, pipeline, outcome, error, words):
    receipt = pipeline.send("bob", "hi")
    client.resolves(outcome)
    raised = failure(receipt)
    assert type(raised) is error
    assert words in str(raised)
    assert getattr(raised, "code", "") == receipt.code


# --- of real clients ----------------------------------------------------------------------


class Slow:
    """A broker that carries out what it is sent when it is told to; nobody's name is nobody."""

    def __init__(self, puppets):
        self.waiting = []
        self.answering = True
        self.puppet = puppets(self._script)

    def _script(self, puppet, identity, message):
        puppet.welcomes(identity, message)
        if isinstance(message, Bye):
            puppet.tells(identity, Farewell("left", "goodbye"))
        if isinstance(message, Send | Echo):
            self.waiting.append((identity, message))
        while self.answering and self.waiting:
            identity, command = self.waiting.pop(0)
            refused = getattr(command, "to", None) == "nobody"
            first, last = command.cseq, command.cseq + len(command.texts) - 1
            numbers = range(first, last + 1) if refused else ()
            refusals = [Refusal(n, n, "no_such_user", "no such user") for n in numbers]
            puppet.tells(identity, Ack(first - 1, last, tuple(refusals)))


@pytest.fixture
def broker(puppets):
    return Slow(puppets)


@pytest.fixture
def alice(broker):
    with Client("alice", broker.puppet.address, hear=False) as alice:
        yield alice


def test_a_receipt_waits_until_the_broker_has_the_message(alice):
    receipt = alice.pipeline().send("bob", "hi")
    assert type(receipt) is Receipt
    for _ in range(2):
        assert receipt.wait() is None
    assert receipt.outcome is Outcome.ACCEPTED


def test_a_receipt_raises_what_was_refused_whenever_it_is_asked(alice):
    good, bad, last = map(partial(alice.pipeline().send, text="hi"), ("bob", "nobody", "bob"))
    for _ in range(2):
        with pytest.raises(Refused, match=r"^no such user: nobody$") as caught:
            bad.wait(WITHIN)
        assert caught.value.code == "no_such_user"
    last.wait(WITHIN)
    assert good.outcome is last.outcome is Outcome.ACCEPTED


def test_a_receipt_that_was_waited_for_in_vain_may_be_asked_again(alice, broker, until):
    broker.answering = False
    receipt = alice.pipeline().echo("hi")
    until(lambda: broker.waiting)
    with pytest.raises(OutcomeUnknown, match="may be stored or not"):
        receipt.wait(0.01)
    assert not receipt.done
    broker.answering = True
    alice.sync(0)  # A PING, which the broker hears.
    receipt.wait(WITHIN)
    assert receipt.outcome is Outcome.ACCEPTED


def test_who_waits_in_vain_for_what_was_never_sent_takes_it_back(alice, broker, until):
    pipeline = alice.pipeline()
    broker.puppet.close()
    until(lambda: not alice.listening)
    receipt, other = pipeline.echo("withdrawn"), pipeline.echo("still wanted")
    with pytest.raises(Unreachable, match="nothing was sent"):
        receipt.wait(0.01)
    assert (receipt.outcome, other.outcome) == (Outcome.UNSENT, Outcome.PENDING)
    with pytest.raises(Unreachable):
        receipt.wait()


def test_a_pipeline_of_a_real_client_keeps_the_refused_in_order(alice):
    with pytest.raises(Refused, match="nobody"), alice.pipeline() as pipeline:  # noqa: PT012
        for number in range(4):
            pipeline.send("bob", f"fine {number}")
            pipeline.send("nobody", f"lost {number}")
    assert [receipt.text for receipt in pipeline.refused] == [f"lost {n}" for n in range(4)]


def test_a_long_pipeline_holds_its_caller_back(alice, monkeypatch):
    monkeypatch.setattr(client_module, "MOST_PENDING", 16)
    most = 0
    with alice.pipeline() as pipeline:
        for number in range(300):
            pipeline.echo(str(number))
            most = max(most, len(pipeline._pending))
    assert most <= 17


@pytest.mark.usefixtures("short_goodbyes")
def test_a_pipeline_to_a_stopped_broker_does_not_say_that_nothing_was_sent(chatbroker):
    """More than the window is waiting: the last was not sent, and the first were."""
    alice = chatbroker.client("alice", hear=False)
    chatbroker.signal(signal.SIGSTOP)
    pipeline = alice.pipeline()
    for number in range(1500):
        pipeline.echo(str(number))
    alice.wait_until(lambda: alice._core.outbox.uncertain, WITHIN)
    with pytest.raises(OutcomeUnknown):
        pipeline.flush(0.05)
