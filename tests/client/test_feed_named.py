"""Which line is named when something ends the reading: the first neither stored nor told of."""

from __future__ import annotations

import pytest
from feeds import WITHIN, QuietClient, echoes, outcomes_by_line, says_all

from chatbroker.client import feed as feed_module
from chatbroker.client.commands import Outcome
from chatbroker.client.errors import (
    NameRefused,
    NotAuthorised,
    OutcomeUnknown,
    Refused,
    Unreachable,
)
from chatbroker.client.feed import Feed


@pytest.fixture
def client():
    return QuietClient()


GONE = pytest.mark.parametrize("gone", [OutcomeUnknown("no answer"), Unreachable("no answer")])


def fails(error):
    raise error


def named_after(feed, monkeypatch, capsys, ends, tell):
    """What is said on stderr when *ends* ends the reading."""
    monkeypatch.setattr(feed, "start", lambda: None)  # It was.
    with pytest.raises(type(ends)), feed.reading(tell):
        fails(ends)
    return capsys.readouterr().err


ASKED = KeyboardInterrupt()


@pytest.mark.parametrize("asked", [KeyboardInterrupt(), SystemExit(143)])
def test_who_is_interrupted_hears_from_which_line_on(client, feed_of, asked, capsys, monkeypatch):
    feed = feed_of(b"a\nb\nc\n")
    client.waits(lambda: feed.ended)

    def told():
        return named_after(feed, monkeypatch, capsys, asked, lambda: list(feed.take()))

    for line, receipt in enumerate(client.receipts, 1):
        assert told() == f"chat: line {line} is not known to be stored\n"
        client.resolves(receipt)
    assert told() == ""


@pytest.mark.parametrize("together", [False, True])
def test_a_line_that_is_refused_while_it_is_told_what_is_known_is_not_passed_over(
    client, feed_of, monkeypatch, capsys, together
):
    """Else whoever begins again at the line that was named would never hear of it."""
    feed = feed_of(b"a\nb\nc\nd\n", say_all=says_all if together else None)
    client.waits(lambda: feed.ended)
    client.resolves(client.receipts[0], Outcome.REFUSED)

    def tell():
        for entry in feed.take():
            entry.told += len(entry.results)
        for receipt, outcome in zip(
            client.receipts[1:], [Outcome.ACCEPTED, Outcome.REFUSED, Outcome.ACCEPTED], strict=True
        ):
            client.resolves(receipt, outcome)

    named = named_after(feed, monkeypatch, capsys, ASKED, tell)
    assert named == "chat: line 3 is not known to be stored\n"


def test_whoever_is_interrupted_while_they_tell_goes_on_there(client, feed_of, monkeypatch, capsys):
    feed = feed_of(b"a\nb\nc\n", say_all=says_all)
    client.waits(lambda: feed.ended)
    for receipt in client.receipts[:2]:
        client.resolves(receipt, Outcome.REFUSED)

    def tell():
        for entry in feed.take():
            entry.told += 1
            fails(ASKED)

    for line in (2, 3):
        named = named_after(feed, monkeypatch, capsys, ASKED, tell)
        assert named == f"chat: line {line} is not known to be stored\n"
    (entry,) = feed.take()
    assert (outcomes_by_line([entry]), entry.told) == ([(1, "a"), (2, "b")], 2)


@pytest.mark.parametrize("outcome", [Outcome.UNKNOWN, Outcome.UNSENT])
def test_a_line_that_was_given_up_is_named_to_who_is_interrupted_too(
    client, feed_of, monkeypatch, capsys, outcome
):
    feed = feed_of(b"a\nb\n", say_all=says_all)
    client.waits(lambda: feed.ended)
    client.resolves(client.receipts[0], outcome)
    for _ in range(2):
        named = named_after(feed, monkeypatch, capsys, ASKED, lambda: list(feed.take()))
        assert named == "chat: line 1 is not known to be stored\n"


def test_who_is_interrupted_hears_of_lines_that_were_read_and_wait(
    client, feed_of, monkeypatch, capsys, until
):
    monkeypatch.setattr(feed_module, "MOST_REPORTS", 2)
    feed = feed_of(b"a\nb\nc\n", end=False)
    until(lambda: len(feed._entries) == 2)
    for receipt in client.receipts:
        client.resolves(receipt)
    named = named_after(feed, monkeypatch, capsys, ASKED, lambda: None)
    assert named == "chat: line 3 is not known to be stored\n"
    list(feed.take())


def test_who_is_interrupted_hears_of_lines_that_are_there_and_were_not_read(
    client, pipe, monkeypatch, capsys
):
    descriptor, write, _ = pipe
    feed = Feed(client, echoes, descriptor)
    assert named_after(feed, monkeypatch, capsys, ASKED, lambda: None) == ""
    write(b"a\n")
    named = named_after(feed, monkeypatch, capsys, ASKED, lambda: None)
    assert named == "chat: line 1 is not known to be stored\n"


@GONE
def test_who_waits_for_too_long_is_told_from_which_line_on(client, feed_of, gone):
    feed = feed_of(b"a\nb\nc\n")
    client.waits(lambda: feed.ended)
    client.resolves(client.receipts[0])
    assert [entry.line for entry in feed.take()] == [1]
    client.wait_until = lambda ready: fails(gone)
    with pytest.raises(type(gone), match=r"^line 2: no answer$"):
        feed.wait(lambda: feed.ready, lambda: None)


