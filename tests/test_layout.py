"""The rules of the house: who imports whom, and how long a module may be."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("wire", "broker", "client", "command", "testing")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
ids = [str(path.relative_to(ROOT)) for path in MODULES]

MAY_IMPORT = {
    "wire": set(),
    "broker": {"wire", "command"},
    "client": {"wire", "command"},
    "command": set(),
    "testing": {"client"},
}
EDGES = {
    "broker/server.py",
    "broker/intake.py",
    "broker/publisher.py",
    "broker/sockets.py",
    "broker/gate.py",
    "broker/together.py",
    "client/link.py",
    "client/enrol.py",
}
MOST_LINES = 480
"""What a person reads in one sitting, with some tolerance above the 400 that are aimed at."""


def package_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


@cache
def imported(path: Path) -> set[str]:
    """What a module imports: top-level names, and ``.name`` for other packages of the project."""
    found = set()
    inside = len(path.relative_to(ROOT).parts) - 1
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            top = node.module.partition(".")[0]
            if node.level > inside:
                found.add(f".{top}")
            elif not node.level:
                found.add(top)
    return found


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_a_package_imports_only_what_it_may(path):
    allowed = {f".{name}" for name in MAY_IMPORT[package_of(path)]}
    assert {name for name in imported(path) if name.startswith(".")} <= allowed
    assert "chatbroker" not in imported(path)


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_only_the_edges_import_zmq(path):
    name = str(path.relative_to(ROOT))
    assert ("zmq" in imported(path)) == (name in EDGES)


@pytest.mark.parametrize("path", [p for p in MODULES if package_of(p) == "wire"], ids=str)
def test_wire_needs_only_the_standard_library_and_msgpack(path):
    foreign = {name for name in imported(path) if not name.startswith(".")}
    assert foreign - set(sys.stdlib_module_names) <= {"msgpack"}
    assert not foreign & {"socket", "time", "random", "secrets", "threading", "os"}


IMPURE = {"socket", "time", "random", "secrets", "threading", "os", "logging", "select", "zmq"}
# The edges: what meets the system.  All else of broker and client is pure.
MEETS_THE_SYSTEM = {
    "broker": {
        *("server", "intake", "sockets", "gate", "secure", "signals", "connections", "descriptors"),
        *("kernel", "watch", "memory", "publisher", "listener", "together", "io_thread"),
        *("cli", "cli_data", "cli_members", "control"),
        *("database", "folder", "sqlite_journal", "backup", "standing"),
        *("metrics", "notify", "ready_file"),
        *("audit", "cli_operator", "logs", "office"),
    },
    "client": {
        *("link", "enrol", "client", "pipeline", "interrupts", "identity"),
        *("cli", "feed", "output", "recalling", "receiving", "sending"),
        *("interactive", "background", "inputrc", "plain", "recall", "screen"),
        *("acting", "waiting", "changes"),
    },
}


@pytest.mark.parametrize("path", [p for p in MODULES if package_of(p) in MEETS_THE_SYSTEM], ids=str)
def test_all_but_the_edges_is_pure(path):
    impure = imported(path) & IMPURE
    assert bool(impure) <= (path.stem in MEETS_THE_SYSTEM[package_of(path)])


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_what_only_one_module_needs_is_imported_only_there(path):
    found = imported(path)
    assert "prompt_toolkit" not in found or path.parent.name == "terminal"
    assert "pytest" not in found or path.name == "plugin.py"
    assert "prometheus_client" not in found or path.name == "metrics.py"


def test_all_packages_are_installed_with_their_marks_of_being_typed():
    """An editable install has them all, whatever a wheel would have."""
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {str(path.parent.relative_to(ROOT)) for path in MODULES}
    assert set(setuptools["package-dir"].values()) == folders
    assert set(setuptools["packages"]) == set(setuptools["package-dir"])
    for package in PACKAGES:
        assert "py.typed" in setuptools["package-data"][f"chatbroker.{package}"]
        assert (ROOT / package / "py.typed").exists()


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_a_module_is_read_in_one_sitting(path):
    assert len(path.read_text().splitlines()) <= MOST_LINES


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/*.py")), ids=lambda path: path.name)
def test_an_example_needs_only_what_is_public(path):
    assert imported(path) - set(sys.stdlib_module_names) == {"chatbroker"}
    tree = ast.walk(ast.parse(path.read_text()))
    froms = [node.module for node in tree if isinstance(node, ast.ImportFrom)]
    assert [name for name in froms if name.startswith("chatbroker")] == ["chatbroker.client"]
    assert len(path.read_text().splitlines()) <= MOST_LINES


def test_only_wire_packs_and_unpacks():
    packers = {ids[i] for i, path in enumerate(MODULES) if {"msgpack", "struct"} & imported(path)}
    # What the broker stores for itself is no business of the wire's; the link reads events of
    # ZeroMQ's own.
    own = {"broker/runs.py", "broker/tail.py"}
    own |= {"broker/gate.py", "client/link.py", "client/enrol.py"}
    assert packers <= {"wire/codec.py", "wire/batch.py"} | own


@pytest.mark.parametrize("module", ["chatbroker.client.cli", "chatbroker.broker.cli"])
def test_help_does_not_wait_for_zeromq_to_load(module):
    code = f"import sys, {module}; sys.exit(bool({{'zmq', 'prompt_toolkit'}} & {{*sys.modules}}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
