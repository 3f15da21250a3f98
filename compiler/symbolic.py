"""Formulas as SymPy sees them: for reading, and for deciding whether two values at a seam are equal.

The only module that imports SymPy, and only once a function needs it. Expressions are built node by node, never from
text, and refused beforehand where SymPy might compute for ever. `text` needs no SymPy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from schedc.compiler import expressions as ex
from schedc.compiler import readings as rd
from schedc.compiler.enclosures import affine, derivative, exact_bounds
from schedc.compiler.plan import Clocks, UnknownClock

MAX_NODES = 400
"""Larger expressions are not handed to SymPy when something has to be decided."""
SIMPLIFY_NODES = 60
DIGITS = 50

Readings = Mapping[ex.Reading, Fraction]


class TooLarge(ValueError):
    """An expression that SymPy is not asked about: it would evaluate a power of too many digits."""


class Undecided(Exception):
    """A limit that depends on the side from which a jump is approached, where that side is not known."""


def in_local_time(expr: ex.Expr, origin: Fraction, clock: str, table: int = 0) -> ex.Expr:
    """The formula with the clock's reading written as t + origin, where t is the variable `t`."""
    leaf = ex.Reading(clock, table)
    t = ex.Var("t")

    def change(e: ex.Expr) -> ex.Expr | None:
        line = affine(e)
        if line is None or line[0] != leaf:
            return None
        _, a, b = line
        rest = a + b * origin
        if b < 0 and rest:
            return ex.sub(ex.Num(rest), ex.mul(ex.Num(-b), t))
        moving = ex.mul(ex.Num(b), t)
        return ex.sub(moving, ex.Num(-rest)) if rest < 0 else ex.add(moving, ex.Num(rest))

    return ex.rebuild(expr, change)


def to_sympy(expr: ex.Expr, *, origin: Fraction | None = None, clock: str = "steps", table: int = 0) -> Any:
    """The expression in SymPy. Readings are real symbols named after their clocks.

    With an `origin` the reading of `clock` is written in local time: t + origin. Raises TooLarge.
    """
    import sympy as sp

    if origin is not None:
        expr = in_local_time(expr, origin, clock, table)
    memo: dict[int, Any] = {}

    def of(e: ex.Expr) -> Any:
        if id(e) not in memo:
            memo[id(e)] = (e, make(e))
        return memo[id(e)][1]

    def make(e: ex.Expr) -> Any:
        match e:
            case ex.Num(value):
                return sp.Rational(value.numerator, value.denominator)
            case ex.Const(name):
                return {"pi": sp.pi, "e": sp.E, "inf": sp.oo}[name]
            case ex.Reading() | ex.Var() | ex.Bound():
                return sp.Symbol(leaf_name(e), real=True)
            case ex.Convert(reading, source, target, _):
                return sp.Function(f"{target}_where_{source}", real=True)(of(reading))
            case ex.Piecewise(reading, bounds, values):
                shown = of(reading)
                limits = [sp.Rational(b.numerator, b.denominator) for b in bounds]
                pairs = [(of(v), shown < b) for v, b in zip(values, limits, strict=False)]
                return sp.Piecewise(*pairs, (of(values[-1]), True))
            case ex.Op(name, args):
                return operation(name, args)

    def operation(name: str, args: tuple[ex.Expr, ...]) -> Any:
        xs = [of(a) for a in args] if name not in ("if", "lt", "le", "gt", "ge", "eq", "ne") else []
        match name:
            case "add":
                return xs[0] + xs[1]
            case "sub":
                return xs[0] - xs[1]
            case "mul":
                return xs[0] * xs[1]
            case "div":
                return xs[0] / xs[1]
            case "neg":
                return -xs[0]
            case "pow":
                _refuse_large(xs[0], xs[1])
                return xs[0] ** xs[1]
            case "exp" | "log" | "sqrt" | "sin" | "cos" | "tan" | "tanh":
                return getattr(sp, name)(xs[0])
            case "abs":
                return sp.Abs(xs[0])
            case "floor":
                return sp.floor(xs[0])
            case "ceil":
                return sp.ceiling(xs[0])
            case "round":
                return sp.floor(xs[0] + sp.Rational(1, 2))
            case "min":
                return sp.Min(*xs)
            case "max":
                return sp.Max(*xs)
            case "clamp":
                return sp.Min(sp.Max(xs[0], xs[1]), xs[2])
            case "mod":
                return sp.Mod(xs[0], xs[1])
            case "if":
                return sp.Piecewise((of(args[1]), condition(args[0])), (of(args[2]), True))
            case "passed":
                return sp.Add(*(sp.Piecewise((1, m <= xs[0]), (0, True)) for m in xs[1:]))
            case "pick":
                pairs = [(v, xs[0] < i) for i, v in enumerate(xs[1:-1], 1)]
                return sp.Piecewise(*pairs, (xs[-1], True))
            case "product":
                products = [sp.Integer(1)]
                for factor in xs[1:]:
                    products.append(products[-1] * factor)
                return sp.Piecewise(*((v, xs[0] < i) for i, v in enumerate(products[:-1], 1)), (products[-1], True))
        return sp.Piecewise((1, condition(ex.Op(name, args))), (0, True))

    def condition(e: ex.Expr) -> Any:
        if isinstance(e, ex.Op) and e.name in ("lt", "le", "gt", "ge", "eq", "ne"):
            relation = {"lt": sp.Lt, "le": sp.Le, "gt": sp.Gt, "ge": sp.Ge, "eq": sp.Eq, "ne": sp.Ne}[e.name]
            return relation(of(e.args[0]), of(e.args[1]))
        return sp.Ne(of(e), 0)

    return of(expr)


