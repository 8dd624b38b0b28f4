"""A fuzzer that is led by coverage, over all that takes bytes or words from strangers.

``targets`` names what is fuzzed; ``python -m tests.fuzz`` runs it; ``test_corpus`` replays what
was found without a fuzzer.  docs/testing.md tells how.
"""
