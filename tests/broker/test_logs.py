"""Lines of the log, as text and as JSON."""

from __future__ import annotations

import io
import json
import logging
import sys

import pytest

from chatbroker.broker import logs
from chatbroker.broker.logs import JsonFormatter, log, say, set_up, speak_as


@pytest.fixture
def as_json():
    """What is logged, as objects."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonFormatter())
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in out.getvalue().splitlines()]
    log.removeHandler(handler)
    log.setLevel(level)


def test_what_is_said_has_its_fields(as_json):
    say("joined", user="alice", count=3, left=None)
    (line,) = as_json()
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "event": "joined",
        "user": "alice",
        "count": 3,
        "left": None,
        "message": "joined user=alice count=3 left=None",
    }


def test_fields_are_found_in_words_for_people(as_json):
    log.warning("descriptors used=%d limit=%5d: new sessions are %s", 8, 10, "refused")
    (line,) = as_json()
    assert (line["event"], line["used"], line["limit"]) == ("descriptors", 8, 10)
    assert line["level"] == "warning"
    assert line["message"] == "descriptors used=8 limit=   10: new sessions are refused"
    assert set(line) == {"time", "level", "event", "used", "limit", "message"}


def test_words_without_fields_are_a_line_too(as_json):
    log.warning("stopped")
    log.warning("100% done")
    assert [line["event"] for line in as_json()] == ["stopped", "100%"]


def test_no_field_takes_the_place_of_what_each_line_has(as_json):
    say("x", time=1, level=2, message=3)
    (line,) = as_json()
    assert (line["level"], line["message"]) == ("info", "x time=1 level=2 message=3")


def test_a_value_cannot_be_taken_for_another_line_or_field(as_json):
    say("x", why="a\nb by=0", what="\u202e", path="/tmp/a-b_c.d:1@x,y+z")
    (line,) = as_json()
    assert line["why"] == "a\nb by=0"
    assert line["message"] == r'x why="a\nb by=0" what="\u202e" path=/tmp/a-b_c.d:1@x,y+z'


def test_a_traceback_is_in_its_object(as_json):
    try:
        raise KeyError("x")
    except KeyError:
        log.exception("bug at=%s", object)
    (line,) = as_json()
    assert line["traceback"].endswith("KeyError: 'x'")
    assert line["at"] == "<class 'object'>"


def test_where_no_log_is_set_up_a_warning_is_said_as_by_a_command(monkeypatch):
    monkeypatch.setattr(logging, "lastResort", logging.Handler())
    speak_as("chatbroker")
    record = log.makeRecord("", logging.WARNING, "", 0, "folder path=%s is open", ("d",), None)
    assert logging.lastResort.format(record) == "chatbroker: folder path=d is open"


def test_it_is_set_up_and_set_up_again(monkeypatch, capsys):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    level = log.level
    try:
        set_up(verbose=False, form="text")
        say("hidden")
        log.warning("shown")
        set_up(verbose=True, form="json")
        say("joined", user="alice")
        assert len(root.handlers) == 1
        assert root.handlers[0].stream is sys.stderr
    finally:
        log.setLevel(level)
    text, line = capsys.readouterr().err.splitlines()
    assert text.endswith(" WARNING shown")
    assert json.loads(line)["user"] == "alice"


def test_what_nobody_wants_to_see_is_not_put_together(monkeypatch):
    monkeypatch.setattr(log, "level", logging.WARNING)
    log.manager._clear_cache()
    monkeypatch.setattr(logs, "_shown", None)
    say("joined", user="alice")
    log.manager._clear_cache()
