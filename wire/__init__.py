"""What both sides must agree on: messages, frames, limits, names.

Promise: whatever bytes arrive, decoding gives well-formed messages or a WireError.
Must not know: sockets, clocks, randomness, the broker, the client.
"""
