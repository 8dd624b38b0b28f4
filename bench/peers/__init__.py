"""Measures chatbroker beside what people would run instead.  Run as ``python -m bench.peers``.

Every server is told to be as fast as it can be, by its own documentation, at the guarantee that
is named beside its figure; all get the same load, by the same rule.
"""
