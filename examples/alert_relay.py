#!/usr/bin/env python3
"""Says alerts of Prometheus: what Alertmanager posts to a webhook, each alert as one message.

    alert_relay.py --as alerts < notification.json
    alert_relay.py --as alerts --to bob --listen 127.0.0.1:9099

On stdin are JSON objects of the webhook's version "4", one a line, or over several lines of
which only the first begins with a brace.  What is malformed is reported with its line and left
out, and the exit status is 6 then; 0 means that the broker has all of it.

With --listen it takes POST requests and answers 200 when the broker has all, 400 if something
was malformed, and 503 if the broker could not be told: then Alertmanager tries again, and what
the broker had already is said twice.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from chatbroker.client import Client, ClientError, Identity, Interrupts, Refused, escape

MOST_BYTES = 16 * 1024 * 1024
"""Of one request."""

REFUSED = Refused.status
LOOK_EVERY = 0.2
"""Seconds after which a server looks whether a signal came."""


class Malformed(ValueError):
    """What is no notification of Alertmanager's."""


def parser() -> argparse.ArgumentParser:
    summary, _, more = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--to", metavar="USER", help="whom to tell; default: everyone")
    parser.add_argument(
        "--as", dest="name", default="alerts", metavar="NAME", help="default: alerts"
    )
    parser.add_argument(
        "--broker",
        metavar="ADDRESS",
        default=os.environ.get("CHAT_BROKER", "tcp://127.0.0.1:5555"),
        help="default: $CHAT_BROKER, or tcp://127.0.0.1:5555",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="how long to wait for the broker; default: 5",
    )
    parser.add_argument(
        "--listen",
        type=endpoint,
        metavar="HOST:PORT",
        help="take POST requests instead of stdin; whoever reaches the port can post",
    )
    return parser


