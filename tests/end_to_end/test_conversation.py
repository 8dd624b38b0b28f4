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


def test_a_line_to_nobody_is_refused_and_the_rest_is_done(shell, broker):
    alice = shell.run("join", "alice", input="info\nsend nobody hi\necho hello\n", at=broker)
    assert alice.status == 6
    assert alice.err == "chat: line 2: no such user: nobody\n"
    assert sorted(without_times(alice.out).splitlines()) == [
        "* online: alice",
        "[…] alice: hello",
    ]


def test_a_line_to_somebody_who_is_away_waits_for_them(shell, broker):
    assert shell.run("join", "bob", at=broker).status == 0
    alice = shell.run("join", "alice", input="send bob hi\nsend bob again\n", at=broker)
    assert (alice.status, alice.err) == (0, "chat: line 1: bob is away; he will get it\n")
    told = shell.run("send", "bob", "and this", "--as", "alice", at=broker)
    assert told == (0, "", "chat: bob is away; he will get it\n")
    told = shell.run("send", "bob", "{}", "--as", "alice", "--json", at=broker)
    assert (told.status, told.err) == (0, "")
    assert told.out == '{"type":"accepted","line":1,"away":true}\n'
    bob = shell.run(
        "listen", "--as", "bob", "--count", "4", "--format", "{from}: {text}", at=broker
    )
    assert bob.out == "alice: hi\nalice: again\nalice: and this\nalice: {}\n"
    # What was shown is read.
    again = shell.run("listen", "--as", "bob", "--for", "0.2", at=broker)
    assert (again.status, again.out) == (0, "")


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
