"""For people who test their own programs against a real broker.

Promise: what a test started is gone when it ends.  Must not know: the inside of broker and
client; it uses what they offer to everyone.
"""
