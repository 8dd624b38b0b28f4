"""A person at a terminal: what is on the screen, the line that is typed in and its cursor."""

from __future__ import annotations

import re
import signal
import threading
from functools import partial

import pytest
import zmq

from chatbroker.wire.codec import Encoder
from chatbroker.wire.messages import Refused
from terminal import PATIENCE, Terminal


@pytest.fixture
def terminal(shell, broker):
    """Starts ``chat`` on a terminal."""
    terminals = []

    def start(*args, at=broker, **options):
        terminals.append(Terminal(partial(shell.start, at=at), *args, **options))
        return terminals[-1]

    yield start
    for one in terminals:
        one.close()


@pytest.fixture
def join(terminal):
    """Joins on a terminal and waits for the prompt."""

    def start(name, *options, **more):
        person = terminal("join", name, *options, **more)
        person.until(lambda: person.typed == "everyone>" and re.search(r"\| \d+ on", person.bar))
        return person

    return start


PASTE, END_OF_PASTE = "\x1b[200~", "\x1b[201~"
PAGE_UP, PAGE_DOWN, CTRL_END = "\x1b[5~", "\x1b[6~", "\x1b[1;5F"
LEFT, UP = "\x1b[D", "\x1b[A"


def test_what_arrives_is_shown_above_what_is_being_typed(join, broker):
    alice = join("alice")
    assert f"joined as alice on {broker.address}; 'help' lists the commands" in alice.lines
    with broker.client("bob") as bob:
        alice.type("half a se")
        alice.shows("* bob joined")
        alice.until(lambda: "2 on: alice, bob" in alice.bar)
        bob.send("alice", "excuse me")
        alice.shows("* bob joined", "bob -> alice: excuse me")
        alice.reads("half a se")
        alice.type(LEFT * 2 + "XY")
        alice.reads("half a XYse", back=2)
        bob.echo("and one more")
        alice.shows("bob: and one more")
        alice.reads("half a XYse", back=2)
        alice.type("\r")
        alice.shows("alice: half a XYse")
        alice.reads("")
        assert bob.sync()
        assert [e.text for e in bob.events(0) if hasattr(e, "text")][-1] == "half a XYse"
    alice.type("\x04")
    assert alice.status() == 0


def test_typing_while_messages_pour_in_and_the_window_changes(join, broker):
    alice = join("alice")
    done = threading.Event()

    def pour():
        with broker.client("bob", hear=False) as bob:
            for number in range(600):
                bob.echo(f"message {number} of bob's, which is as long as a message may well be")
                done.wait(0.005)

    pouring = threading.Thread(target=pour)
    pouring.start()
    try:
        sentence = "nothing that arrives disturbs this"
        for at, key in enumerate(sentence):
            alice.type(key)
            alice.reads(sentence[: at + 1])
        alice.resize(50, 12)
        alice.reads(sentence)
    finally:
        done.set()  # The rest may come as fast as it can.
        pouring.join()
    # What is long goes on below its text; the last messages are all there, in their order.
    alice.until(lambda: any("message 599" in line for line in alice.lines))
    numbers = [int(n) for n in re.findall(r"message (\d+)", "\n".join(alice.said))]
    assert numbers == [*range(600 - len(numbers), 600)]
    assert len(numbers) >= 4
    assert alice.rows[alice._bar - 1].startswith(" " * 11)
    alice.resize(80, 24)
    alice.reads(sentence)
    # Looking back: what comes meanwhile is unread and moves nothing.
    alice.type("\x03" + PAGE_UP)
    alice.until(lambda: "more below (Ctrl-End)" in alice.bar)
    seen = alice.said
    with broker.client("carol", hear=False) as carol:
        carol.echo("news")
        alice.until(lambda: "1 unread below" in alice.bar)
        assert alice.said == seen
        for _ in range(200):
            if any("message 0 of" in line for line in alice.said):
                break
            before = alice.said
            alice.type(PAGE_UP)
            alice.until(lambda before=before: alice.said != before)
        else:
            raise AssertionError(f"the first message cannot be reached: {alice.said}")
        alice.type(CTRL_END)
        alice.shows("carol: news")
        assert "unread" not in alice.bar


