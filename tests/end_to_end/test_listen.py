"""What ``chat listen`` prints."""

from __future__ import annotations

import json
import re

NASTY = "\x1b[31mred\x07 \x9b \u202eevil\u202c\r\nline\t\\ \x00 \U0001f600"


def records(text):
    return [json.loads(line) for line in text.splitlines()]


def test_listening_is_said_once_on_stderr(shell, broker):
    listener = shell.chat("listen", "--for", "0.3", at=broker)
    ended = listener.wait()
    assert (ended.status, ended.out, ended.err) == (0, "", "chat: listening\n")


def test_without_a_name_only_broadcasts_are_heard(shell, broker):
    public = shell.chat("listen", "--count", "1", at=broker)
    bob = shell.chat("listen", "--as", "bob", "--count", "2", "--json", at=broker)
    public.says("listening")
    bob.says("listening")
    with broker.client("alice") as alice:
        alice.send("bob", "for bob")
        alice.echo("for all")
    assert re.fullmatch(r"\[\d\d:\d\d:\d\d\] alice: for all\n", public.wait().out)
    told = bob.wait()
    assert told.status == 0
    assert sorted(r["text"] for r in records(told.out) if "text" in r) == ["for all", "for bob"]


def test_json_has_exactly_the_keys_of_the_contract(shell, broker):
    bob = shell.chat("listen", "--as", "bob", "--json", at=broker)
    bob.says("listening")
    with broker.client("alice") as alice:
        bob.shows('"joined"')
        alice.echo(NASTY)
        alice.send("bob", NASTY)
        bob.shows('"direct"')
        bob.shows('"broadcast"')
    bob.shows('"left"')
    bob.signal(15)
    told = bob.wait()
    assert told.out.isascii()
    assert told.out.isprintable() or {c for c in told.out if not c.isprintable()} == {"\n"}
    by_type = {r["type"]: r for r in records(told.out)}
    assert {kind: list(r) for kind, r in by_type.items()} == {
        "joined": ["type", "time", "user"],
        "broadcast": ["type", "seq", "time", "from", "text"],
        "direct": ["type", "seq", "time", "from", "to", "text"],
        "left": ["type", "time", "user"],
    }
    for record in by_type.values():
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["time"])
    assert by_type["broadcast"]["text"] == by_type["direct"]["text"] == NASTY
    assert (by_type["direct"]["from"], by_type["direct"]["to"]) == ("alice", "bob")
    assert by_type["joined"]["user"] == by_type["left"]["user"] == "alice"
    assert isinstance(by_type["broadcast"]["seq"], int)


def test_control_characters_are_escaped_in_text(shell, broker):
    text = shell.chat("listen", "--count", "1", at=broker)
    own = shell.chat("listen", "--count", "1", "--format", "{text}", at=broker)
    text.says("listening")
    own.says("listening")
    with broker.client("alice") as alice:
        alice.echo(NASTY)
    shown = "\\x1b[31mred\\x07 \\x9b \\u202eevil\\u202c\\r\\nline\\t\\ \\x00 \U0001f600\n"
    assert text.wait().out[11:] == "alice: " + shown
    assert own.wait().out == shown


def test_format_has_every_field(shell, broker):
    fields = "{type}|{seq}|{from}|{to}|{text}|{time}|{date}|{iso}|{epoch}"
    template = fields + r"\t{{x}}\n--"
    bob = shell.chat("listen", "--as", "bob", "--count", "2", "--format", template, at=broker)
    bob.says("listening")
    with broker.client("alice") as alice:
        bob.shows("joined")
        alice.echo("hi")
        bob.shows("broadcast")
        alice.send("bob", "ho")
        ended = bob.wait()
    when = r"\d\d:\d\d:\d\d\|\d{4}-\d\d-\d\d\|\d{4}-\d\d-\d\dT[\d:.]+Z\|\d+\.\d{3}\t\{x\}\n--\n"
    assert re.fullmatch(
        r"joined\|\|alice\|\|\|"
        + when
        + r"broadcast\|\d+\|alice\|\|hi\|"
        + when
        + r"direct\|1\|alice\|bob\|ho\|"
        + when,
        ended.out,
    )


def test_nul_ends_lines_for_xargs(shell, broker):
    listener = shell.chat("listen", "--count", "2", "-0", "--format", "{text}", at=broker)
    listener.says("listening")
    with broker.client("alice") as alice:
        alice.echo("one")
        alice.echo("two")
    assert listener.wait().out == "one\0two\0"


