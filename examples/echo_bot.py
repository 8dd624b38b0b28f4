#!/usr/bin/env python3
"""Answers direct messages: echo_bot.py NAME [BROKER]"""

import os
import sys
from math import inf

from chatbroker.client import Client, ClientError, Direct, Identity, Interrupts, Refused, escape

PREFIX = "you said: "


def run(name: str, broker: str) -> None:
    identity = Identity.of(broker, name)  # The name stays the bot's, and mail waits for it.
    identity.lock()  # After a kill -9 the next one has the name at once.
    with (
        Interrupts(status=0) as interrupts,  # SIGTERM ends it, where it waits.
        Client(name, broker, reconnect=inf, identity=identity, interrupts=interrupts) as bot,
    ):
        for event in bot.events():
            # Its own answers come back to it; and two bots must not answer each other for ever.
            if isinstance(event, Direct) and not event.text.startswith(PREFIX):
                try:
                    bot.send(event.sender, PREFIX + event.text, timeout=inf)
                except Refused as refused:  # They left, or the answer is too long: on to the next.
                    print(f"no answer to {event.sender}: {escape(str(refused))}", file=sys.stderr)


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3 or sys.argv[1].startswith("-"):
        print(f"usage: {sys.argv[0]} NAME [BROKER]", file=sys.stderr)
        sys.exit(2)
    broker = os.environ.get("CHAT_BROKER", "tcp://127.0.0.1:5555")
    try:
        run(sys.argv[1], sys.argv[2] if len(sys.argv) == 3 else broker)
    except ClientError as error:
        print(f"echo_bot: {escape(str(error))}", file=sys.stderr)
        sys.exit(error.status)
    except KeyboardInterrupt:
        sys.exit(130)
