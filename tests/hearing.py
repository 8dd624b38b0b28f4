"""What a client hears, in short."""

from __future__ import annotations

from chatbroker.client import (
    Broadcast,
    Direct,
    Offline,
    Online,
)

WITHIN = 15.0
"""Seconds; more than anything here takes on a busy machine."""


def messages(client, count, within=WITHIN):
    """The next messages, without who comes and goes."""
    found = []
    for event in client.events(within):
        if isinstance(event, Broadcast | Direct):
            found.append(event)
            if len(found) == count:
                break
    return found


def texts(client, count):
    return [event.text for event in messages(client, count)]


def nothing_more(client):
    assert client.sync(WITHIN)
    return not messages(client, 1, within=0)


def goes_offline(client):
    assert any(isinstance(event, Offline) for event in client.events(WITHIN))


def comes_back(client):
    assert any(isinstance(event, Online) and event.again for event in client.events(WITHIN))
