"""A reader that is stopped costs the others nothing, and misses nothing."""

from __future__ import annotations

import signal

TEXT = "x" * 8000
COUNT = 4000
SIZE = len(TEXT) * COUNT
"""Bytes said in all: several times what the pipe to one reader may hold."""


def numbers(finished):
    assert finished.status == 0
    return [int(line) for line in finished.out.splitlines()]


def test_a_stopped_reader_of_broadcasts_holds_up_nobody_and_catches_up(
    shell, chatbrokers, fast_leases, memory_of
):
    broker = chatbrokers.start(*fast_leases)
    fast, stopped = (
        shell.chat("listen", "--format", "{seq}", "--count", str(COUNT), at=broker) for _ in "12"
    )
    fast.says("listening")
    stopped.says("listening")
    before = memory_of(broker.pid)
    stopped.signal(signal.SIGSTOP)
    with broker.client("speaker", hear=False).pipeline() as speaker:
        for _ in range(COUNT):
            speaker.echo(TEXT)
    assert numbers(fast.wait()) == list(range(1, COUNT + 1))
    # The log keeps all of it once.  What waits for the stopped reader is bounded.
    assert memory_of(broker.pid) - before < SIZE + 48 * 2**20
    assert not stopped.lines
    stopped.signal(signal.SIGCONT)
    assert numbers(stopped.wait()) == list(range(1, COUNT + 1))


def test_a_stopped_reader_of_direct_messages_catches_up_after_its_lease(
    shell, chatbrokers, fast_leases, memory_of, eventually
):
    broker = chatbrokers.start(*fast_leases)
    bob = shell.chat("listen", "--as", "bob", "--format", "{seq}", "--count", str(COUNT), at=broker)
    bob.says("listening")
    before = memory_of(broker.pid)
    bob.signal(signal.SIGSTOP)
    speaker = broker.client("speaker", hear=False)
    with speaker.pipeline() as pipeline:
        for _ in range(COUNT):
            pipeline.send("bob", TEXT)
    assert memory_of(broker.pid) - before < 2 * SIZE + 48 * 2**20
    eventually(lambda: not speaker.users(), "the stopped reader did not lose its lease")
    assert not bob.lines
    bob.signal(signal.SIGCONT)
    assert numbers(bob.wait()) == list(range(1, COUNT + 1))


def test_a_reader_that_does_not_take_its_output_holds_up_nobody(shell, broker):
    # A terminal that is scrolled back, or a pager: the program waits in write().
    held = shell.start("bash", "-c", "chat listen | sleep 60", at=broker)
    held.says("listening")
    listener = shell.chat("listen", "--format", "{text}", "--count", "1000", at=broker)
    listener.says("listening")
    with broker.client("speaker", hear=False).pipeline() as speaker:
        for _ in range(1000):
            speaker.echo(TEXT)
    assert listener.wait().status == 0