def _refuse_large(base: Any, exponent: Any) -> None:
    if base.is_Rational and exponent.is_Rational and base not in (0, 1, -1):
        bits = max(int(base.p).bit_length(), int(base.q).bit_length())
        if bits * (abs(exponent) + 1) > ex.MAX_EXACT_BITS:
            raise TooLarge("a power with too many digits")


def leaf_name(leaf: ex.Reading | ex.Var | ex.Bound) -> str:
    """What a formula calls the leaf when it is shown."""
    match leaf:
        case ex.Reading(clock, table):
            return clock if table == 0 else f"{clock}_{table}"
        case ex.Var(name):
            kind, _, index = name.partition(":")
            if kind == "capture":
                return index
            return {"factor": "F"}.get(kind, kind) + (f"_{index}" if index else "")
        case ex.Bound(name, at):
            return name if at is None else f"{name}({at})"


def at_seam(expr: ex.Expr, shown: Readings, clocks: Sequence[Clocks] = (), *, from_left: bool = False) -> ex.Expr:
    """The formula's value where the clocks show these readings, folded; or its limit as they rise to them.

    Raises Undecided, if a jump there is approached from a side that is not known.
    """

    def of(e: ex.Expr) -> ex.Expr:
        match e:
            case ex.Reading():
                return ex.Num(shown[e]) if e in shown else e
            case ex.Convert(reading, source, target, table):
                inner = of(reading)
                if isinstance(inner, ex.Num) and clocks:
                    return ex.Num(rd.convert(clocks[table], source, target, inner.value))
                return ex.Convert(inner, source, target, table)
            case ex.Piecewise(reading, bounds, values):
                conditions = [ex.Op("ge", (reading, ex.Num(b))) for b in bounds]
                passed = [of(c) for c in conditions]
                if all(isinstance(p, ex.Num) for p in passed):
                    return of(values[sum(int(p.value) for p in passed if isinstance(p, ex.Num))])
                return ex.piecewise(of(reading), bounds, tuple(of(v) for v in values))
            case ex.Op(name, args):
                return operation(name, args)
        return e

    def operation(name: str, args: tuple[ex.Expr, ...]) -> ex.Expr:
        if from_left and name == "mod":
            whole = ex.op("floor", ex.op("div", *args))
            return of(ex.op("sub", args[0], ex.op("mul", args[1], whole)))
        if from_left and name == "passed":
            return _sum([of(ex.op("le", m, args[0])) for m in args[1:]])
        if from_left and name in ("pick", "product"):
            return ex.op(name, of(ex.op("floor", args[0])), *(of(a) for a in args[1:]))
        if name == "if":
            flag = of(args[0])
            if isinstance(flag, ex.Num):
                return of(args[1] if flag.value else args[2])
            return ex.op("if", flag, of(args[1]), of(args[2]))
        values = tuple(of(a) for a in args)
        out = ex.op(name, *values)
        if from_left and isinstance(out, ex.Num):
            return ex.Num(out.value + _correction(name, args, values, shown))
        return out

    return of(expr)


