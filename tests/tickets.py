"""Commands of which a test says what becomes of them."""

from __future__ import annotations

from chatbroker.client.commands import Commands, Note, Outcome, Ticket


def one(to: str | None, text: str) -> Ticket:
    """A command that was given by itself."""
    return Ticket(Commands(to, (text,)))


def resolve(
    ticket: Ticket, outcome: Outcome, code: str = "", words: str = "", away: bool = False
) -> None:
    """Has *ticket* have that outcome."""
    if code or words or away:
        ticket.commands.notes[ticket.at] = Note(away, code, words)
    ticket.commands.resolve(ticket.at, ticket.at + 1, [outcome])
