"""Measures the broker beside a plain pyzmq forwarder.  Run as ``python -m bench``.

Imports wire and, for the pure core, broker; neither knows of this package.
"""
