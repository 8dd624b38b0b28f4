"""Lines of the log: an event of a small vocabulary, and fields.  Never a user's text.

Two ways to write one::

    log.warning("descriptors used=%d limit=%d: %s", …)      words for people, fields by name=
    say("joined", user="alice")

As text both look alike.  As JSON, what stands as ``name=`` before a value is a field.
"""

from __future__ import annotations

import json
import logging
import re
from typing import Any

from .clock import iso

log = logging.getLogger("chatbroker")

TEXT = "%(asctime)s %(levelname)s %(message)s"

_PLACE = re.compile(r"(?:(\w+)=)?%[-#0-9.+ ]*[a-z]")
_PLAIN = re.compile(r"[\w.,:/@+-]+", re.ASCII)


class _Stderr(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to stderr."""


def set_up(verbose: bool, form: str) -> None:
    """Logs to stderr, who comes and goes if *verbose*, in the *form* ``text`` or ``json``.

    May be called again, for other settings."""
    logging.basicConfig(handlers=[_Stderr()])  # Where that was done already it does nothing.
    log.setLevel(logging.INFO if verbose else logging.WARNING)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _Stderr):
            handler.setFormatter(JsonFormatter() if form == "json" else logging.Formatter(TEXT))


def speak_as(command: str) -> None:
    """Has warnings stand on stderr as the words of *command* do, unless `set_up` is called.  One
    that does a single thing keeps no log."""
    assert logging.lastResort is not None  # Python's handler where there is none.
    logging.lastResort.setFormatter(logging.Formatter(f"{command}: %(message)s"))


def say(event: str, grave: bool = False, /, **fields: object) -> None:
    """Logs that *event* happened, for who wants to know what goes on; for everybody, if it is
    *grave*."""
    level = logging.WARNING if grave else logging.INFO
    if log.isEnabledFor(level):
        words = [event, *[f"{name}={_shown(value)}" for name, value in fields.items()]]
        log.log(level, "%s", " ".join(words), extra={"event": event, "fields": fields})


def _shown(value: object) -> str:
    """A value on one line, whatever it is, so that it cannot be taken for another field."""
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


class JsonFormatter(logging.Formatter):
    """One object a line: ``time``, ``level``, ``event``, ``message``, and the fields."""

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        event, fields = record.__dict__.get("event"), record.__dict__.get("fields")
        if fields is None:
            event = message.partition(" ")[0]
            names = _PLACE.findall(record.msg)
            values = record.args if isinstance(record.args, tuple) else ()
            fields = {name: v for name, v in zip(names, values, strict=False) if name}
        line: dict[str, Any] = {"time": iso(round(record.created * 1000))}
        line["level"] = record.levelname.lower()
        line |= {"event": event, **{k: v for k, v in fields.items() if k not in line}}
        line |= {"message": message}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)