def test_commands_targets_completion_and_mistakes(join, broker):
    with broker.client("bob") as bob, broker.client("bertha") as bertha:
        alice = join("alice")
        alice.type("se\t")
        alice.until(lambda: alice.typed == "everyone> send")
        alice.type("b\t")
        # Two begin so: both are offered, and the line keeps what was typed.
        offered = ("bertha", "bob")
        alice.until(
            lambda: all(any(f" {n} " in f"{line} " for line in alice.lines) for n in offered)
        )
        alice.type("o\thi bob\r")
        alice.shows("alice -> bob: hi bob")
        alice.type("h\t")
        alice.until(lambda: any("more of what was said before" in line for line in alice.lines))
        alice.type("\x03to ber\t\r")
        alice.until(lambda: alice.typed == "bertha>")
        alice.type("only for you\r")
        alice.shows("* plain text goes to bertha now", "alice -> bertha: only for you")
        bob.send("alice", "and me?")
        alice.shows("bob -> alice: and me?")
        alice.type("reply you too\r")
        alice.shows("alice -> bob: you too")
        alice.type("to everyone\r")
        alice.until(lambda: alice.typed == "everyone>")
        alice.type("me waves\r")
        alice.shows("** alice waves")
        alice.type("send nobody secret\r")
        alice.shows("! no such user: nobody (not sent: secret)")
        # A command that lacks something is not said to everyone.
        alice.type("send bob\r/nonsense\rto bob and more\r")
        alice.until(lambda: sum(line.startswith("! ") for line in alice.said) >= 4)
        alice.type("info\r")
        alice.shows("* online: alice, bertha, bob")
        alice.type(" info is a word\r")
        alice.shows("alice: info is a word")
        for client, expected in (
            (bob, ["hi bob", "and me?", "you too", "/me waves", "info is a word"]),
            (bertha, ["only for you", "/me waves", "info is a word"]),
        ):
            assert client.sync()
            assert [e.text for e in client.receive_many(0) if hasattr(e, "text")] == expected
        alice.type("/quit\r")
        assert alice.status() == 0


def test_what_is_pasted_is_asked_for_before_it_is_sent(join, broker):
    alice = join("alice")
    with broker.client("bob") as bob:
        alice.type(f"{PASTE}one line\n{END_OF_PASTE}")
        alice.reads("one line")
        alice.type("\x03" + PASTE + "".join(f"line {n}\n" for n in range(20)) + END_OF_PASTE)
        alice.until(lambda: any("20 lines pasted" in line for line in alice.lines))
        alice.type("n")
        alice.until(lambda: not any("lines pasted" in line for line in alice.lines))
        alice.type(f"{PASTE}hello\nsend bob psst{END_OF_PASTE}")
        alice.until(lambda: any("2 lines pasted" in line for line in alice.lines))
        alice.type("xy")  # Only y or n is an answer.
        # Between what is said to all and to one there is no order.
        alice.until(lambda: {"alice: hello", "alice -> bob: psst"} <= {*alice.said})
        alice.reads("")
        assert bob.sync()
        texts = [e.text for e in bob.receive_many(0) if hasattr(e, "text")]
        assert sorted(texts) == ["hello", "psst"]


def test_a_broker_that_goes_and_comes_back(join, chatbrokers):
    first = chatbrokers.start("--memory")
    alice = join("alice", at=first)
    alice.type("before\r")
    alice.shows("alice: before")
    first.kill()
    alice.shows("* the connection is lost; reconnecting…")
    assert "reconnecting…" in alice.bar
    # What is typed meanwhile is sent afterwards, and what is being typed stays.
    alice.type("one\rtwo\rstill ty")
    alice.until(lambda: alice.rows[alice._bar - 2 : alice._bar] == [
        "[waiting…] alice: one",
        "[waiting…] alice: two",
    ])  # fmt: skip
    assert "2 not stored yet" in alice.bar
    chatbrokers.start("--memory", port=first.port, pub_port=first.pub_port)
    alice.until(lambda: alice.said[-2:] == ["alice: one", "alice: two"])
    assert "* connected again" in alice.said
    assert any("new history" in line for line in alice.said)
    alice.type("ping\r")
    alice.shows("alice: still typing")
    assert "reconnecting" not in alice.bar
    alice.type("\x04")
    assert alice.status() == 0


