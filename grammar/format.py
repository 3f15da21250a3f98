"""The canonical text of a syntax tree.

One item a line, `=` and `:` of a block in one column, chains of more than 100 columns broken before `->` and `|`.
Comments, parentheses and the spelling of numbers stay as written, and so does one blank line where there were some.
Laws, tested on every program there is: the text has the tree it was made from, and formatting it again changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from schedc.compiler.source import Source, Span
from schedc.grammar import layout, syntax

WIDTH = 100
INDENT = "  "
WIDEST_COLUMN = 40
"""A target or selector longer than this stays out of the column of `=` or `:`."""

IMPLIES, PIPE, CHAIN, TIMED, STAGE, SUM, PRODUCT, UNARY, POWER, OPERAND, ATOM = range(11)
"""How tightly the kinds of expressions bind, loosest first."""

BINDING = {"+": SUM, "-": SUM, "*": PRODUCT, "/": PRODUCT, "^": POWER}
FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
WORD = re.compile(r"(?!(?:for|until)\b)[A-Za-z_][A-Za-z0-9_]*")
DOC = re.compile(r"##+")
JOINED = re.compile(r"->|[|+\-*/^<>]|[=!]=|(?:for|until|ensures)\b")
"""The start of a line that the line above would swallow."""


def format_program(program: syntax.Program) -> str:
    """The canonical text of a file; it ends with a newline unless it is empty."""
    lines = _Printer(program).lines()
    return "".join(f"{line}\n" for line in lines)


def format_string(program: syntax.Program) -> str:
    """The canonical text of a one-line string, items joined by `;`. Comments between them need lines of their own."""
    comments = program.comments
    if len(comments) > 1 or any(c.span.start < item.span.end for c in comments for item in program.items):
        return format_program(program)
    line = "; ".join(_one_line(item) for item in program.items)
    return "  ".join([line] * bool(line) + [c.text for c in comments])


def expression_text(expr: syntax.Expr) -> str:
    """One expression on one line. Parentheses that a tree made by hand lacks are put in."""
    return _text(expr, IMPLIES)


def same(a: object, b: object) -> bool:
    """Whether two trees are equal, their places and comments aside."""
    if isinstance(a, syntax.Program) and isinstance(b, syntax.Program):
        return a.doc == b.doc and same(a.items, b.items)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if type(a) is not type(b):
        return False
    if isinstance(a, Span | Source):
        return True
    if is_dataclass(a):
        return all(f.name.endswith("span") or same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    return a == b


def _level(expr: syntax.Expr) -> int:
    """How tightly an expression binds."""
    match expr:
        case syntax.Implies():
            return IMPLIES
        case syntax.Pipe():
            return PIPE
        case syntax.Chain():
            return CHAIN
        case syntax.Timed():
            return TIMED
        case syntax.Compare() | syntax.Call(short=True):
            return STAGE
        case syntax.Binary():
            return BINDING[expr.op]
        case syntax.Negate():
            return UNARY
        case syntax.GroupOf():
            return OPERAND
        case _:
            return ATOM


def _text(expr: syntax.Expr, least: int) -> str:
    """An expression where one that binds at least so tightly belongs."""
    text = _bare(expr)
    return f"({text})" if _level(expr) < least else text


def _bare(expr: syntax.Expr) -> str:
    match expr:
        case syntax.Implies():
            return f"{_text(expr.left, PIPE)} implies {_text(expr.right, IMPLIES)}"
        case syntax.Pipe():
            return f"{_text(expr.body, PIPE)} | {_bare(expr.modifier)}"
        case syntax.Chain():
            return " -> ".join(_text(stage, TIMED) for stage in expr.stages)
        case syntax.Timed():
            return f"{_text(expr.body, TIMED)} {expr.word} {_text(expr.amount, SUM)}"
        case syntax.Compare():
            return f"{_text(expr.left, SUM)} {expr.op} {_text(expr.right, SUM)}"
        case syntax.Binary(op="^"):
            return f"{_text(expr.left, OPERAND)}^{_text(expr.right, UNARY)}"
        case syntax.Binary():
            level = BINDING[expr.op]
            return f"{_text(expr.left, level)} {expr.op} {_text(expr.right, level + 1)}"
        case syntax.Negate():
            return f"-{_text(expr.body, UNARY)}"
        case syntax.Number():
            return expr.written
        case syntax.Name():
            return expr.text
        case syntax.Indexed():
            return f"{expr.name}[{expr.index}]"
        case syntax.Text():
            return _quoted(expr.value)
        case syntax.Flag():
            return "true" if expr.value else "false"
        case syntax.Items():
            unit = "" if expr.unit is None else expr.unit if expr.unit == "%" else f" {expr.unit}"
            return f"[{', '.join(_text(i, PIPE) for i in expr.items)}]{unit}"
        case syntax.Call(short=True):
            return " ".join([expr.name.text, *(_short_arg(a) for a in expr.args)])
        case syntax.Call():
            return f"{expr.name.text}({_args(expr.args)})"
        case syntax.Paren():
            return f"({_text(expr.body, IMPLIES)})"
        case syntax.GroupOf():
            return f"{_text(expr.body, ATOM)} of {_quoted(expr.selector.value)}"


def _args(args: Sequence[syntax.Arg]) -> str:
    return ", ".join(f"{a.name}={_text(a.value, PIPE)}" if a.name else _text(a.value, PIPE) for a in args)


def _short_arg(arg: syntax.Arg) -> str:
    if arg.name is None:
        return _text(arg.value, ATOM)
    signed = isinstance(arg.value, syntax.Negate) and isinstance(arg.value.body, syntax.Number)
    return f"{arg.name}={_text(arg.value, UNARY if signed else ATOM)}"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _type(type_: syntax.Type) -> str:
    """`number > 0`, `0 < number < 1`, `{linear, cosine}`, `list of duration`."""
    kind = type_.kind
    if kind == "word":
        kind = f"{{{', '.join(w if WORD.fullmatch(w) else _quoted(w) for w in type_.words)}}}"
    text = f"list of {kind}" if type_.is_list else kind
    bounds = list(type_.bounds)
    if len(bounds) == 2:
        low = bounds.pop(0)
        text = f"{_text(low.limit, SUM)} {FLIPPED[low.op]} {text}"
    for bound in bounds:
        text = f"{text} {bound.op} {_text(bound.limit, SUM)}"
    return text


def _typed(name: str, type_: syntax.Type | None) -> str:
    return name if type_ is None else f"{name}: {_type(type_)}"


def _formal(formal: syntax.Formal) -> str:
    text = _typed(formal.name, formal.type)
    return text if formal.default is None else f"{text} = {_text(formal.default, PIPE)}"


def _target(target: syntax.Target) -> str:
    return _quoted(target.name) if target.quoted else target.text


def _selector(selector: syntax.Selector) -> str:
    if selector.kind == "glob":
        return _quoted(selector.text)
    return f"ndim {selector.op} {selector.number}" if selector.kind == "ndim" else selector.text


def _selectors(selectors: syntax.Selectors) -> str:
    union = ", ".join(_selector(s) for s in selectors.union)
    return union + (f" except {', '.join(_selector(s) for s in selectors.excepted)}" if selectors.excepted else "")


class _Head(NamedTuple):
    """What stands before the value of an item, with its sign, and the value."""

    text: str
    value: syntax.Expr | None


def _head(node: syntax.Item | syntax.Rule, width: int = 0, sign_width: int = 0) -> _Head:
    """An item that has no block. `width` is that of the column before the sign."""
    match node:
        case syntax.Use():
            path = _bare(node.path) + (f"({_args(node.args)})" if node.args else "")
            word = "include" if node.include else "use"
            return _Head(f"{word} {path}" + (f" as {node.alias}" if node.alias else ""), None)
        case syntax.Param() | syntax.Let():
            word, value = ("param", node.default) if isinstance(node, syntax.Param) else ("let", node.value)
            head = f"{word} {_typed(node.name, node.type)}"
            return _Head(head if value is None else f"{head} = ", value)
        case syntax.Bind():
            sign = "*=" if node.relative else "="
            return _Head(f"{_target(node.target):<{width}} {sign:>{sign_width}} ", node.value)
        case syntax.Rule():
            return _Head(f"{_selectors(node.selectors):<{width}} : ", node.value)
        case syntax.Assert():
            return _Head("assert ", node.claim)
        case syntax.Bare():
            return _Head("", node.value)
        case syntax.Def():
            head = f"{node.kind} {node.name}({', '.join(_formal(f) for f in node.formals)})"
            return _Head(head, None) if isinstance(node.body, syntax.Block) else _Head(f"{head} = ", node.body)
        case syntax.Group():
            return _Head(f"group {_selectors(node.selectors)}", None)
        case syntax.Settings():
            return _Head(node.kind, None)
        case syntax.Init():
            return _Head("init", None)


def _entries(node: syntax.Item) -> Sequence[syntax.Bind | syntax.Rule] | None:
    """The entries of an item's block, if it has one."""
    match node:
        case syntax.Group() | syntax.Settings():
            return node.binds
        case syntax.Init():
            return node.rules
        case syntax.Def(body=syntax.Block() as body):
            return body.binds
        case _:
            return None


