"""Where both commands begin: before what they need is imported, which takes a tenth of a second.

What each of them is stands elsewhere; this module alone of its package knows where.
"""

from __future__ import annotations

import signal
from importlib import import_module

MODULES = {"chat": "chatbroker.client.cli", "chatbroker": "chatbroker.broker.cli"}
"""In which module each command is, with its ``main``."""


def chat() -> None:
    """The entry point of ``chat``."""
    _begin("chat")


def chatbroker() -> None:
    """The entry point of ``chatbroker``."""
    _begin("chatbroker")


def _begin(name: str) -> None:
    _let_interrupts_end_it()
    main = import_module(MODULES[name]).main
    try:
        main()
    finally:
        _let_interrupts_end_it()
        _let_the_first_signal_decide()


def _let_interrupts_end_it() -> None:
    """Before `run_command` heeds SIGINT, and after, it ends the process without a word, as others
    are: Python would show where it was.  If the caller has it ignored it stays so."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _let_the_first_signal_decide() -> None:
    """A handler that is still there is of a signal that was obeyed, and the status is known.
    Python takes handlers off before the process has ended, so that another signal would end it by
    itself; what is ignored stays so."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_IGN)
