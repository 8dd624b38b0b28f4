"""Lines that go through a pipe come out, all of them."""

from __future__ import annotations

import pytest

from bench import pipe
from bench.commands import cached_bytecode
from bench.load import Stuck
from bench.processes import running_broker


@pytest.fixture
def through(tmp_path):
    with running_broker() as broker, cached_bytecode() as environment:
        yield pipe.Pipe(broker, tmp_path, environment)


def test_what_goes_in_comes_out(through, tmp_path):
    for run in (lambda: through.chat(300, 1), lambda: through.python(300)):
        run()
        lines = (tmp_path / "heard").read_text().splitlines()
        assert lines == [str(number) for number in range(1, 301)]


def test_lines_that_are_changed_are_told(through, monkeypatch):
    monkeypatch.setattr(pipe, "WRITE", "import sys\nfor line in sys.stdin: print(7)")
    with pytest.raises(Stuck, match="not what went in"):
        through.python(3)
