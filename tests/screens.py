"""The pictures of the README, made from the real program: ``make screens``.

A broker, a person at a terminal and two clients are started; what is on the terminal's screen is
written as SVG, cell by cell.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.sax.saxutils import escape

sys.path.insert(0, str(Path(__file__).parent))

from chatbroker.client import Client
from chatbroker.testing.brokers import BrokerProcess
from terminal import Terminal

FOLDER = Path(__file__).parents[1] / "docs" / "screens"

COLUMN, LINE, MARGIN = 8.4, 18, 12
"""Pixels of a cell, and around all of them."""

DARK, LIGHT = "#1c1c1c", "#d0d0d0"
COLOURS = {
    "black": "#000000", "red": "#d75f5f", "green": "#87af5f", "brown": "#d7af5f",
    "blue": "#5f87d7", "magenta": "#d787d7", "cyan": "#5fafaf", "white": LIGHT,
    "brightblack": "#808080",
}  # fmt: skip


def svg(cells):
    """*cells*, as pyte has them, as a picture."""
    width, height = len(cells[0]) * COLUMN + 2 * MARGIN, len(cells) * LINE + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="14">',
        f'<rect width="100%" height="100%" rx="6" fill="{DARK}"/>',
    ]
    for number, row in enumerate(cells):
        for start, text, cell in _runs(row):
            parts += _drawn(MARGIN + start * COLUMN, MARGIN + number * LINE, text, cell)
    return "\n".join([*parts, "</svg>", ""])


def _runs(row):
    """Neighbours that look alike: the column of the first, their text, and one of them."""
    start, text = 0, ""
    for column, cell in enumerate(row):
        if text and cell[1:] != row[start][1:]:
            yield start, text, row[start]
            start, text = column, ""
        text += cell.data
    yield start, text, row[start]


def _colour(name, default):
    if name == "default":
        return default
    return COLOURS.get(name) or f"#{name}"


def _drawn(x, y, text, cell):
    front, back = _colour(cell.fg, LIGHT), _colour(cell.bg, DARK)
    if cell.reverse:
        front, back = back, front
    width = len(text) * COLUMN
    if back != DARK:
        yield f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{LINE}" fill="{back}"/>'
    if not text.strip():
        return
    look = ' font-weight="bold"' * cell.bold + ' font-style="italic"' * cell.italics
    look += ' text-decoration="underline"' * cell.underscore
    yield (
        f'<text x="{x:.1f}" y="{y + 14}" textLength="{width:.1f}" fill="{front}"{look} '
        f'xml:space="preserve">{escape(text)}</text>'
    )


class _Program:
    """What `Terminal` wants of a program."""

    def __init__(self, words, stdin, env):
        self._process = subprocess.Popen(words, stdin=stdin, env=env, start_new_session=True)
        self.pid = self._process.pid
        self.status = None

    def wait(self):
        self.status = self._process.wait(30)
        return self

    def kill(self):
        self._process.kill()
        self._process.wait(30)


def pictures():
    """Plays a scene; yields names, and the screens that go by them."""
    with TemporaryDirectory() as data, BrokerProcess() as broker:
        ours = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "CHATBROKER_DATA": data,
            "CHATBROKER_CONFIG": os.devnull,
            "CHAT_BROKER": broker.address,
            "LC_ALL": "C.UTF-8",
        }
        ours.pop("NO_COLOR", None)
        programs = []

        def start(*words, stdin, env):
            programs.append(_Program(words, stdin, ours | env))
            return programs[-1]

        try:
            yield from _scene(broker, partial(Terminal, start, term="xterm-256color", lines=20))
        finally:
            for program in programs:
                program.kill()


def _scene(broker, terminal):
    with (
        Client("bob", broker.address) as bob,
        Client("carol", broker.address, credential=b"c" * 16) as carol,
    ):
        alice = terminal("join", "alice", "--notify", "off")
        alice.until(lambda: "3 on:" in alice.bar)
        carol.echo("morning! the release is built: https://example.org/builds/1024/log?full=1")
        bob.send("alice", "can you look at it before ten?")
        alice.until(lambda: any("before ten" in line for line in alice.lines))
        alice.type("reply on it\r")
        alice.until(lambda: any("on it" in line for line in alice.said))
        carol.echo(
            "alice: the notes are still missing, the ones about the new limits; without "
            "them nobody will know why the queue is shorter than it was"
        )
        alice.until(
            lambda: alice.said[-1].endswith("than it was") or alice.said[-1].strip() == "it was"
        )
        alice.type("I write them now\rme makes coffee\r")
        alice.until(lambda: "** alice makes coffee" in alice.said)
        alice.type("what nobody disturbs is this li")
        alice.until(lambda: alice.typed.endswith("this li"))
        yield "join", alice.cells
        alice.type("\x03\t")
        alice.until(lambda: any("to whom the last direct" in line for line in alice.lines))
        yield "completion", alice.cells
        alice.type("\x03")
        broker.kill()
        alice.until(lambda: "reconnecting" in alice.bar)
        alice.type("this waits until the broker is back\r")
        alice.until(lambda: "1 not stored yet" in alice.bar)
        yield "reconnecting", alice.cells
        alice.close()


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, cells in pictures():
        (FOLDER / f"{name}.svg").write_text(svg(cells))
        print(FOLDER / f"{name}.svg")
