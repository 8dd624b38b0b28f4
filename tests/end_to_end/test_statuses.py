"""A script can trust the exit status."""

from __future__ import annotations

import re
import signal
import socket
import threading

import pytest
import zmq

from chatbroker.wire.codec import FROM_CLIENT, Decoder, Encoder
from chatbroker.wire.limits import MAX_FRAME, MAX_TEXT, PUSH_WINDOW, VERSION, WINDOW
from chatbroker.wire.messages import Echo, Hello, Limits, Reading, Welcome


@pytest.fixture
def nobody():
    """The address of a port that nobody listens on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"tcp://127.0.0.1:{held.getsockname()[1]}"


@pytest.fixture
def stopped(chatbrokers):
    """A broker that answers nobody."""
    broker = chatbrokers.start()
    broker.signal(signal.SIGSTOP)
    return broker


@pytest.fixture
def heard():
    """Set when a message came to the broker of `welcoming`."""
    return threading.Event()


@pytest.fixture
def welcoming(heard):
    """The address of a broker that lets everyone in, and then says nothing more."""
    context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    router.linger = 0
    port = router.bind_to_random_port("tcp://127.0.0.1")
    pub = context.socket(zmq.PUB)
    pub_port = pub.bind_to_random_port("tcp://127.0.0.1")
    closing = threading.Event()

    def welcome(hello):
        epoch = b"12345678"
        return Welcome(
            version=VERSION,
            name=hello.name,
            epoch=epoch,
            attempt=hello.attempt,
            born=hello.attempt,
            cseq=0,
            credential=b"",
            pub_port=pub_port,
            # So short that the silence is noticed while a test waits.
            heartbeat=100,
            lease=200,
            limits=Limits(MAX_FRAME, MAX_TEXT, WINDOW, PUSH_WINDOW),
            readings=tuple([Reading(follow.log, epoch, 0, 0) for follow in hello.follows]),
        )

    def serve():
        decode, encode = Decoder(FROM_CLIENT).decode, Encoder().encode
        while not closing.is_set():
            if router.poll(20):
                identity, frame = router.recv_multipart()
                for message in decode(frame):
                    if isinstance(message, Hello):
                        router.send_multipart([identity, encode(welcome(message))])
                    elif isinstance(message, Echo):
                        heard.set()

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"tcp://127.0.0.1:{port}"
    closing.set()
    thread.join()
    context.destroy(linger=0)


COMMANDS = [
    ["info"],
    ["echo", "hi"],
    ["send", "bob", "hi"],
    ["echo", "--lines"],
    ["listen"],
    ["join", "alice"],
]


@pytest.mark.parametrize(
    "command", ["chat echo hello", "chat join alice", "chatbroker run --port 0 --memory"]
)
def test_no_descriptors_left_is_1_in_one_line(shell, chatbroker, command):
    # ZeroMQ would end the whole process, with a word on one of its source files.
    found = shell.script(f"ulimit -n 12; exec {command}", at=chatbroker)
    who = command.split()[0]
    assert (found.status, found.out) == (1, "")
    assert re.fullmatch(rf"{who}: too many open files: a .+ needs some \d+; allow.+\n", found.err)


def test_as_many_descriptors_as_it_says_that_it_needs_are_enough(shell, chatbroker):
    def told(command):
        found = shell.script(f"ulimit -n 20; exec {command}", at=chatbroker)
        return re.findall(r"needs some (\d+);", found.err)[0]

    echo, run = "chat echo hello", "chatbroker run --port 0 --memory"
    assert shell.script(f"ulimit -n {told(echo)}; exec {echo}", at=chatbroker) == (0, "", "")
    shell.start("bash", "-c", f"ulimit -n {told(run)}; exec {run}").shows("ready")


def test_no_broker_is_3_for_every_command(shell, nobody):
    ended = shell.run_all(*[[*command, "--timeout", "0.3"] for command in COMMANDS], at=nobody)
    assert [e.status for e in ended] == [3] * len(COMMANDS)
    port = nobody.rpartition(":")[2]
    words = f"is it running? 'chatbroker run --port {port}' starts one"
    assert {e.err for e in ended} == {f"chat: no broker answers at {nobody}; {words}\n"}
    assert {e.out for e in ended} == {""}


def test_a_broker_that_does_not_answer_is_3(shell, stopped):
    ended = shell.run_all(*[[*command, "--timeout", "0.3"] for command in COMMANDS], at=stopped)
    assert [e.status for e in ended] == [3] * len(COMMANDS)
    # To start another one, as where nothing is, would be bad advice.
    found = shell.run("info", "--timeout", "3", at=stopped)
    words = "though something is there; a broker may be stopped, or unable to store"
    assert found.err.startswith(f"chat: no broker answers at {stopped.address}, {words}")


@pytest.mark.parametrize("command", COMMANDS[1:4] + COMMANDS[5:], ids=" ".join)
def test_what_is_sent_and_not_acknowledged_is_7(shell, welcoming, command):
    bounds = ["--timeout", "0.5"] + (["--reconnect", "0.5"] if "hi" not in command else [])
    line = "echo hi\n" if command[0] == "join" else "hi\n"
    ended = shell.run(*command, *bounds, input=line if "hi" not in command else "", at=welcoming)
    assert ended.status == 7
    assert "not acknowledged" in ended.err
    assert ended.err.splitlines()[-1].startswith("chat: ")


USAGE = [
    [],
    ["nonsense"],
    ["send"],
    ["send", "bob"],
    ["send", "bob", "hi", "--lines"],
    ["echo"],
    ["echo", "hi", "--file", __file__],
    ["echo", "--file", "/nonexistent"],
    ["join"],
    ["listen", "--format", "{nope}"],
    ["listen", "--format", "{"],
    ["listen", "--format", "{text}", "--json"],
    ["listen", "--only", "direct"],
    ["listen", "--since", "yesterday"],
    ["listen", "--count", "0"],
    ["info", "--broker", "127.0.0.1"],
    ["info", "--port", "5555", "--broker", "tcp://127.0.0.1:5555"],
    ["--port", "5555", "info", "--broker", "tcp://127.0.0.1:5555"],
]


def test_a_wrong_command_line_is_2_before_anything_connects(shell, nobody):
    for first in range(0, len(USAGE), 6):
        some = USAGE[first : first + 6]
        env = {"CHAT_TIMEOUT": "0"} if first else {}
        for arguments, ended in zip(some, shell.run_all(*some, at=nobody, env=env), strict=True):
            assert (arguments, ended.status, ended.out) == (arguments, 2, "")
            assert ended.err


def test_a_refusal_is_6(shell, broker, tmp_path):
    long = tmp_path / "long"
    long.write_bytes(b"x" * 16_385)
    just = tmp_path / "just"
    just.write_bytes(b"x" * 16_384)
    absent, too_long, fits = shell.run_all(
        ["send", "bob", "hi"],
        ["echo", "--file", str(long)],
        ["echo", "--file", str(just)],
        at=broker,
    )
    assert (absent.status, absent.err) == (6, "chat: no such user: bob\n")
    assert (too_long.status, too_long.err.count("\n")) == (6, 1)
    assert "too long" in too_long.err
    assert (fits.status, fits.err) == (0, "")


def test_some_of_many_refused_lines_is_6_and_says_which(shell, broker):
    listener = shell.chat("listen", "--count", "2", "--format", "{text}", at=broker)
    listener.says("listening")
    sent = shell.run("echo", "--lines", input=b"one\n\xff\n" + b"x" * 16_385 + b"\ntwo", at=broker)
    assert sent.status == 6
    reported = sent.err.splitlines()
    assert len(reported) == 2
    assert reported[0].startswith("chat: line 2: not UTF-8")
    assert reported[1].startswith("chat: line 3: too long")
    assert listener.wait().out == "one\ntwo\n"


def test_listen_that_runs_out_of_time_is_8_with_a_count_and_0_without(shell, broker):
    ended = shell.run_all(
        ["listen", "--count", "1", "--for", "0.1"],
        ["listen", "--count", "1", "--idle", "0.1"],
        ["listen", "--for", "0.1"],
        ["listen", "--idle", "0.1"],
        at=broker,
    )
    assert [e.status for e in ended] == [8, 8, 0, 0]


def test_a_broker_that_goes_for_good_ends_a_listener_with_3(shell, chatbrokers):
    broker = chatbrokers.start()
    listener = shell.chat("listen", "--reconnect", "0.2", at=broker)
    listener.says("listening")
    broker.kill()
    assert listener.wait().status == 3


@pytest.mark.parametrize(
    ("number", "statuses"), [(signal.SIGINT, [130, 130, 130]), (signal.SIGTERM, [0, 143, None])]
)
def test_signals(shell, broker, number, statuses):
    listener = shell.chat("listen", at=broker)
    joined = shell.chat("join", "alice", at=broker)
    sender = shell.chat("echo", "--lines", "--json", at=broker)
    listener.says("listening")
    joined.type("echo hi")
    joined.shows("hi")
    sender.type("hi")
    sender.shows("accepted")
    programs = (listener, joined, sender)
    for program in programs:
        program.signal(number)
    ended = [program.wait() for program in programs]
    for one, status in zip(ended, statuses, strict=True):
        assert status is None or (one.status, one.err.count("Traceback")) == (status, 0)
    # Whoever is ended so says goodbye: the name is free.
    assert shell.run("info", at=broker).out == ""


def test_without_a_command_it_is_2_on_one_line(shell):
    for command in ("chat", "chatbroker"):
        ended = shell.script(command)
        assert (ended.status, ended.out) == (2, "")
        assert ended.err == f"{command}: Missing command; see '{command} --help'\n"


def test_head_is_0_also_when_nothing_more_comes(shell, broker):
    with broker.client("speaker") as speaker:
        speaker.echo("first")
    for command in ("chat listen --since all", "chat join alice --stay"):
        ended = shell.script(
            f"echo 'echo hi' | {command} | head -n 1; echo ${{PIPESTATUS[1]}}", at=broker
        )
        line, status = ended.out.splitlines()
        assert line
        assert status == "0"


@pytest.mark.parametrize(
    "command", ["chat echo --lines --json --as one", "chat join two", "chat join three --json"]
)
def test_head_stops_no_line_from_being_sent(shell, broker, command):
    """0 means that the broker has it all, whoever reads stdout and for how long."""
    lines = "sed 's/^/echo /' |" if "join" in command else ""
    ended = shell.script(
        f"seq 5000 | {lines} {command} | head -n 1 >/dev/null; "
        f"echo ${{PIPESTATUS[{2 if lines else 1}]}}; "
        "chat listen --since all --idle 0.5 --format '{from} {text}'",
        at=broker,
    )
    status, *heard = ended.out.splitlines()
    assert status == "0"
    stored = [line.split()[1] for line in heard if line.split()[0] in command.split()]
    assert stored == [str(number) for number in range(1, 5001)]


@pytest.mark.parametrize("command", ["chat echo --lines --json", "chat join zoe"])
def test_head_ends_who_reads_an_input_without_end(shell, broker, command):
    ended = shell.script(
        f"yes 'echo hi' | timeout 20 {command} | head -n 1 >/dev/null; echo ${{PIPESTATUS[*]}}",
        at=broker,
    )
    assert ended.out == "141 0 0\n"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_who_is_interrupted_when_the_input_ends_is_no_success(shell, broker, number, status):
    """Ctrl-C ends the whole pipeline: the producer is gone at the same moment."""
    sender = shell.chat("echo", "--lines", "--json", at=broker)
    sender.type("a")
    sender.shows("accepted")
    sender.signal(number)
    sender.end_input()
    assert sender.wait().status == status


def test_head_hides_no_refusal(shell, broker):
    ended = shell.script(
        "printf 'echo hi\nsend nobody hi\n' | chat join carol --json | true; echo ${PIPESTATUS[1]}",
        at=broker,
    )
    assert ended.out == "6\n"


def test_head_ends_who_waits_for_more_input(shell, broker):
    ended = shell.script(
        "exec 3< <(echo 'echo hi'; exec sleep 60); typing=$!; "
        "chat join carol <&3 | head -n 1; echo ${PIPESTATUS[0]}; kill $typing; chat info",
        at=broker,
    )
    assert ended.out.endswith("carol: hi\n0\n")


def test_head_is_0_while_much_comes(shell, broker):
    with broker.client("speaker") as client, client.pipeline() as speaker:
        for number in range(5000):
            speaker.echo(f"line {number}")
    ended = shell.script(
        "chat listen --since all --format '{text}' | head -n 2; echo ${PIPESTATUS[0]}", at=broker
    )
    assert ended.out.splitlines()[-1] == "0"
    assert "Traceback" not in ended.err
    assert "Broken" not in ended.err


def test_empty_input_sends_nothing_and_is_0(shell, broker):
    with broker.client("speaker") as speaker:
        ended = shell.run_all(
            ["echo", "--lines"],
            ["send", "nobody", "--lines"],
            ["echo", "-"],
            ["join", "alice"],
            at=broker,
        )
        assert ended == [(0, "", "")] * 4
        speaker.echo("all that is said")
        assert speaker.sync()  # What is acknowledged comes back in its own time.
        assert [event.text for event in speaker.events(0) if hasattr(event, "text")] == [
            "all that is said"
        ]


def test_a_loop_keeps_its_input(shell, broker):
    listener = shell.chat("listen", "--count", "2", "--format", "{text}", at=broker)
    listener.says("listening")
    looped = shell.script(
        "printf 'a\\nb\\n' | while read x; do chat echo $x || exit; chat info || exit; done",
        at=broker,
    )
    assert looped.status == 0
    assert listener.wait().out == "a\nb\n"


def test_a_full_disk_is_1_in_words(shell, broker):
    with broker.client("alice") as alice:
        alice.echo("something")
        running = [
            shell.start("bash", "-c", f"{command} > /dev/full", at=broker)
            for command in (
                "chat listen --since all --count 1",
                "chat info",
                "chat echo hi --json",
                "chat --help",
                "echo info | chat join bob",
            )
        ]
        for ended in [program.finish() for program in running]:
            assert ended.status == 1
            last = ended.err.splitlines()[-1]
            assert last.startswith("chat: cannot write: No space left on device; what is missing")
            assert "Traceback" not in ended.err


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_closed_standard_stream_breaks_nothing(shell, broker, closed):
    sent = shell.start("bash", "-c", f"chat echo hello {closed}", at=broker)
    lines = shell.start("bash", "-c", f"chat echo --lines {closed}", at=broker)
    for ended in (sent.finish(), lines.finish()):
        assert (ended.status, ended.out, ended.err) == (0, "", "")


def test_a_file_is_sent_as_one_message(shell, broker, tmp_path):
    path = tmp_path / "note"
    path.write_text("two\nlines\n")
    listener = shell.chat("listen", "--count", "2", "--json", at=broker)
    listener.says("listening")
    by_path = shell.chat("echo", "--file", str(path), at=broker)
    by_stdin = shell.run("echo", "-", input="two\nlines\n", at=broker)
    assert (by_path.wait().status, by_stdin.status) == (0, 0)
    assert listener.wait().out.count('"text":"two\\nlines"') == 2


def test_a_dash_after_two_dashes_is_a_dash(shell, broker):
    """So a script may hand on what others wrote, and keeps what stands on its own stdin."""
    lines = "one\n-\nthree\n"
    script = 'while read -r line; do chat echo -- "$line"; done'
    said = shell.start("bash", "-c", script, at=broker)
    said.feed(lines.encode())
    assert said.finish().status == 0
    found = shell.run("history", "--format", "{text}", at=broker)
    assert found.out.splitlines() == ["one", "-", "three"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_a_sender_has_it_say_what_became_of_the_message(
    shell, welcoming, heard, number
):
    sender = shell.start("chat", "echo", "hi", "--timeout", "60", at=welcoming)
    assert heard.wait(20)
    sender.signal(number)
    sender.says("^chat: the message was sent, but not acknowledged: it may be stored or not")
    assert sender.wait().status == 128 + number


def test_a_message_that_is_stored_is_said_to_be_where_that_cannot_be_printed(shell, chatbroker):
    found = shell.script("chat echo --json hi >/dev/full", at=chatbroker)
    assert found.status == 1
    assert found.err.startswith("chat: the message is stored\nchat: cannot write: ")


def test_a_message_that_was_refused_is_said_to_be_where_that_cannot_be_printed(shell, chatbroker):
    found = shell.script("chat send --json nobody hi >/dev/full", at=chatbroker)
    assert found.status == 1
    assert found.err.startswith("chat: no such user: nobody\nchat: cannot write: ")


def test_the_first_line_that_is_not_known_to_be_stored_is_named_where_stdout_takes_no_more(
    shell, chatbroker
):
    script = "seq 200000 | chat echo --lines --json >/dev/full"
    found = shell.script(script, at=chatbroker)
    assert found.status == 1
    named = re.match(r"chat: line (\d+) is not known to be stored\nchat: cannot write: ", found.err)
    assert named
    (last,) = shell.run("history", "--limit", "1", "--format", "{text}", at=chatbroker).out.split()
    assert int(named[1]) <= int(last) + 1


@pytest.mark.parametrize("command", ["send nobody --lines", "join zoe", "join zoe --json"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_each_line_before_the_one_that_is_named_was_told_of(shell, broker, command, number):
    """Whoever begins again at that line loses none without a word."""
    lines = f"exec chat {command} < <(exec yes send nobody hi)"
    sender = shell.start("bash", "-c", lines, at=broker)
    sender.says("^chat: line 1500: ")
    sender.signal(number)
    found = sender.wait()
    assert found.status == 128 + number
    (named,) = re.findall(r"^chat: line (\d+) is not known to be stored$", found.err, re.M)
    refused = re.findall(r"^chat: line (\d+): no such user", found.err, re.M)
    assert [*map(int, refused)] == [*range(1, int(named))]
