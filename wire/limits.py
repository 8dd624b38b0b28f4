"""Every bound of the protocol, in one place (docs/protocol.md, "Limits").

All sizes are bytes unless a name says otherwise.
"""

from __future__ import annotations

VERSION = 2
"""The protocol version that HELLO carries."""

MAX_FRAME = 64 * 1024
"""The largest frame, in either direction.  Also ZeroMQ's MAXMSGSIZE, with CURVE_OVERHEAD where it
is encrypted, which disconnects a sender that exceeds it: so nobody sends a larger one."""

FRAME_TARGET = 16 * 1024
"""What the broker packs into one frame at most, plus one event or reply: it bounds what a
slow reader's full pipe (SNDHWM, broker/sockets.py) can hold.  What it publishes all subscribers
have in common, and that is in larger ones (MOST_PUBLISHED, broker/outgoing.py)."""

MAX_TEXT = 16 * 1024
"""The longest text, in UTF-8 bytes."""

MAX_NAME = 32
"""The longest user name, in characters (all of them ASCII)."""

MAX_WORDS = 1024
"""The longest explanation beside a code, in UTF-8 bytes."""

MAX_LOG_NAME = 64
"""The longest name of a log, in bytes."""

MAX_FOLLOWS = 16
"""Logs that one session may follow."""

MAX_USERS = 500
"""Users in one USERS message; more take another INFO."""

MAX_RUNS = 100
"""Elements of each list in one ACK message; more take another ACK."""

MAX_MESSAGES = 256
"""Messages in one frame of a client.  64 KiB could hold 32,000 questions, and others would wait
while they are answered."""

MAX_TEXTS = 256
"""Texts in one SEND or ECHO."""

MAX_ELEMENTS = MAX_TEXTS
"""Elements of one array in what a client sends."""

MAX_EVENTS = 4096
"""Elements of one array in what the broker sends, so also events in one BATCH."""

MAX_DEPTH = 8
"""Nested arrays in a message, its own array included."""

MAX_INT = 2**63 - 1
"""Every integer of the protocol is between 0 and this."""

ID_LENGTH = 16
"""A session id and a credential: random bytes from a cryptographic source."""

KEY_LENGTH = 32
"""A CURVE key, public or secret, as ZeroMQ's CURVE mechanism takes it (rfc.zeromq.org/spec/26)."""

CURVE_OVERHEAD = 33
"""Bytes by which CURVE makes a frame longer: a MESSAGE of rfc.zeromq.org/spec/26 has 8 of its name,
8 of a nonce, 16 of a seal and a flag.  ZeroMQ holds the encrypted size against its MAXMSGSIZE."""

EPOCH_LENGTH = 8
"""An epoch: random bytes that name one life of a log."""

WINDOW = 2048
"""Commands (SEND, ECHO) that a session may have unresolved.  The broker keeps the outcomes
of that many, so a client that keeps to it can always learn what became of a command."""

PUSH_WINDOW = 1024 * 1024
"""Bytes that the broker pushes to a session before it wants a sign of life (PING, FETCH)."""

MAX_FETCH = 256 * 1024
"""Bytes of batches in answer to one FETCH."""
