"""A terminal without a person: what is on its screen, and keys that can be pressed."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import termios
import time
from pathlib import Path

import pyte

PATIENCE = 30.0
STAMP = re.compile(r"^\[\d\d:\d\d:\d\d\] ")


class Terminal:
    """Runs ``chat`` on a terminal of its own, and sees what a person would."""

    def __init__(self, start, *args, term="xterm", columns=80, lines=24, **variables):
        """*start* starts a program: with its words, ``stdin`` and ``env``."""
        self._master, slave = pty.openpty()
        self.written = ""
        """All that was written to it."""
        self._screen = pyte.Screen(columns, lines)
        # What a terminal is asked, such as where its cursor is, it answers.
        self._screen.write_process_input = self.type
        self._stream = pyte.ByteStream(self._screen)
        self._set_size(columns, lines)
        # The session's own terminal: else Ctrl-C reaches nobody.
        words = ("setsid", "--ctty", "--wait", "sh", "-c", 'exec "$0" "$@" >&0 2>&0', "chat", *args)
        variables = {"TERM": term, "INPUTRC": "/dev/null"} | variables
        self._program = start(*words, stdin=slave, env=variables)
        os.close(slave)

    def _set_size(self, columns, lines):
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns, lines):
        """As when the window is drawn larger or smaller."""
        self._screen.resize(lines, columns)
        self._set_size(columns, lines)

    @property
    def rows(self):
        """The whole screen, from the top."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def lines(self):
        """What is on the screen, but for the time of each message."""
        lines = [STAMP.sub("", line) for line in self.rows]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    @property
    def said(self):
        """What stands above the status bar, but for the time, the day and empty lines."""
        marks = ("--- ", "joined as ")
        return [line for line in self.lines[: self._bar] if line and not line.startswith(marks)]

    @property
    def _bar(self):
        bars = [n for n, line in enumerate(self.lines) if re.match(r" \w+ at tcp://", line)]
        return bars[-1] if bars else len(self.lines)

    @property
    def bar(self):
        """The status bar."""
        return self.lines[self._bar] if self._bar < len(self.lines) else ""

    @property
    def typed(self):
        """The line that is typed in, with its prompt; the last of the screen."""
        return self.lines[-1] if self.lines else ""

    @property
    def cursor(self):
        """The column and the row of the cursor."""
        return self._screen.cursor.x, self._screen.cursor.y

    @property
    def cells(self):
        """The characters of the screen with their colours and attributes, row by row."""
        buffer = self._screen.buffer
        return [[buffer[y][x] for x in range(self._screen.columns)] for y in range(len(self.rows))]

    def style(self, text):
        """The colour and the boldness of the last place where *text* is on the screen."""
        row = max(n for n, line in enumerate(self._screen.display) if text in line)
        cell = self._screen.buffer[row][self._screen.display[row].index(text)]
        return cell.fg, cell.bold

    def type(self, keys):
        os.write(self._master, keys.encode())

    def until(self, condition):
        """Waits until *condition* holds of the screen."""
        until = time.monotonic() + PATIENCE
        while not condition():
            ready = select.select([self._master], [], [], max(0, until - time.monotonic()))[0]
            assert ready, f"it did not come to that: {self.lines}"
            assert self._read(), f"it ended before: {self.lines}"

    def shows(self, *lines):
        """Waits until *lines* are the last that were said."""
        self.until(lambda: self.said[-len(lines) :] == [*lines])

    def reads(self, typed, back=0):
        """Waits until *typed* stands in the line, behind everyone's prompt, and the cursor at its
        end or so many columns before that."""
        line = f"everyone> {typed}"
        place = (len(line) - back, self._screen.lines - 1)
        self.until(lambda: self.typed == line.rstrip() and self.cursor == place)

    def _read(self):
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:  # The other end is closed.
            data = b""
        self._stream.feed(data)
        self.written += data.decode(errors="replace")
        return data

    def status(self):
        """Its exit status, when it has ended."""
        until = time.monotonic() + PATIENCE
        while select.select([self._master], [], [], max(0, until - time.monotonic()))[0]:
            if not self._read():
                return self._program.wait().status
        raise AssertionError(f"it has not ended: {self.lines}")

    def signal(self, number):
        # The program is the child of what gave it the terminal.
        pid = self._program.pid
        (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        os.kill(int(child), number)

    def close(self):
        os.close(self._master)
