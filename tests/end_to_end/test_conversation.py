"""People and scripts talk to each other; what they say is what arrives."""

from __future__ import annotations

import re

TIME = r"\[\d\d:\d\d:\d\d\]"


def without_times(text):
    """*text* with every time of day as ``[…]``."""
    return re.sub(rf"^{TIME}", "[…]", text, flags=re.M)


def test_two_people_and_a_script_talk(shell, broker):
    alice = shell.chat("join", "alice", at=broker)
    alice.type("echo is anybody there")
    alice.shows("alice: is anybody there")
    bob = shell.chat("join", "bob", at=broker)
    alice.shows("bob joined")
    alice.type("send bob hi bob")
    bob.shows("hi bob")
    bob.type("send alice hi alice", "echo hello everyone")
    alice.shows("hello everyone")
    assert shell.run("send", "bob", "the build", "is green", "--as", "ci", at=broker) == (0, "", "")
    bob.shows("the build is green")
    assert shell.run("echo", "all", "green", "--as", "ci", at=broker) == (0, "", "")
    alice.shows("all green")
    bob.shows("all green")
    left = bob.finish()
    alice.shows("bob left")
    stayed = alice.finish()
    assert (stayed.status, stayed.err, left.status, left.err) == (0, "", 0, "")
    # Broadcasts and direct messages come over two sockets; they have no order between them.
    assert sorted(without_times(stayed.out).splitlines()) == [
        "[…] * bob joined",
        "[…] * bob left",
        "[…] alice -> bob: hi bob",
        "[…] alice: is anybody there",
        "[…] bob -> alice: hi alice",
        "[…] bob: hello everyone",
        "[…] ci: all green",
    ]
    assert sorted(without_times(left.out).splitlines()) == [
        "[…] alice -> bob: hi bob",
        "[…] bob -> alice: hi alice",
        "[…] bob: hello everyone",
        "[…] ci -> bob: the build is green",
        "[…] ci: all green",
    ]


def test_a_script_joins_says_its_lines_and_leaves(shell, broker):
    bob = shell.chat("join", "bob", at=broker)
    bob.type("echo here")
    bob.shows("here")
    alice = shell.run("join", "alice", input="info\nsend bob hi\necho hello\n", at=broker)
    bob.shows(r"\* alice left")
    assert (alice.status, alice.err) == (0, "")
    lines = without_times(alice.out).splitlines()
    assert sorted(lines) == ["* online: alice, bob", "[…] alice -> bob: hi", "[…] alice: hello"]
    heard = without_times(bob.finish().out).splitlines()
    assert sorted(heard) == [
        "[…] * alice joined",
        "[…] * alice left",
        "[…] alice -> bob: hi",
        "[…] alice: hello",
        "[…] bob: here",
    ]


def test_a_line_to_somebody_absent_is_refused_and_the_rest_is_done(shell, broker):
    alice = shell.run("join", "alice", input="info\nsend bob hi\necho hello\n", at=broker)
    assert alice.status == 6
    assert alice.err == "chat: line 2: no such user: bob\n"
    assert sorted(without_times(alice.out).splitlines()) == [
        "* online: alice",
        "[…] alice: hello",
    ]


def test_two_brokers_side_by_side_never_mix(shell, chatbrokers):
    one, other = chatbrokers.start(), chatbrokers.start()
    here, there = shell.chat("join", "alice", at=one), shell.chat("join", "alice", at=other)
    here.type("echo only here")
    there.type("echo only there")
    here.shows("only here")
    there.shows("only there")
    sent = shell.run_all(
        ["--port", str(one.port), "send", "alice", "to the first"],
        ["send", "alice", "to the second", "--port", str(other.port)],
    )
    assert [s.status for s in sent] == [0, 0]
    here.shows("to the first")
    there.shows("to the second")
    for alice, foreign in ((here, "second|only there"), (there, "first|only here")):
        said = alice.finish()
        assert said.status == 0
        assert not re.search(foreign, said.out)


def test_a_name_can_be_typed_in_any_letter_case(shell, broker):
    alice = shell.chat("join", "Alice", at=broker)
    alice.type("send ALICE note to self")
    alice.shows("alice -> alice: note to self")
    said = alice.finish()
    assert said.status == 0
    assert said.out.count("note to self") == 1
