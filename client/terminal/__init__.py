"""``chat join`` for a person: what is shown, what is typed, and the two kinds of terminal.

`screen` fills a terminal that can be drawn on; `plain` writes simple lines on any other.
prompt_toolkit is imported only here, and only by what draws.
"""
