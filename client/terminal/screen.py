"""A terminal that is drawn on: what is said scrolls above one line that is typed in."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer, CompletionState
from prompt_toolkit.completion import Completion
from prompt_toolkit.enums import EditingMode
from prompt_toolkit.filters import Condition, has_completions, is_searching
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout import (
    BufferControl,
    ConditionalContainer,
    Float,
    FloatContainer,
    FormattedTextControl,
    HSplit,
    Layout,
    UIContent,
    UIControl,
    VSplit,
    Window,
)
from prompt_toolkit.layout.menus import CompletionsMenu
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.styles import Style
from prompt_toolkit.utils import get_cwidth
from prompt_toolkit.widgets import SearchToolbar

from ...command.status import Status
from ...wire.messages import DIRECT_LOG
from ...wire.names import EVERYONE
from ..client import Client
from ..errors import ClientError
from ..escape import escape
from ..interrupts import Interrupts
from .alerts import LEAST_PAUSE, Alerts
from .background import Background
from .completing import common, offers
from .conversation import Conversation
from .leaving import telling_what_is_lost, wait_for_answers
from .links import LinkingOutput, Links
from .recall import typed_before
from .rows import Row, told_row
from .style import STYLES
from .view import View
from .wrap import clipped

REDRAW_EVERY = 0.04
"""Seconds at least between two drawings: more often no eye sees, and the keys come first."""

MOST_AFTER = 20
"""Rows of what was said to everyone that are written after the screen was left."""

KEYS = (
    "Tab completes; Up and Ctrl-R: what was typed before",
    "PageUp, PageDown: what was said before; Ctrl-End: the newest",
    "Ctrl-C empties the line; Ctrl-D leaves; Ctrl-Z suspends",
)

MOST_BACK = 1 << 30
"""More than the lines that were ever typed."""


class Looks(NamedTuple):
    """How a person wants it."""

    colour: bool
    alerts: Alerts
    vi: bool


class _Messages(UIControl):
    """The part of the screen that shows rows."""

    def __init__(self, view: View, links: Links | None) -> None:
        self._view = view
        self._links = links
        self.width = 80
        self.height = 20
        """As it was drawn last."""

    def create_content(self, width: int, height: int) -> UIContent:
        # prompt_toolkit leaves a mark of the last character in the cell behind it, too, if nothing
        # else is there, and loses it if there is no such cell.  So there is one, with a space.
        self.width, self.height = width - 1, height
        seen = self._view.visible(self.width, height)
        drawn = [line.pieces for line in seen] if self._links is None else self._links.mark(seen)
        lines: list[StyleAndTextTuples] = [[*pieces, ("", " ")] for pieces in drawn]
        lines[:0] = [[]] * (height - len(lines))  # What there is stands at the bottom.
        return UIContent(lambda number: lines[number], len(lines), show_cursor=False)

    def is_focusable(self) -> bool:
        return False


TOO_MUCH = "none of {} lines pasted was entered: {} more can be under way"
NOT_LEFT = "you stay; lines pasted behind 'quit' were not entered: {} (Up)"


class Screen:
    """The display of a `Conversation`, and the keys."""

    def __init__(self, client: Client, looks: Looks) -> None:
        self._client = client
        self._alerts = looks.alerts
        self._view = View()
        # The console of Linux takes OSC 8 for text.
        self._links = None if os.environ.get("TERM", "").startswith("linux") else Links()
        self._pasted: list[str] | None = None
        """Lines of which it is not known yet whether they are to be sent."""
        self._owed = 0
        """Lines to look further up when more of what was said before is there."""
        self._told_last = 0.0
        self.background = Background(client, self.post, self.fail)
        self.conversation = Conversation(client, self, self.background.work, KEYS)
        self._messages = _Messages(self._view, self._links)
        self._buffer = Buffer(
            history=typed_before(self._tell),
            multiline=False,
            accept_handler=self._accept,
            on_text_changed=lambda buffer: self.conversation.begun(buffer.text),
        )
        self.app: Application[None] = Application(
            layout=self._layout(),
            key_bindings=self._keys(),
            style=Style.from_dict(STYLES),
            full_screen=True,
            editing_mode=EditingMode.VI if looks.vi else EditingMode.EMACS,
            min_redraw_interval=REDRAW_EVERY,
            color_depth=None if looks.colour else ColorDepth.DEPTH_1_BIT,
            output=self._output(),
        )

    def _output(self) -> LinkingOutput | None:
        if self._links is None:
            return None
        term = os.environ.get("TERM", "")
        size = Vt100_Output.from_pty(sys.stdout, term=term).get_size
        return LinkingOutput(sys.stdout, size, self._links, term)

    # --- what a conversation asks of its display -------------------------------------------

    def add(self, row: Row) -> None:
        dropped = self._view.add(row)
        if dropped:
            self.conversation.forget(dropped)

    def add_past(self, rows: Sequence[Row]) -> None:
        self._view.add_past(rows)
        owed, self._owed = self._owed, 0
        if owed:
            self._view.up(owed, self._messages.width, self._messages.height)

    def set_pending(self, rows: Sequence[Row]) -> None:
        self._view.set_pending(rows)

    def alert(self, row: Row) -> None:
        loop = self.app.loop
        now = 0.0 if loop is None else loop.time()
        if loop is not None and now - self._told_last >= LEAST_PAUSE:
            self._told_last = now
            self.app.output.write_raw(self._alerts.sequence(row.text))
            self.app.output.flush()

    def _tell(self, words: str) -> None:
        self.add(told_row(f"* {words}"))

    # --- what other threads and signals ask -------------------------------------------------

    def post(self, do: Callable[[], None]) -> None:
        """Has *do* done in the thread that draws.  May be called from any, and by a handler of a
        signal."""
        loop = self.app.loop
        if loop is not None:
            with suppress(RuntimeError):  # It has ended by itself at this moment.
                loop.call_soon_threadsafe(self._do, do)

    def _do(self, do: Callable[[], None]) -> None:
        # The loop goes on a little when the application has ended, and is not done any more then.
        if self.app.is_done or not self.app.is_running:
            return  # Nothing is seen any more; what was to be shown is told by `converse`.
        try:
            do()
        except BaseException as error:  # noqa: BLE001 - raised by `run`, where it is seen
            self.fail(error)
        self.app.invalidate()

    def fail(self, error: BaseException) -> None:
        """Leaves; `run` raises *error*."""
        if self.app.is_running and not self.app.is_done:
            self.app.exit(exception=error)

    def run(self, screenful: int, interrupts: Interrupts) -> None:
        """Until the person leaves.  Raises what ended it otherwise."""

        def begin() -> None:
            interrupts.on_signal(partial(self.post, interrupts.check))
            self.post(interrupts.check)  # One that came before.
            self._do(partial(self.conversation.begin, screenful))
            self.background.start(self.conversation)

        # Signals are `Interrupts`' business; Ctrl-C is a key here.
        try:
            self.app.run(pre_run=begin, handle_sigint=False)
        except OSError:
            interrupts.check()  # A terminal that is gone sends SIGHUP too, which says why.
            raise

    # --- the keys --------------------------------------------------------------------------

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        asking = Condition(lambda: self._pasted is not None)
        empty = Condition(lambda: not self._buffer.text)

        @keys.add("c-c", filter=~asking & ~is_searching)
        def _clear(event: KeyPressEvent) -> None:
            self._buffer.complete_state = None
            # Not by reset, after which earlier lines have to be read anew.
            self._buffer.history_forward(count=MOST_BACK)
            self._buffer.text = ""
            self._begin_line()

        @keys.add("c-d", filter=empty & ~asking)
        def _leave(event: KeyPressEvent) -> None:
            event.app.exit()

        @keys.add("tab", filter=~asking)
        def _complete(event: KeyPressEvent) -> None:
            if self._buffer.complete_state:
                self._buffer.complete_next()
            else:
                self._complete()

        @keys.add("s-tab", filter=~asking)
        def _complete_back(event: KeyPressEvent) -> None:
            if self._buffer.complete_state:
                self._buffer.complete_previous()

        @keys.add("escape", filter=has_completions & ~asking, eager=True)
        def _complete_no_more(event: KeyPressEvent) -> None:
            self._buffer.cancel_completion()

        @keys.add("pageup")
        def _up(event: KeyPressEvent) -> None:
            self._look_up(max(self._messages.height - 2, 1))

        @keys.add("pagedown")
        def _down(event: KeyPressEvent) -> None:
            self._owed = 0
            self._view.down(max(self._messages.height - 2, 1), self._messages.width)

        @keys.add("c-end")
        def _newest(event: KeyPressEvent) -> None:
            self._follow()

        @keys.add("c-z", filter=~asking)
        def _suspend(event: KeyPressEvent) -> None:
            event.app.suspend_to_background()

        @keys.add(Keys.BracketedPaste, filter=~asking)
        def _paste(event: KeyPressEvent) -> None:
            text = event.data.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
            lines = [line for line in text.split("\n") if line.strip()]
            room = self.conversation.room
            if len(lines) > max(room, 1):
                self._tell(TOO_MUCH.format(len(lines), room))
            elif len(lines) > 1:
                self._pasted = lines
            else:
                # Into what is searched for, while one searches.
                event.current_buffer.insert_text(lines[0] if lines else text.replace("\n", ""))

        @keys.add("y", filter=asking, eager=True)
        def _send_paste(event: KeyPressEvent) -> None:
            lines, self._pasted = self._pasted or [], None
            document = self._buffer.document
            lines[0] = document.text_before_cursor + lines[0]
            lines[-1] += document.text_after_cursor
            for line in lines:
                # As a line that was typed: one that is refused can be had again.
                self._buffer.history.append_string(line)
            self._buffer.reset()
            self._begin_line()
            self._follow()
            for left, line in enumerate(lines, 1 - len(lines)):
                if self.app.is_done:
                    break  # The broker has ended it.
                if not self._type(line):
                    self._leave() if not left else self._tell(NOT_LEFT.format(-left))
                    break

        @keys.add("n", filter=asking, eager=True)
        @keys.add("c-c", filter=asking, eager=True)
        @keys.add("escape", filter=asking, eager=True)
        def _drop_paste(event: KeyPressEvent) -> None:
            self._pasted = None

        @keys.add(Keys.Any, filter=asking, eager=True)
        def _ignore(event: KeyPressEvent) -> None:
            """Any other key is no answer."""

        return keys

    def _look_up(self, lines: int) -> None:
        """Looks further up; as far as that is not there yet, when it is."""
        width, height = self._messages.width, self._messages.height
        self._owed = lines - self._view.up(lines, width, height)
        if self._owed:
            self.conversation.recall(3 * height)

    def _complete(self) -> None:
        """Puts in what all offers have in common; if there are several, shows them.

        At once: prompt_toolkit's own completion comes later, perhaps to another line."""
        buffer = self._buffer
        found = list(offers(buffer.document.text_before_cursor, self.conversation.names))
        if found:
            begun = found[0].replaces
            shared = common([offer.text for offer in found])
            if len(shared) > begun or len(found) == 1:
                buffer.delete_before_cursor(begun)
                buffer.insert_text(shared)
                begun = len(shared)
        if len(found) > 1:
            buffer.complete_state = CompletionState(
                buffer.document,
                [
                    Completion(offer.text, -begun, display=offer.shown, display_meta=offer.hint)
                    for offer in found
                ],
            )

    def _follow(self) -> None:
        self._owed = 0
        self._view.follow()

    def _begin_line(self) -> None:
        """With vi's keys a line begins as one is inserted into, as in a shell: the first letter of
        a command must not be taken for one of the editor's."""
        self.app.vi_state.reset()

    def _accept(self, buffer: Buffer) -> bool:
        self._begin_line()
        self._follow()
        if not self._type(buffer.text):
            self._leave()
        return False  # The line begins anew.

    def _type(self, line: str) -> bool:
        """Does what *line* asks for; False if that is to leave."""
        try:
            return self.conversation.typed(line)
        except ClientError as error:  # The broker has ended it at this moment.
            self.fail(error)
            return True

    def _leave(self) -> None:
        if not self.app.is_done:
            self.app.exit()

    # --- the layout ------------------------------------------------------------------------

    def _layout(self) -> Layout:
        search = SearchToolbar(ignore_case=True)
        asking = Condition(lambda: self._pasted is not None)
        line = VSplit(
            [
                Window(
                    FormattedTextControl(lambda: [("class:prompt", self.conversation.prompt)]),
                    dont_extend_width=True,
                ),
                Window(
                    BufferControl(
                        self._buffer, search_buffer_control=search.control, preview_search=True
                    )
                ),
            ],
            height=1,
        )
        question = ConditionalContainer(
            Window(FormattedTextControl(self._question), style="class:question", height=1), asking
        )
        status = Window(FormattedTextControl(self._status), style="class:status", height=1)
        menu = Float(CompletionsMenu(max_height=10), xcursor=True, ycursor=True)
        body = HSplit([Window(self._messages), status, question, line, search])
        return Layout(FloatContainer(body, [menu]), focused_element=self._buffer)

    def _question(self) -> StyleAndTextTuples:
        lines = self._pasted or []
        to = self.conversation.to or EVERYONE  # Of a reply that was begun only the first is one.
        words = f" {len(lines)} lines pasted: enter them, text to {to}? (y/n) "
        return [("", clipped(words, self._messages.width + 1))]

    def _status(self) -> StyleAndTextTuples:
        state = self.conversation.state
        parts = []
        if not state.connected:
            parts.append("reconnecting…")
        if state.pending:
            parts.append(f"{state.pending} not stored yet")
        if not self._view.follows:
            unread = self._view.unread
            parts.append(f"{f'{unread} unread' if unread else 'more'} below (Ctrl-End)")
        if state.online and state.connected:
            parts.append(f"{len(state.online)} on")
        width = self._messages.width
        words = " | ".join([f" {self._client.name} at {self.conversation.broker}", *parts])
        if get_cwidth(words) > width:
            # On a narrow terminal how it is matters more than where.
            words = " | ".join([f" {self._client.name}", *parts])
        if state.online and state.connected:
            # No more than a line can show: there may be thousands.
            words += f": {escape(', '.join(state.online[:width]))}"
        words = clipped(words, width)
        return [("", words + " " * max(width + 1 - get_cwidth(words), 0))]


def _to_be_told(rows: Sequence[Row]) -> list[Row]:
    """Of *rows* that were not seen: those of one's mailbox, which count as read, and the last of
    the others, which in a flood are hundreds."""
    older = [row for row in rows[:-MOST_AFTER] if row.place and row.place.log == DIRECT_LOG]
    return [*older, *rows[-MOST_AFTER:]]


def converse(client: Client, interrupts: Interrupts, screenful: int, looks: Looks) -> int:
    """Draws until the person leaves; returns the exit status."""
    screen = Screen(client, looks)
    with telling_what_is_lost(screen.conversation):
        try:
            screen.run(screenful, interrupts)
        finally:
            # What came while the screen was taken down would not be seen, and would count as read.
            for row in _to_be_told(screen.conversation.rows_of(screen.background.stop())):
                print(row.text)
        wait_for_answers(client, interrupts, screen.conversation)
    return Status.DONE
