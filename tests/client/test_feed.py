"""Lines of stdin, carried out in a thread of their own."""

from __future__ import annotations

import tracemalloc

import pytest
from feeds import GIVEN_UP, WITHIN, QuietClient, echoes, outcomes_by_line, says_all
from hypothesis import given
from hypothesis import strategies as st

from chatbroker.client import feed as feed_module
from chatbroker.client.commands import Note, Outcome
from chatbroker.client.errors import (
    ClientError,
    Refused,
    Unreachable,
)
from chatbroker.client.feed import (
    LONGEST,
    Answer,
    Entry,
    Feed,
    Help,
    Quit,
    decode_line,
    decode_lines,
    read_lines,
)
from chatbroker.client.input import BadLine


@pytest.fixture
def client():
    return QuietClient()


def every_line(descriptor):
    return [line for lines in read_lines(descriptor) for line in lines]


# --- lines --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"\n", [b""]),
        (b"one\ntwo\n", [b"one", b"two"]),
        (b"one\ntwo", [b"one", b"two"]),
        (b"one\r\ntwo\r\n", [b"one", b"two"]),
        (b"one\r\ntwo\r", [b"one", b"two"]),
        (b"in\rside\r\r\n", [b"in\rside\r"]),
        (b"\n\n\n", [b"", b"", b""]),
        (b"\xff\x00\n", [b"\xff\x00"]),
    ],
)
def test_lines_end_with_newline_or_at_the_end_of_input(pipe, data, lines):
    descriptor, write, close = pipe
    write(data)
    close()
    assert every_line(descriptor) == lines


@given(st.lists(st.binary(max_size=30), max_size=10), st.integers(1, 7))
def test_chunks_make_no_difference(chunks, size):
    data = b"\n".join(chunks)

    class Read:
        rest = data

        def __call__(self, descriptor, most):
            assert most > 0
            chunk, self.rest = self.rest[:size], self.rest[size:]
            return chunk

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feed_module.os, "read", Read())
        lines = every_line(0)
    expected = data.split(b"\n")
    if not expected[-1]:
        expected.pop()
    assert lines == [line.removesuffix(b"\r") for line in expected]


def test_a_line_is_there_as_soon_as_it_is_whole(pipe):
    descriptor, write, _ = pipe
    lines = read_lines(descriptor)
    write(b"one\ntw")
    assert next(lines) == [b"one"]
    write(b"o\n")
    assert next(lines) == [b"two"]


