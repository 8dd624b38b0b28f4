"""What the two commands have in common: exit statuses, the config file, how they end.

Must not know: the broker, the client, the protocol.
"""
