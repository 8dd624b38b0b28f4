"""Events to lines: for people, for programs, and in a format of one's own."""

from __future__ import annotations

import contextlib
import json
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbroker.client.escape import escape
from chatbroker.client.events import Broadcast, Direct, Joined, Left, Missed, Offline, UserInfo
from chatbroker.client.render import (
    compile_format,
    event_json,
    text_line,
    text_lines,
    users_json,
    users_line,
)

TIME = 1_795_349_024_123
CLOCK = datetime.fromtimestamp(TIME // 1000).strftime("%H:%M:%S")
DATE = datetime.fromtimestamp(TIME // 1000).strftime("%Y-%m-%d")
ISO = "2026-11-22T12:03:44.123Z"

BROADCAST = Broadcast(12, TIME, "bob", "hello everyone")
DIRECT = Direct(7, TIME, "bob", "alice", "hi")
JOINED = Joined(TIME, "carol")
LEFT = Left(TIME, "carol")
MISSED = Missed("echo", 41)


# --- text ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (BROADCAST, f"[{CLOCK}] bob: hello everyone"),
        (DIRECT, f"[{CLOCK}] bob -> alice: hi"),
        (JOINED, f"[{CLOCK}] * carol joined"),
        (LEFT, f"[{CLOCK}] * carol left"),
        (MISSED, "* echo: 41 messages are no longer kept"),
        (Missed("echo", 1), "* echo: 1 message is no longer kept"),
    ],
)
def test_text_is_as_documented(event, line):
    assert text_line(event) == line


def test_a_new_history_is_told_in_words():
    assert "new history" in text_line(Missed("echo", None))


@pytest.mark.parametrize(
    "event",
    [
        Broadcast(1, TIME, "bob", "a\n[12:00:00] alice: forged\x1b[2J"),
        Direct(1, TIME, "bo\x1bb", "al\nice", "\u202e"),
        Joined(TIME, "car\nol"),
        Left(TIME, "car\x07ol"),
    ],
)
def test_one_event_is_one_line_whatever_others_wrote(event):
    line = text_line(event)
    assert line.isprintable()


@pytest.mark.parametrize(
    "odd",
    [
        (),
        (DIRECT, JOINED, LEFT, MISSED),
        (Broadcast(1, TIME, "bob", "a\n[12:00:00] alice: forged\x1b[2J"),),
        (Broadcast(1, TIME, "bob\x7f", "hi"),),
        (Broadcast(1, TIME, "bob", "e" + "\u0301" * 6),),
        (Broadcast(1, TIME, "bob", "zażółć \u202e e\u0301\u0301\u0301\u0301\u0301\u0301"),),
        (Direct(1, TIME, "bo\x1bb", "al\nice", "\u202e"), JOINED),
    ],
)
def test_many_lines_are_what_each_is(odd):
    events = [BROADCAST, *odd, BROADCAST]
    assert text_lines(events) == [text_line(event) for event in events]


@pytest.mark.parametrize("render", [text_line, event_json, lambda event: text_lines([event])])
def test_what_has_no_line_is_a_mistake_of_the_program(render):
    with pytest.raises(TypeError, match="Offline"):
        render(Offline("why"))


def test_users_stand_in_one_line():
    assert users_line([UserInfo("alice", 1), UserInfo("b\x1bob", 2)]) == (
        "* online: alice, b\\x1bob"
    )


# --- JSON ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            BROADCAST,
            f'{{"type":"broadcast","seq":12,"time":"{ISO}","from":"bob","text":"hello everyone"}}',
        ),
        (
            DIRECT,
            f'{{"type":"direct","seq":7,"time":"{ISO}","from":"bob","to":"alice","text":"hi"}}',
        ),
        (JOINED, f'{{"type":"joined","time":"{ISO}","user":"carol"}}'),
        (LEFT, f'{{"type":"left","time":"{ISO}","user":"carol"}}'),
        (MISSED, '{"type":"missed","log":"echo","count":41,"reason":"retention"}'),
        (
            Missed("echo", None),
            '{"type":"missed","log":"echo","count":null,"reason":"new_history"}',
        ),
    ],
)
def test_json_is_as_documented(event, line):
    assert event_json(event) == line


def test_users_as_json():
    assert users_json([UserInfo("alice", TIME)]) == (
        f'{{"type":"users","users":[{{"name":"alice","since":"{ISO}"}}]}}'
    )


@given(st.text(), st.integers(0, 4_000_000_000_000))
def test_json_keeps_a_text_exactly_and_safe_for_a_terminal(text, time):
    line = event_json(Broadcast(1, time, "bob", text))
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["text"] == text