def _sum(terms: Sequence[ex.Expr]) -> ex.Expr:
    out: ex.Expr = ex.ZERO
    for term in terms:
        out = ex.add(out, term)
    return out


def _correction(name: str, args: tuple[ex.Expr, ...], values: tuple[ex.Expr, ...], shown: Readings) -> Fraction:
    """What the limit from the left of a jumping operator differs by from its value."""
    numbers = [v.value for v in values if isinstance(v, ex.Num)]
    match name:
        case "floor" | "ceil" | "round":
            x = numbers[0] + (Fraction(1, 2) if name == "round" else 0)
            if x.denominator == 1:
                side = _side(args[0], shown)
                if side < 0 and name != "ceil":
                    return Fraction(-1)
                if side > 0 and name == "ceil":
                    return Fraction(1)
        case "lt" | "le" | "gt" | "ge" | "eq" | "ne" if numbers[0] == numbers[1]:
            side = _side(ex.sub(args[0], args[1]), shown)
            if side:
                near = ex.fold(name, (Fraction(side), Fraction(0)))
                return (near or Fraction(0)) - (ex.fold(name, (Fraction(0), Fraction(0))) or 0)
    return Fraction(0)


def _side(expr: ex.Expr, shown: Readings) -> int:
    """From where the expression comes to its value as the clocks rise: -1 below, 1 above, 0 it stood there."""
    if isinstance(expr, ex.Op) and expr.name in (
        "floor",
        "ceil",
        "round",
        "passed",
        "lt",
        "le",
        "gt",
        "ge",
        "eq",
        "ne",
    ):
        return 0
    if isinstance(expr, ex.Op) and expr.name == "mod" and ex.is_constant(expr.args[1]):
        return _side(expr.args[0], shown)
    signs = set()
    for leaf in {e for e in ex.walk(expr) if isinstance(e, ex.Reading)}:
        slope = derivative(expr, leaf)
        if slope is None or any(isinstance(e, ex.Var | ex.Bound) for e in ex.walk(slope)):
            raise Undecided
        ranges = {(r.clock, r.table): (v, v) for r, v in shown.items()}
        x = exact_bounds(slope, Fraction(0), Fraction(0), ranges)
        if slope == ex.ZERO:
            continue
        if x.maybe_undefined or x.lo <= 0 <= x.hi:
            raise Undecided
        signs.add(-1 if x.lo > 0 else 1)
    if len(signs) > 1:
        raise Undecided
    return signs.pop() if signs else 0


@dataclass(frozen=True, slots=True)
class Seam:
    """Where one formula hands over to the next: the limit from the left, the value from there on, both folded.

    `equal` is None where it could not be decided; `left` and `right` are None where there is no such value to name.
    """

    left: ex.Expr | None
    right: ex.Expr | None
    equal: bool | None

    def sympy(self) -> tuple[Any, Any]:
        """Both sides as SymPy numbers."""
        return tuple(None if x is None else to_sympy(x) for x in (self.left, self.right))  # type: ignore[return-value]


def seam_limits(left: ex.Expr, right: ex.Expr, shown: Readings, clocks: Sequence[Clocks] = ()) -> Seam:
    """Both sides of a seam at which the clocks show these readings."""
    try:
        before = at_seam(left, shown, clocks, from_left=True)
    except Undecided:
        return Seam(None, at_seam(right, shown, clocks), None)
    after = at_seam(right, shown, clocks)
    return Seam(before, after, equal(before, after))


