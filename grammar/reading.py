"""The words and signs around a fault, and what can be read off them.

The grammar says where it gave up and what it would have taken; that is not yet what the writer meant. Here are the
questions that `mistakes.py` asks: what stands before, which bracket is open, where the stage began.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from schedc.compiler.source import Source, Span
from schedc.grammar.layout import CLOSING, OPENING, Token

ARITHMETIC = frozenset({"+", "-", "*", "/", "^"})
RELATIONS = frozenset({"<", ">", "<=", ">=", "==", "!="})
LIMITS = frozenset({"for", "until"})


class Fault(NamedTuple):
    """Where the grammar gave up: a token's index (their number at the end), the start rule, what it would take."""

    at: int
    start: str
    accepts: frozenset[str]


class Braces(NamedTuple):
    """The braces of a block, as indices of tokens; `close` is None where nothing closes it."""

    open: int
    close: int | None


def open_brackets(tokens: Sequence[Token]) -> list[int]:
    """The brackets that are still open behind the tokens, outermost first, as indices."""
    opened: list[int] = []
    for i, token in enumerate(tokens):
        if not token.is_sign:
            continue
        if token.text in OPENING:
            opened.append(i)
        elif token.text in CLOSING and opened and tokens[opened[-1]].text == CLOSING[token.text]:
            opened.pop()
    return opened


def block(tokens: Sequence[Token]) -> Braces | None:
    """The braces of an item's block, if it has one. The braces of a type stand in parentheses or behind `:` or `of`."""
    depth = 0
    for i, token in enumerate(tokens):
        if not token.is_sign:
            continue
        if token.text == "{" and depth == 0 and i and tokens[i - 1].text not in (":", "of"):
            inner = 0
            for j in range(i, len(tokens)):
                inner += (tokens[j].text == "{") - (tokens[j].text == "}") if tokens[j].is_sign else 0
                if inner == 0:
                    return Braces(i, j)
            return Braces(i, None)
        depth += (token.text in OPENING) - (token.text in CLOSING)
    return None


