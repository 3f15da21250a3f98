"""Values over training progress, as expressions: what a segment of a Timeline computes.

An expression is a function of the position on the time axis (counted in updates, rational), which it reads only through
`Reading`; of the values a run supplies (`Var`: `base`, feedback factors, selector captures, `batch`, fans); and of
other
bindings (`Bound`). Numbers are exact. Nodes are frozen; operations on them are functions beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from fractions import Fraction
from math import floor, isqrt
from typing import Any

MAX_EXACT_BITS = 4096
"""Larger numerators and denominators stay unevaluated, so that `9^9^9^9` costs nothing until it is refused."""
MAX_WORK = 150_000
"""Looks at a part of the program that resolving or laying out may take, counted so that it is the same on every machine."""

_allowed: ContextVar[list[int] | None] = ContextVar("allowed", default=None)


class TooMuchWork(Exception):
    """The program expands to more than MAX_WORK: definitions, lets and arguments that double each other, say."""


@contextmanager
def allowance(work: int) -> Iterator[None]:
    """Inside, `spend` counts, and raises TooMuchWork once `work` is spent."""
    token = _allowed.set([work])
    try:
        yield
    finally:
        _allowed.reset(token)


def spend(work: int = 1) -> None:
    """Count work done for the program, if somebody set an allowance."""
    allowed = _allowed.get()
    if allowed is not None:
        allowed[0] -= work
        if allowed[0] < 0:
            raise TooMuchWork


@dataclass(frozen=True, slots=True)
class Num:
    """An exact number."""

    value: Fraction


@dataclass(frozen=True, slots=True)
class Const:
    """`pi`, `e` or `inf`."""

    name: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What the clock shows at the position: consumed before it, in the clock's unit.

    `table` numbers the run's clocks (0 is the file's own).
    """

    clock: str
    table: int = 0


@dataclass(frozen=True, slots=True)
class Var:
    """A value the run supplies: `base`, `batch`, `factor:0` (feedback), `capture:i` (selectors), `fan_in`, `fan_out`, `numel`."""

    name: str


@dataclass(frozen=True, slots=True)
class Bound:
    """Another binding's value in the same param group, at the same position or at the position `at`."""

    name: str
    at: Fraction | None = None


@dataclass(frozen=True, slots=True)
class Op:
    """A function or operator applied to arguments; OPS lists them."""

    name: str
    args: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Piecewise:
    """The first value whose bound the reading has not reached; the last one after all bounds.

    `values` has one more entry than `bounds`; intervals are half-open: `values[i]` holds while `reading < bounds[i]`.
    """

    reading: Expr
    bounds: tuple[Fraction, ...]
    values: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Convert:
    """What the clock `target` shows where the clock `source` shows `reading`; both of clock table `table`."""

    reading: Expr
    source: str
    target: str
    table: int = 0


Expr = Num | Const | Reading | Var | Bound | Op | Piecewise | Convert

#: Every operator: name -> number of arguments (None: any number, at least one).
OPS: dict[str, int | None] = {
    "add": 2, "sub": 2, "mul": 2, "div": 2, "neg": 1, "pow": 2,
    "exp": 1, "log": 1, "sqrt": 1, "sin": 1, "cos": 1, "tan": 1, "tanh": 1,
    "abs": 1, "floor": 1, "ceil": 1, "round": 1, "min": None, "max": None, "mod": 2, "clamp": 3,
    "if": 3, "lt": 2, "le": 2, "gt": 2, "ge": 2, "eq": 2, "ne": 2,
    "passed": None,  # passed(x, m1, m2, …): how many of the m are <= x
    "pick": None,  # pick(i, v0, v1, …): the value numbered i, from 0; the last one beyond
    "product": None,  # product(i, v0, v1, …): the product of the first i values
}  # fmt: skip

ZERO = Num(Fraction(0))
ONE = Num(Fraction(1))
STEPS = Reading("steps")


def num(value: Fraction | int) -> Num:
    """The exact number."""
    return Num(Fraction(value))


def children(expr: Expr) -> tuple[Expr, ...]:
    """The expressions directly inside."""
    match expr:
        case Op(_, args):
            return args
        case Piecewise(reading, _, values):
            return (reading, *values)
        case Convert(reading, _, _, _):
            return (reading,)
    return ()


