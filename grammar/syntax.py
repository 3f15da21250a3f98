"""The syntax tree: frozen dataclasses, one per construct, each with its span.

Numbers are exact from the text on. Parentheses are kept (`Paren`), so that formatting keeps them; comments are kept
beside the tree (`Program.comments`).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from schedc.compiler.source import Source, Span

UNITS = ("steps", "epochs", "samples", "tokens", "%")


@dataclass(frozen=True, slots=True)
class Node:
    """Anything with a place in the text."""

    span: Span


# Expressions, loosest binding first.


@dataclass(frozen=True, slots=True)
class Pipe(Node):
    """`body | modifier`; the modifier is a `Call` or a `Name`."""

    body: Expr
    modifier: Call | Name


@dataclass(frozen=True, slots=True)
class Chain(Node):
    """`a -> b -> c`: each stage starts where the one before it ended. At least two stages."""

    stages: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Timed(Node):
    """`body for amount` or `body until amount`; `word` is "for" or "until", `word_span` its place."""

    body: Expr
    word: str
    amount: Expr
    word_span: Span


@dataclass(frozen=True, slots=True)
class Implies(Node):
    """`a implies b`, in assertions."""

    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Compare(Node):
    """`left op right` with one of `<= >= == != < >`."""

    left: Expr
    op: str
    right: Expr


@dataclass(frozen=True, slots=True)
class Binary(Node):
    """`left op right` with one of `+ - * / ^`."""

    left: Expr
    op: str
    right: Expr


@dataclass(frozen=True, slots=True)
class Negate(Node):
    """`-body`."""

    body: Expr


@dataclass(frozen=True, slots=True)
class Number(Node):
    """A number or quantity. `value` has the suffix applied (`10k` is 10000) but not `%`; `unit` is of UNITS or None."""

    value: Fraction
    unit: str | None
    written: str


@dataclass(frozen=True, slots=True)
class Name(Node):
    """A possibly dotted name."""

    parts: tuple[str, ...]

    @property
    def text(self) -> str:
        return ".".join(self.parts)


@dataclass(frozen=True, slots=True)
class Indexed(Node):
    """`betas[1]`."""

    name: str
    index: int


@dataclass(frozen=True, slots=True)
class Text(Node):
    """A quoted text; `value` has the escapes undone."""

    value: str


@dataclass(frozen=True, slots=True)
class Flag(Node):
    """`true` or `false`."""

    value: bool


@dataclass(frozen=True, slots=True)
class Items(Node):
    """`[a, b, c]`, with the unit that stands behind it, if any."""

    items: tuple[Expr, ...]
    unit: str | None
    unit_span: Span | None


@dataclass(frozen=True, slots=True)
class Arg(Node):
    """An argument, named (`to=0.1`) or by position (`name` is None). `name_span` is the name's place."""

    name: str | None
    value: Expr
    name_span: Span | None


@dataclass(frozen=True, slots=True)
class Call(Node):
    """`cosine(10k, to=0)` or, `short`, `cosine 10k to=0`."""

    name: Name
    args: tuple[Arg, ...]
    short: bool


@dataclass(frozen=True, slots=True)
class Paren(Node):
    """`(body)`."""

    body: Expr


@dataclass(frozen=True, slots=True)
class GroupOf(Node):
    """`lr of "backbone.*"`: a binding as one param group has it; in assertions."""

    body: Expr
    selector: Text


Expr = (
    Pipe
    | Chain
    | Timed
    | Implies
    | Compare
    | Binary
    | Negate
    | Number
    | Name
    | Indexed
    | Text
    | Flag
    | Items
    | Call
    | Paren
    | GroupOf
)


# Types and definitions.


@dataclass(frozen=True, slots=True)
class Bound(Node):
    """A bound on a parameter: the value must satisfy `value op limit`."""

    op: str
    limit: Expr