def test_only_filters_and_counts_what_it_prints(shell, broker):
    kinds = ("direct", "broadcast", "presence")
    listeners = {
        kind: shell.chat(
            "listen", "--as", f"l-{kind}", "--only", kind, "--count", "1",
            "--format", "{type} {from}", at=broker,
        )
        for kind in kinds
    }  # fmt: skip
    public = shell.chat("listen", "--only", "presence", "--format", "{type} {from}", at=broker)
    for listener in (*listeners.values(), public):
        listener.says("listening")
    with broker.client("alice") as alice:
        public.shows("^joined alice$")
        alice.echo("hi")
        alice.send("l-direct", "hi")
    assert listeners["direct"].wait().out == "direct alice\n"
    assert listeners["broadcast"].wait().out == "broadcast alice\n"
    assert re.fullmatch(r"(joined|left) [a-z-]+\n", listeners["presence"].wait().out)


def test_presence_is_shown_and_a_one_shot_sender_has_none(shell, broker):
    bob = shell.chat("listen", "--as", "bob", at=broker)
    bob.says("listening")
    with broker.client("alice"):
        bob.shows(r"^\[..:..:..\] \* alice joined$")
        lines = shell.chat("echo", "--lines", "--as", "script", "--json", at=broker)
        lines.type("from a script")
        bob.shows("script: from a script")
        assert shell.run("info", at=broker) == (0, "alice\nbob\n", "")
        told = shell.run("send", "script", "hi", at=broker)
        assert (told.status, told.err) == (0, "chat: script is away; he will get it\n")
        assert lines.finish().status == 0
    bob.shows(r"\* alice left$")
    assert "* script" not in bob.out


def test_info_in_json_is_one_object(shell, broker):
    with broker.client("bob"), broker.client("alice"):
        told = shell.run("info", "--json", at=broker)
    (users,) = records(told.out)
    assert list(users) == ["type", "users"]
    assert users["type"] == "users"
    assert [list(user) for user in users["users"]] == [["name", "since"]] * 2
    assert [user["name"] for user in users["users"]] == ["alice", "bob"]


def test_a_one_shot_sender_tells_its_outcome_in_json(shell, broker):
    accepted, refused = shell.run_all(
        ["echo", "hi", "--json"], ["--json", "send", "nobody", "hi"], at=broker
    )
    assert (accepted.status, accepted.out) == (0, '{"type":"accepted","line":1}\n')
    assert (refused.status, records(refused.out)) == (
        6,
        [{"type": "refused", "line": 1, "code": "no_such_user", "text": "no such user: nobody"}],
    )
    assert refused.err == "chat: no such user: nobody\n"


def test_since_says_where_to_begin(shell, chatbrokers):
    broker = chatbrokers.start()
    with broker.client("alice") as alice, broker.client("bob"):
        for text in ("one", "two", "three"):
            alice.echo(text)
            alice.send("bob", f"bob {text}")
    common = ["listen", "--format", "{text}", "--idle", "0.5"]
    everything, none, after, recent, long_ago = shell.run_all(
        [*common, "--since", "all"],
        [*common, "--since", "now"],
        [*common, "--since", "1"],
        [*common, "--since", "1h30m"],
        [*common, "--since", "0ms"],
        at=broker,
    )
    assert everything.out == recent.out == "one\ntwo\nthree\n"
    assert none.out == long_ago.out == ""
    assert after.out == "two\nthree\n"


def test_a_position_is_of_the_mailbox_when_only_that_is_wanted(shell, broker):
    listener = shell.chat(
        "listen", "--as", "bob", "--only", "direct", "--since", "0", "--count", "2",
        "--format", "{seq} {text}", at=broker,
    )  # fmt: skip
    listener.says("listening")
    with broker.client("alice") as alice:
        alice.echo("not this")
        alice.send("bob", "one")
        alice.send("bob", "two")
    assert listener.wait().out == "1 one\n2 two\n"


def test_who_cannot_reach_the_port_of_broadcasts_is_told_and_gets_them_late(shell, broker, proxies):
    """A firewall that lets one of the two through, say."""
    proxy = proxies(broker, broadcasts=False)
    reader = shell.chat("listen", "--count", "1", at=proxy.address)
    reader.says(rf"^chat: nothing comes from the broker's port {broker.pub_port}: broadcasts come")
    assert shell.run("echo", "hi", "--as", "alice", at=broker).status == 0
    ended = reader.wait()
    assert ended.status == 0
    assert ended.out.endswith(" alice: hi\n")
    assert "listening" not in ended.err
