"""Which newlines end an item: one linear scan, before the grammar.

The grammar sees a text of the same length as the source, so that no offset moves. Comments are blanked, and so is
every newline but those that end an item. A newline ends nothing

- while a ( or [ is open,
- behind a line that ends with an operator, `->`, `|`, `=`, `,` or `:`,
- before a line that starts with `->`, `|`, an operator, `for` or `until`, in a definition also `ensures`,
- before a `{`, for nothing else starts with one,
- before a line that is indented deeper than the column of the item's first token.

The words and signs found on the way also serve `mistakes.py`, which reads them where the grammar gave up.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

TOKEN = re.compile(
    r"""
    (?P<text> "(?:[^"\\\n]|\\.)*(?:"|(?=\n)|\Z|\\(?=\n)) | '(?:[^'\\\n]|\\.)*(?:'|(?=\n)|\Z|\\(?=\n)) )
  | (?P<comment> \#[^\n]* )
  | (?P<newline> \n )
  | (?P<blank> [ \t\r\f\v]+ )
  | (?P<number> (?:[0-9]|(?<![A-Za-z0-9_)\]])\.[0-9]) (?:[eE][+-](?=[0-9])|[A-Za-z0-9_.])* %? )
  | (?P<word> [A-Za-z_][A-Za-z0-9_]* (?:\.[A-Za-z_][A-Za-z0-9_]*)* )
  | (?P<sign> -> | => | ~> | >>= | >> | \*\* | // | && | \|\| | := | [-+/*<>=!]= | <- | . )
    """,
    re.X | re.S,
)

BEFORE = frozenset("-> | + - * / ^ < > <= >= == != → ⇒ => >> ** // ~>".split())
"""Signs that carry a line on from the one above. Those of other languages are among them: they earn a message there."""

AFTER = BEFORE | {"=", "*=", ",", ":", ":=", "+=", "-=", "/="}
"""Signs that carry a line on into the one below."""

WORDS_BEFORE = frozenset({"for", "until"})
DEFINING = frozenset({"def", "curve", "modifier"})

OPENING = {"(": ")", "[": "]", "{": "}"}
CLOSING = {close: open_ for open_, close in OPENING.items()}

TAB = 8

ITEM = re.compile(
    r"""(?:param|let|def|curve|modifier|use|include|assert)[ \t]+["'A-Za-z_(-]
      | group\b[ \t]*["'A-Za-z_{] | (?:train|batch|init)[ \t]*\{
      | (?: [A-Za-z_][A-Za-z0-9_]*(?:\[[0-9]+\])? | "[^"\n]*" | '[^'\n]*' )[ \t]*\*?=(?!=)""",
    re.X,
)
"""What a line that opens an item looks like; read only where something is wrong anyway."""


class Token(NamedTuple):
    """One word or sign. `first` says that it opens its line; `column` is 0-based, with tab stops of 8."""

    kind: str
    text: str
    start: int
    column: int
    first: bool

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    @property
    def is_sign(self) -> bool:
        return self.kind == "sign"


class Remark(NamedTuple):
    """A comment as written. `alone` says that nothing stands before it on its line."""

    start: int
    text: str
    alone: bool


class Start(NamedTuple):
    """An item, or with `depth` above 0 an entry of a block, starts at this token, given by its index."""

    token: int
    depth: int


@dataclass(frozen=True, slots=True)
class Items:
    """How a run of tokens falls into items: their starts, and the deepest nesting of brackets with its place."""

    starts: tuple[Start, ...]
    deepest: int
    deepest_at: int

    def ends(self) -> frozenset[int]:
        """The tokens that a separator stands before."""
        return frozenset(s.token for s in self.starts)


def scan(text: str) -> tuple[list[Token], list[Remark]]:
    """The words and signs of a text, and its comments."""
    tokens: list[Token] = []
    remarks: list[Remark] = []
    line_start = 1 if text.startswith("\ufeff") else 0
    tabs = "\t" in text
    first = True
    for match in TOKEN.finditer(text, line_start):
        kind = match.lastgroup or ""
        if kind == "blank":
            continue
        if kind == "newline":
            line_start = match.end()
            first = True
            continue
        start = match.start()
        word = match.group()
        if kind == "comment":
            remarks.append(Remark(start, word.rstrip(), first))
            continue
        before = text[line_start:start] if tabs else ""
        column = len(before.expandtabs(TAB)) if "\t" in before else start - line_start
        tokens.append(Token(kind, word, start, column, first))
        first = False
    return tokens, remarks


def separate(tokens: Sequence[Token]) -> Items:
    """Where the items of a run of tokens start, those of blocks included."""
    starts: list[Start] = []
    outer: list[tuple[list[str], int, int]] = []
    open_: list[str] = []
    column, head = 0, ""
    depth = deepest = deepest_at = 0
    fresh = True
    closed = False
    previous: Token | None = None
    for i, token in enumerate(tokens):
        text = token.text if token.is_sign else ""
        if not fresh and token.first and not open_ and previous is not None:
            carried_on = (
                (previous.is_sign and previous.text in AFTER)
                or token.column > column
                or text in BEFORE
                or text == "{"
                or (token.kind == "word" and token.text in WORDS_BEFORE and not _is_bound(tokens, i))
                or (token.text == "ensures" and head in DEFINING and not _is_bound(tokens, i))
            )
            if (closed or not carried_on) and (text != "}" or not outer):
                fresh = True
        closed = False
        if text == ";":
            fresh = not open_
            previous = token
            continue
        if fresh and (text != "}" or not outer):
            starts.append(Start(i, len(outer)))
            column, head = token.column, token.text
            fresh = False
        if text in OPENING:
            if text == "{" and not _opens_words(previous):
                outer.append((open_, column, depth))
                open_ = []
                fresh = True
            else:
                open_.append(text)
            depth += 1
            if depth > deepest:
                deepest, deepest_at = depth, token.start
        elif text == "}" and "{" not in open_:
            if outer:
                open_, column, depth = outer.pop()
                closed = True
            fresh = False
        elif text in CLOSING and CLOSING[text] in open_:
            while open_.pop() != CLOSING[text]:
                depth -= 1
            depth -= 1
        previous = token
    return Items(tuple(starts), deepest, deepest_at)


def _is_bound(tokens: Sequence[Token], index: int) -> bool:
    """Whether a `=` follows the token."""
    return index + 1 < len(tokens) and tokens[index + 1].text in ("=", "*=")


def _opens_words(previous: Token | None) -> bool:
    """Whether a `{` behind this token opens the words of a type, not a block."""
    if previous is None:
        return False
    return previous.text in (":", "of") or (previous.is_sign and previous.text in ("(", ",", "["))


def clean(text: str, tokens: Sequence[Token], items: Items) -> str:
    """The text as the grammar reads it: as long as `text`, with the newlines that end an item and no others."""
    ends = items.ends()
    parts: list[str] = []
    at = 0
    for i, token in enumerate(tokens):
        gap = token.start - at
        if gap:
            parts.append("\n" + " " * (gap - 1) if i in ends and i else " " * gap)
        parts.append(token.text)
        at = token.start + len(token.text)
    parts.append(" " * (len(text) - at))
    return "".join(parts)


def top(tokens: Sequence[Token], items: Items) -> list[tuple[int, int]]:
    """The items of the outermost level, as ranges of tokens, without the `;` between them."""
    at = [s.token for s in items.starts if s.depth == 0]
    ranges = []
    for start, end in pairwise([*at, len(tokens)]):
        while end > start and tokens[end - 1].text == ";":
            end -= 1
        ranges.append((start, end))
    return ranges


def looks_like_item(text: str, token: Token) -> bool:
    """Whether the line that the token opens looks like the start of an item."""
    return token.first and ITEM.match(text, token.start) is not None