class Reading:
    """A fault and the tokens of the item it lies in."""

    def __init__(self, source: Source, tokens: Sequence[Token], fault: Fault, enclosing: str | None) -> None:
        self.source = source
        self.tokens = tokens
        self.at = fault.at
        self.start = fault.start
        self.accepts = fault.accepts
        self.enclosing = enclosing

    def token(self, index: int) -> Token | None:
        return self.tokens[index] if 0 <= index < len(self.tokens) else None

    def text(self, index: int) -> str:
        """The token's text; empty where there is none. A quoted text never reads like a sign."""
        return self.tokens[index].text if 0 <= index < len(self.tokens) else ""

    def kind(self, index: int) -> str:
        return self.tokens[index].kind if 0 <= index < len(self.tokens) else ""

    @property
    def here(self) -> Token | None:
        return self.token(self.at)

    @property
    def before(self) -> Token | None:
        return self.token(self.at - 1)

    def place(self, first: int, last: int | None = None) -> Span:
        """From one token to another, or behind the last token."""
        if first >= len(self.tokens):
            end = self.tokens[-1].end
            return Span(self.source, end, end)
        return Span(self.source, self.tokens[first].start, self.tokens[first if last is None else last].end)

    def found(self) -> str:
        """What stands at the fault, in words."""
        here = self.here
        if here is not None:
            return f"found `{here.text}`"
        rest = self.source.text[self.tokens[-1].end :].lstrip(" \t\r\f\v")
        if not rest.strip():
            return "the text ends here"
        if rest[0] == "}":
            return "the block ends here"
        return "the line ends here" if rest[0] in "\n#" else "the item ends here"

    def opens_operand(self, index: int) -> bool:
        """Whether a value starts at the token."""
        return self.kind(index) in ("word", "number", "text") or self.text(index) in ("(", "[")

    def is_named(self, index: int) -> bool:
        """Whether an argument's name stands here, its `=` behind it."""
        return self.kind(index) == "word" and self.text(index + 1) == "="

    def touches(self, index: int) -> bool:
        """Whether nothing stands between the token and the one before it."""
        here, before = self.token(index), self.token(index - 1)
        return here is not None and before is not None and here.start == before.end

    def region(self, stops: frozenset[str]) -> int:
        """Where the run of tokens begins that the fault ends: behind an open bracket or, outside brackets, a stop."""
        depth = 0
        for i in range(self.at - 1, -1, -1):
            token = self.tokens[i]
            if token.kind == "word" and depth == 0 and token.text in stops:
                return i + 1
            if not token.is_sign:
                continue
            if token.text in CLOSING:
                depth += 1
            elif token.text in OPENING:
                if depth == 0:
                    return i + 1
                depth -= 1
            elif depth == 0 and token.text in stops and not (token.text == "=" and i != 1 and self._names_argument(i)):
                return i + 1
        return 1 if self.text(0) == "assert" else 0

    def _names_argument(self, equals: int) -> bool:
        """Whether the `=` at this index follows an argument's name in a short application."""
        return (
            self.kind(equals - 1) == "word"
            and (self.kind(equals - 2) in ("word", "number", "text") or self.text(equals - 2) in (")", "]"))
            and self.text(equals - 2) not in ("param", "let", *LIMITS)
        )

    def operand_before(self) -> str:
        """The value that ends before the fault: a call or a quantity as a whole, unless it is long."""
        first = self.at - 1
        if self.text(first) in CLOSING:
            depth = 0
            for i in range(first, -1, -1):
                depth += (self.text(i) in CLOSING) - (self.text(i) in OPENING)
                if depth == 0:
                    first = i - 1 if self.kind(i - 1) == "word" and self.touches(i) else i
                    break
        elif self.kind(first - 1) == "number" and self.kind(first) == "word":
            first -= 1
        whole = self.spaced(first, self.at)
        return whole if len(whole) <= 40 else self.text(self.at - 1)

    def region_end(self, first: int) -> int:
        """The first token from `first` on that closes a bracket around it, or separates; their number if none does."""
        depth = 0
        for i in range(first, len(self.tokens)):
            token = self.tokens[i]
            if not token.is_sign:
                continue
            if token.text in OPENING:
                depth += 1
            elif token.text in CLOSING:
                if depth == 0:
                    return i
                depth -= 1
            elif depth == 0 and token.text in (",", ";"):
                return i
        return len(self.tokens)

    def group_end(self, index: int) -> int:
        """Behind the bracket that closes the one at `index`."""
        depth = 0
        for i in range(index, len(self.tokens)):
            if self.tokens[i].is_sign:
                depth += (self.tokens[i].text in OPENING) - (self.tokens[i].text in CLOSING)
                if depth == 0:
                    return i + 1
        return len(self.tokens)

    def atom_end(self, index: int) -> int:
        """Behind the atom that starts at `index`: a word, number, text, call or bracketed group."""
        if self.text(index) in ("(", "["):
            end = self.group_end(index)
        elif self.kind(index) == "word" and self.text(index + 1) in ("(", "[") and self.touches(index + 1):
            end = self.group_end(index + 1)
        else:
            end = index + 1
        if (
            self.text(end) in ("step", "steps", "epoch", "epochs", "sample", "samples", "token", "tokens")
            and (self.kind(index) == "number" or self.text(index) == "[")
            and self.text(end + 1) != "="
        ):
            end += 1
        return end

    def arguments(self, head: int) -> tuple[list[str], int]:
        """The arguments of the short application whose name is at `head`, and where they end."""
        found: list[str] = []
        at = head + 1
        while (self.opens_operand(at) and self.text(at) not in LIMITS | {"implies", "ensures"}) or self.is_named(at):
            value = at + 2 if self.is_named(at) else at
            if self.text(value) == "-" and self.kind(value + 1) == "number":
                value += 1
            end = self.atom_end(value)
            if value >= len(self.tokens):
                break
            found.append(self.spaced(at, end))
            at = end
        return found, at

    def call(self, head: int) -> tuple[str, int]:
        """The short application at `head` in its other spelling, and where it ends."""
        arguments, end = self.arguments(head)
        if len(arguments) == 1 and arguments[0].startswith("(") and self.group_end(head + 1) == end:
            return f"{self.text(head)}{arguments[0]}", end
        return f"{self.text(head)}({', '.join(arguments)})", end

    def spaced(self, first: int, end: int) -> str:
        """The tokens as one line in the canonical spacing."""
        parts: list[str] = []
        for i in range(first, end):
            text = self.text(i)
            if parts and not self._tight(i):
                parts.append(" ")
            parts.append(text)
        return "".join(parts)

    def _tight(self, index: int) -> bool:
        """Whether no blank belongs before the token."""
        text, before = self.text(index), self.text(index - 1)
        if text in (")", "]", ",", ";", "^") or before in ("(", "[", "^"):
            return True
        if text == "=" or before == "=":
            return not (index == 1 or (index == 2 and text != "="))
        if before == "-":
            ahead = self.text(index - 2)
            return self.token(index - 2) is None or (self.kind(index - 2) == "sign" and ahead not in (")", "]"))
        return text in ("(", "[") and self.touches(index)
