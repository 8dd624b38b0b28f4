"""Attacks on a running broker: what they cost it, and that others are served throughout."""