def equal(a: ex.Expr, b: ex.Expr) -> bool | None:
    """Whether two expressions are the same for all values of their leaves; None if undecided. Always comes back."""
    if a == b:
        return True
    if isinstance(a, ex.Num) and isinstance(b, ex.Num):
        return False
    leaves = list(dict.fromkeys(e for e in (*ex.walk(a), *ex.walk(b)) if isinstance(e, ex.Reading | ex.Var | ex.Bound)))
    # Two enclosures that do not touch settle most inequalities without SymPy.
    for values in _samples(leaves):
        try:
            x, y = (exact_bounds(e, Fraction(0), Fraction(0), {}, values=values) for e in (a, b))
        except (KeyError, IndexError, UnknownClock):
            break
        if not (x.maybe_undefined or y.maybe_undefined) and (x.hi < y.lo or y.hi < x.lo):
            return False
    nodes = sum(1 for e in (a, b) for _ in ex.walk(e))
    try:
        return _equal_in_sympy(a, b, nodes) if nodes <= MAX_NODES else None
    except (TypeError, ValueError):  # SymPy compares neither nan nor its infinity without a direction.
        return None


def _samples(leaves: Sequence[ex.Expr]) -> Iterator[dict[ex.Expr, tuple[Fraction, Fraction]]]:
    for k in range(3 if leaves else 1):
        # Positive, of ordinary size, and in no simple relation to each other.
        values = [Fraction(7 * i + 3 * k + 2, 11 + 6 * k + i) for i in range(len(leaves))]
        yield {leaf: (v, v) for leaf, v in zip(leaves, values, strict=True)}


def _equal_in_sympy(a: ex.Expr, b: ex.Expr, nodes: int) -> bool | None:
    import sympy as sp

    try:
        difference = to_sympy(a) - to_sympy(b)
    except TooLarge:
        return None
    if difference == 0:
        return True
    if not all(_is_moderate(n) for n in difference.atoms(sp.Number)):
        return None
    if not difference.free_symbols:
        scale = max(1, *(abs(to_sympy(e).evalf(DIGITS)) for e in (a, b)))
        size = abs(difference.evalf(DIGITS, strict=False)) if difference.is_finite is not False else sp.nan
        if size.is_number and size.is_finite and size > scale * sp.Float(10) ** (5 - DIGITS):
            return False
    if nodes > SIMPLIFY_NODES:
        return None
    steps = (sp.expand, sp.together, sp.trigsimp, sp.simplify) if nodes <= SIMPLIFY_NODES else ()
    for step in steps:
        difference = step(difference)
        if difference == 0:
            return True
    return None


def _is_moderate(n: Any) -> bool:
    """Small enough that no power or expansion with it takes long."""
    return not n.is_Rational or max(abs(int(n.p)), int(n.q)).bit_length() <= 256


def latex(expr: ex.Expr, *, origin: Fraction | None = None, clock: str = "steps", table: int = 0) -> str:
    """The formula in LaTeX, with an `origin` in local time t."""
    import sympy as sp

    return str(sp.latex(to_sympy(expr, origin=origin, clock=clock, table=table)))


SIGNS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}


def text(expr: ex.Expr, *, origin: Fraction | None = None, clock: str = "steps", table: int = 0) -> str:
    """The formula on one line, much as one would write it in the language: `(1 + cos(pi*t/10000))/2`."""
    if origin is not None:
        expr = in_local_time(expr, origin, clock, table)
    return _text(expr, 0)


def _text(expr: ex.Expr, level: int) -> str:
    """The text of an operand: 0 stands alone, 1 in a sum, 2 in a product, 3 under a power."""
    out, own = _written(expr)
    return f"({out})" if own < level else out