def _one_line(node: syntax.Item | syntax.Rule) -> str:
    """An item on one line, with its block."""
    head = _head(node)
    text = head.text + ("" if head.value is None else _text(head.value, IMPLIES))
    if isinstance(node, syntax.Def):
        text += "".join(f" ensures {_text(e, IMPLIES)}" for e in node.ensures)
    entries = None if isinstance(node, syntax.Rule) else _entries(node)
    if entries is None:
        return text
    return f"{text} {{ {'; '.join(_one_line(e) for e in entries)} }}" if entries else f"{text} {{}}"


def _parts(expr: syntax.Expr) -> list[tuple[str, syntax.Expr]]:
    """A chain or a pipe, cut where it may be broken: each part with the sign before it."""
    if isinstance(expr, syntax.Pipe):
        return [*_parts(expr.body), ("| ", expr.modifier)] if _level(expr.body) >= PIPE else [("", expr)]
    if isinstance(expr, syntax.Chain):
        return [("-> " if i else "", stage) for i, stage in enumerate(expr.stages)]
    return [("", expr)]


Comments = list[syntax.Comment]
Piece = syntax.Item | syntax.Rule | syntax.Formal


class _Rendered(NamedTuple):
    """An item as lines, and the comments inside it that found no place in them: they go above it."""

    lines: list[str]
    above: list[str]


