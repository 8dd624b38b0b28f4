"""The tailer of logs: what it says, what it leaves out, and what it outlives."""

from __future__ import annotations

import signal

import pytest

from chatbroker.client import Client, Since


def test_a_flood_on_stdin_is_bounded_and_counted(start, house, heard, silent):
    # So slow that within the test none comes in again.
    slow = ("--rate", "0.0001", "--burst", "3")
    with Client(None, house.address) as ear:
        tailer = start("log_tailer", *slow, "--match", "ERROR|\ufffd", at=house)
        lines = [f"{kind} {number}\r\n" for number in range(535) for kind in ("ERROR", "info")]
        long = "ERROR " + "ä" * 40_000
        tailer.feed(f"{long}\nERROR \x1b[0m\n".encode() + b"\xff no UTF-8\n")
        tailer.feed("".join(lines).encode() + b"ERROR without an end")
        assert tailer.finish()[:] == (0, "", "")
        said = heard(ear, 4)
        first = said[0].removeprefix("log: ")
        assert long.startswith(first)
        assert len(first.encode()) in (ear.max_text, ear.max_text - 1)
        assert said[1:] == [
            "log: ERROR \x1b[0m",
            "log: \ufffd no UTF-8",
            "log: … 536 lines left out",
        ]
        nobody = start("log_tailer", "--to", "nobody", at=house)
        nobody.type("hello", "")
        assert nobody.finish()[:] == (6, "", "log_tailer: no such user: nobody\n")
        assert start("log_tailer", at=house).finish().status == 0
        assert silent(ear)


def test_a_file_is_followed_through_rotation_truncation_and_a_restart(
    start, chatbrokers, heard, silent, tmp_path
):
    log = tmp_path / "app.log"
    log.write_text("old\n")

    def write(text, mode="a"):
        with log.open(mode) as file:
            file.write(text)

    broker = chatbrokers.start(data_dir=tmp_path / "data")
    with broker.client() as ear:
        tailer = start("log_tailer", "--rate", "1000", str(log), at=broker)
        tailer.says(f"following {log}")
        write("one\ntw")
        assert heard(ear, 1) == ["log: one"]
        write("o\nhalf")
        log.rename(tmp_path / "app.log.1")
        assert heard(ear, 1) == ["log: two"]
        with (tmp_path / "app.log.1").open("a") as old:
            old.write(" a line")  # Who writes has not noticed yet.
        write("three\n")
        assert heard(ear, 2) == ["log: half a line", "log: three"]
        log.write_text("4\n")  # Shorter than before.
        assert heard(ear, 1) == ["log: 4"]
        log.unlink()
    broker.kill()
    tailer.says("reconnecting")
    write("while the broker was away\n", "w")
    again = chatbrokers.start(
        data_dir=tmp_path / "data", port=broker.port, pub_port=broker.pub_port
    )
    with again.client(since=Since.all()) as ear:
        tailer.says("connected again")
        before = ["one", "two", "half a line", "three", "4", "while the broker was away"]
        assert heard(ear, 6) == [f"log: {text}" for text in before]
        write("and after\nthe last, without an end")
        assert heard(ear, 1) == ["log: and after"]
        tailer.signal(signal.SIGTERM)
        ended = tailer.wait()
        assert (ended.status, ended.out) == (0, "")
        assert heard(ear, 1) == ["log: the last, without an end"]
        assert silent(ear)


def test_what_cannot_be_is_told(start, tmp_path):
    wrong = [
        (["--match", "("], 2, "'(' is no regular expression"),
        (["--burst", "1"], 2, "invalid burst value"),
        (["--rate", "nan"], 2, "invalid positive value"),
        (["--broker", "nowhere"], 2, "not a broker's address"),
        ([str(tmp_path)], 2, "is no regular file"),
    ]
    programs = [start("log_tailer", *args) for args, _, _ in wrong]
    for program, (_, status, words) in zip(programs, wrong, strict=True):
        ended = program.finish()
        assert ended.status == status
        assert words in ended.err
        assert "Traceback" not in ended.err


# --- what is left out ---------------------------------------------------------------------


class Silent:
    """Stands for a client."""

    waiting_events = 0
    max_text = 100

    def __init__(self):
        self.said = []

    def pipeline(self):
        pipe = self
        pipe.refused = []
        return pipe

    def echo(self, text):
        self.said.append(text)


@pytest.fixture
def clock(example, monkeypatch):
    """The module, its tailer of one message a second and three at once, and what sets the time."""
    module, client = example("log_tailer"), Silent()
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    options = module.parser().parse_args(["--rate", "1", "--burst", "3"])
    return module.Tailer(options, client), client.said, now


def test_of_lines_that_go_on_to_come_some_are_said(clock):
    tailer, said, now = clock
    for second in range(7):
        now[0] = second
        tailer.take([f"{second}.{part}" for part in range(10)])
        tailer.look()
    notes = [text for text in said if text.startswith("…")]
    lines = [text for text in said if not text.startswith("…")]
    assert lines == ["0.0", "0.1", "0.2", "2.0", "4.0", "6.0"]
    assert notes == ["… 17 lines left out", "… 19 lines left out", "… 19 lines left out"]
    assert said.index(notes[0]) == said.index("2.0") - 1


def test_what_was_left_out_is_told_when_it_is_silent(clock):
    tailer, said, now = clock
    tailer.take(["a", "b", "c", "d"])
    now[0] = 1.0
    tailer.look()
    assert said == ["a", "b", "c"]
    now[0] = 2.0
    tailer.look()
    assert said[3:] == ["… 1 line left out"]
    tailer.take(["e", ""])
    assert said[4:] == ["e"]
