"""What stands in contrib/ fits the broker: metrics that exist, options that exist, a unit that
systemd takes."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import click
import pytest
from prometheus_client.parser import text_string_to_metric_families

from chatbroker.broker.cli import chatbroker
from chatbroker.testing.brokers import BrokerProcess

ROOT = Path(__file__).parents[1]
UNIT = ROOT / "contrib" / "systemd" / "chatbroker.service"
DASHBOARD = ROOT / "contrib" / "grafana" / "chatbroker.json"
ALERTS = ROOT / "contrib" / "prometheus" / "alerts.yml"
OPERATIONS = ROOT / "docs" / "operations.md"
COMMAND = Path(sys.executable).parent / "chatbroker"
WITHIN = 30.0

OF_PROMETHEUS = {"up"}
"""Metrics that Prometheus itself makes."""
METRIC = re.compile(r"\b(?:chatbroker|process|python)_\w+")


# --- metrics ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """All that a running broker tells: the names, with each pair of a label and its value."""
    folder = tmp_path_factory.mktemp("metrics") / "data"
    with BrokerProcess("--metrics-port", "0", data_dir=folder) as broker:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(broker.metrics_address, timeout=WITHIN) as answer:
            text = answer.read().decode()
    return {
        (sample.name, *label)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        for label in ((), *sample.labels.items())
    }


def expressions_of(dashboard):
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def asked_for(expression):
    """The metrics that an expression names, and with them the label values that it asks for."""
    found = {(name,) for name in METRIC.findall(expression)}
    for name, labels in re.findall(r"(\w+)\{([^}]*)\}", expression):
        found |= {(name, *pair) for pair in re.findall(r'(\w+)="([^"]*)"', labels)}
    return {wanted for wanted in found if wanted[0] not in OF_PROMETHEUS}


def test_what_an_expression_asks_for_is_seen():
    assert asked_for('rate(chatbroker_x_total{code="full", a=~"$b"}[5m]) > 5e6 * up{job="j"}') == {
        ("chatbroker_x_total",),
        ("chatbroker_x_total", "code", "full"),
    }


def test_the_dashboard_shows_what_there_is(samples):
    dashboard = json.loads(DASHBOARD.read_text())
    expressions = expressions_of(dashboard)
    assert len(expressions) > 20
    for expression in expressions:
        assert asked_for(expression), expression
        assert asked_for(expression) <= samples, expression
    for variable in dashboard["templating"]["list"]:
        for name in METRIC.findall(variable["query"]):
            assert (name,) in samples


def test_the_dashboard_can_be_laid_out():
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def test_the_alerts_ask_for_what_there_is(samples):
    # Without the job, which is the operator's to name.
    text = ALERTS.read_text().replace('{job="chatbroker"}', "")
    assert len(re.findall(r"expr: ", text)) == len(re.findall(r"- alert: ", text)) > 5
    assert asked_for(text) <= samples


def test_what_to_do_about_each_alert_is_written_down():
    text = ALERTS.read_text()
    headings = re.findall(r"^#+ (.*)$", OPERATIONS.read_text(), re.MULTILINE)
    for heading in re.findall(r"See '([^']*)'", text):
        assert heading in headings
    for name in re.findall(r"- alert: (\w+)", text):
        assert f"`{name}`" in OPERATIONS.read_text()


def test_the_metrics_are_explained_and_no_others(samples):
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name, *_ in samples}
    explained = re.findall(r"^\| `(chatbroker_\w+)` \|", OPERATIONS.read_text(), re.MULTILINE)
    assert sorted(explained) == sorted(f for f in families if f.startswith("chatbroker_"))
    mentioned = set(re.findall(r"`(chatbroker_\w+)`", OPERATIONS.read_text()))
    assert mentioned == set(explained)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool")
def test_prometheus_takes_the_alerts():
    checked = subprocess.run(
        ["promtool", "check", "rules", str(ALERTS)], capture_output=True, text=True, timeout=WITHIN
    )
    assert checked.returncode == 0, checked.stderr


# --- systemd ------------------------------------------------------------------------------


def test_the_unit_starts_a_command_that_exists():
    line = re.search(r"^ExecStart=(.*)$", UNIT.read_text(), re.MULTILINE)
    assert line is not None
    program, command, *arguments = shlex.split(line[1])
    assert Path(program).name == "chatbroker"
    known = {
        spelling
        for option in chatbroker.commands[command].params
        if isinstance(option, click.Option)
        for spelling in option.opts
    }
    assert {argument for argument in arguments if argument.startswith("-")} <= known


def analyze(*arguments):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze")
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, timeout=WITHIN
    )


@pytest.fixture
def unit(tmp_path):
    """The unit with a program that is there."""
    text = UNIT.read_text()
    assert "/opt/chatbroker/bin/chatbroker" in text
    unit = tmp_path / UNIT.name
    unit.write_text(text.replace("/opt/chatbroker/bin/chatbroker", str(COMMAND)))
    return unit


def test_systemd_takes_the_unit(unit):
    verified = analyze("verify", str(unit))
    # Of other units of this machine nothing is asked.
    assert [line for line in verified.stderr.splitlines() if unit.name in line] == []
    assert verified.returncode == 0


def test_systemd_finds_what_is_wrong_with_a_unit(unit):
    unit.write_text(unit.read_text().replace("Type=notify", "Type=nothing\nNoSuchOption=1"))
    assert "NoSuchOption" in analyze("verify", str(unit)).stderr


def test_the_unit_gives_away_little(unit):
    looked_at = analyze("security", "--offline=yes", "--threshold=15", str(unit))
    if "unrecognized option" in looked_at.stderr:
        pytest.skip("this systemd-analyze cannot look at a file")  # Older than 250.
    assert looked_at.returncode == 0, looked_at.stdout
