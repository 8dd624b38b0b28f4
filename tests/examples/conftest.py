"""What the tests of the examples share: they are run as whoever copies them runs them."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from end_to_end.conftest import Program, Shell, eventually, shell

from chatbroker.client import Broadcast, Client, Direct
from chatbroker.testing.brokers import BrokerProcess

__all__ = ["eventually", "shell"]

EXAMPLES = Path(__file__).parents[2] / "examples"
WITHIN = 20.0
"""Seconds after which a test gives up on a message; a busy test machine is slow."""


@pytest.fixture(scope="session")
def house() -> Iterator[BrokerProcess]:
    """A broker for the tests that leave it as it is."""
    with BrokerProcess() as broker:
        yield broker


class Start:
    """Starts an example: ``start("echo_bot", "bot", at=broker)``."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell.start

    def __call__(self, name: str, *args: str, **options: Any) -> Program:
        return self.shell(sys.executable, str(EXAMPLES / f"{name}.py"), *args, **options)

    @staticmethod
    def command(name: str) -> str:
        """How a shell runs it."""
        return f"{sys.executable} {EXAMPLES / name}.py"


@pytest.fixture
def start(shell: Shell) -> Start:
    return Start(shell)


@pytest.fixture
def example() -> Callable[[str], ModuleType]:
    """Loads an example as a module."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def heard() -> Callable[[Client, int], list[str]]:
    """The next messages that a client gets, as ``sender: text``."""

    def heard(client: Client, count: int) -> list[str]:
        found: list[str] = []
        while len(found) < count:
            event = client.receive(WITHIN)
            assert event is not None, found
            if isinstance(event, Broadcast | Direct):
                found.append(f"{event.sender}: {event.text}")
        return found

    return heard


@pytest.fixture
def silent() -> Callable[[Client], bool]:
    """Whether nothing more was said until now."""

    def silent(client: Client) -> bool:
        assert client.sync(WITHIN)
        return not [e for e in client.receive_many(0) if isinstance(e, Broadcast | Direct)]

    return silent