def _written(expr: ex.Expr) -> tuple[str, int]:
    match expr:
        case ex.Num(value):
            shown = number(value)
            return shown, 1 if value < 0 else 2 if "/" in shown else 4
        case ex.Const(name):
            return name, 4
        case ex.Reading() | ex.Var() | ex.Bound():
            return leaf_name(expr), 4
        case ex.Op("add", (x, y)):
            if isinstance(y, ex.Op) and y.name == "neg":
                return f"{_text(x, 1)} - {_text(y.args[0], 2)}", 1
            if isinstance(y, ex.Num) and y.value < 0:
                return f"{_text(x, 1)} - {number(-y.value)}", 1
            negative = _negated(y)
            if negative is not None:
                return f"{_text(x, 1)} - {_text(negative, 2)}", 1
            return f"{_text(x, 1)} + {_text(y, 1)}", 1
        case ex.Op("sub", (x, y)):
            return f"{_text(x, 1)} - {_text(y, 2)}", 1
        case ex.Op("neg", (x,)):
            return f"-{_text(x, 2)}", 1
        case ex.Op("mul" | "div", _):
            return _product(expr)
        case ex.Op("pow", (x, y)):
            return f"{_text(x, 4)}^{_text(y, 4)}", 3
        case ex.Op(name, (x, y)) if name in SIGNS:
            return f"{_text(x, 1)} {SIGNS[name]} {_text(y, 1)}", 0
        case ex.Op(name, args):
            return f"{name}({', '.join(_text(a, 0) for a in args)})", 4
        case ex.Piecewise(reading, bounds, values):
            shown = _text(reading, 1)
            parts = [f"{_text(v, 1)} while {shown} < {number(b)}" for v, b in zip(values, bounds, strict=False)]
            return "; ".join([*parts, f"then {_text(values[-1], 1)}"]), 0
        case ex.Convert(reading, source, target, _):
            return f"{target}(where {source} = {_text(reading, 0)})", 4


def _negated(expr: ex.Expr) -> ex.Expr | None:
    """The expression without the minus that its coefficient carries."""
    if isinstance(expr, ex.Op) and expr.name == "mul" and isinstance(expr.args[0], ex.Num) and expr.args[0].value < 0:
        return ex.op("mul", ex.Num(-expr.args[0].value), expr.args[1])
    return None


def _product(expr: ex.Expr) -> tuple[str, int]:
    """A product as one fraction: what stands above, and what below."""
    coefficient = Fraction(1)
    above: list[str] = []
    below: list[str] = []

    def collect(e: ex.Expr, over: bool) -> None:
        nonlocal coefficient
        match e:
            case ex.Num(value) if value or over:
                coefficient = coefficient * value if over else coefficient / value
            case ex.Op("mul", (x, y)):
                collect(x, over)
                collect(y, over)
            case ex.Op("div", (x, y)):
                collect(x, over)
                collect(y, not over)
            case _:
                (above if over else below).append(_text(e, 2))

    collect(expr, True)
    sign, coefficient = ("-" if coefficient < 0 else ""), abs(coefficient)
    decimal = number(coefficient)
    if coefficient.numerator == 1 or "/" in decimal or not above:
        if coefficient.denominator != 1:
            below.insert(0, str(coefficient.denominator))
        if coefficient.numerator != 1 or not above:
            above.insert(0, str(coefficient.numerator))
    else:
        above.insert(0, decimal)
    over = "*".join(above)
    under = "*".join(below)
    if below:
        over += f"/({under})" if len(below) > 1 else f"/{under}"
    return sign + over, 1 if sign else 2


def number(value: Fraction) -> str:
    """A number as one would write it: a decimal where a short one is exact, else a ratio."""
    if value.denominator == 1:
        return str(value.numerator)
    rest, places = value.denominator, 0
    while rest % 10 == 0 or rest % 2 == 0 or rest % 5 == 0:
        rest //= 10 if rest % 10 == 0 else 2 if rest % 2 == 0 else 5
        places += 1
    if rest != 1 or places > 12:
        return str(value)
    scaled = value * 10**places
    digits = str(abs(scaled.numerator)).rstrip("0")
    exponent = len(str(abs(scaled.numerator))) - places - 1
    sign = "-" if value < 0 else ""
    if exponent < -4:
        mantissa = digits[0] + (f".{digits[1:]}" if len(digits) > 1 else "")
        return f"{sign}{mantissa}e{exponent}"
    if len(digits) > 8:
        return str(value)
    whole, part = divmod(abs(value), 1)
    shown = str(math.floor(part * 10**places)).rjust(places, "0").rstrip("0")
    return f"{sign}{whole}.{shown}"
