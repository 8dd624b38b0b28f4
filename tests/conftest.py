"""What all tests share."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.dont_write_bytecode:
    # Where PYTHONDONTWRITEBYTECODE is set, every process that a test starts would compile all of
    # the project anew, which takes as long as what it is started for.  Nothing is written beside
    # the sources all the same: it goes to where `make clean` finds it.
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(Path(__file__).parents[1] / "build" / "bytecode")
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
    del os.environ["PYTHONDONTWRITEBYTECODE"]


def pytest_sessionstart() -> None:
    """What a test starts hears SIGINT, also if the tests run in the background of a shell, which
    has that ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Thousands of tests are many objects, through which each full collection would go: a tenth
    of the time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where identities and data are kept: not in the home of whoever runs the tests.

    One for the session, as brokers are shared: who is alice in one test is alice in the next.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHATBROKER_DATA", str(tmp_path_factory.mktemp("home") / "data"))
        yield


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """Who obeyed a signal is on the way out, and hears no other; the next test does."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for identities and data of the test's own."""
    folder = tmp_path / "data"
    monkeypatch.setenv("CHATBROKER_DATA", str(folder))
    return folder
