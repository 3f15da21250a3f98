"""`# schedc: ignore SC403 -- reason`: which messages are not shown, and what is said about the comments themselves.

Behind code a comment speaks of its line, and of all of an item that starts there; on a line of its own, of the next
item, or, inside one, of the next line of code. Warnings and notes can be ignored, and the errors of IGNORABLE.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches

from schedc.compiler import messages_silence as say
from schedc.compiler.codes import CODES
from schedc.compiler.diagnostics import Diagnostic, Fix, Level
from schedc.compiler.source import Source, Span
from schedc.grammar import syntax

IGNORABLE = frozenset({"SC401", "SC405"})
"""Errors that may be meant as they are: a jump, a hyper-parameter below zero."""

_DIRECTIVE = re.compile(r"#\s*schedc\s*:\s*")
_IGNORE = re.compile(r"ignore(?![\w-])[\s:]*(?P<codes>.*?)\s*(?:--(?P<reason>.*))?")
_WORD = re.compile(r"[^\s,]+")


def may_be_ignored(said: Diagnostic) -> bool:
    """Whether a comment or the configuration can suppress the message."""
    return said.level is not Level.ERROR or said.code.number in IGNORABLE


def names(number: str, patterns: Collection[str]) -> bool:
    """Whether a code is among codes and starts of codes: `SC4` stands for all SC4xx."""
    return any(number.startswith(p) for p in patterns)


@dataclass
class Ignore:
    """One code of one comment: where it applies, and what became of it."""

    number: str
    span: Span
    comment: syntax.Comment
    lines: frozenset[int]
    stretches: tuple[tuple[int, int], ...]
    alone: bool
    used: bool = False
    refused: bool = False

    def covers(self, span: Span) -> bool:
        return span.source.line_of(span.start) in self.lines or any(a <= span.start < b for a, b in self.stretches)


@dataclass
class Silence:
    """What one compilation leaves unsaid.

    `ignore` and `select` come from the configuration: codes, or starts of codes. What is selected is all that is
    shown besides errors; nothing selected is everything.
    """

    tree: syntax.Program
    ignore: Collection[str] = ()
    select: Collection[str] = ()
    said: list[Diagnostic] = field(default_factory=list)
    """What there is to say about the form of the comments of the main file."""
    _ignores: dict[Source, list[Ignore]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._ignores[self.tree.source] = list(_ignores(self.tree, self.said))

    def keep(self, said: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
        """The messages that are to be shown."""
        return tuple(d for d in said if not (self._by_comment(d) or self._by_configuration(d)))

    def rest(self, complete: bool) -> tuple[Diagnostic, ...]:
        """What is said about the comments, now that all is said. Only if it is `complete` are some known to be unused."""
        found = list(self.said)
        own = self._ignores[self.tree.source]
        for one in own:
            if one.refused:
                found.append(say.refused(one.number, one.span))
            elif complete and not one.used:
                siblings = [o for o in own if o.comment is one.comment]
                found.append(say.unused(one.number, one.span, None if len(siblings) > 1 else _removal(one)))
        return tuple(d for d in found if not self._by_configuration(d))

    def _by_comment(self, said: Diagnostic) -> bool:
        hit = False
        for one in self._of(said.span.source):
            if one.number == said.code.number and one.covers(said.span):
                if may_be_ignored(said):
                    one.used = hit = True
                else:
                    one.refused = True
        return hit

    def _by_configuration(self, said: Diagnostic) -> bool:
        number = said.code.number
        if may_be_ignored(said) and names(number, self.ignore):
            return True
        return bool(self.select) and said.level is not Level.ERROR and not names(number, self.select)

    def _of(self, source: Source) -> list[Ignore]:
        """The ignores of a file; those of an imported one are read once something is said about it."""
        if source not in self._ignores:
            self._ignores[source] = []
            if "schedc" in source.text and not source.name.startswith("stdlib/"):
                from schedc.grammar.parse import parse

                tree = parse(source).value
                if tree is not None:
                    self._ignores[source] = list(_ignores(tree, []))
        return self._ignores[source]


def _ignores(tree: syntax.Program, said: list[Diagnostic]) -> Iterator[Ignore]:
    for comment in tree.comments:
        directive = _DIRECTIVE.match(comment.text)
        if directive is None:
            continue
        start = comment.span.start
        words = comment.text[directive.end() :].strip()
        found = _IGNORE.fullmatch(words)
        if found is None:
            first = words.split()[0] if words else ""
            near = get_close_matches(first, ["ignore"], n=1)
            said.append(say.not_understood(first, comment.span, near[0] if near else None))
            continue
        offset = start + directive.end() + found.start("codes")
        codes = [(m[0], tree.source.span(offset + m.start(), offset + m.end())) for m in _WORD.finditer(found["codes"])]
        if not codes:
            said.append(say.no_code(comment.span))
            continue
        where = _where(tree, comment)
        known = []
        for word, span in codes:
            if word not in CODES:
                said.append(say.unknown_code(word, span, _near(word)))
                continue
            known.append(word)
            yield Ignore(word, span, comment, *where, alone=comment.alone)
        if known and not (found["reason"] or "").strip():
            said.append(say.no_reason(", ".join(known), comment.span))


def _near(word: str) -> str | None:
    by_name = {c.name: number for number, c in CODES.items()}
    if word.lower() in by_name:
        return by_name[word.lower()]
    near = get_close_matches(word.upper(), list(CODES), n=1, cutoff=0.8)
    return near[0] if near else None


@dataclass(frozen=True, slots=True)
class _Entry:
    """An item, or a binding or rule in a block."""

    span: Span
    inner: tuple[_Entry, ...]


def _entries(tree: syntax.Program) -> Iterator[_Entry]:
    for item in tree.items:
        nodes: tuple[syntax.Node, ...] = ()
        match item:
            case syntax.Group(binds=binds) | syntax.Settings(binds=binds):
                nodes = binds
            case syntax.Init(rules=rules):
                nodes = rules
            case syntax.Def(body=syntax.Block(binds=binds)):
                nodes = binds
        yield _Entry(item.span, tuple(_Entry(n.span, ()) for n in nodes))


def _where(tree: syntax.Program, comment: syntax.Comment) -> tuple[frozenset[int], tuple[tuple[int, int], ...]]:
    """The lines and the stretches of text that a comment speaks of."""
    source, at = tree.source, comment.span.start
    line = source.line_of(at)
    top = tuple(_entries(tree))
    if not comment.alone:
        entries = [e for item in top for e in (item, *item.inner)]
        here = tuple((e.span.start, e.span.end) for e in entries if source.line_of(e.span.start) == line)
        return frozenset({line}), here
    within = next((e for e in top if e.span.start < at < e.span.end), None)
    if within is not None:
        inside = next((e for e in within.inner if e.span.start < at < e.span.end), None)
        following = next((e for e in within.inner if e.span.start > at), None)
        if inside is not None or following is None:
            return frozenset({_next_line(source, line)}), ()
    else:
        following = next((e for e in top if e.span.start > at), None)
    return frozenset(), () if following is None else ((following.span.start, following.span.end),)


def _next_line(source: Source, line: int) -> int:
    """The next line that holds more than a comment."""
    for number in range(line + 1, len(source.line_starts)):
        text = source.line_text(number).strip()
        if text and not text.startswith("#"):
            return number
    return line


def _removal(one: Ignore) -> Fix:
    """The edit that takes the comment away, with its line if it stands alone."""
    source, span = one.comment.span.source, one.comment.span
    start, end = span.start, span.end
    if one.alone:
        line = source.line_of(start)
        start = source.line_starts[line]
        end = source.line_starts[line + 1] if line + 1 < len(source.line_starts) else len(source.text)
    else:
        while start > 0 and source.text[start - 1] in " \t":
            start -= 1
    return Fix(source.span(start, end), "")
