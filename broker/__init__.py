"""The broker: who is on, what was said, who has heard it.

Promise: a message is acknowledged once the journal has it; a name is one user; one bad or
slow client costs the others nothing.  Everything but ``server`` is pure: time and fresh
ids come in as arguments, effects go out as values.  Must not know: the client package.
"""
