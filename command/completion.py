"""Shell completion: words that only a broker or a file can tell, and a script for bash.

Whoever presses TAB waits, and sees on their line whatever is written.  So what is asked for comes
within a bound, or nothing does; and nothing is said of what went wrong.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import ClassVar

import click
from click.shell_completion import BashComplete, add_completion_class, split_arg_string

PATIENCE = 0.5
"""Seconds for an answer."""

Find = Callable[[click.Context, str], list[str]]
"""The words that may stand there, by what is on the line before and by what was begun."""


def offered(find: Find) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """What *find* finds, for a parameter's ``shell_complete``.

    *find* has a thread of its own, as its broker may not answer and its files may be far away.
    """

    def complete(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
        begun = incomplete.lower()  # As names and addresses are.
        found = within(PATIENCE, lambda: find(context, begun))
        return [word for word in found if word.startswith(begun)]

    return complete


def within(seconds: float, find: Callable[[], list[str]]) -> list[str]:
    """What *find* finds; nothing, if that takes longer.  The process may end all the same."""
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.extend(find()), daemon=True)
    thread.start()
    thread.join(seconds)
    return list(found)


_SCRIPT = """\
%(complete_func)s() {
    local IFS=$' \\n' line=${COMP_LINE:0:COMP_POINT} response completion type value
    # Whoever calls this with the words alone has no line.
    [[ -n $COMP_LINE ]] || line="${COMP_WORDS[*]:0:COMP_CWORD+1}"
    response=$(COMP_LINE=$line COMP_WORD=${2-${COMP_WORDS[COMP_CWORD]}} \\
        %(complete_var)s=bash_complete "${1/#\\~/$HOME}" 2>/dev/null)
    while IFS=, read -r type value; do
        case $type in
            plain) COMPREPLY+=("$value") ;;
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
        esac
    done <<< "$response"
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class _Bash(BashComplete):
    """Takes the line as it is typed.

    click's own takes the words of bash, which are cut at each ``:`` and ``=``: an address and
    ``--port=6000`` are not to be told from them.
    """

    source_template: ClassVar[str] = _SCRIPT

    def get_completion_args(self) -> tuple[list[str], str]:
        # One more character has a word begin after the last space, and ends any other.
        *words, last = split_arg_string(os.environ["COMP_LINE"] + "x")
        incomplete = last[:-1]
        # bash replaces what stands after the last of its cuts.
        replaced = os.environ["COMP_WORD"]
        self._kept = len(incomplete.removesuffix(replaced))
        # click looks at what is after "=" only.
        if incomplete.startswith("-"):
            self._kept = max(self._kept - len(incomplete.partition("=")[0]) - 1, 0)
        return words[1:], incomplete

    def format_completion(self, item: click.shell_completion.CompletionItem) -> str:
        return f"{item.type},{item.value[self._kept :]}"


def take_over_bash() -> None:
    """Has bash get this script, and its lines be read as it sends them."""
    add_completion_class(_Bash)
