"""The resolved program: every name bound to what it means, every argument matched to its parameter.

Expressions no longer hold names to look up: a `StageCall` holds its `Definition`, a `LetRef` its `Let`. Values are not
computed yet; the same definition is shared by all its calls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

from schedc.compiler.source import Source, Span
from schedc.grammar import syntax


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Literal(Node):
    """A number, or a quantity when `unit` is set (`%`: of the run, or of `start` where a level is expected)."""

    value: Fraction
    unit: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Variable(Node):
    """`t T p start base n total batch pi e inf none input fan_in fan_out numel`."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class FormalRef(Node):
    """A parameter of the definition around it."""

    name: str
    type: Type


@dataclass(frozen=True, slots=True, eq=False)
class LetRef(Node):
    """A `let` or `param` of a module."""

    let: Let


@dataclass(frozen=True, slots=True, eq=False)
class BoundRef(Node):
    """A bound name (`lr`, `betas[1]`) of the same program."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class CaptureRef(Node):
    """`{i}` of the group's selector."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class ImportedRef(Node):
    """A binding of another module: `stage1.lr`."""

    module: Module
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Word(Node):
    value: str


@dataclass(frozen=True, slots=True, eq=False)
class TextValue(Node):
    value: str


@dataclass(frozen=True, slots=True, eq=False)
class FlagValue(Node):
    value: bool


@dataclass(frozen=True, slots=True, eq=False)
class CurveRef(Node):
    """A curve given where a curve is expected."""

    curve: Definition


@dataclass(frozen=True, slots=True, eq=False)
class ListValue(Node):
    """A list; a unit behind the list has been given to its items."""

    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Apply(Node):
    """An operator or function: the names of `expressions.OPS`, and `len`, `choose`, `curve` (see resolve)."""

    name: str
    args: tuple[Expr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Choose(Node):
    """`choose(word, a = x, b = y)`."""

    word: Expr
    branches: dict[str, Expr]


@dataclass(frozen=True, slots=True, eq=False)
class CurveCall(Node):
    """`shape(p)`, where `shape` is a parameter of type curve."""

    curve: Expr
    args: tuple[Expr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class InputAt(Node):
    """`input(x)` in a modifier: the piped schedule at another local time."""

    at: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Chain(Node):
    stages: tuple[Expr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Timed(Node):
    """`body for amount` or `body until amount` (`word`)."""

    body: Expr
    word: str
    amount: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Pipe(Node):
    body: Expr
    modifier: StageCall


@dataclass(frozen=True, slots=True, eq=False)
class StageCall(Node):
    """A definition applied: a stage, or right of `|` a modifier. `args` holds what was given, by parameter name."""

    definition: Definition
    args: dict[str, Expr]


Expr = (
    Literal | Variable | FormalRef | LetRef | BoundRef | CaptureRef | ImportedRef | Word | TextValue | FlagValue |
    CurveRef
    | ListValue | Apply | Choose | CurveCall | InputAt | Chain | Timed | Pipe | StageCall
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Type:
    """A parameter's type. `kind`: number count duration level curve schedule flag text word."""

    kind: str
    is_list: bool = False
    words: tuple[str, ...] = ()
    bounds: tuple[tuple[str, Expr], ...] = ()

    def __str__(self) -> str:
        text = "{" + ", ".join(self.words) + "}" if self.kind == "word" else self.kind
        return f"list of {text}" if self.is_list else text


@dataclass(frozen=True, slots=True, eq=False)
class Formal:
    name: str
    type: Type
    default: Expr | None
    span: Span


@dataclass(eq=False)
class Definition:
    """A `def`, `curve`, `modifier`, or, `external`, something the language cannot say and the compiler knows by name.

    Body and parameters are resolved when first asked for, so that a large library costs what is used of it.
    """

    kind: str
    name: str
    module: Module
    tree: syntax.Def
    resolve: Callable[[], None] = field(repr=False, default=lambda: None)
    formals: tuple[Formal, ...] = ()
    body: Expr | None = None
    binds: tuple[Bind, ...] = ()
    ensures: tuple[Expr, ...] = ()
    external: bool = False
    ready: bool = False
    used: bool = False

    def __post_init__(self) -> None:
        self.doc = self.tree.doc

    def prepare(self) -> Definition:
        """The definition with parameters and body resolved."""
        if not self.ready:
            self.ready = True
            self.resolve()
        return self

    def formal(self, name: str) -> Formal | None:
        return next((f for f in self.formals if f.name == name), None)


@dataclass(eq=False)
class Let:
    """A `let`, or a `param` (`type` set) with the value it has in this compilation."""

    name: str
    module: Module
    span: Span
    value: Expr
    is_param: bool
    type: Type | None = None
    used: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Bind:
    """`name = value` or `name *= value`."""

    name: str
    relative: bool
    value: Expr
    span: Span
    quoted: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    selectors: syntax.Selectors
    binds: tuple[Bind, ...]
    captures: tuple[str, ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class InitRule:
    selectors: syntax.Selectors
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """An assertion, resolved by `asserts.py` when the schedules are known."""

    tree: syntax.Expr
    span: Span


@dataclass(eq=False)
class Module:
    """A resolved file. `train` and `batch` hold settings by name."""

    source: Source
    tree: syntax.Program
    name: str
    lets: dict[str, Let] = field(default_factory=dict)
    stages: dict[str, Definition] = field(default_factory=dict)
    curves: dict[str, Definition] = field(default_factory=dict)
    modifiers: dict[str, Definition] = field(default_factory=dict)
    imports: dict[str, Module] = field(default_factory=dict)
    binds: dict[str, Bind] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)
    train: dict[str, Bind] = field(default_factory=dict)
    batch: dict[str, Bind] = field(default_factory=dict)
    init: list[InitRule] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    is_library: bool = False
    unreadable: set[str] = field(default_factory=set)
    """The names of imports that failed; nothing more is said of what would come from them."""


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """The main module, with everything it reaches."""

    main: Module
    parameters: dict[str, str]
    context: dict[str, str]
