"""What the two commands have in common: exit statuses, the config file, how they end.

Must not know: the broker, the client, the protocol.
"""

VERSION = "0.1.0"
"""Of all that is in this distribution.  In the code, as a broker has to know it when no file can be
opened any more."""