def test_leaving_with_something_not_stored_waits_and_says_so(join, chatbrokers):
    first = chatbrokers.start()
    alice = join("alice", at=first)
    first.kill()
    alice.shows("* the connection is lost; reconnecting…")
    alice.type("last words\r")
    alice.until(lambda: "1 not stored yet" in alice.bar)
    alice.type("\x04")
    alice.until(lambda: "chat: 1 message is not stored yet; waiting" in alice.written)
    again = chatbrokers.start(port=first.port, pub_port=first.pub_port)
    with again.client("bob") as bob:
        bob.echo("hi")
    assert alice.status() == 0


def test_a_broker_that_stays_away_ends_it_when_that_was_asked_for(join, chatbrokers):
    first = chatbrokers.start()
    alice = join("alice", "--reconnect", "0.5", at=first)
    first.kill()
    assert alice.status() == 3
    assert f"chat: no broker answers at {first.address}" in alice.written


def test_what_was_said_before_and_while_one_was_away(join, broker):
    with broker.client("bob") as bob:
        for number in range(60):
            bob.echo(f"long ago {number}")
        alice = join("alice")
        alice.until(lambda: "bob: long ago 59" in alice.said)
        alice.type("\x04")
        assert alice.status() == 0
        for number in range(3):
            bob.send("alice", f"for you {number}")
        alice = join("alice", "--notify", "bell")
        alice.shows(*[f"bob -> alice: for you {number}" for number in range(3)])
        assert "--- you were away: 3 new" in alice.lines
        assert "\a" not in alice.written
        alice.type(PAGE_UP * 2)
        alice.until(lambda: "bob: long ago 21" in alice.said)
        alice.type(CTRL_END)
        bob.send("alice", "now")
        alice.shows("bob -> alice: now")
        alice.until(lambda: "\a" in alice.written)


def test_wide_characters_marks_and_other_directions_keep_the_layout(join, broker):
    alice = join("alice", columns=40)
    with broker.client("bob", hear=False) as bob:
        bob.echo("漢字" * 12)
        bob.echo("e\u0301" * 30)
        bob.echo("שלום עולם " * 4)
        alice.until(lambda: alice.rows[-3].strip().startswith(("שלום", "עולם")))
    rows = [row for row in alice.rows[: alice._bar] if row]
    assert next(row for row in rows if "漢" in row).endswith("bob: 漢字漢字漢字漢字漢字漢")
    assert rows[-2].startswith("[")
    assert rows[-1].startswith(" " * 11)
    accented = "".join(row for row in rows if "e\u0301" in row or "é" in row)
    assert len(re.findall("e\u0301|é", accented)) == 30
    alice.type("漢字x")
    alice.until(lambda: alice.cursor[0] == len("everyone> ") + 5)
    alice.type("\x7f\x7f")
    alice.until(lambda: alice.cursor[0] == len("everyone> ") + 2)


def test_colours_names_and_links(join, broker):
    alice = join("alice", term="xterm-256color")
    with broker.client("bob", hear=False) as bob:
        bob.echo("see https://example.org/" + "x" * 90 + " now")
        bob.echo("alice: look")
        alice.until(lambda: "bob: alice: look" in alice.said)
    colour, bold = alice.style("bob: see")
    assert colour not in ("default", "white")
    assert not bold
    assert alice.style("bob: alice: look")[1]  # It names her.
    url = "https://example.org/" + "x" * 90
    linked = re.findall("\x1b]8;;(.*?)\x1b\\\\(.*?)\x1b]8;;\x1b\\\\", alice.written)
    assert {address for address, _ in linked} == {url}
    # Whether it was drawn again depends on when the next line came, which moved it up.
    assert "".join(cell for _, cell in linked).startswith(url)
    assert {cell for _, cell in linked} == {*url}


@pytest.mark.parametrize(
    ("options", "variables"),
    [(("--no-color",), {}), ((), {"NO_COLOR": "1"})],
    ids=["option", "NO_COLOR"],
)
def test_no_colours(join, broker, options, variables):
    alice = join("alice", *options, term="xterm-256color", **variables)
    with broker.client("bob", hear=False) as bob:
        bob.echo("plainly")
        alice.shows("bob: plainly")
    codes = {
        code for found in re.findall(r"\x1b\[([\d;]*)m", alice.written) for code in found.split(";")
    }
    assert codes <= {"", "0", "1", "3", "4", "7", "39", "49"}


