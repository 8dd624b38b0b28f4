"""Faults by chance, and a checker of what came of them: docs/testing.md."""