def endpoint(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:9099")
    return host, int(port)


# --- from a notification to texts ---------------------------------------------------------


def texts_of(notification: Any) -> tuple[list[str], list[str]]:
    """The messages for a notification, and what is wrong in it.  Raises Malformed."""
    if not isinstance(notification, dict):
        raise Malformed("not a JSON object")
    version, alerts = notification.get("version"), notification.get("alerts")
    if version != "4":
        raise Malformed(f'version {version!r} of the webhook is not understood, only "4"')
    if not isinstance(alerts, list):
        raise Malformed("it has no list of alerts")
    texts, wrong = [], []
    for number, alert in enumerate(alerts, 1):
        try:
            texts.append(text_of(alert))
        except Malformed as error:
            wrong.append(f"alert {number}: {error}")
    truncated = notification.get("truncatedAlerts")
    left_out = truncated if isinstance(truncated, int) else 0
    if len(alerts) + left_out > 1:
        texts.insert(0, heading(notification, alerts, left_out))
    return texts, wrong


def heading(notification: dict[str, Any], alerts: list[Any], left_out: int) -> str:
    """What a group has in common."""
    found = [alert.get("status") for alert in alerts if isinstance(alert, dict)]
    counted = Counter([status for status in found if status in ("firing", "resolved")])
    words = [
        f"{len(alerts)} alerts:",
        ", ".join([f"{n} {status}" for status, n in counted.items()]),
    ]
    if left_out:
        words.append(f"({left_out} more were left out by Alertmanager)")
    words.append(pairs(notification, "groupLabels"))
    words.append(field(notification, "externalURL"))
    return one_line(*words)


def text_of(alert: Any) -> str:
    """One alert in one line: what is most wanted first, as a long one is cut."""
    if not isinstance(alert, dict):
        raise Malformed("not a JSON object")
    status = alert.get("status")
    if status not in ("firing", "resolved"):
        raise Malformed(f"its status is {status!r}, and not firing or resolved")
    labels, annotations = alert.get("labels"), alert.get("annotations", {})
    if not isinstance(labels, dict) or not isinstance(annotations, dict):
        raise Malformed("its labels or annotations are no object")
    return one_line(
        "FIRING" if status == "firing" else "resolved",
        field(labels, "alertname"),
        pairs(alert, "labels"),
        field(annotations, "summary"),
        field(alert, "generatorURL"),
        field(annotations, "description"),
    )


def field(found: dict[str, Any], name: str) -> str:
    return str(found.get(name) or "")


def pairs(found: dict[str, Any], name: str) -> str:
    """Labels, but for the name of the alert."""
    labels = found.get(name)
    if not isinstance(labels, dict):
        return ""
    shown = [f"{label}={value}" for label, value in sorted(labels.items()) if label != "alertname"]
    return f"[{', '.join(shown)}]" if shown else ""


def one_line(*words: str) -> str:
    """Annotations come from templates that have newlines; a message is one line to who reads."""
    return " ".join(" ".join(words).split())


def clipped(text: str, most: int) -> str:
    """*text*, or as much of it as *most* bytes hold."""
    # JSON can say half a surrogate pair, which is no character.
    raw = text.encode(errors="replace")
    if len(raw) <= most:
        return raw.decode()
    return raw[: max(most - 3, 0)].decode(errors="ignore") + ("…" if most >= 3 else "")


# --- from where notifications come --------------------------------------------------------


def documents(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """The objects on *lines*, each with the number of its first line, as soon as it is whole."""
    block: list[bytes] = []
    first = 1
    for number, line in enumerate(lines, 1):
        if line.startswith(b"{") and block:
            yield first, b"".join(block)
            block = []
        if not block:
            if not line.strip():
                continue
            first = number
        block.append(line)
        if line.startswith(b"}") or (first == number and whole(line)):
            yield first, b"".join(block)
            block = []
    if block:
        yield first, b"".join(block)


def whole(line: bytes) -> bool:
    """Whether *line* is JSON by itself."""
    try:
        parsed(line)
    except Malformed:
        return False
    return True


def parsed(document: bytes) -> Any:
    """Raises Malformed."""
    try:
        return json.loads(document)
    except UnicodeDecodeError as error:
        raise Malformed(f"not UTF-8: {error.reason} at byte {error.start}") from None
    except RecursionError:
        raise Malformed("not JSON that makes sense: too deep") from None
    except ValueError as error:
        raise Malformed(f"not JSON: {error}") from None


class Relay:
    """Says notifications."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options

    def client(self, interrupts: Interrupts | None = None) -> Client:
        options = self._options
        return Client(
            options.name,
            options.broker,
            hear=False,
            timeout=options.timeout,
            reconnect=options.timeout,
            identity=Identity.of(options.broker, options.name),
            interrupts=interrupts,
        )

    def say(self, client: Client, texts: list[str]) -> list[str]:
        """Returns when the broker has them; why some were refused.  Raises ClientError."""
        refused, pipe = [], client.pipeline()
        for text in texts:
            whole = clipped(text, client.max_text)
            try:
                if self._options.to is None:
                    pipe.echo(whole)
                else:
                    pipe.send(self._options.to, whole)
            except Refused as error:
                refused.append(str(error))
        pipe.flush(self._options.timeout)
        return refused + [receipt.words for receipt in pipe.refused]

    def run(self, lines: Iterable[bytes]) -> int:
        """Says what is on *lines*; the exit status."""
        status = 0
        with Interrupts() as interrupts, self.client(interrupts) as client:
            found = documents(lines)
            while True:
                with interrupts.exposed():  # It may wait there for long.
                    number, document = next(found, (0, b""))
                if not number:
                    return status
                try:
                    texts, wrong = texts_of(parsed(document))
                except Malformed as error:
                    texts, wrong = [], [str(error)]
                wrong += self.say(client, texts)
                for words in wrong:
                    complain(f"line {number}: {words}")
                    status = REFUSED


# --- requests -----------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    """One POST is one notification."""

    relay: Relay
    timeout = 10.0
    """Seconds; whoever sends nothing for so long is not waited for."""

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        # A number of very many digits is none that Python reads.
        digits = len(str(MOST_BYTES))
        if not length.isdecimal() or len(length) > digits or int(length) > MOST_BYTES:
            self.answer(413 if length else 411, "its length is not given, or too much")
            return
        # So that no page in a browser on this machine can post.
        if self.headers.get_content_type() != "application/json":
            self.answer(415, "only application/json is taken")
            return
        try:
            texts, wrong = texts_of(parsed(self.rfile.read(int(length))))
        except Malformed as error:
            self.answer(400, str(error))
            return
        try:
            # A client for each: nothing of a request that failed is said after the answer.
            with self.relay.client() as client:
                refused = self.relay.say(client, texts)
        except ClientError as error:
            self.answer(503, str(error))
            return
        if refused:
            self.answer(503, refused[0])
        elif wrong:
            self.answer(400, "; ".join(wrong))
        else:
            self.answer(200, "")

    def answer(self, status: int, words: str) -> None:
        if words:
            complain(f"answered {status}: {words}")
        body = f"{escape(words)}\n".encode() if words else b""
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except ConnectionError:
            complain("whoever asked has gone before the answer")

    def log_message(self, *_: object) -> None:
        """What was answered is told above."""


def serve(relay: Relay, address: tuple[str, int]) -> int:
    """Takes requests, one at a time, until SIGTERM."""
    Handler.relay = relay
    try:
        server = HTTPServer(address, Handler)
    except OSError as error:
        complain(f"cannot listen on {address[0]}:{address[1]}: {error.strerror}")
        return 1
    with server, Interrupts(status=0) as interrupts:
        server.timeout = LOOK_EVERY
        complain(f"listening on http://{address[0]}:{server.server_port}")
        while True:
            # Not raised within a request: one that came is answered.
            interrupts.check()
            server.handle_request()


def complain(words: str) -> None:
    # Not by print: words that cannot be written would make Python end with a status of its own.
    with suppress(OSError, AttributeError):  # There may be no stderr.
        os.write(
            sys.stderr.fileno(), f"alert_relay: {escape(words)}\n".encode(errors="backslashreplace")
        )


def main() -> int:
    options = parser().parse_args()
    relay = Relay(options)
    try:
        if options.listen is not None:
            return serve(relay, options.listen)
        # Whoever had the pipe before may have left it one that never waits.
        os.set_blocking(sys.stdin.fileno(), True)
        return relay.run(sys.stdin.buffer)
    except ClientError as error:
        complain(str(error))
        return error.status
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
