"""What a fuzzer found, and what it sets out from, replayed without one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from chatbroker.broker.door import Door
from chatbroker.broker.outcomes import Outcomes
from chatbroker.broker.session import Session
from chatbroker.wire.codec import FROM_BROKER, Decoder
from chatbroker.wire.errors import BadFrame
from fuzz.targets import CORPUS, TARGETS, kept
from fuzz.wire_target import target_of

ROOT = Path(__file__).parents[2]


def replay(name, target=None):
    for label, data in kept(name):
        try:
            (target or TARGETS[name])(data)
        except Exception as error:
            error.add_note(f"target {name}, {label}")
            raise


@pytest.mark.parametrize("name", TARGETS)
def test_all_that_was_found_goes_well(name):
    replay(name)


def test_the_corpus_is_small():
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert {path.parent.name for path in files} == {*TARGETS}
    assert len(files) <= 300
    assert sum(path.stat().st_size for path in files) <= 400_000


def test_a_file_is_replayed_by_hand(tmp_path):
    file = tmp_path / "input"
    file.write_bytes(b"\x91\x07")
    command = [sys.executable, "-m", "tests.fuzz", "wire", str(file)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, f"{file}: well\n")


# --- planted faults: what looks for them must find them -----------------------------------


class Loose(Decoder):
    """Lets out what is not of the protocol."""

    def decode(self, frame):
        try:
            return super().decode(frame)
        except BadFrame as bad:
            if "wanted" in str(bad):
                raise TypeError(str(bad)) from None
            raise


def test_a_decoder_that_lets_another_error_out_is_found():
    with pytest.raises(TypeError, match="wanted"):
        replay("wire", target_of(Loose, FROM_BROKER))


def test_a_broker_that_carries_out_a_command_twice_is_found(monkeypatch):
    monkeypatch.setattr(Outcomes, "unheard", lambda self, session, cseq, texts: texts)
    with pytest.raises(AssertionError, match=r"stored twice|comes too late"):
        replay("core")


def test_a_broker_that_acknowledges_what_it_refused_is_found(monkeypatch):
    monkeypatch.setattr(Session, "refuse", lambda self, first, last, code: None)
    with pytest.raises(AssertionError, match="acknowledged and not stored"):
        replay("core")


def test_a_broker_that_evicts_is_found(monkeypatch):
    """Whoever asks for a name puts everybody else out."""
    hello = Door.hello

    def evict(self, identity, message, origin):
        for session in [s for other, s in self.bound.items() if other != identity]:
            self.end(session)
        hello(self, identity, message, origin)

    monkeypatch.setattr(Door, "hello", evict)
    with pytest.raises(AssertionError, match="somebody was evicted"):
        replay("core")


def test_an_escape_that_lets_a_control_through_is_found(monkeypatch):
    # The package has a function of the same name.
    module = sys.modules["chatbroker.client.escape"]
    monkeypatch.setattr(module, "_UNSAFE", re.compile("[\x00-\x1f]"))
    with pytest.raises(AssertionError, match="in '"):
        replay("words")
