"""The blocks of the documents that a shell can run, and what running them takes.

They are run as they are printed.  What is not here is replaced by something of the same use:
ports by free ones, folders of the system by the test's own, programs that only a real machine
has (systemctl, sudo) by stand-ins.
"""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from chatbroker.client import Client

ROOT = Path(__file__).parents[2]
COMMANDS = Path(sys.executable).parent
TIME = re.compile(r"\d\d:\d\d:\d\d")
BLOCK = re.compile(r"^```(?:sh|console)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Document:
    """The blocks of a document.

    *elsewhere*: beginnings of blocks that are not run as they are printed, and the test of what
    they do, as ``path::test``.  *not_run*: beginnings of those that no test runs, and why.
    """

    def __init__(
        self,
        path: str,
        elsewhere: Mapping[str, str] | None = None,
        not_run: Mapping[str, str] | None = None,
    ) -> None:
        self.path = path
        self.text = (ROOT / path).read_text()
        self._blocks = BLOCK.findall(self.text)
        self._elsewhere = elsewhere or {}
        self._not_run = not_run or {}

    def block(self, beginning: str) -> str:
        """The one that begins so."""
        found = [text for text in self._blocks if text.startswith(beginning)]
        assert len(found) == 1, (
            f"{self.path} has {len(found)} blocks that begin with {beginning!r}, and a test takes "
            "one to be there: who changes or removes a recipe changes or removes its test"
        )
        return found[0]

    def require_tests(self, test_file: str, run: Collection[str]) -> None:
        """Fails unless each block is run in *test_file*, by its beginning, or known to be an
        exception; and what is said of it is true."""
        known = [*run, *self._elsewhere, *self._not_run]
        for text in self._blocks:
            assert any(text.startswith(beginning) for beginning in known), (
                f"no test runs this block of {self.path}. In {Path(test_file).relative_to(ROOT)}, "
                "write one that takes it by its beginning and checks what it prints and how it "
                "ends; or say there, where the document is named, which test shows what it does "
                f"(elsewhere), or why none can (not_run):\n{text}"
            )
        for beginning in known:
            self.block(beginning)
        for where in self._elsewhere.values():
            path, _, name = where.partition("::")
            assert f"\ndef {name}(" in (ROOT / path).read_text(), f"there is no test {where}"


def typed(text: str) -> str:
    """What is typed on a console, behind the ``$``."""
    return "\n".join(re.findall(r"^\$ (.*)$", text, re.MULTILINE))


def shown(text: str) -> list[str]:
    """What a console shows of it, line by line; in which order stdout and stderr come nobody
    can tell."""
    return sorted(TIME.sub("T", line) for line in text.splitlines() if not line.startswith("$ "))


def heard(client: Client) -> list[str]:
    """What a client got to hear until now; between what is said to all and to one there is no
    order."""
    assert client.sync(30)
    return sorted(event.text for event in client.receive_many(0) if hasattr(event, "text"))


def stand_in(folder: Path, name: str, script: str) -> None:
    """A program in place of the system's own, for whoever has *folder* first in PATH."""
    (folder / name).write_text(script)
    (folder / name).chmod(0o755)


def free_pair() -> int:
    """A port that is free, and the one after it too; each time others."""
    while True:
        with suppress(OSError), socket.create_server(("127.0.0.1", 0)) as one:
            port: int = one.getsockname()[1]
            socket.create_server(("127.0.0.1", port + 1)).close()
            return port