class _Printer:
    """Lays out one program. Comments are found again by their places in its source."""

    def __init__(self, program: syntax.Program) -> None:
        self.program = program
        self.source = program.source.text

    def lines(self) -> list[str]:
        return self._sequence(self.program.items, list(self.program.comments), "", self._item)

    def _sequence(
        self,
        nodes: Sequence[Piece],
        comments: Comments,
        indent: str,
        render: Callable[[Any, str, Comments], _Rendered],
        suffix: str = "",
    ) -> list[str]:
        """Items, or entries of a block, with the comments among them."""
        out: list[str] = []
        last: int | None = None
        last_node: int | None = None
        run = 0
        for kind, element, inner in self._merge(nodes, comments):
            start, end = element.span.start, element.span.end
            if last is not None and self._blank_between(last, start):
                out.append("")
                run = len(out)
            if kind == "behind" and last_node is not None and out[-1] and last_node == len(out) - 1:
                out[-1] = f"{out[-1]}  {element.text}"
                last_node = None
            elif kind in ("alone", "behind"):
                # One behind a lone `;` documents nothing, and must not begin to.
                text = element.text if kind == "alone" else DOC.sub("#", element.text)
                out.append(f"{indent}{text}")
            else:
                rendered = render(element, indent, inner)
                above = [f"{indent}{c}" for c in rendered.above]
                at = run if getattr(element, "doc", None) is not None else len(out)
                out[at:at] = above
                if JOINED.match(rendered.lines[0].lstrip()):
                    self._end_item(out)
                out.extend(rendered.lines)
                out[-1] += suffix
                last_node = len(out) - 1
                run = len(out)
            last = end
        return out

    def _end_item(self, out: list[str]) -> None:
        """Put a `;` behind the last item, for the next line starts like the rest of one."""
        for i in range(len(out) - 1, -1, -1):
            tokens, remarks = layout.scan(out[i])
            if tokens:
                comment = f"  {remarks[0].text}" if remarks else ""
                out[i] = f"{out[i][: tokens[-1].end]};{comment}"
                return

    def _blank_between(self, end: int, start: int) -> bool:
        return self.source.count("\n", end, start) > 1

    def _merge(self, nodes: Sequence[Piece], comments: Comments) -> Iterator[tuple[str, Any, Comments]]:
        """Nodes and the comments outside them in the order of the text; each node with the comments inside it."""
        at = 0
        for node in nodes:
            while at < len(comments) and comments[at].span.start < node.span.start:
                yield ("alone" if comments[at].alone else "behind"), comments[at], []
                at += 1
            first = at
            while at < len(comments) and comments[at].span.start < node.span.end:
                at += 1
            yield "node", node, comments[first:at]
        for comment in comments[at:]:
            yield ("alone" if comment.alone else "behind"), comment, []

    def _item(self, node: syntax.Item, indent: str, comments: Comments) -> _Rendered:
        entries = _entries(node)
        if entries is not None:
            return self._block(node, entries, indent, comments)
        if isinstance(node, syntax.Def):
            return self._formula(node, indent, comments)
        return self._value(_head(node), indent, comments)

    def _value(self, head: _Head, indent: str, comments: Comments, ensures: Sequence[syntax.Expr] = ()) -> _Rendered:
        """An item that ends with an expression. A chain is broken if it is long or has comments between its stages."""
        first, inner = indent + head.text, indent + INDENT
        if head.value is None:
            return self._loose([first], comments)
        rows = [(head.value.span, first + _text(head.value, IMPLIES))]
        parts = _parts(head.value)
        gaps = [(a.span.end, b.span.start) for (_, a), (_, b) in pairwise(parts)]
        if len(rows[0][1]) > WIDTH or any(start <= c.span.start < end for c in comments for start, end in gaps):
            texts = [sign + _text(part, STAGE if sign == "| " else TIMED) for sign, part in parts]
            rows = [(part.span, inner + text) for (_, part), text in zip(parts, texts, strict=True)]
            rows[0] = (parts[0][1].span, first + (texts[0] if len(parts) > 1 else _text(head.value, IMPLIES)))
        rows += [(claim.span, f"{inner}ensures {_text(claim, IMPLIES)}") for claim in ensures]
        return self._rows(rows, inner, comments)

    def _rows(self, rows: Sequence[tuple[Span, str]], inner: str, comments: Comments) -> _Rendered:
        """The lines of one item, with the comments between them; those inside a line's expression stay loose."""
        lines: list[str] = []
        loose: Comments = []
        at = 0
        for i, (span, text) in enumerate(rows):
            behind = i > 0
            while at < len(comments) and comments[at].span.start < span.start:
                comment = comments[at]
                if i == 0:
                    loose.append(comment)
                elif behind and not comment.alone:
                    lines[-1] += f"  {comment.text}"
                else:
                    lines.append(inner + comment.text)
                behind = False
                at += 1
            while at < len(comments) and comments[at].span.start < span.end:
                loose.append(comments[at])
                at += 1
            lines.append(text)
        return self._loose(lines, [*loose, *comments[at:]])

    def _loose(self, lines: list[str], comments: Comments) -> _Rendered:
        """Comments inside an expression go above its item. There `##` would make a doc comment of one: a `#` goes."""
        return _Rendered(lines, [DOC.sub("#", c.text) for c in comments])

    def _formula(self, node: syntax.Def, indent: str, comments: Comments) -> _Rendered:
        """A definition whose body is a formula."""
        head_lines, comments = self._signature(node, indent, comments)
        inner = indent + INDENT
        head = _Head(head_lines[-1].removeprefix(indent) + " = ", _as_expr(node.body))
        done = self._value(head, indent, comments, node.ensures)
        if len(done.lines[0]) > WIDTH and len(head_lines) == 1:
            body = self._value(_Head("", head.value), inner, comments, node.ensures)
            done = body._replace(lines=[f"{indent}{head.text}".rstrip(), *body.lines])
        return done._replace(lines=[*head_lines[:-1], *done.lines])

    def _signature(self, node: syntax.Def, indent: str, comments: Comments) -> tuple[list[str], Comments]:
        """The head of a definition, one parameter a line where it is too long or has comments; the comments left."""
        one = f"{indent}{_head(node).text}".removesuffix(" = ")
        if not node.formals:
            return [one], comments
        # No node holds the closing parenthesis, and a comment before it may hold another.
        last = node.formals[-1].span.end
        tokens, _ = layout.scan(self.source[last : node.body.span.start])
        closing = last + next((t.start for t in tokens if t.text == ")"), 0)
        among = [c for c in comments if c.span.start < closing]
        if not among and len(one) <= WIDTH:
            return [one], comments
        rows = self._sequence(node.formals, among, indent + INDENT, self._formal, suffix=",")
        return [f"{indent}{node.kind} {node.name}(", *rows, f"{indent})"], comments[len(among) :]

    def _formal(self, node: syntax.Formal, indent: str, comments: Comments) -> _Rendered:
        return self._loose([indent + _formal(node)], comments)

    def _block(
        self, node: syntax.Item, entries: Sequence[syntax.Bind | syntax.Rule], indent: str, comments: Comments
    ) -> _Rendered:
        """An item with a block. One that stood on one line stays there if it fits."""
        one = indent + _one_line(node)
        if not comments and len(one) <= WIDTH and ("\n" not in node.span.text or not entries):
            return _Rendered([one], [])
        if isinstance(node, syntax.Def):
            head_lines, comments = self._signature(node, indent, comments)
            opens = node.body.span.start
        else:
            head_lines = [indent + _head(node).text]
            opens = self.source.find(
                "{", node.selectors.span.end if isinstance(node, syntax.Group) else node.span.start
            )
        before = [c for c in comments if c.span.start < opens]
        inside = [c for c in comments if c.span.start >= opens]
        head = f"{head_lines[-1]} {{"
        if not entries and not inside:
            return self._loose([*head_lines[:-1], f"{head}}}"], before)
        if (
            inside
            and not inside[0].alone
            and self.source.count("\n", opens, inside[0].span.start) == 0
            and (not entries or inside[0].span.start < entries[0].span.start)
        ):
            head = f"{head}  {inside.pop(0).text}"
        width, sign_width = _columns(entries)

        def entry(piece: syntax.Bind | syntax.Rule, deeper: str, own: Comments) -> _Rendered:
            return self._value(_head(piece, width, sign_width), deeper, own)

        body = self._sequence(entries, inside, indent + INDENT, entry)
        done = self._loose([*head_lines[:-1], head, *body, f"{indent}}}"], before)
        return done


def _as_expr(body: syntax.Expr | syntax.Block) -> syntax.Expr:
    assert not isinstance(body, syntax.Block)
    return body


def _columns(entries: Sequence[syntax.Bind | syntax.Rule]) -> tuple[int, int]:
    """The width of the column of targets or selectors, and of their signs."""
    widths = [len(_target(e.target) if isinstance(e, syntax.Bind) else _selectors(e.selectors)) for e in entries]
    relative = any(isinstance(e, syntax.Bind) and e.relative for e in entries)
    return max((w for w in widths if w <= WIDEST_COLUMN), default=0), 2 if relative else 1
