"""Every fault of a text that does not parse.

The text is taken apart, item by item and inside blocks entry by entry, and each piece is parsed by itself: so one run
shows every faulty piece, with one message each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from lark import Lark, Token, Tree, UnexpectedInput
from lark.exceptions import UnexpectedCharacters, UnexpectedToken

from schedc.compiler.diagnostics import Diagnostic
from schedc.compiler.source import Source
from schedc.grammar import layout, mistakes
from schedc.grammar.build import Builder
from schedc.grammar.tables import parser

ENTRY = {"init": "rule"}
"""What the entries of a block are parsed as, by the word that opens it; `bind` for all others."""


class Recovery:
    """Finds every fault of a text that does not parse."""

    def __init__(self, source: Source, docs: dict[int, str]) -> None:
        self.source = source
        self.docs = docs
        self.lark: Lark = parser()

    def faults(
        self, tokens: Sequence[layout.Token], items: layout.Items, start: str = "item", enclosing: str | None = None
    ) -> Iterator[Diagnostic]:
        """The faults of a run of items, or of entries of the block that `enclosing` opens.

        One that swallowed others, for a bracket is open, say, is split again before the lines that look like items.
        """
        for first, end in layout.top(tokens, items):
            item = tokens[first:end]
            fault = self._fault(item, start)
            if isinstance(fault, mistakes.Fault):
                pieces = self._pieces(item, fault)
                if len(pieces) == 1:
                    yield from self._said(item, fault, enclosing)
                    continue
                for piece in pieces:
                    for inner_first, inner_end in layout.top(piece, layout.separate(piece)):
                        inner = piece[inner_first:inner_end]
                        again = self._fault(inner, start)
                        if isinstance(again, mistakes.Fault):
                            yield from self._said(inner, again, enclosing)
                        else:
                            yield from again
            else:
                yield from fault

    def _pieces(self, item: Sequence[layout.Token], fault: mistakes.Fault) -> list[Sequence[layout.Token]]:
        """An item, cut before the lines that look like items, if the fault suggests that it swallowed them."""
        text, column = self.source.text, item[0].column
        cuts = [i for i, t in enumerate(item) if i and t.column <= column and layout.looks_like_item(text, t)]
        if not cuts or not (fault.at >= cuts[0] or mistakes.open_brackets(item)):
            return [item]
        bounds = [0, *cuts, len(item)]
        return [item[a:b] for a, b in pairwise(bounds)]

    def _said(self, item: Sequence[layout.Token], fault: mistakes.Fault, enclosing: str | None) -> Iterator[Diagnostic]:
        """The faults of one item: those of its entries if they are at fault, its own otherwise."""
        body = None if enclosing else mistakes.block(item)
        found = False
        if body is not None and fault.at > body.open and (body.close is None or fault.at <= body.close):
            inside = item[body.open + 1 : body.close]
            for said in self.faults(inside, layout.separate(inside), ENTRY.get(item[0].text, "bind"), item[0].text):
                found = True
                yield said
        if found and body is not None and body.close is None:
            yield mistakes.unclosed_block(self.source, item, body)
        elif not found:
            yield mistakes.explain(self.source, item, fault, enclosing)

    def _fault(self, tokens: Sequence[layout.Token], start: str) -> mistakes.Fault | list[Diagnostic]:
        """Where the tokens stop making sense as a `start`, or what is to be said of them if they do."""
        base, end = tokens[0].start, tokens[-1].end
        shifted = [t._replace(start=t.start - base) for t in tokens]
        text = layout.clean(" " * (end - base), shifted, layout.separate(shifted))
        steps = self.lark.parse_interactive(text, start=start)
        try:
            steps.exhaust_lexer()
            tree: Any = steps.feed_eof()  # type: ignore[no-untyped-call]  # Lark leaves these two without types.
        except UnexpectedInput as wrong:
            accepts: set[str] = steps.accepts()  # type: ignore[no-untyped-call]
            return mistakes.Fault(_index(tokens, base, wrong), start, frozenset(accepts))
        builder = Builder(self.source, base, self.docs)
        if isinstance(tree, Tree):
            builder.build(tree)
        return builder.said


def _index(tokens: Sequence[layout.Token], base: int, wrong: UnexpectedInput) -> int:
    """The token that Lark stopped at; their number at the end."""
    if isinstance(wrong, UnexpectedCharacters):
        at = wrong.pos_in_stream
    elif isinstance(wrong, UnexpectedToken) and isinstance(wrong.token, Token) and wrong.token.type != "$END":
        at = wrong.token.start_pos
    else:
        at = None
    if at is None:
        return len(tokens)
    low, high = 0, len(tokens)
    while low < high:
        middle = (low + high) // 2
        if tokens[middle].end <= at + base:
            low = middle + 1
        else:
            high = middle
    return low
