"""Man pages as roff, in the macros of man(7): text in, text out.

What is written holds for groff and for mandoc.
"""

from __future__ import annotations

import re
from textwrap import wrap

# By groff_char(7): what would come out as another character, or begin something.
_SPECIAL = {"\\": r"\(rs", "'": r"\(aq", "`": r"\(ga", '"': r"\(dq", "^": r"\(ha", "~": r"\(ti"}


def literal(text: str) -> str:
    """*text* as it is typed: a hyphen is the one of options, which can be copied."""
    return "".join([_SPECIAL.get(c) or (_plain(c) if c != "-" else r"\-") for c in text])


def prose(text: str) -> str:
    """*text* to be read: words in ``double backticks`` are typed, and options are."""
    parts = re.split(r"``(.+?)``", text)
    parts[1::2] = [bold(part) for part in parts[1::2]]
    parts[::2] = [re.sub(r"\S+", lambda word: _word(word[0]), part) for part in parts[::2]]
    return "".join(parts)


def bold(text: str) -> str:
    """*text* as it is typed, in bold."""
    return rf"\fB{literal(text)}\fR"


def italic(text: str) -> str:
    """*text*, in place of which something is typed."""
    return rf"\fI{literal(text)}\fR"


def _word(word: str) -> str:
    # As in "one-shot"; an option begins with its hyphens, perhaps after a quote.
    if re.match(r"[^-]*\w-\w", word):
        return "-".join(map(literal, word.split("-")))
    return literal(word)


def _plain(character: str) -> str:
    return character if character.isascii() else rf"\[u{ord(character):04X}]"


class Sheet:
    """A page that is being written."""

    def __init__(self, name: str, section: int, date: str, source: str, manual: str) -> None:
        """*name*: of the page.  *date*: of the form 2026-11-22.  *source*: the program and its
        version.  *manual*: what it is a part of."""
        heads = [literal(head) for head in (name.upper(), str(section), source, manual)]
        heads.insert(2, date)  # With hyphens as they are, else mandoc takes it for none.
        # No word is cut, and lines end where they may: what is typed is to be found and copied.
        self._lines = [".TH " + " ".join([f'"{head}"' for head in heads]), ".nh", ".ad l"]

    def section(self, title: str) -> None:
        self._lines.append(f".SH {title}")

    def paragraph(self, text: str) -> None:
        """*text* in a paragraph of its own: as `prose` takes it."""
        if not self._lines[-1].startswith(".SH"):
            self._lines.append(".PP")
        self._fill(text)

    def line(self, roff: str) -> None:
        """A line that is roff already."""
        self._lines.append(_guarded(roff))

    def item(self, tag: str, text: str) -> None:
        """*text* beside *tag*, which is roff already."""
        self._lines += [".TP", _guarded(tag)]
        self._fill(text)

    def example(self, lines: list[str]) -> None:
        """Lines as they are typed."""
        if not self._lines[-1].startswith(".SH"):
            self._lines.append(".PP")
        self._lines += [".RS 4", ".nf", *[_guarded(literal(line)) for line in lines], ".fi", ".RE"]

    def __str__(self) -> str:
        return "\n".join(self._lines) + "\n"

    def _fill(self, text: str) -> None:
        # Wrapped before it is escaped: people who look into it see lines of words.  What is typed
        # stays in one line.
        text = re.sub(r"``.+?``", lambda typed: typed[0].replace(" ", "\0"), " ".join(text.split()))
        for line in wrap(text, 70, break_long_words=False, break_on_hyphens=False):
            self._lines.append(_guarded(prose(line.replace("\0", " "))))


def _guarded(line: str) -> str:
    """*line*, which is no request even if it begins like one."""
    return rf"\&{line}" if line.startswith((".", "'")) else line