def walk(expr: Expr) -> Iterator[Expr]:
    """The expression and everything inside it, each distinct object once."""
    seen: set[int] = set()
    stack: list[Expr] = [expr]
    while stack:
        e = stack.pop()
        if id(e) not in seen:
            seen.add(id(e))
            yield e
            stack.extend(children(e))


def rebuild(expr: Expr, change: Callable[[Expr], Expr | None]) -> Expr:
    """The expression with every subexpression for which `change` answers replaced, outermost first, and simplified."""
    spend()
    changed = change(expr)
    if changed is not None:
        return changed
    match expr:
        case Op(name, args):
            new = tuple(rebuild(a, change) for a in args)
            return expr if all(a is b for a, b in zip(new, args, strict=True)) else op(name, *new)
        case Piecewise(reading, bounds, values):
            return piecewise(rebuild(reading, change), bounds, tuple(rebuild(v, change) for v in values))
        case Convert(reading, source, target, table):
            return Convert(rebuild(reading, change), source, target, table)
    return expr


def variables(expr: Expr) -> set[str]:
    """The names of all `Var` inside."""
    return {e.name for e in walk(expr) if isinstance(e, Var)}


def extent(expr: Expr) -> tuple[int, int]:
    """How many parts the expression has when written out, and how many of them stand inside each other."""
    known: dict[int, tuple[int, int]] = {}
    stack = [expr]
    while stack:
        e = stack[-1]
        inside = children(e)
        missing = [c for c in inside if id(c) not in known]
        if missing and id(e) not in known:
            stack += missing
            continue
        stack.pop()
        sizes = [known[id(c)] for c in inside]
        known[id(e)] = 1 + sum(s for s, _ in sizes), 1 + max((d for _, d in sizes), default=0)
    return known[id(expr)]


def is_constant(expr: Expr) -> bool:
    """Whether the value is the same at every position: it reads no clock, batch, feedback or other binding."""
    for e in walk(expr):
        if isinstance(e, Reading | Bound) or (
            isinstance(e, Var) and (e.name == "batch" or e.name.startswith("factor:"))
        ):
            return False
    return True


def is_small(value: Fraction) -> bool:
    """Whether an exact number is short enough to hold."""
    return value.numerator.bit_length() + value.denominator.bit_length() <= MAX_EXACT_BITS


def _power(base: Fraction, exponent: Fraction) -> Fraction | None:
    """An exact power, or None where it is irrational, undefined or too large to hold."""
    if exponent == 0:
        return Fraction(1)
    if base == 0:
        return Fraction(0) if exponent > 0 else None
    if exponent.denominator == 1:
        n = int(exponent)
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        return None if bits * abs(n) > MAX_EXACT_BITS and abs(base) != 1 else base**n
    if exponent.denominator == 2 and base > 0:
        root = exact_sqrt(base)
        return None if root is None else _power(root, Fraction(exponent.numerator))
    return None


def exact_sqrt(value: Fraction) -> Fraction | None:
    """The square root where it is rational."""
    if value < 0:
        return None
    a, b = isqrt(value.numerator), isqrt(value.denominator)
    return Fraction(a, b) if a * a == value.numerator and b * b == value.denominator else None


def round_half_up(value: Fraction) -> int:
    """The nearest whole number; halves go up."""
    return floor(value + Fraction(1, 2))


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "lt": lambda a, b: a < b, "le": lambda a, b: a <= b, "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b, "eq": lambda a, b: a == b, "ne": lambda a, b: a != b,
}  # fmt: skip


