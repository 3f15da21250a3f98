"""From Lark's parse tree to the syntax tree.

Bottom up and without recursion, so that no text can exhaust the stack. What the grammar lets through and the
language does not have (a name with a dot as a binding's target, a number with 5000 digits) is said here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple, cast

from lark import Token, Tree

from schedc.compiler import messages_syntax as say
from schedc.compiler.diagnostics import Diagnostic
from schedc.compiler.source import Source, Span
from schedc.grammar import syntax
from schedc.grammar.limits import MAX_DEPTH, MAX_DIGITS, MAX_EXPONENT, MAX_INDEX_DIGITS

NUMBER = re.compile(r"([0-9_]*\.?[0-9_]*)(?:[eE]([+-]?[0-9]+))?(Ki|Mi|Gi|[kMBT])?(%|[ \t]+[a-z]+)?")
SUFFIX = {"k": 10**3, "M": 10**6, "B": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
UNIT = {unit[:-1]: unit for unit in syntax.UNITS if unit != "%"} | {unit: unit for unit in syntax.UNITS}
ESCAPE = re.compile(r"\\(.)")
FLAGS = {"true": True, "false": False}
FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}

NESTING = frozenset("pipe chain timed short compare implies binary negate group_of paren items call".split())
"""The rules that make a tree deeper."""

OPENERS = {
    "use": "a name or a quoted text", "include": "a name or a quoted text",
    "param": "a name", "let": "a name", "def": "a name",
    "group": "a selector", "train": "`{`", "init": "`{`", "assert": "a claim",
}  # fmt: skip
"""What must follow a word that opens an item; by itself it would read as the name of a stage."""

BLOCKS = frozenset({"train", "batch", "init"})


class _Ensures(NamedTuple):
    span: Span
    claim: syntax.Expr


class _Path(NamedTuple):
    span: Span
    path: syntax.Name | syntax.Text
    args: tuple[syntax.Arg, ...]


Piece = Any
"""A child of a Lark tree once built: a Lark token, a syntax node, or one of the helpers above."""


class Builder:
    """Builds the nodes of one source. `base` is where the parsed text starts; `docs` holds doc comments by line."""

    def __init__(self, source: Source, base: int = 0, docs: Mapping[int, str] | None = None) -> None:
        self.source = source
        self.base = base
        self.docs = docs or {}
        self.said: list[Diagnostic] = []

    def build(self, tree: Tree[Token]) -> Piece:
        """The syntax of a Lark tree, or None when it nests too deep, which is then said."""
        order: list[Tree[Token]] = [tree]
        level = {id(tree): 0}
        for subtree in order:
            depth = level[id(subtree)] + (subtree.data in NESTING)
            if depth > MAX_DEPTH:
                self.said.append(say.nesting(self._first(subtree), MAX_DEPTH))
                return None
            for child in subtree.children:
                if isinstance(child, Tree):
                    level[id(child)] = depth
                    order.append(child)
        built: dict[int, Piece] = {}
        methods: dict[str, Callable[[list[Piece]], Piece]] = {}
        for subtree in reversed(order):
            rule = str(subtree.data)
            method = methods.get(rule)
            if method is None:
                method = methods[rule] = getattr(self, f"_{rule}")
            built[id(subtree)] = method([built[id(c)] if isinstance(c, Tree) else c for c in subtree.children])
        return built[id(tree)]

    def _first(self, tree: Tree[Token]) -> Span:
        """The place of the first token of a tree."""
        at: Tree[Token] | Token = tree
        while isinstance(at, Tree):
            at = at.children[0]
        return self._place(at)

    def _place(self, token: Token) -> Span:
        return Span(self.source, cast(int, token.start_pos) + self.base, cast(int, token.end_pos) + self.base)

    def _at(self, piece: Piece) -> Span:
        return self._place(piece) if isinstance(piece, Token) else piece.span

    def _over(self, pieces: Sequence[Piece]) -> Span:
        """From the first piece to the last."""
        return Span(self.source, self._at(pieces[0]).start, self._at(pieces[-1]).end)

    # Items.

    def _file(self, items: list[Piece]) -> tuple[syntax.Item, ...]:
        return tuple(items)

    def _use(self, p: list[Piece]) -> syntax.Use:
        path: _Path = p[1]
        return syntax.Use(self._over(p), path.path, path.args, str(p[3]) if len(p) > 2 else None, include=False)

    def _include(self, p: list[Piece]) -> syntax.Use:
        path: _Path = p[1]
        return syntax.Use(self._over(p), path.path, path.args, None, include=True)

    def _path(self, p: list[Piece]) -> _Path:
        head = self._text(p[:1]) if p[0].type == "STRING" else self._plain(p[0])
        return _Path(self._over(p), head, self._args(p[2:-1]))

    def _param(self, p: list[Piece]) -> syntax.Param:
        type_, value = self._type_and_value(p[2:])
        return syntax.Param(self._over(p), str(p[1]), self._place(p[1]), type_, value, self._doc(p[0]))

    def _let(self, p: list[Piece]) -> syntax.Let:
        type_, value = self._type_and_value(p[2:])
        return syntax.Let(self._over(p), str(p[1]), self._place(p[1]), type_, cast(syntax.Expr, value), self._doc(p[0]))

    def _type_and_value(self, p: list[Piece]) -> tuple[syntax.Type | None, syntax.Expr | None]:
        """Of what stands behind a name: `: type`, `= value`, both or neither."""
        type_ = value = None
        for sign, piece in zip(p[::2], p[1::2], strict=True):
            if sign.type == "COLON":
                type_ = piece
            else:
                value = piece
        return type_, value

    def _def(self, p: list[Piece]) -> syntax.Def:
        formals = tuple(c for c in p if isinstance(c, syntax.Formal))
        ensures = tuple(c.claim for c in p if isinstance(c, _Ensures))
        body = p[-1 - len(ensures)]
        return syntax.Def(
            self._over(p), str(p[0]), str(p[1]), self._place(p[1]), formals, body, ensures, self._doc(p[0])
        )

    _curve = _modifier = _def

    def _ensures(self, p: list[Piece]) -> _Ensures:
        return _Ensures(self._over(p), p[1])

    def _formal(self, p: list[Piece]) -> syntax.Formal:
        type_, value = self._type_and_value(p[1:])
        return syntax.Formal(self._over(p), str(p[0]), type_, value)

    def _type(self, p: list[Piece]) -> syntax.Type:
        span = self._over(p)
        is_list = isinstance(p[0], Token) and p[0].type == "LIST_OF"
        inner = p[1:] if is_list else p
        if isinstance(inner[0], Token) and inner[0].type == "LBRACE":
            words = tuple(
                self._text([w]).value if w.type == "STRING" else str(w) for w in inner[1:-1] if w.type != "COMMA"
            )
            return syntax.Type(span, "word", is_list, words, ())
        at = next(i for i, c in enumerate(inner) if isinstance(c, Token) and c.type == "KIND")
        bounds: list[syntax.Bound] = []
        if at:
            bounds.append(syntax.Bound(self._over(inner[:2]), FLIPPED[str(inner[1])], inner[0]))
        if at + 1 < len(inner):
            bounds.append(syntax.Bound(self._over(inner[-2:]), str(inner[-2]), inner[-1]))
        return syntax.Type(span, str(inner[at]), is_list, (), tuple(bounds))

    def _bind(self, p: list[Piece]) -> syntax.Bind:
        return syntax.Bind(self._over(p), p[0], p[1].type == "MULEQ", p[2])

    def _target(self, p: list[Piece]) -> syntax.Target:
        token: Token = p[0]
        place = self._place(token)
        if token.type == "STRING":
            return syntax.Target(place, self._text(p).value, None, quoted=True)
        if token.type == "INDEXED":
            indexed = self._indexed(p)
            return syntax.Target(place, indexed.name, indexed.index, quoted=False)
        if "." in token:
            self.said.append(say.dotted(token.rpartition(".")[2], place, "a binding"))
        return syntax.Target(place, str(token), None, quoted=False)

    def _block(self, p: list[Piece]) -> syntax.Block:
        return syntax.Block(self._over(p), tuple(p[1:-1]))

    def _group(self, p: list[Piece]) -> syntax.Group:
        return syntax.Group(self._over(p), p[1], p[2].binds)

    def _train(self, p: list[Piece]) -> syntax.Settings:
        for bind in p[1].binds:
            if bind.relative:
                self.said.append(say.relative_setting(bind.target.text, str(p[0]), bind.span))
        return syntax.Settings(self._over(p), str(p[0]), p[1].binds)

    _batch = _train

    def _init(self, p: list[Piece]) -> syntax.Init:
        return syntax.Init(self._over(p), tuple(p[2:-1]))

    def _rule(self, p: list[Piece]) -> syntax.Rule:
        return syntax.Rule(self._over(p), p[0], p[2])

    def _selectors(self, p: list[Piece]) -> syntax.Selectors:
        found: tuple[list[syntax.Selector], list[syntax.Selector]] = ([], [])
        side = 0
        for piece in p:
            if isinstance(piece, syntax.Selector):
                found[side].append(piece)
            elif piece.type == "EXCEPT":
                side = 1
        return syntax.Selectors(self._over(p), tuple(found[0]), tuple(found[1]))

    def _selector(self, p: list[Piece]) -> syntax.Selector:
        token: Token = p[0]
        span = self._over(p)
        if token.type == "STRING":
            return syntax.Selector(span, "glob", self._text(p).value)
        if token.type == "NAME":
            return syntax.Selector(span, "type", str(token))
        written = str(p[2])
        number = 0
        if written.isdecimal() and len(written) <= MAX_INDEX_DIGITS:
            number = int(written)
        else:
            self.said.append(say.dimensions(self._place(p[2])))
        return syntax.Selector(span, "ndim", "ndim", str(p[1]), number)

    def _assertion(self, p: list[Piece]) -> syntax.Assert:
        return syntax.Assert(self._over(p), p[1])

    def _bare(self, p: list[Piece]) -> syntax.Bare:
        value = p[0]
        match value:
            case syntax.Text():
                self.said.append(say.quoted(value.value, value.span))
            case syntax.Compare(left=syntax.Name() | syntax.Indexed(), op="=="):
                between = Span(self.source, value.left.span.end, value.right.span.start)
                sign = between.start + between.text.index("==")
                place = Span(self.source, sign, sign + 2)
                self.said.append(say.binding("==", place, f"{value.left.span.text} = …", "a binding"))
            case syntax.Name() if value.text in OPENERS:
                end = Span(self.source, value.span.end, value.span.end)
                self.said.append(say.expected(OPENERS[value.text], value.text, end, "nothing follows it"))
            case syntax.Call(short=True) if value.name.text in BLOCKS:
                first = value.args[0].span
                word = value.name.text
                self.said.append(say.expected("`{`", word, first, f"found `{first.text}`", f"write `{word} {{ … }}`"))
        return syntax.Bare(value.span, value)

    def _doc(self, opening: Token) -> str | None:
        """The doc comment directly above the line that this token opens."""
        if not self.docs:
            return None
        start = self._place(opening).start
        line = self.source.line_of(start)
        before = self.source.text[self.source.line_starts[line] : start]
        return None if before.strip("\ufeff \t\r\f\v") else self.docs.get(line)

    # Expressions.

    def _pipe(self, p: list[Piece]) -> syntax.Pipe:
        modifier = self._plain(p[2]) if isinstance(p[2], Token) else p[2]
        return syntax.Pipe(self._over(p), p[0], modifier)

    def _chain(self, p: list[Piece]) -> syntax.Chain:
        return syntax.Chain(self._over(p), tuple(p[::2]))

    def _timed(self, p: list[Piece]) -> syntax.Timed:
        return syntax.Timed(self._over(p), p[0], str(p[1]), p[2], self._place(p[1]))

    def _implies(self, p: list[Piece]) -> syntax.Implies:
        return syntax.Implies(self._over(p), p[0], p[2])

    def _compare(self, p: list[Piece]) -> syntax.Compare:
        return syntax.Compare(self._over(p), p[0], str(p[1]), p[2])

    def _binary(self, p: list[Piece]) -> syntax.Binary:
        return syntax.Binary(self._over(p), p[0], str(p[1]), p[2])

    def _negate(self, p: list[Piece]) -> syntax.Negate:
        return syntax.Negate(self._over(p), p[1])

    def _group_of(self, p: list[Piece]) -> syntax.GroupOf:
        return syntax.GroupOf(self._over(p), p[0], self._text(p[2:]))

    def _paren(self, p: list[Piece]) -> syntax.Paren:
        return syntax.Paren(self._over(p), p[1])

    def _items(self, p: list[Piece]) -> syntax.Items:
        last = p[-1]
        unit = str(last) if last.type == "UNIT" else None
        inner = p[1 : -1 if unit is None else -2]
        return syntax.Items(
            self._over(p),
            tuple(c for c in inner if not isinstance(c, Token)),
            None if unit is None else UNIT[unit],
            None if unit is None else self._place(last),
        )

    def _short(self, p: list[Piece]) -> syntax.Call:
        return syntax.Call(self._over(p), self._plain(p[0]), self._args(p[1:]), short=True)

    def _call(self, p: list[Piece]) -> syntax.Call:
        return syntax.Call(self._over(p), self._plain(p[0]), self._args(p[2:-1]), short=False)

    def _named(self, p: list[Piece]) -> syntax.Arg:
        name = str(p[0])[:-1].rstrip()
        start = self._place(p[0]).start
        value = p[1]
        if isinstance(value, Token):
            value = syntax.Negate(self._over(p[1:]), self._number(p[2:]))
        return syntax.Arg(self._over(p), name, value, Span(self.source, start, start + len(name)))

    _short_named = _named

    def _args(self, p: list[Piece]) -> tuple[syntax.Arg, ...]:
        return tuple(
            c if isinstance(c, syntax.Arg) else syntax.Arg(c.span, None, c, None) for c in p if not isinstance(c, Token)
        )

    def _plain(self, token: Token) -> syntax.Name:
        """A name as it stands, `true` and `false` included: before arguments and behind `|` they are no values."""
        return syntax.Name(self._place(token), tuple(token.split(".")))

    def _name(self, p: list[Piece]) -> syntax.Name | syntax.Flag:
        if p[0] in FLAGS:
            return syntax.Flag(self._place(p[0]), FLAGS[p[0]])
        return self._plain(p[0])

    def _indexed(self, p: list[Piece]) -> syntax.Indexed:
        name, _, index = p[0][:-1].partition("[")
        if len(index) > MAX_INDEX_DIGITS:
            self.said.append(say.index_size(self._place(p[0]), MAX_INDEX_DIGITS))
            index = "0"
        return syntax.Indexed(self._place(p[0]), name, int(index))

    def _text(self, p: list[Piece]) -> syntax.Text:
        value = p[0][1:-1]
        return syntax.Text(self._place(p[0]), ESCAPE.sub(r"\1", value) if "\\" in value else value)

    def _number(self, p: list[Piece]) -> syntax.Number:
        place = self._place(p[0])
        match = cast("re.Match[str]", NUMBER.fullmatch(p[0]))
        mantissa, exponent, suffix, unit = match.groups()
        whole, _, part = mantissa.replace("_", "").partition(".")
        written = p[0]
        if unit is not None:
            unit = unit.strip()
            # Blanks before the unit may have been a newline or a comment.
            written = written[: match.start(4)] + unit if unit == "%" else f"{written[: match.start(4)]} {unit}"
            unit = UNIT[unit]
        value = Fraction(0)
        size = (exponent or "").lstrip("+-").lstrip("0") or "0"
        if len(whole) + len(part) > MAX_DIGITS:
            self.said.append(say.digits(place, len(whole) + len(part), MAX_DIGITS))
        elif len(size) > len(str(MAX_EXPONENT)) or int(size) > MAX_EXPONENT:
            self.said.append(say.exponent(place, MAX_EXPONENT))
        else:
            power = (-int(size) if exponent and exponent[0] == "-" else int(size)) - len(part)
            top = int(whole + part) * SUFFIX.get(suffix, 1)
            value = Fraction(top * 10**power) if power >= 0 else Fraction(top, 10**-power)
        return syntax.Number(place, value, unit, str(written))