def test_who_cannot_print_before_a_line_was_read_hears_of_the_first(client, pipe, capsys):
    feed = Feed(client, echoes, pipe[0])
    with pytest.raises(OSError, match="No space left"), feed.reading(lambda: None):
        fails(OSError(28, "No space left on device"))
    assert capsys.readouterr().err == "chat: line 1 is not known to be stored\n"
    pipe[2]()
    feed._thread.join(WITHIN)


@GONE
def test_of_lines_that_were_said_together_the_first_without_an_outcome_is_named(
    client, feed_of, gone
):
    feed = feed_of(b"a\nb\nc\n", say_all=says_all)
    client.waits(lambda: feed.ended)
    client.resolves(client.receipts[0])
    client.wait_until = lambda ready: fails(gone)
    with pytest.raises(type(gone), match=r"^line 2: no answer$"):
        feed.wait(lambda: feed.ready, lambda: None)


@GONE
def test_a_reader_that_could_not_go_on_names_the_line_too(client, feed_of, gone):
    feed = feed_of(b"a\nb\n", lambda line, *_: fails(gone) if line == "b" else client.echo(line))
    client.waits(lambda: feed.ended)
    with pytest.raises(type(gone), match=r"^line 1: no answer$"):
        list(feed.take())
    client.resolves(client.receipts[0])
    # The line itself that could not be carried out.
    with pytest.raises(type(gone), match=r"^line 2: no answer$"):
        list(feed.take())


def test_where_no_line_is_carried_out_none_is_named(client, feed_of):
    feed = feed_of(b"a\nb\n", lambda line, *_: client.echo(line))
    client.waits(lambda: feed.ended)
    for receipt in client.receipts:
        client.resolves(receipt)
    client.wait_until = lambda ready: fails(Unreachable("no answer"))
    with pytest.raises(Unreachable, match=r"^no answer$"):
        feed.wait(lambda: feed.ready, lambda: None)


@pytest.mark.parametrize("first", ["the reader", "who waits"])
def test_what_the_broker_may_have_is_never_said_to_be_unreachable(client, feed_of, first):
    """Whoever of the two notices first that the broker is gone, and whatever they waited for."""
    gone = Unreachable("no answer")

    def handle(line, *_):
        return fails(gone) if first == "the reader" and line == "c" else client.echo(line)

    feed = feed_of(b"a\nb\nc\n", handle)
    client.waits(lambda: feed.ended)
    client.resolves(client.receipts[0])
    client.receipts[1].commands.sent = 1
    client.wait_until = lambda ready: fails(gone)
    with pytest.raises(OutcomeUnknown, match=r"^line 2: sent, but not acknowledged by tcp://"):
        feed.wait(lambda: feed.ready, lambda: list(feed.take()))


KICKED = NotAuthorised("'bob' was kicked")


@pytest.mark.parametrize("ends", [ASKED, KICKED], ids=["a signal", "a kick"])
def test_what_is_known_is_told_whatever_ends_the_wait(client, feed_of, monkeypatch, ends):
    feed = feed_of(b"a\nb\nc\n")
    client.waits(lambda: feed.ended)
    for receipt in client.receipts[:2]:
        client.resolves(receipt)
    client.wait_until = lambda ready: fails(ends)
    monkeypatch.setattr(feed, "start", lambda: None)  # It was.
    told = []

    def tell():
        told.extend(entry.line for entry in feed.take())

    with pytest.raises(type(ends)), feed.reading(tell):
        feed.wait(lambda: feed.ready, tell)
    assert told == [1, 2]


@pytest.mark.parametrize(
    ("outcome", "ends", "error", "words"),
    [
        (Outcome.UNSENT, KICKED, NotAuthorised, "'bob' was kicked"),
        (Outcome.UNKNOWN, KICKED, OutcomeUnknown, "line 2 was sent, but not acknowledged"),
        (Outcome.UNKNOWN, KeyboardInterrupt("asked"), KeyboardInterrupt, "asked"),
    ],
)
def test_a_line_that_was_given_up_says_more_than_what_ended_the_session(
    client, feed_of, capsys, outcome, ends, error, words
):
    """Whether the end or the line is noticed first: both are there at once."""
    feed = feed_of(b"a\nb\n")
    client.waits(lambda: feed.ended)
    client.ended = KICKED
    client.resolves(client.receipts[0])
    client.resolves(client.receipts[1], outcome)
    client.wait_until = lambda ready: fails(ends)
    with pytest.raises(error, match=words):
        feed.wait(lambda: feed.ready, lambda: list(feed.take()))
    unsent = "chat: line 2 was not sent\n"
    assert capsys.readouterr().err == (unsent if outcome is Outcome.UNSENT else "")


def test_what_is_of_no_line_is_raised_as_it_is(client, feed_of):
    feed = feed_of(b"a\n")
    client.waits(lambda: feed.ended)
    client.wait_until = lambda ready: fails(NameRefused("name_taken", "taken"))
    with pytest.raises(NameRefused, match=r"^taken$"):
        feed.wait(lambda: feed.ready, lambda: None)


def test_the_one_who_waits_is_told_of_a_refused_line(client, feed_of):
    def refuses(line, client, pipeline):
        raise Refused("too_long", "too long")

    feed = feed_of(b"a\n", refuses, end=False)
    client.waits(lambda: feed.ready)