def fold(name: str, args: tuple[Fraction, ...]) -> Fraction | None:
    """The operator applied to exact numbers, or None where the result is not an exact number."""
    a = args[0]
    match name:
        case "add":
            return a + args[1]
        case "sub":
            return a - args[1]
        case "mul":
            return a * args[1]
        case "div":
            return a / args[1] if args[1] else None
        case "neg":
            return -a
        case "pow":
            return _power(a, args[1])
        case "sqrt":
            return exact_sqrt(a)
        case "abs":
            return abs(a)
        case "floor":
            return Fraction(floor(a))
        case "ceil":
            return Fraction(-floor(-a))
        case "round":
            return Fraction(round_half_up(a))
        case "min":
            return min(args)
        case "max":
            return max(args)
        case "mod":
            return a - args[1] * floor(a / args[1]) if args[1] else None
        case "clamp":
            return min(max(a, args[1]), args[2])
        case "if":
            return args[1] if a else args[2]
        case "passed":
            return Fraction(sum(1 for m in args[1:] if m <= a))
        case "pick":
            return args[1:][max(0, min(floor(a), len(args) - 2))]
        case "product":
            out = Fraction(1)
            for v in args[1 : 1 + max(0, floor(a))]:
                out *= v
            return out
        case "exp":
            return Fraction(1) if a == 0 else None
        case "log":
            return Fraction(0) if a == 1 else None
        case "sin" | "tan" | "tanh":
            return Fraction(0) if a == 0 else None
        case "cos":
            return Fraction(1) if a == 0 else None
    if name in _COMPARE:
        return Fraction(int(_COMPARE[name](a, args[1])))
    raise ValueError(f"no operator {name}")


#: Cosines that are rational, by the angle in half turns.
_COSINES = {
    Fraction(0): Fraction(1), Fraction(1, 3): Fraction(1, 2), Fraction(1, 2): Fraction(0), Fraction(2, 3): Fraction(-1,
    2),
    Fraction(1): Fraction(-1), Fraction(4, 3): Fraction(-1, 2), Fraction(3, 2): Fraction(0), Fraction(5, 3): Fraction(1,
    2),
}  # fmt: skip


def _half_turns(angle: Expr) -> Fraction | None:
    """The angle as a rational multiple of pi, where its form shows it."""
    match angle:
        case Const("pi"):
            return Fraction(1)
        case Op("mul", (Num(value), Const("pi"))) | Op("mul", (Const("pi"), Num(value))):
            return value
        case Op("div", (Const("pi"), Num(value))) if value != 0:
            return 1 / value
        case Op("div", (Op("mul", (Num(a), Const("pi"))), Num(b))) if b != 0:
            return a / b
        case Op("neg", (inner,)):
            turns = _half_turns(inner)
            return None if turns is None else -turns
    return None


def op(name: str, *args: Expr) -> Expr:
    """The operator applied, simplified only where the value cannot change: exact folding and neutral elements."""
    if name not in OPS:
        raise ValueError(f"no operator {name}")
    if all(isinstance(a, Num) for a in args):
        value = fold(name, tuple(a.value for a in args if isinstance(a, Num)))
        if value is not None and is_small(value):
            return Num(value)
    if name in ("cos", "sin") and (turn := _half_turns(args[0])) is not None:
        known = _COSINES.get((turn if name == "cos" else turn - Fraction(1, 2)) % 2)
        if known is not None:
            return Num(known)
    match name, args:
        case (
            ("add", (x, Num(Fraction(numerator=0))))
            | ("sub", (x, Num(Fraction(numerator=0))))
            | ("add", (Num(Fraction(numerator=0)), x))
        ):
            return x
        case ("mul", (x, Num(v))) | ("mul", (Num(v), x)) if v == 1:
            return x
        case ("mul", (Num(v), x)) | ("mul", (x, Num(v))) if v == 0 and _finite(x):
            return ZERO
        case ("div" | "pow", (x, Num(v))) if v == 1:
            return x
        case ("div", (x, Num(v))) if v != 0 and isinstance(x, Op) and x.name == "mul" and isinstance(x.args[0], Num):
            return op("mul", Num(x.args[0].value / v), x.args[1])
        case ("mul", (Num(v), Op("mul", (Num(w), x)))):
            return op("mul", Num(v * w), x)
        case ("mul", (Num(v), Op("div", (x, Num(w))))) if w != 0:
            return op("mul", Num(v / w), x)
        case ("mul", (x, Num(v))) if not isinstance(x, Num):
            return op("mul", Num(v), x)
        case ("pow", (_, Num(v))) if v == 0:
            return ONE
        case ("sub", (Num(v), x)) if v == 0:
            return op("neg", x)
        case ("neg", (Op("neg", (x,)),)):
            return x
        case ("if", (Num(v), x, y)):
            return x if v else y
        case ("min" | "max", (x,)):
            return x
        case ("mul", (Op("div", (x, y)), z)) if y == z and _nonzero(y):
            return x
        case ("mul", (z, Op("div", (x, y)))) if y == z and _nonzero(y):
            return x
        case ("div", (x, y)) if x == y and _nonzero(y):
            return ONE
        case ("div", (Op("mul", (y, x)), z)) | ("div", (Op("mul", (x, y)), z)) if y == z and _nonzero(y):
            return x
        case ("add", (Op("sub", (x, y)), z)) | ("sub", (Op("add", (x, y)), z)) if y == z:
            return x
        case ("sub", (x, y)) if x == y and _finite(x):
            return ZERO
    return Op(name, args)


