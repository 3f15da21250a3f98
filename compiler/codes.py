"""Every code a message can carry: its number, short name and one-line meaning.

The first digit is the stage that speaks: 1 syntax, 2 names and types, 3 units and layout, 4 values, 5 backends and
run time, 6 batch, 7 initialisation. The words of the messages stand in `messages_*.py`, one constructor each;
`explain/SCnnn.md` holds the page that `schedc explain` prints.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """A kind of message. `number` is what users search for, `name` what they remember."""

    number: str
    name: str
    meaning: str


CODES: dict[str, Code] = {}


def code(number: str, name: str, meaning: str) -> Code:
    """Declare a code. A number or a name may be declared once."""
    taken = {c.name for c in CODES.values()}
    if number in CODES or name in taken:
        raise ValueError(f"code {number} {name} is declared twice")
    CODES[number] = Code(number, name, meaning)
    return CODES[number]
