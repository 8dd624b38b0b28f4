"""What a shell is offered of what a broker says."""

from __future__ import annotations

from types import SimpleNamespace

import click

from chatbroker.client.completing import users
from chatbroker.client.events import UserInfo
from chatbroker.client.options import Shared


class LyingBroker:
    """A client of one whose users have names that no broker of ours lets in."""

    def __init__(self, *args, **options):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass

    def users(self):
        names = (
            "alice",
            "$(reboot)",
            "a;b",
            "a b",
            "\x1b[2J",
            "a\nplain,b",
            "\u202eecila",
            "--file",
        )
        return [UserInfo(name, 0) for name in names]


def test_a_shell_is_offered_nothing_that_it_could_run(monkeypatch):
    monkeypatch.setattr("chatbroker.client.client.Client", LyingBroker)
    given = SimpleNamespace(broker="tcp://127.0.0.1:1")
    monkeypatch.setattr(Shared, "given", staticmethod(lambda context: given))
    assert users(click.Context(click.Command("chat")), "") == ["alice"]