@dataclass(frozen=True, slots=True)
class Type(Node):
    """`number > 0`, `{linear, cosine}`, `list of duration`. `words` is set for a word type, whose `kind` is "word"."""

    kind: str
    is_list: bool
    words: tuple[str, ...]
    bounds: tuple[Bound, ...]


@dataclass(frozen=True, slots=True)
class Formal(Node):
    """A parameter of a definition. `type` is None where it is left out (the first parameter of a curve)."""

    name: str
    type: Type | None
    default: Expr | None


@dataclass(frozen=True, slots=True)
class Target(Node):
    """What is bound: `lr`, `betas[1]`, `"my_key"`."""

    name: str
    index: int | None
    quoted: bool

    @property
    def text(self) -> str:
        return self.name if self.index is None else f"{self.name}[{self.index}]"


@dataclass(frozen=True, slots=True)
class Bind(Node):
    """`lr = S` or, `relative`, `lr *= S`."""

    target: Target
    relative: bool
    value: Expr


@dataclass(frozen=True, slots=True)
class Block(Node):
    """`{ lr = …; momentum = … }` as the body of a definition."""

    binds: tuple[Bind, ...]


@dataclass(frozen=True, slots=True)
class Def(Node):
    """`def`, `curve` or `modifier`, told apart by `kind`. A `Block` body binds several names (def only)."""

    kind: str
    name: str
    name_span: Span
    formals: tuple[Formal, ...]
    body: Expr | Block
    ensures: tuple[Expr, ...]
    doc: str | None


# Items.


@dataclass(frozen=True, slots=True)
class Use(Node):
    """`use torch`, `use "a.sched" as a`, `include recipes.gpt3(peak=1e-4)` (`include` is true).

    `path` is a dotted name (standard library) or a text (a file).
    """

    path: Name | Text
    args: tuple[Arg, ...]
    alias: str | None
    include: bool


@dataclass(frozen=True, slots=True)
class Param(Node):
    """`param peak: number > 0 = 3e-4`."""

    name: str
    name_span: Span
    type: Type | None
    default: Expr | None
    doc: str | None


@dataclass(frozen=True, slots=True)
class Let(Node):
    """`let name = …`."""

    name: str
    name_span: Span
    type: Type | None
    value: Expr
    doc: str | None


@dataclass(frozen=True, slots=True)
class Selector(Node):
    """One selector: `kind` is "glob" (`text`), "type" (`text`, as in `Linear.weight`) or "ndim" (`op`, `number`)."""

    kind: str
    text: str
    op: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class Selectors(Node):
    """A union of selectors, less another union."""

    union: tuple[Selector, ...]
    excepted: tuple[Selector, ...]


@dataclass(frozen=True, slots=True)
class Group(Node):
    """`group SELECTORS { … }`."""

    selectors: Selectors
    binds: tuple[Bind, ...]


@dataclass(frozen=True, slots=True)
class Settings(Node):
    """`train { … }` or `batch { … }`; `kind` says which."""

    kind: str
    binds: tuple[Bind, ...]


@dataclass(frozen=True, slots=True)
class Rule(Node):
    """`selectors : initialiser` in an `init` block."""

    selectors: Selectors
    value: Expr


@dataclass(frozen=True, slots=True)
class Init(Node):
    """`init { … }`."""

    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Assert(Node):
    """`assert …`."""

    claim: Expr


@dataclass(frozen=True, slots=True)
class Bare(Node):
    """A lone expression: `warmup 500 -> cosine 10k`."""

    value: Expr


Item = Use | Param | Let | Def | Bind | Group | Settings | Init | Assert | Bare


@dataclass(frozen=True, slots=True)
class Comment(Node):
    """A comment as written, `#` included. `alone` says that nothing stands before it on its line."""

    text: str
    alone: bool


@dataclass(frozen=True, slots=True)
class Program:
    """A whole text. `doc` is the file's own doc comment; definitions carry theirs."""

    source: Source
    items: tuple[Item, ...]
    comments: tuple[Comment, ...]
    doc: str | None