def _nonzero(expr: Expr) -> bool:
    """Whether dividing by the expression and multiplying again certainly gives the same: `base` counts, as k·(a -> b) demands."""
    return (
        (isinstance(expr, Num) and expr.value != 0)
        or expr == Var("base")
        or (isinstance(expr, Const) and expr.name != "inf")
    )


def _finite(expr: Expr) -> bool:
    """Whether the expression is certainly finite, by its form alone."""
    match expr:
        case Num() | Reading() | Bound() | Convert():
            return True
        case Var():
            return True
        case Const(name):
            return name != "inf"
        case Op(
            "add"
            | "sub"
            | "mul"
            | "neg"
            | "min"
            | "max"
            | "abs"
            | "floor"
            | "ceil"
            | "round"
            | "sin"
            | "cos"
            | "tanh"
            | "clamp",
            args,
        ):
            return all(_finite(a) for a in args)
    return False


def piecewise(reading: Expr, bounds: tuple[Fraction, ...], values: tuple[Expr, ...]) -> Expr:
    """A piecewise value, chosen at once where the reading is a number, and without pieces that are all the same."""
    if all(v == values[0] for v in values):
        return values[0]
    if isinstance(reading, Num):
        for bound, value in zip(bounds, values, strict=False):
            if reading.value < bound:
                return value
        return values[-1]
    return Piecewise(reading, bounds, values)


def add(a: Expr, b: Expr) -> Expr:
    return op("add", a, b)


def sub(a: Expr, b: Expr) -> Expr:
    return op("sub", a, b)


def mul(a: Expr, b: Expr) -> Expr:
    return op("mul", a, b)


def div(a: Expr, b: Expr) -> Expr:
    return op("div", a, b)


def local_time(clock: str, origin: Fraction, table: int = 0) -> Expr:
    """Time since the clock showed `origin`."""
    return sub(Reading(clock, table), Num(origin))


def to_json(expr: Expr) -> Any:
    """The expression as JSON data: a number is a string such as "3/10", everything else a list that begins with its kind."""
    match expr:
        case Num(value):
            return str(value)
        case Const(name):
            return ["const", name]
        case Reading(clock, table):
            return ["reading", clock, table]
        case Var(name):
            return ["var", name]
        case Bound(name, at):
            return ["bound", name, None if at is None else str(at)]
        case Op(name, args):
            return [name, *map(to_json, args)]
        case Piecewise(reading, bounds, values):
            return ["piecewise", to_json(reading), [str(b) for b in bounds], [to_json(v) for v in values]]
        case Convert(reading, source, target, table):
            return ["convert", to_json(reading), source, target, table]


def from_json(data: Any) -> Expr:
    """The expression from `to_json`'s data. Raises ValueError on anything else."""
    match data:
        case str():
            return Num(Fraction(data))
        case ["const", ("pi" | "e" | "inf") as name]:
            return Const(name)
        case ["reading", str(clock), int(table)]:
            return Reading(clock, table)
        case ["var", str(name)]:
            return Var(name)
        case ["bound", str(name), at]:
            return Bound(name, None if at is None else Fraction(at))
        case ["piecewise", reading, list(bounds), list(values)] if len(values) == len(bounds) + 1:
            return Piecewise(from_json(reading), tuple(map(Fraction, bounds)), tuple(map(from_json, values)))
        case ["convert", reading, str(source), str(target), int(table)]:
            return Convert(from_json(reading), source, target, table)
        case [str(name), *args] if name in OPS and OPS[name] in (None, len(args)) and args:
            return Op(name, tuple(map(from_json, args)))
    raise ValueError(f"not an expression: {data!r}")
