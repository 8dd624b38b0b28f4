"""The announcer of builds: what it says, and that the build never notices it."""

from __future__ import annotations

import os
import signal

from chatbroker.client import Client

BUILD = r"""
echo compiling; printf 'to stderr\n' >&2
printf 'progress 1\rprogress 2\n\033[31mred\033[0m\n\377 no UTF-8\nno newline'
exit $1
"""


def test_a_build_is_announced_and_its_output_passed_on_as_it_is(start, house, heard, tmp_path):
    # Into a file: the output is no text.
    script = tmp_path / "build"
    script.write_text(BUILD)
    with Client(None, house.address) as ear, Client("bob", house.address) as bob:
        run = f"{start.command('ci_announcer')} -- sh {script} 42 > {tmp_path / 'out'}"
        failed = start.shell("bash", "-c", run, at=house).wait()
        assert (failed.status, failed.err) == (42, "to stderr\n")
        out = (tmp_path / "out").read_bytes()
        assert out == (
            b"compiling\nprogress 1\rprogress 2\n\x1b[31mred\x1b[0m\n\xff no UTF-8\nno newline"
        )
        began, ended, *tail = heard(ear, 8)
        assert began == f"ci: started: sh {script} 42"
        assert ended.startswith(f"ci: FAILED: sh {script} 42, exit status 42 (")
        # Of two pipes nobody knows which was first.
        assert [line for line in tail if "stderr" not in line] == [
            "ci: | compiling",
            "ci: | progress 2",
            "ci: | red",
            "ci: | \ufffd no UTF-8",
            "ci: | no newline",
        ]
        told = ("--to", "bob", "--as", "builds", "--title", "nightly")
        good = start("ci_announcer", *told, "--", "sh", "-c", "echo $1", "sh", "--", at=house)
        done = good.wait()
        assert (done.status, done.out, done.err) == (0, "--\n", "")
        said = [text for text in heard(bob, 10) if text.startswith("builds")]
        assert said[0] == "builds: started: nightly"
        assert said[1].startswith("builds: ok: nightly (")


def test_the_build_does_not_notice_that_nobody_can_be_told(start, house):
    down = start(
        *("ci_announcer", "--timeout", "0.3", "--broker", "tcp://127.0.0.1:1"),
        *("--", "sh", "-c", "echo out; exit 3"),
    )
    nobody = start("ci_announcer", "--to", "nobody", "--", "sh", "-c", "exit 5", at=house)
    absent = start("ci_announcer", "--as", "not a name", "--", "no-such-program", at=house)
    ended = down.wait()
    assert (ended.status, ended.out) == (3, "out\n")
    assert ended.err.count("ci_announcer: not announced: no broker answers") == 2
    ended = nobody.wait()
    assert (ended.status, ended.out) == (5, "")
    assert ended.err.count("ci_announcer: not announced: no such user: nobody\n") == 2
    ended = absent.wait()
    assert ended.status == 127
    assert ended.err.count("not a valid name") == 2
    assert "cannot run no-such-program: No such file or directory" in ended.err


def test_signals_reach_the_build_and_nothing_waits_for_what_it_leaves(
    start, house, heard, tmp_path
):
    with Client(None, house.address) as ear:
        ending = start(
            *("ci_announcer", "--", "sh", "-c"),
            "trap 'echo ended; exit 9' TERM; echo ready; while :; do sleep 0.1; done",
            at=house,
        )
        ending.shows("ready")
        ending.signal(signal.SIGTERM)
        ended = ending.wait()
        assert (ended.status, ended.out) == (9, "ready\nended\n")
        assert "exit status 9 (" in heard(ear, 4)[1]
        # A daemon keeps the pipes open.
        killed = start(
            *("ci_announcer", "--", "sh", "-c", "sleep 60 & echo $! $$; kill -9 $$"), at=house
        )
        ended = killed.wait()
        os.kill(int(ended.out.split()[0]), signal.SIGKILL)
        assert ended.status == 137
        assert "exit status 137, SIGKILL (" in heard(ear, 2)[1]


def test_a_build_whose_output_nobody_reads_notices_that(start, house):
    run = f"{start.command('ci_announcer')} --title yes -- yes | head -n 1; echo ${{PIPESTATUS[0]}}"
    assert start.shell("bash", "-c", run, at=house).wait().out == "y\n141\n"


def test_words_for_how_it_went(example):
    announcer = example("ci_announcer")
    assert [announcer.took(s) for s in (0.2, 59.6, 3725, 7200)] == [
        "less than 1 s",
        "1 min",
        "1 h 2 min 5 s",
        "2 h",
    ]
    assert announcer.verdict("make", 163, 2) == "FAILED: make, exit status 163 (2 s)"
    assert announcer.clipped("äöü", 3) == "ä"
    assert announcer.clipped("half \udcff", 100) == "half ?"