def test_keys_of_vi_and_lines_typed_in_an_earlier_session(join, tmp_path):
    inputrc = tmp_path / "inputrc"
    inputrc.write_text("set editing-mode vi\n")
    alice = join("alice", INPUTRC=str(inputrc))
    alice.type("hello wrold\x1b")
    alice.reads("hello wrold")
    alice.type("bcwworld\r")
    alice.shows("alice: hello world")
    alice.type("\x04")
    assert alice.status() == 0
    alice = join("alice")
    alice.type(UP)
    alice.reads("hello world")
    alice.type("\x03\x12hel")
    alice.until(lambda: "I-search" in alice.lines[-1] and "hello world" in alice.lines[-2])
    alice.type("\r\r")
    alice.until(lambda: alice.said.count("alice: hello world") == 2)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_and_the_name_is_free(join, shell, broker, number, status):
    alice = join("alice")
    alice.signal(number)
    assert alice.status() == status
    assert "Traceback" not in alice.written
    assert alice.written.rstrip().endswith("\x1b[?1049l") or "\x1b[?1049l" in alice.written
    assert shell.run("info", at=broker).out == ""


@pytest.mark.parametrize(("options", "term"), [((), "dumb"), (("--plain",), "xterm")])
def test_simple_lines_have_no_control_sequences(terminal, broker, options, term):
    alice = terminal("join", "alice", *options, term=term)
    alice.until(lambda: "joined as alice" in alice.written)
    with broker.client("bob") as bob:
        bob.send("alice", "hello \x1b[2J there")
        alice.until(lambda: "bob -> alice: hello \\x1b[2J there" in alice.written)
        alice.type("to bob\nsecret\nto everyone\nhi\nnonsense is text\nsend bob\n")
        alice.until(lambda: "alice: nonsense is text" in alice.written)
        alice.until(lambda: "! usage: send USER MESSAGE" in alice.written)
        alice.until(lambda: "alice -> bob: secret" in alice.written)
    assert "\x1b" not in alice.written
    alice.type("\x04")
    assert alice.status() == 0


def test_a_taken_name_is_refused_before_any_screen(terminal, broker):
    with broker.client("alice"):
        alice = terminal("join", "alice")
        assert alice.status() == 4
        assert "name 'alice' is taken" in alice.written
        assert "\x1b" not in alice.written


EVIL = "\x1b[2J\x1b]0;title\x07 \r\n\x9b31m \u202e\x08\x7f end"
SAFE = "\\x1b[2J\\x1b]0;title\\x07 \\r\\n\\x9b31m \\u202e\\x08\\x7f end"


def sequences(written):
    """The escape sequences of a terminal's that are in what was written to it."""
    return set(re.findall("[\x07\x7f\x80-\x9f\u202e]|\x1b(?:\\[2J|\\][^\x07]*)", written))


def test_what_others_say_moves_nothing_on_a_terminal(join, broker):
    alice = join("alice", "--notify", "off", columns=200)
    with broker.client("mallory") as mallory:
        mallory.send("alice", EVIL)
        mallory.echo(EVIL)
        for line in (f"mallory -> alice: {SAFE}", f"mallory: {SAFE}"):
            alice.until(lambda line=line: line in alice.lines)
    assert not sequences(alice.written)


def test_listen_shows_it_on_a_terminal_as_escapes(shell, broker):
    terminal = Terminal(partial(shell.start, at=broker), "listen", "--count", "1", columns=200)
    try:
        with broker.client("mallory") as mallory:
            terminal.until(lambda: "chat: listening" in terminal.written)
            mallory.echo(EVIL)
            terminal.until(lambda: SAFE in terminal.written)
        assert terminal.status() == 0
        assert not sequences(terminal.written)
    finally:
        terminal.close()


@pytest.mark.parametrize("command", [("join", "alice"), ("listen",)], ids=" ".join)
def test_the_words_of_a_hostile_broker_are_shown_as_escapes(shell, command):
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.linger = 0
        port = router.bind_to_random_port("tcp://127.0.0.1")
        start = partial(shell.start, at=f"tcp://127.0.0.1:{port}")
        terminal = Terminal(start, *command, columns=200)
        try:
            assert router.poll(PATIENCE * 1000)
            identity, _ = router.recv_multipart()
            router.send_multipart([identity, Encoder().encode(Refused("name_taken", EVIL))])
            assert terminal.status() == 4
            assert SAFE in terminal.written
            assert not sequences(terminal.written)
        finally:
            terminal.close()