def test_a_line_without_an_end_takes_no_memory_without_end(monkeypatch):
    """Nothing longer than a message can be sent, so nothing longer need be kept."""
    chunks = [b"x" * feed_module.CHUNK] * 128 + [b"\nshort\n", b""]
    monkeypatch.setattr(feed_module.os, "read", lambda *_: chunks.pop(0))
    tracemalloc.start()
    try:
        lines = every_line(0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(lines) == 2
    assert lines[1] == b"short"
    assert len(lines[0]) > 16 * 1024  # Long enough to be refused for its length.
    assert peak < 2 * 1024 * 1024


def test_what_is_not_utf_8_is_not_sent():
    assert decode_line("zażółć".encode()) == "zażółć"
    with pytest.raises(BadLine, match=r"not UTF-8.*at byte 2") as caught:
        decode_line(b"ab\xff")
    assert caught.value.code == "bad_text"


# --- outcomes -----------------------------------------------------------------------------


def test_lines_are_carried_out_in_order_and_numbered_from_one(client, feed_of):
    feed = feed_of(b"a\nb\nc")
    client.waits(lambda: len(client.receipts) == 3)
    for receipt in client.receipts:
        client.resolves(receipt)
    client.waits(lambda: feed.ended)
    entries = list(feed.take())
    assert [(entry.line, entry.results[0].text) for entry in entries] == [
        (1, "a"),
        (2, "b"),
        (3, "c"),
    ]
    assert feed.finished


def test_a_line_is_reported_when_its_outcome_and_those_before_it_are_known(client, feed_of):
    feed = feed_of(b"a\nb\n")
    client.waits(lambda: feed.ended)
    assert not feed.ready
    assert list(feed.take()) == []
    client.resolves(client.receipts[1])
    assert not feed.ready
    client.resolves(client.receipts[0])
    assert feed.ready
    assert [entry.line for entry in feed.take()] == [1, 2]


def test_numbers_count_every_line(client, feed_of):
    def handle(line, client, pipeline):
        if line == "bad":
            raise BadLine("usage", "usage: …")
        if line == "long":
            raise Refused("too_long", "too long")
        return None if not line else Help() if line == "help" else Answer([])

    feed = feed_of(b"\nbad\n\nlong\nhelp\ninfo\n\xff\n", handle)
    client.waits(lambda: feed.ended)
    entries = list(feed.take())
    assert [entry.line for entry in entries] == [2, 4, 5, 6, 7]
    assert [type(entry.results[0]) for entry in entries] == [
        BadLine,
        Refused,
        Help,
        Answer,
        BadLine,
    ]
    assert feed.finished


def test_nothing_after_quit_is_read(client, feed_of):
    def handle(line, client, pipeline):
        if line == "quit":
            raise Quit
        return pipeline.echo(line)

    feed = feed_of(b"a\nquit\nb\n", handle, end=False)
    client.waits(lambda: feed.ended)
    assert [receipt.text for receipt in client.receipts] == ["a"]
    assert not feed.finished
    client.resolves(client.receipts[0])
    assert [entry.line for entry in feed.take()] == [1]
    assert feed.finished


def test_empty_input_is_the_end(client, feed_of):
    feed = feed_of(b"")
    client.waits(lambda: feed.finished)
    assert list(feed.take()) == []


@GIVEN_UP
def test_a_line_that_was_given_up_is_named(client, feed_of, outcome, error):
    feed = feed_of(b"a\nb\n")
    client.waits(lambda: feed.ended)
    client.resolves(client.receipts[0])
    client.resolves(client.receipts[1], outcome)
    taken = []
    with pytest.raises(error, match="line 2"):
        taken.extend(feed.take())


# --- many lines at once -------------------------------------------------------------------


def test_lines_that_are_there_are_said_together(client, feed_of):
    feed = feed_of(b"a\nb\nc", say_all=says_all)
    client.waits(lambda: feed.ended)
    for receipt in client.receipts:
        client.resolves(receipt)
    entries = list(feed.take())
    assert [(entry.line, len(entry.results)) for entry in entries] == [(1, 2), (3, 1)]
    assert outcomes_by_line(entries) == [(1, "a"), (2, "b"), (3, "c")]
    assert feed.finished


def test_lines_that_were_said_together_are_reported_as_far_as_their_outcomes_are_known(
    client, feed_of
):
    """Else one who gives up would not tell of those that the broker has."""
    feed = feed_of(b"a\nb\nc\n", say_all=says_all)
    client.waits(lambda: feed.ended)
    assert not feed.ready
    for receipt in client.receipts[:2]:
        client.resolves(receipt)
    assert feed.ready
    assert outcomes_by_line(feed.take()) == [(1, "a"), (2, "b")]
    assert not feed.ready
    assert not list(feed.take())
    client.resolves(client.receipts[2])
    assert outcomes_by_line(feed.take()) == [(3, "c")]
    assert feed.finished


def test_lines_that_are_not_to_be_said_together_are_carried_out_each(client, feed_of):
    asked = []

    def says_none(texts, pipeline):
        asked.append(texts)

    feed = feed_of(b"a\nb\n", say_all=says_none)
    client.waits(lambda: feed.ended)
    assert asked == [["a", "b"]]
    assert [receipt.text for receipt in client.receipts] == ["a", "b"]


def test_no_more_are_said_together_than_a_message_holds(client, feed_of):
    feed = feed_of(b"x\n" * 600, say_all=says_all)
    client.waits(lambda: feed.ended)
    for receipt in client.receipts:
        client.resolves(receipt)
    assert [(entry.line, len(entry.results)) for entry in feed.take()] == [
        (1, 256),
        (257, 256),
        (513, 88),
    ]


@pytest.mark.parametrize(("bad", "code"), [(b"\xff", "bad_text"), (b"long", "too_long")])
def test_among_lines_that_are_there_only_the_bad_one_is_refused(client, feed_of, bad, code):
    def handle(line, client, pipeline):
        if line == "long":
            raise Refused("too_long", "too long")
        return pipeline.echo(line)

    feed = feed_of(b"a\n" + bad + b"\nc\n", handle, say_all=says_all)
    client.waits(lambda: feed.ended)
    assert [receipt.text for receipt in client.receipts] == ["a", "c"]
    for receipt in client.receipts:
        client.resolves(receipt)
    assert outcomes_by_line(feed.take()) == [(1, "a"), (2, code), (3, "c")]


@GIVEN_UP
def test_of_lines_that_were_said_together_the_first_that_was_given_up_is_named(
    client, feed_of, outcome, error
):
    feed = feed_of(b"a\nb\nc\nd\n", say_all=says_all)
    client.waits(lambda: feed.ended)
    for receipt, became in zip(
        client.receipts, [Outcome.ACCEPTED, Outcome.REFUSED, outcome, outcome], strict=True
    ):
        client.resolves(receipt, became, "no", "refused")
    taken = []
    with pytest.raises(error, match="line 3"):
        taken.extend(feed.take())
    assert outcomes_by_line(taken) == [(1, "a"), (2, "b")]
    assert not taken[0].plain


def test_lines_with_something_to_tell_of_are_not_plain(client, feed_of):
    feed = feed_of(b"a\nb\n", say_all=says_all)
    client.waits(lambda: feed.ended)
    client.receipts[1].commands.notes[1] = Note(True, "", "")
    for receipt in client.receipts:
        client.resolves(receipt)
    (entry,) = feed.take()
    assert not entry.plain
    assert Entry(1, entry.results[:1]).plain
    assert not Entry(1, [Help()]).plain


def test_reading_waits_while_nobody_takes_the_reports_of_many_lines(
    client, feed_of, monkeypatch, until
):
    monkeypatch.setattr(feed_module, "MOST_REPORTS", 300)
    feed = feed_of(b"x\n" * 2000, say_all=says_all)
    until(lambda: len(client.receipts) == 512)  # Two times 256: too many.
    taken = []
    while not feed.finished:
        until(lambda: feed.ended or len(client.receipts) > len(taken))
        for receipt in client.receipts[len(taken) :]:
            client.resolves(receipt)
        client.waits(lambda: feed.ready)
        taken.extend(outcomes_by_line(feed.take()))
    assert len(taken) == 2000


# --- failures -----------------------------------------------------------------------------


def report(feed, client):
    """The loop of ``chat echo --lines``: what it takes until it takes itself for done."""
    taken = []
    while not feed.finished:
        client.waits(lambda: feed.ready)
        taken += feed.take()
    return taken


def gives_up(line, client, pipeline):
    raise Unreachable("no broker answers")


def test_a_failure_of_the_client_surfaces(client, feed_of):
    feed = feed_of(b"a\n", gives_up, end=False)
    with pytest.raises(Unreachable, match="no broker answers"):
        report(feed, client)


def test_a_failure_surfaces_also_if_reading_had_ended_before_anybody_looked(client, feed_of):
    """Else the program would take the failure for the end of input, and exit with 0."""
    feed = feed_of(b"a\n", gives_up)
    feed._thread.join(WITHIN)
    with pytest.raises(Unreachable, match="no broker answers"):
        report(feed, client)


def test_whoever_finishes_takes_what_is_there_and_does_not_wait_for_more(client, feed_of):
    feed = feed_of(b"a\nb\nc", echoes, end=False)
    feed.finish()
    client.waits(lambda: feed.ended)
    # The last one is not whole, and whoever writes it has not ended.
    assert [receipt.text for receipt in client.receipts] == ["a", "b"]


def test_whoever_finishes_does_not_read_without_end(client, pipe):
    descriptor, write, _ = pipe
    feed = Feed(client, echoes, descriptor)
    feed.finish()
    write(b"a\n" * 1000)
    there = feed._wait_for_more()
    write(b"b\n" * 1000)
    assert there == 2000
    assert feed._wait_for_more() == 0


def test_whoever_finishes_takes_a_file_to_its_end(client, tmp_path):
    (tmp_path / "lines").write_bytes(b"0123456789abcdef\n" * 9_000)
    with (tmp_path / "lines").open("rb") as file:
        feed = Feed(client, echoes, file.fileno())
        feed.finish()
        feed.start()
        feed._thread.join(WITHIN)
    assert len(client.receipts) == 9_000


def test_who_waits_for_more_can_be_asked_to_finish(client, feed_of, until):
    feed = feed_of(b"a\n", echoes, end=False)
    until(lambda: client.receipts)
    assert not feed.ended
    feed.finish()
    client.waits(lambda: feed.ended)


def test_an_input_that_cannot_be_read_surfaces(client, tmp_path):
    import os

    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        feed = Feed(client, echoes, descriptor)
        feed.start()
        feed._thread.join(WITHIN)
        with pytest.raises(ClientError, match="cannot read standard input: Is a directory"):
            report(feed, client)
    finally:
        os.close(descriptor)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_while_reading_is_not_taken_for_the_end_of_input(client, feed_of):
    def breaks(line, client, pipeline):
        raise RuntimeError("a bug")

    feed = feed_of(b"a\nb\n", breaks)
    feed._thread.join(WITHIN)
    with pytest.raises(RuntimeError, match="a bug"):
        report(feed, client)


def test_what_was_resolved_before_a_failure_is_reported_first(client, feed_of):
    def handle(line, client, pipeline):
        if line == "b":
            raise Unreachable("no broker answers")
        return pipeline.echo(line)

    feed = feed_of(b"a\nb\nc\n", handle)
    client.waits(lambda: feed.ended)
    client.resolves(client.receipts[0])
    taken = []
    with pytest.raises(Unreachable):
        taken.extend(entry.line for entry in feed.take())
    assert taken == [1]


# --- bounds -------------------------------------------------------------------------------


def test_reading_waits_while_nobody_takes_the_reports(client, feed_of, monkeypatch, until):
    monkeypatch.setattr(feed_module, "MOST_REPORTS", 5)
    feed = feed_of(b"".join(b"%d\n" % number for number in range(100)))
    client.waits(lambda: True)
    until(lambda: len(feed._entries) == 5)
    assert len(client.receipts) == 5
    taken = []
    while not feed.finished:
        until(lambda: feed.ended or len(client.receipts) > len(taken))
        for receipt in client.receipts[len(taken) :]:
            client.resolves(receipt)
        client.waits(lambda: feed.ready)
        assert len(feed._entries) <= 5
        taken.extend(feed.take())
    assert [entry.line for entry in taken] == list(range(1, 101))


def test_the_thread_that_waits_for_room_is_told_each_time(client, feed_of, monkeypatch):
    monkeypatch.setattr(feed_module, "MOST_REPORTS", 1)

    def answers(line, client, pipeline):
        return Answer([])

    feed = feed_of(b"info\n" * 2000, answers)
    assert len(report(feed, client)) == 2000


# --- lines to texts -------------------------------------------------------------------------


@given(st.lists(st.text(st.characters(exclude_characters="\n", codec="utf-8")) | st.just("")))
def test_lines_are_decoded_together_as_each_is(texts):
    assert decode_lines([text.encode() for text in texts]) == texts


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([b"good", b"ba\xff"], "at byte 2"),
        # Together they would be a character.
        ([b"\xc3", b"\xa4"], "at byte 0"),
        ([b"good", b"x" * LONGEST, b"\xff"], "too long"),
    ],
)
def test_the_first_line_that_is_none_is_told_by_itself(lines, words):
    with pytest.raises(BadLine, match=words):
        decode_lines(lines)