@given(st.integers(0, 4_000_000_000_000))
def test_json_keeps_a_time_to_the_millisecond(time):
    moment = datetime.fromisoformat(json.loads(event_json(Joined(time, "bob")))["time"])
    assert round(moment.timestamp() * 1000) == time


# --- a format of one's own ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("{from}: {text}", "bob: hi"),
        ("{time}", CLOCK),
        ("{date}", DATE),
        ("{iso}", ISO),
        ("{epoch}", "1795349024.123"),
        ("{type} {seq} {to}", "direct 7 alice"),
        ("{{{from}}}", "{bob}"),
        ("}}{{", "}{"),
        (r"{from}\t{text}\n", "bob\thi\n"),
        (r"{from}\0", "bob\0"),
        (r"\\n", r"\n"),
        (r"\x", r"\x"),
        ("\\", "\\"),
        ("", ""),
        ("no fields", "no fields"),
    ],
)
def test_fields_and_escapes(source, line):
    assert compile_format(source)([DIRECT]) == [line]


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (BROADCAST, f"broadcast|12|bob||hello everyone|{CLOCK}"),
        (JOINED, f"joined||carol|||{CLOCK}"),
        (LEFT, f"left||carol|||{CLOCK}"),
        (MISSED, "missed||||echo: 41 messages are no longer kept|"),
    ],
)
def test_a_field_that_an_event_lacks_is_empty(event, line):
    assert compile_format("{type}|{seq}|{from}|{to}|{text}|{time}")([event]) == [line]


@pytest.mark.parametrize(
    "field", ["time", "date", "iso", "epoch", "type", "seq", "from", "to", "text"]
)
def test_every_documented_field_is_known(field):
    compile_format(f"{{{field}}}")([MISSED])


def test_what_others_wrote_is_escaped_and_what_oneself_wrote_is_not():
    event = Broadcast(1, TIME, "bob", "a\nb\x1b{from}")
    assert compile_format("\x1b[1m{text}")([event]) == ["\x1b[1ma\\nb\\x1b{from}"]


@pytest.mark.parametrize("source", ["{}", "{nope}", "{From}", "{from }", "{0}", "{from!r}"])
def test_an_unknown_field_is_named_and_the_known_ones_listed(source):
    with pytest.raises(ValueError, match="unknown field") as caught:
        compile_format(source)
    assert source in str(caught.value)
    assert "{from}" in str(caught.value)


@pytest.mark.parametrize("source", ["{", "}", "{from", "from}", "{{from}", "{a{from}"])
def test_a_single_brace_is_told_how_to_be_written(source):
    with pytest.raises(ValueError, match="write"):
        compile_format(source)


@given(st.text(alphabet="{}\\nt0ab "))
def test_a_format_compiles_or_is_refused_in_words(source):
    with contextlib.suppress(ValueError):
        (line,) = compile_format(source)([DIRECT])
        assert isinstance(line, str)


@given(st.text(alphabet="ab {}\n\t\\"))
def test_any_text_can_be_written_in_a_format(text):
    source = text.replace("\\", "\\\\").replace("{", "{{").replace("}", "}}")
    assert compile_format(source)([DIRECT]) == [text]


@given(
    st.lists(st.sampled_from(["{time}", "{date}", "{iso}", "{epoch}", "{type}", "{seq}", " - "])),
    st.lists(st.sampled_from(["{from}", "{to}", "{text}", "{{", ""])),
    st.lists(
        st.sampled_from([DIRECT, BROADCAST, JOINED, LEFT, MISSED])
        | st.builds(Broadcast, st.just(1), st.just(TIME), st.text(), st.text())
    ),
)
def test_many_are_formatted_as_each_is(before, after, events):
    render = compile_format("".join(before + after))
    assert render(events) == [line for event in events for line in render([event])]


def test_every_field_that_others_wrote_is_escaped_among_others_that_need_it_not():
    odd = Direct(1, TIME, "bo\x1bb", "al\nice", "e" + "\u0301" * 6)
    render = compile_format("{from}|{to}|{text}")
    lines = render([DIRECT, odd, Joined(TIME, "ca\rol")])
    assert lines == [
        "|".join(map(escape, (DIRECT.sender, DIRECT.to, DIRECT.text))),
        f"bo\\x1bb|al\\nice|{escape(odd.text)}",
        "ca\\rol||",
    ]
    assert escape(odd.text) != odd.text
