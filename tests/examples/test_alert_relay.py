"""The relay of alerts: what it makes of notifications, from stdin and by HTTP."""

from __future__ import annotations

import http.client
import json
import re
import signal
import urllib.error
import urllib.request
from contextlib import closing

import pytest

from chatbroker.client import Client


def alert(**changed):
    """An alert as Alertmanager has it."""
    return {
        "status": "firing",
        "labels": {"alertname": "HighLoad", "instance": "web1", "severity": "page"},
        "annotations": {"summary": "web1 is busy", "description": "Load is\n  12 for 5m."},
        "startsAt": "2026-01-02T03:04:05.678Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph?g0.expr=load",
        "fingerprint": "1a30ba71cca2921f",
    } | changed


def notification(*alerts, **changed):
    return {
        "version": "4",
        "groupKey": '{}:{alertname="HighLoad"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "chat",
        "groupLabels": {"alertname": "HighLoad", "cluster": "eu"},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager:9093",
        "alerts": list(alerts),
    } | changed


FIRING = (
    "FIRING HighLoad [instance=web1, severity=page] web1 is busy "
    "http://prometheus:9090/graph?g0.expr=load Load is 12 for 5m."
)
RESOLVED = FIRING.replace("FIRING", "resolved")


# --- texts --------------------------------------------------------------------------------


@pytest.fixture
def relay(example):
    return example("alert_relay")


def test_a_group_has_a_heading_and_each_alert_is_a_message(relay):
    both = notification(alert(), alert(status="resolved"), truncatedAlerts=3)
    assert relay.texts_of(both) == (
        [
            "2 alerts: 1 firing, 1 resolved (3 more were left out by Alertmanager) [cluster=eu] "
            "http://alertmanager:9093",
            FIRING,
            RESOLVED,
        ],
        [],
    )
    assert relay.texts_of(notification(alert())) == ([FIRING], [])
    bare = {"status": "firing", "labels": {"alertname": "Up"}}
    assert relay.texts_of(notification(bare)) == (["FIRING Up"], [])
    assert relay.texts_of(notification()) == ([], [])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("an alert", "not a JSON object"),
        (alert(status="on fire"), "its status is 'on fire', and not firing or resolved"),
        (alert(labels=None), "its labels or annotations are no object"),
    ],
)
def test_what_is_malformed_costs_the_other_alerts_nothing(relay, wrong, words):
    texts, faults = relay.texts_of(notification(alert(), wrong))
    assert texts[1:] == [FIRING]
    assert faults == [f"alert 2: {words}"]


@pytest.mark.parametrize(
    "wrong", [5, {}, notification(version="3"), notification(alerts={}), notification(version=4)]
)
def test_what_is_no_notification_is_malformed(relay, wrong):
    with pytest.raises(relay.Malformed):
        relay.texts_of(wrong)


def test_a_text_is_cut_between_characters(relay):
    assert [relay.clipped("äöü", most) for most in (6, 5, 3, 2)] == ["äöü", "ä…", "…", ""]
    assert relay.clipped("half \ud800", 100) == "half ?"


def test_objects_are_found_on_one_line_and_on_several(relay):
    pretty = json.dumps({"a": [{}, 1]}, indent=1)
    text = f'\n{{"b": 2}}\n{pretty}\nnonsense\nmore of it\n{pretty}\n{{"c": \n{{"d": 3}}'
    lines = text.encode().splitlines(keepends=True)
    found = list(relay.documents(lines))
    assert [number for number, _ in found] == [2, 3, 9, 11, 17, 18]
    assert [relay.whole(document) for _, document in found] == [
        True,
        True,
        False,
        True,
        False,
        True,
    ]
    assert b"".join([document for _, document in found]) == text.strip().encode()
    assert not relay.whole(b"[" * 100_000)


# --- as a program -------------------------------------------------------------------------


def test_all_that_is_well_formed_on_stdin_is_said(start, house, heard, silent):
    long = alert(annotations={"summary": "x" * 20_000})
    lines = [
        json.dumps(notification(alert(), alert(status="resolved"))),
        '{"version": "4", "alerts": [',
        json.dumps(notification(long), indent=2),
    ]
    with Client("bob", house.address) as bob:
        relay = start("alert_relay", at=house)
        relay.type(*lines[:1])
        assert heard(bob, 3)[1:] == [f"alerts: {FIRING}", f"alerts: {RESOLVED}"]
        relay.type(*lines[1:])
        ended = relay.finish()
        assert (ended.status, ended.out) == (6, "")
        assert re.fullmatch(r"alert_relay: line 2: not JSON: .*\n", ended.err)
        said = heard(bob, 1)[0].removeprefix("alerts: ")
        assert len(said.encode()) == bob.max_text
        assert said.endswith("x…")
        whole = json.dumps(notification(alert()))
        to_bob, to_nobody, nothing, nowhere = (
            start("alert_relay", "--to", "bob", at=house),
            start("alert_relay", "--to", "nobody", at=house),
            start("alert_relay", at=house),
            start("alert_relay", "--broker", "tcp://127.0.0.1:1", "--timeout", "0.2"),
        )
        for program in (to_bob, to_nobody, nowhere):
            program.type(whole)
        assert to_bob.finish()[:] == (0, "", "")
        assert heard(bob, 1) == [f"alerts: {FIRING}"]
        assert to_nobody.finish()[:] == (6, "", "alert_relay: line 1: no such user: nobody\n")
        assert nothing.finish()[:] == (0, "", "")
        assert nowhere.finish().status == 3
        assert silent(bob)


def test_a_request_is_answered_by_what_became_of_it(start, chatbroker, heard, silent):
    relay = start("alert_relay", "--listen", "127.0.0.1:0", "--timeout", "1", at=chatbroker)
    relay.says(r"listening on (\S+)")
    url = re.findall(r"listening on (\S+)", relay.err)[0]

    def post(body, kind="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Content-Type": kind})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def said_to_be(length):
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
        with closing(connection):
            connection.request("POST", "/", headers={"Content-Length": length})
            return connection.getresponse().status

    assert [said_to_be(length) for length in ("16777217", "9" * 5000)] == [413, 413]
    assert [said_to_be(length) for length in ("", "-1", "many")] == [411, 413, 413]
    with chatbroker.client() as ear:
        assert post(notification(alert())) == 200
        assert post(b"nonsense") == 400
        assert post(notification(alert(), {})) == 400
        assert post(notification(alert()), "text/plain") == 415
        assert heard(ear, 3) == [
            "alerts: " + text
            for text in (
                FIRING,
                "2 alerts: 1 firing [cluster=eu] http://alertmanager:9093",
                FIRING,
            )
        ]
        assert silent(ear)
    taken = start("alert_relay", "--listen", url.removeprefix("http://"), at=chatbroker).wait()
    assert (taken.status, "already in use" in taken.err) == (1, True)
    chatbroker.kill()
    assert post(notification(alert())) == 503
    relay.signal(signal.SIGTERM)
    ended = relay.wait()
    assert (ended.status, ended.out) == (0, "")
    assert "answered 503: no broker answers" in ended.err
    assert "Traceback" not in ended.err
