"""Texts and places in them."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property


@dataclass(frozen=True, eq=False)
class Source:
    """One text of the schedule language, and what to call it in messages.

    `line_offset` and `column_offset` place a string that is embedded in another file (a YAML value, say):
    they are what to add to the first line's number and column.
    """

    name: str
    text: str
    line_offset: int = 0
    column_offset: int = 0

    @cached_property
    def line_starts(self) -> tuple[int, ...]:
        starts = [0]
        for i, c in enumerate(self.text):
            if c == "\n":
                starts.append(i + 1)
        return tuple(starts)

    def line_of(self, offset: int) -> int:
        """0-based line that holds the character at `offset`."""
        return bisect_right(self.line_starts, max(0, min(offset, len(self.text)))) - 1

    def column_of(self, offset: int) -> int:
        """0-based column of the character at `offset`."""
        return max(0, min(offset, len(self.text))) - self.line_starts[self.line_of(offset)]

    def place(self, offset: int) -> tuple[int, int]:
        """1-based line and column as an editor shows them, in the outer file where the text is embedded."""
        line = self.line_of(offset)
        extra = self.column_offset if line == 0 else 0
        return line + 1 + self.line_offset, self.column_of(offset) + 1 + extra

    def line_text(self, line: int) -> str:
        """The text of the 0-based `line`, without its end."""
        start = self.line_starts[line]
        end = self.line_starts[line + 1] - 1 if line + 1 < len(self.line_starts) else len(self.text)
        return self.text[start:end].rstrip("\r")

    def span(self, start: int, end: int) -> Span:
        return Span(self, start, end)


@dataclass(frozen=True, slots=True)
class Span:
    """The characters from `start` up to, not including, `end` of a source."""

    source: Source = field(repr=False)
    start: int
    end: int

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    @property
    def place(self) -> str:
        """`file:line:column`, 1-based."""
        line, column = self.source.place(self.start)
        return f"{self.source.name}:{line}:{column}"

    def to(self, other: Span) -> Span:
        """The span from the start of this one to the end of `other`."""
        return Span(self.source, self.start, max(self.end, other.end))


NOWHERE = Span(Source("<program>", ""), 0, 0)
"""For a message about a program that no place in it caused alone."""
