"""Certain bounds: what a formula's values can be while its clocks run over intervals.

Every result encloses the true values. Floats are rounded outwards, but not where an operation is exact; `exact_bounds`
works in rationals throughout. Whatever is affine in one leaf is computed exactly at both ends before anything is
rounded, so that p = t/T reaches 1 and not a little more. `certify_*` bisect until a claim about a whole interval is
proved or refuted, or the budget of evaluations is spent.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import combinations, pairwise
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from schedc.compiler import expressions as ex
from schedc.compiler import readings as rd
from schedc.compiler.evaluate import turns_of
from schedc.compiler.plan import Clocks

INF = math.inf
MAX = math.nextafter(INF, 0)
LEAVES = (ex.Reading, ex.Var, ex.Bound)
MAX_STRETCHES = 64
"""An expression with more choices by the clock than this is not taken apart."""
EXACT_BITS = 4096
"""Exact bounds with more bits than this are rounded outwards."""


class Interval(NamedTuple):
    """All numbers from `lo` to `hi`. `maybe_undefined`: somewhere the value may not exist, or not be finite."""

    lo: Any
    hi: Any
    maybe_undefined: bool = False


WHOLE = Interval(-INF, INF)
Env = Mapping[ex.Expr, tuple[Any, Any] | Interval]
"""What the leaves (Reading, Var, Bound) range over."""
NO_LEAVES: Mapping[Any, Any] = MappingProxyType({})


def _two_product(a: float, b: float, p: float) -> float:
    """The rounding error of p = a·b: a·b - p, exactly. For moderate sizes only."""
    t = 134217729.0 * a
    ah = t - (t - a)
    t = 134217729.0 * b
    bh = t - (t - b)
    al, bl = a - ah, b - bh
    return ((ah * bh - p) + ah * bl + al * bh) + al * bl


def _moderate(*xs: float) -> bool:
    return all(1e-140 < abs(x) < 1e140 for x in xs)


def _is_infinite(x: Any) -> bool:
    return isinstance(x, float) and math.isinf(x)


def _is_finite(x: Any) -> bool:
    """Whether it is neither infinite nor nan; for a Fraction of any size."""
    return not isinstance(x, float) or math.isfinite(x)


class Floats:
    """Arithmetic on the ends of intervals, in floats rounded down (`up` False) or up."""

    @staticmethod
    def number(x: Any, up: bool) -> float:
        if isinstance(x, float):
            return x
        value = rd.ratio(x.numerator, x.denominator)
        if math.isinf(value):
            return value if (value > 0) == up else math.copysign(MAX, value)
        if (value < x) if up else (value > x):
            return math.nextafter(value, INF if up else -INF)
        return value

    @staticmethod
    def _step(x: float, error: float, up: bool) -> float:
        """x, or its neighbour if the exact result, x + error, lies beyond it."""
        if math.isfinite(x):
            return math.nextafter(x, INF if up else -INF) if (error > 0 if up else error < 0) else x
        if math.isnan(x):
            return INF if up else -INF
        return x if (x > 0) == up else math.copysign(MAX, x)

    @staticmethod
    def add(a: float, b: float, up: bool) -> float:
        s = a + b
        if math.isinf(s) and (math.isinf(a) or math.isinf(b)):
            return s
        t = s - a
        return Floats._step(s, (a - (s - t)) + (b - t), up)

    @staticmethod
    def mul(a: float, b: float, up: bool) -> float:
        if a == 0 or b == 0:
            return 0.0
        p = a * b
        if math.isinf(a) or math.isinf(b):
            return p
        return Floats._step(p, _two_product(a, b, p) if _moderate(a, b, p) else (1.0 if up else -1.0), up)

    @staticmethod
    def div(a: float, b: float, up: bool) -> float:
        if a == 0 or math.isinf(b):
            return 0.0
        q = a / b
        if math.isinf(a):
            return q
        if not _moderate(a, b, q):
            return Floats._step(q, 1.0 if up else -1.0, up)
        p = q * b
        left = (a - p) - _two_product(q, b, p)
        return Floats._step(q, left if b > 0 else -left, up)

    @staticmethod
    def call(function: Callable[[float], float], x: Any, up: bool) -> float:
        """A function that libm has to within two units in the last place."""
        try:
            y = function(Floats.number(x, up))
        except OverflowError:
            return INF if up else MAX
        if math.isinf(y) or y == 0:
            return y if y else (math.ulp(0.0) if up else -math.ulp(0.0))
        return y + (4 if up else -4) * math.ulp(y)


class Rationals:
    """The same in exact rationals; irrational functions come from `Floats`."""

    @staticmethod
    def number(x: Any, up: bool) -> Any:
        return Fraction(x) if _is_finite(x) else x

    @staticmethod
    def _kept(x: Any, up: bool) -> Any:
        if isinstance(x, float):
            return Fraction(x) if math.isfinite(x) else x if not math.isnan(x) else INF if up else -INF
        bits = x.numerator.bit_length() + x.denominator.bit_length()
        return x if bits <= EXACT_BITS else Rationals.number(Floats.number(x, up), up)

    @staticmethod
    def add(a: Any, b: Any, up: bool) -> Any:
        return Rationals._kept(Rationals.number(a, up) + Rationals.number(b, up), up)

    @staticmethod
    def mul(a: Any, b: Any, up: bool) -> Any:
        return Rationals._kept(Rationals.number(a, up) * Rationals.number(b, up), up) if a and b else Fraction(0)

    @staticmethod
    def div(a: Any, b: Any, up: bool) -> Any:
        return Rationals._kept(Rationals.number(a, up) / Rationals.number(b, up), up)

    @staticmethod
    def call(function: Callable[[float], float], x: Any, up: bool) -> Any:
        # From the float on x's proper side, which `Floats.call` takes: functions called here are increasing.
        return Rationals.number(Floats.call(function, x, up), up)


Kernel = type[Floats] | type[Rationals]


def _hull(xs: Sequence[Interval]) -> Interval:
    return Interval(min(x.lo for x in xs), max(x.hi for x in xs), any(x.maybe_undefined for x in xs))


def _add(k: Kernel, a: Interval, b: Interval) -> Interval:
    return Interval(k.add(a.lo, b.lo, False), k.add(a.hi, b.hi, True), a.maybe_undefined or b.maybe_undefined)


def _neg(a: Interval) -> Interval:
    return Interval(-a.hi, -a.lo, a.maybe_undefined)


def _mul(k: Kernel, a: Interval, b: Interval) -> Interval:
    faulty = a.maybe_undefined or b.maybe_undefined
    if a.lo >= 0 and b.lo >= 0:
        return Interval(k.mul(a.lo, b.lo, False), k.mul(a.hi, b.hi, True), faulty)
    pairs = ((a.lo, b.lo), (a.lo, b.hi), (a.hi, b.lo), (a.hi, b.hi))
    return Interval(min(k.mul(x, y, False) for x, y in pairs), max(k.mul(x, y, True) for x, y in pairs), faulty)


def _div(k: Kernel, a: Interval, b: Interval) -> Interval:
    if b.lo <= 0 <= b.hi:
        if b.lo == b.hi or a.lo < 0 < a.hi or b.lo < 0 < b.hi:
            return WHOLE._replace(maybe_undefined=True)
        # One side of zero only: the quotient has one sign.
        if b.lo < 0:
            a, b = _neg(a), _neg(b)
        if a.lo >= 0:
            return Interval(k.div(a.lo, b.hi, False), INF, True)
        return Interval(-INF, k.div(a.hi, b.hi, True), True)
    pairs = ((a.lo, b.lo), (a.lo, b.hi), (a.hi, b.lo), (a.hi, b.hi))
    faulty = a.maybe_undefined or b.maybe_undefined
    return Interval(min(k.div(x, y, False) for x, y in pairs), max(k.div(x, y, True) for x, y in pairs), faulty)


def _whole_power(k: Kernel, x: Any, n: int, up: bool) -> Any:
    """The power x^n for x >= 0 and n >= 1."""
    if isinstance(x, Fraction) and n * max(x.numerator.bit_length(), x.denominator.bit_length()) <= EXACT_BITS:
        return x**n
    if n > 64 and x not in (0, 1):
        return k.call(lambda v: math.pow(v, n), x, up) if not isinstance(x, float) or x < INF else x
    out, square = k.number(Fraction(1), up), x
    while n:
        if n & 1:
            out = k.mul(out, square, up)
        n >>= 1
        square = k.mul(square, square, up) if n else square
    return out


def _pow(k: Kernel, a: Interval, b: Interval, whole: bool) -> Interval:
    faulty = a.maybe_undefined or b.maybe_undefined
    if b.lo == b.hi and _is_finite(b.lo) and b.lo == math.floor(b.lo):
        n = int(b.lo)
        if n == 0:
            return Interval(k.number(Fraction(1), False), k.number(Fraction(1), True), faulty)
        if n < 0:
            one = Interval(k.number(Fraction(1), False), k.number(Fraction(1), True), faulty)
            return _div(k, one, _pow(k, a, Interval(-b.lo, -b.lo), whole))
        if n % 2 == 0:
            a = _abs(a)
        low = _whole_power(k, a.lo, n, False) if a.lo >= 0 else -_whole_power(k, -a.lo, n, True)
        high = _whole_power(k, a.hi, n, True) if a.hi >= 0 else -_whole_power(k, -a.hi, n, False)
        return Interval(low, high, faulty)
    if a.lo < 0:
        size = _pow(k, _abs(a), b, whole)
        return Interval(-size.hi, size.hi, faulty or size.maybe_undefined or not whole)
    corners = [_corner(k, x, y) for x in (a.lo, a.hi) for y in (b.lo, b.hi)]
    return Interval(min(c.lo for c in corners), max(c.hi for c in corners), faulty or (a.lo == 0 and b.lo < 0))


def _corner(k: Kernel, x: Any, y: Any) -> Interval:
    """The power x^y for x >= 0, which is monotone in each."""
    if y == 0 or x == 1:
        return Interval(k.number(Fraction(1), False), k.number(Fraction(1), True))
    if x == 0 or _is_infinite(x) or _is_infinite(y):
        zero = k.number(Fraction(0), False)
        return Interval(zero, INF if (x > 1) == (y > 0) else zero)
    ends = []
    for up in (False, True):
        # A larger base raises the power where y > 0, a larger exponent where x > 1.
        base = Floats.number(x, up == (y > 0))
        exponent = Floats.number(y, up == (x > 1))
        ends.append(k.call(partial(math.pow, base), exponent, up))
    return Interval(max(ends[0], 0), ends[1])


def _abs(a: Interval) -> Interval:
    if a.lo >= 0:
        return a
    return _neg(a) if a.hi <= 0 else Interval(0.0, max(-a.lo, a.hi), a.maybe_undefined)


def _integers(a: Interval, down: Callable[[Any], int]) -> Interval:
    """A step function of the ends."""
    kind = type(a.lo) if isinstance(a.lo, float | Fraction) else Fraction
    ends = [e if _is_infinite(e) else kind(down(e)) for e in (a.lo, a.hi)]
    return Interval(ends[0], ends[1], a.maybe_undefined)


def _mod(k: Kernel, a: Interval, b: Interval) -> Interval:
    faulty = a.maybe_undefined or b.maybe_undefined
    if b.lo == b.hi and b.lo != 0 and _is_finite(a.lo) and _is_finite(a.hi):
        quotient = _integers(_div(k, a, b), math.floor)
        if quotient.lo == quotient.hi:
            rest = _add(k, a, _neg(_mul(k, b, quotient)))
            edges = (0, b.hi) if b.hi > 0 else (b.lo, 0)
            return Interval(max(rest.lo, edges[0]), min(rest.hi, edges[1]), faulty)
    zero = k.number(Fraction(0), False)
    return Interval(min(b.lo, zero), max(b.hi, zero), faulty or b.lo <= 0 <= b.hi)


def _increasing(k: Kernel, name: str, a: Interval) -> Interval:
    faulty = a.maybe_undefined
    lo, hi = a.lo, a.hi
    if name in ("log", "sqrt") and (lo < 0 or (name == "log" and lo == 0)):
        zero = k.number(Fraction(0), False)
        faulty, lo, hi = True, max(lo, zero), max(hi, zero)
    ends = []
    for x, up in ((lo, False), (hi, True)):
        if (x == 0 and name != "log") or (name == "log" and x == 1):
            ends.append(k.number(Fraction(int(name == "exp")), up))
        elif name == "log":
            ends.append(-INF if x == 0 else INF if x == INF else k.call(math.log, x, up))
        elif _is_infinite(x):
            limits = {"exp": (0.0, INF), "tanh": (-1.0, 1.0), "sqrt": (0.0, INF)}[name]
            ends.append(limits[x > 0])
        elif name == "sqrt":
            root = ex.exact_sqrt(Fraction(x))
            ends.append(k.number(root, up) if root is not None else k.call(math.sqrt, x, up))
        else:
            ends.append(k.call(math.exp if name == "exp" else math.tanh, x, up))
    least, most = {"exp": (0, INF), "tanh": (-1, 1), "sqrt": (0, INF), "log": (-INF, INF)}[name]
    return Interval(max(ends[0], k.number(least, False)), min(ends[1], k.number(most, True)), faulty)


def _turns(k: Kernel, name: str, a: Interval) -> Interval:
    """sin, cos or tan of pi times the interval: zeros, peaks and poles lie at exact numbers."""
    lo, hi = Floats.number(a.lo, False), Floats.number(a.hi, True)
    if not (abs(lo) < 2**50 and abs(hi) < 2**50):
        if name == "tan":
            return WHOLE._replace(maybe_undefined=True)
        return Interval(k.number(Fraction(-1), False), k.number(Fraction(1), True), a.maybe_undefined)
    if name == "tan":
        if math.floor(lo + 0.5) != math.floor(hi + 0.5) or lo + 0.5 == math.floor(lo + 0.5):
            return WHOLE._replace(maybe_undefined=True)
        return Interval(k.number(_tan(lo, False), False), k.number(_tan(hi, True), True), a.maybe_undefined)
    shift = 0.0 if name == "cos" else 0.5

    def holds(peak: float) -> bool:
        m = 2 * math.floor((hi - peak) / 2)
        return any(lo <= peak + n <= hi for n in (m - 2, m, m + 2))

    ends = [_wave(name, x, up) for x in (lo, hi) for up in (False, True)]
    low = -1.0 if holds(shift + 1) else min(ends)
    high = 1.0 if holds(shift) else max(ends)
    return Interval(k.number(low, False), k.number(high, True), a.maybe_undefined)


def _wave(name: str, x: float, up: bool) -> float:
    y = abs(math.remainder(x, 2.0))
    negative = name == "sin" and math.remainder(x, 2.0) < 0
    # Fold into the first quarter: every difference here is exact.
    near_zero, part = (y, y) if y <= 0.25 else (0.5 - y, 0.5 - y) if y < 0.75 else (1 - y, 1 - y)
    as_sine = (name == "sin") == (not 0.25 < y < 0.75)
    negative = negative != (name == "cos" and y >= 0.75)
    if part == 0:
        value = 0.0 if as_sine else 1.0
        return -value if negative else value
    size = Floats.call(lambda v: (math.sin if as_sine else math.cos)(math.pi * v), near_zero, up != negative)
    size = max(-1.0, min(1.0, size))
    return -size if negative else size


def _tan(x: float, up: bool) -> float:
    y = math.remainder(x, 1.0)
    if y == 0:
        return 0.0
    size = abs(y)
    value = math.tan(math.pi * size) if size <= 0.25 else 1 / math.tan(math.pi * (0.5 - size))
    return math.copysign(value, y) + (8 if up else -8) * math.ulp(value)


def _compare(name: str, a: Interval, b: Interval) -> Interval:
    if name in ("gt", "ge"):
        name, a, b = {"gt": "lt", "ge": "le"}[name], b, a
    if name in ("eq", "ne"):
        apart, same = a.hi < b.lo or b.hi < a.lo, a.lo == a.hi == b.lo == b.hi
        yes, no = (same, apart) if name == "eq" else (apart, same)
    else:
        yes = a.hi < b.lo if name == "lt" else a.hi <= b.lo
        no = a.lo >= b.hi if name == "lt" else a.lo > b.hi
    return Interval(float(yes), float(not no), a.maybe_undefined or b.maybe_undefined)


def _span(a: Interval, last: int) -> tuple[int, int]:
    """The whole numbers that an index within the interval can mean, from 0 to `last`."""
    first, end = (int(max(0, min(math.floor(max(-1, min(e, last + 1))), last))) for e in (a.lo, a.hi))
    return first, end


def operate(k: Kernel, name: str, args: Sequence[Interval], whole: bool = False) -> Interval:
    """The operator applied to intervals; `whole`: a power's exponent is a whole number by its form."""
    a = args[0]
    match name:
        case "add":
            return _add(k, a, args[1])
        case "sub":
            return _add(k, a, _neg(args[1]))
        case "mul":
            return _mul(k, a, args[1])
        case "div":
            return _div(k, a, args[1])
        case "neg":
            return _neg(a)
        case "pow":
            return _pow(k, a, args[1], whole)
        case "abs":
            return _abs(a)
        case "floor":
            return _integers(a, math.floor)
        case "ceil":
            return _integers(a, math.ceil)
        case "round":
            half = Fraction(1, 2)
            return _integers(_add(k, a, Interval(k.number(half, False), k.number(half, True))), math.floor)
        case "min" | "max":
            pick = min if name == "min" else max
            return Interval(pick(x.lo for x in args), pick(x.hi for x in args), any(x.maybe_undefined for x in args))
        case "clamp":
            return operate(k, "min", [operate(k, "max", args[:2]), args[2]])
        case "mod":
            return _mod(k, a, args[1])
        case "exp" | "log" | "sqrt" | "tanh":
            return _increasing(k, name, a)
        case "sin" | "cos" | "tan":
            return _turns(
                k, name, _div(k, a, Interval(k.number(math.pi, False), k.number(math.nextafter(math.pi, 4), True)))
            )
        case "lt" | "le" | "gt" | "ge" | "eq" | "ne":
            return _compare(name, a, args[1])
    return _choose(k, name, a, args[1:])


def _choose(k: Kernel, name: str, a: Interval, rest: Sequence[Interval]) -> Interval:
    match name:
        case "if":
            branches = list(rest) if a.lo <= 0 <= a.hi else [rest[0]]
            out = _hull(branches[1:] if a.lo == a.hi == 0 else branches)
        case "pick":
            first, last = _span(a, len(rest) - 1)
            out = _hull(rest[first : last + 1])
        case "product":
            first, last = _span(a, len(rest))
            products = [Interval(k.number(Fraction(1), False), k.number(Fraction(1), True))]
            for factor in rest[:last]:
                products.append(_mul(k, products[-1], factor))
            out = _hull(products[first : last + 1])
        case "passed":
            faulty = any(m.maybe_undefined for m in rest)
            ends = sum(m.hi <= a.lo for m in rest), sum(m.lo <= a.hi for m in rest)
            out = Interval(k.number(Fraction(ends[0]), False), k.number(Fraction(ends[1]), True), faulty)
        case _:
            raise ValueError(f"no operator {name}")
    return out._replace(maybe_undefined=out.maybe_undefined or a.maybe_undefined)


def affine(expr: ex.Expr) -> tuple[ex.Expr | None, Fraction, Fraction] | None:
    """(leaf, a, b) where the expression is a + b·leaf in exact numbers; the leaf is None where b is 0."""
    match expr:
        case ex.Num(value):
            return None, value, Fraction(0)
        case ex.Reading() | ex.Var() | ex.Bound():
            return expr, Fraction(0), Fraction(1)
        case ex.Op("neg", (x,)):
            return _scaled(affine(x), Fraction(-1))
        case ex.Op("add" | "sub" as name, (x, y)):
            p, q = affine(x), affine(y)
            if p is None or q is None or (p[0] is not None and q[0] is not None and p[0] != q[0]):
                return None
            sign = 1 if name == "add" else -1
            slope = p[2] + sign * q[2]
            return (p[0] or q[0]) if slope else None, p[1] + sign * q[1], slope
        case ex.Op("mul", (x, y)):
            p, q = affine(x), affine(y)
            if p is not None and p[0] is None:
                return _scaled(q, p[1])
            return _scaled(p, q[1]) if q is not None and q[0] is None else None
        case ex.Op("div", (x, y)):
            q = affine(y)
            return _scaled(affine(x), 1 / q[1]) if q is not None and q[0] is None and q[1] else None
    return None


def _scaled(
    p: tuple[ex.Expr | None, Fraction, Fraction] | None, by: Fraction
) -> tuple[ex.Expr | None, Fraction, Fraction] | None:
    return None if p is None else (p[0] if by else None, p[1] * by, p[2] * by)


def is_whole(expr: ex.Expr) -> bool:
    """Whether the expression is a whole number by its form."""
    match expr:
        case ex.Num(value):
            return value.denominator == 1
        case ex.Op("floor" | "ceil" | "round" | "passed", _):
            return True
        case ex.Op("add" | "sub" | "mul" | "neg" | "min" | "max" | "abs", args):
            return all(is_whole(a) for a in args)
    return False


class Tape:
    """An expression in the order of evaluation, shared parts once, ready to be bounded over many boxes."""

    def __init__(self, expr: ex.Expr, clocks: Sequence[Clocks] = ()) -> None:
        self.clocks = clocks
        self.nodes: list[tuple[Any, tuple[int, ...]]] = []
        self._seen: dict[ex.Expr, int] = {}
        self._by_id: dict[int, int] = {}
        self._kept: list[ex.Expr] = []
        self.leaves: set[ex.Expr] = set()
        self.root = self._put(expr)

    def _put(self, expr: ex.Expr) -> int:
        found = self._by_id.get(id(expr))
        if found is None:
            self._kept.append(expr)
            found = self._by_id[id(expr)] = self._new(expr)
        return found

    def _new(self, expr: ex.Expr) -> int:
        line = affine(expr)
        if line is not None:
            if line[0] is not None:
                self.leaves.add(line[0])
            return self._add(line, ())
        match expr:
            case ex.Op("sin" | "cos" | "tan" as name, (x,)) if (inner := turns_of(x)) is not None:
                return self._add(("turns", name), (self._put(inner),))
            case ex.Op(name, args):
                whole = name == "pow" and is_whole(args[1])
                return self._add((name, whole), tuple(self._put(a) for a in args))
            case ex.Piecewise(reading, bounds, values):
                return self._add(("piecewise", bounds), tuple(self._put(e) for e in (reading, *values)))
            case ex.Convert(reading, _, _, _):
                return self._add(("convert", expr), (self._put(reading),))
            case _:
                return self._add(("const", expr), ())

    def _add(self, what: Any, args: tuple[int, ...]) -> int:
        self.nodes.append((what, args))
        return len(self.nodes) - 1

    def bounds(self, k: Kernel, env: Env) -> list[Interval]:
        """The interval of every node; the last is the expression's."""
        out: list[Interval] = []
        for what, args in self.nodes:
            if len(what) == 3:
                out.append(self._line(k, what, env))
                continue
            inner = [out[i] for i in args]
            x = self._node(k, what, inner)
            if _reaches_infinity(x) and inner and not any(map(_reaches_infinity, inner)):
                # An overflow on the way: the result may be finite, but computing it is not safe.
                x = x._replace(maybe_undefined=True)
            out.append(x)
        return out

    @staticmethod
    def _line(k: Kernel, line: tuple[ex.Expr | None, Fraction, Fraction], env: Env) -> Interval:
        leaf, a, b = line
        if leaf is None:
            return Interval(k.number(a, False), k.number(a, True))
        given = env[leaf]
        ends: list[Any] = []
        for end in given[:2] if b > 0 else given[1::-1]:
            if isinstance(end, float) and _is_infinite(end):
                ends.append(end if b > 0 else -end)
            else:
                ends.append(a + b * (end if isinstance(end, Fraction | int) else Fraction(end)))
        return Interval(k.number(ends[0], False), k.number(ends[1], True), given[2] if len(given) > 2 else False)

    def _node(self, k: Kernel, what: tuple[str, Any], args: list[Interval]) -> Interval:
        name, detail = what
        match name:
            case "turns":
                return _turns(k, detail, args[0])
            case "const":
                if detail.name == "inf":
                    return Interval(INF, INF)
                value = {"pi": math.pi, "e": math.e}[detail.name]
                # Both floats lie below the number they stand for.
                return Interval(k.number(value, False), k.number(math.nextafter(value, 4), True))
            case "piecewise":
                first, last = (sum(e >= b for b in detail) for e in args[0][:2])
                out = _hull(args[1 + first : 2 + last])
                return out._replace(maybe_undefined=out.maybe_undefined or args[0].maybe_undefined)
            case "convert":
                return self._converted(k, detail, args[0])
        return operate(k, name, args, detail)

    def _converted(self, k: Kernel, expr: ex.Convert, a: Interval) -> Interval:
        ends = []
        for end, up in ((a.lo, False), (a.hi, True)):
            if _is_infinite(end):
                ends.append(end)
            else:
                shown = rd.convert(self.clocks[expr.table], expr.source, expr.target, Fraction(end))
                ends.append(k.number(shown, up))
        return Interval(ends[0], ends[1], a.maybe_undefined)


def _reaches_infinity(x: Interval) -> bool:
    return _is_infinite(x.lo) or _is_infinite(x.hi)


def _finished(x: Interval) -> Interval:
    return x._replace(maybe_undefined=x.maybe_undefined or _reaches_infinity(x))


def bounds(expr: ex.Expr, env: Env, clocks: Sequence[Clocks] = ()) -> Interval:
    """An enclosure of the expression's values, in floats, while its leaves range over `env`."""
    tape = Tape(expr, clocks)
    return _finished(tape.bounds(Floats, env)[tape.root])


def exact_bounds(
    expr: ex.Expr,
    lo: Fraction,
    hi: Fraction,
    reading_ranges: Mapping[tuple[str, int], tuple[Fraction, Fraction]] = NO_LEAVES,
    *,
    values: Env = NO_LEAVES,
    clocks: Sequence[Clocks] = (),
) -> Interval:
    """An enclosure in rationals while the position runs from lo to hi and the clocks over their ranges, ends included.

    `values` gives other leaves. An infinite end is a float; irrational functions are enclosed to about 1e-15.
    """
    tape = Tape(expr, clocks)
    env: dict[ex.Expr, Any] = dict(values)
    for leaf in tape.leaves:
        if isinstance(leaf, ex.Reading) and leaf not in env:
            key = (leaf.clock, leaf.table)
            env[leaf] = reading_ranges[key] if key in reading_ranges or leaf.clock != "steps" else (lo, hi)
    return _finished(tape.bounds(Rationals, env)[tape.root])


def derivative(expr: ex.Expr, wrt: ex.Expr = ex.STEPS) -> ex.Expr | None:
    """The derivative by one leaf, the others held; None where the expression may jump or has none to write down.

    At the kinks of min, max, clamp and abs it is one of the two sides' derivatives.
    """
    match expr:
        case ex.Num() | ex.Const() | ex.Reading():
            return ex.ONE if expr == wrt else ex.ZERO
        case ex.Var() | ex.Bound():
            return ex.ONE if expr == wrt else ex.ZERO if _stands_still(expr) else None
        case ex.Op(name, args):
            slopes = [derivative(a, wrt) for a in args]
            if all(s == ex.ZERO for s in slopes):
                return ex.ZERO
            known = [s for s in slopes if s is not None]
            if name == "if" and slopes[0] == ex.ZERO and len(known) == 3:
                return ex.op("if", args[0], known[1], known[2])
            return _chain(name, args, known) if len(known) == len(slopes) else None
        case ex.Piecewise(reading, bounds, values):
            if derivative(reading, wrt) == ex.ZERO:
                inner = [derivative(v, wrt) for v in values]
                found = tuple(v for v in inner if v is not None)
                return ex.piecewise(reading, bounds, found) if len(found) == len(inner) else None
        case ex.Convert(reading, _, _, _):
            return ex.ZERO if derivative(reading, wrt) == ex.ZERO else None
    return None


def _chain(name: str, args: tuple[ex.Expr, ...], d: list[ex.Expr]) -> ex.Expr | None:
    op, x = ex.op, args[0]
    match name:
        case "add" | "sub":
            return op(name, *d)
        case "neg":
            return op("neg", d[0])
        case "mul":
            return op("add", op("mul", d[0], args[1]), op("mul", x, d[1]))
        case "div":
            if d[1] == ex.ZERO:
                return op("div", d[0], args[1])
            top = op("sub", op("mul", d[0], args[1]), op("mul", x, d[1]))
            return op("div", top, op("pow", args[1], ex.num(2)))
        case "pow":
            if d[1] == ex.ZERO:
                return op("mul", op("mul", args[1], op("pow", x, op("sub", args[1], ex.ONE))), d[0])
            log = ex.ONE if x == ex.Const("e") else op("log", x)
            grows = op("mul", op("mul", log, d[1]), ex.Op(name, args))
            if d[0] == ex.ZERO:
                return grows
            return op("add", grows, op("mul", op("mul", args[1], op("pow", x, op("sub", args[1], ex.ONE))), d[0]))
        case "exp":
            return op("mul", op("exp", x), d[0])
        case "log":
            return op("div", d[0], x)
        case "sqrt":
            return op("div", d[0], op("mul", ex.num(2), op("sqrt", x)))
        case "sin":
            return op("mul", op("cos", x), d[0])
        case "cos":
            return op("neg", op("mul", op("sin", x), d[0]))
        case "tan":
            return op("div", d[0], op("pow", op("cos", x), ex.num(2)))
        case "tanh":
            return op("mul", op("sub", ex.ONE, op("pow", op("tanh", x), ex.num(2))), d[0])
        case "abs":
            return op("if", op("ge", x, ex.ZERO), d[0], op("neg", d[0]))
        case "min" | "max":
            best, slope = x, d[0]
            for a, s in zip(args[1:], d[1:], strict=True):
                slope = op("if", op("le" if name == "min" else "ge", best, a), slope, s)
                best = op(name, best, a)
            return slope
        case "clamp":
            low = op("max", x, args[1])
            return op("if", op("le", low, args[2]), op("if", op("ge", x, args[1]), d[0], d[1]), d[2])
    return None


Direction = Literal["increasing", "decreasing"]
KEEPS = frozenset({"exp", "log", "sqrt", "tanh", "floor", "ceil", "round", "min", "max", "clamp", "add"})
"""Operators that rise (weakly) with every argument, jumps included."""


def _stands_still(leaf: ex.Expr) -> bool:
    """Whether the leaf, though its value may be unknown, is the same at every position."""
    if isinstance(leaf, ex.Var):
        return not leaf.name.startswith("batch")
    return isinstance(leaf, ex.Bound) and leaf.at is not None


def _trends(tape: Tape, values: list[Interval], rising: frozenset[ex.Expr]) -> int | None:
    """Which way the expression goes over the box as its moving leaves rise.

    1: it never falls; -1: it never rises; 0: it stays; None: unknown.
    """
    out: list[int | None] = []
    for (what, args), value in zip(tape.nodes, values, strict=True):
        if value.lo == value.hi and not value.maybe_undefined:
            out.append(0)
        elif len(what) != 3:
            out.append(_trend(what, [out[i] for i in args], [values[i] for i in args]))
        elif what[0] in rising:
            out.append(1 if what[2] > 0 else -1)
        else:
            out.append(0 if what[0] is None or _stands_still(what[0]) else None)
    return out[tape.root]


def _joint(trends: Sequence[int | None]) -> int | None:
    """The common trend of values that add up."""
    kinds = {t for t in trends if t != 0}
    return 0 if not kinds else kinds.pop() if len(kinds) == 1 else None


def _times(trend: int | None, factor: Interval) -> int | None:
    """The trend of something times a factor of known sign."""
    if trend is None or trend == 0:
        return trend
    return trend if factor.lo >= 0 else -trend if factor.hi <= 0 else None


def _trend(what: tuple[str, Any], t: list[int | None], v: list[Interval]) -> int | None:
    name = what[0]
    if all(x == 0 for x in t):
        return 0
    match name:
        case _ if name in KEEPS:
            return _joint(t)
        case "convert":
            return t[0]
        case "neg":
            return None if t[0] is None else -t[0]
        case "sub":
            return _joint([t[0], None if t[1] is None else -t[1]])
        case "mul":
            return _joint([_times(t[0], v[1]), _times(t[1], v[0])])
        case "div" if not v[1].lo <= 0 <= v[1].hi:
            back = None if t[1] is None else -t[1]
            return _joint([_times(t[0], v[1]), _times(back, v[0])])
        case "abs":
            return _times(t[0], v[0])
        case "pow" if v[0].lo > 0 or (v[0].lo >= 0 and v[1].lo > 0):
            # The logarithm of the base decides which way a rising exponent goes.
            return _joint([_times(t[0], v[1]), _times(t[1], Interval(v[0].lo - 1, v[0].hi - 1))])
        case "turns" if what[1] == "cos" and _is_finite(v[0].lo) and math.floor(v[0].lo) + 1 >= v[0].hi:
            falls = math.floor(v[0].lo) % 2 == 0
            return None if t[0] is None else -t[0] if falls else t[0]
        case "turns" if what[1] == "sin" and _is_finite(v[0].lo):
            quarter = math.floor(v[0].lo + 0.5)
            if v[0].lo >= quarter - 0.5 and v[0].hi <= quarter + 0.5 and t[0] is not None:
                return t[0] if quarter % 2 == 0 else -t[0]
        case "if" if not v[0].lo <= 0 <= v[0].hi:
            return t[1]
        case "if" if v[0].lo == v[0].hi == 0:
            return t[2]
        case "passed" if all(x == 0 for x in t[1:]):
            return t[0]
        case "piecewise" | "pick" if t[0] == 0:
            return _joint(t[1:])
        case "pick" if all(x == 0 for x in t[1:]):
            return _times(t[0], _slopes(list(pairwise(v[1:]))))
        case "piecewise":
            first, last = (sum(1 for b in what[1] if e >= b) for e in v[0][:2])
            if first == last:
                return t[1 + first]
        case "mod" if t[1] == 0 and not v[1].lo <= 0 <= v[1].hi:
            quotient = _integers(_div(Floats, v[0], v[1]), math.floor)
            if quotient.lo == quotient.hi:
                return t[0]
        case "product" if all(x == 0 for x in t[1:]) and all(x.lo >= 0 for x in v[1:]):
            return _times(t[0], Interval(min(x.lo for x in v[1:]) - 1, max(x.hi for x in v[1:]) - 1))
    return None


def _slopes(pairs: list[tuple[Interval, Interval]]) -> Interval:
    """An interval with the sign of all the steps from one value to the next."""
    return Interval(min((b.lo - a.hi for a, b in pairs), default=0), max((b.hi - a.lo for a, b in pairs), default=0))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a claim about an interval.

    `at` holds the witnesses of a refutation: one position, or two whose values are in the wrong order. `uncovered` are
    the stretches that stayed open when the budget was spent.
    """

    outcome: Literal["proved", "refuted", "undecided"]
    at: tuple[Fraction, ...] = ()
    uncovered: tuple[tuple[Fraction, Fraction], ...] = ()
    evaluations: int = 0


@dataclass(frozen=True, slots=True)
class Range:
    """Enclosures of the least and the greatest value, and where values in them are taken.

    `complete` is False where the budget ran out before the enclosures were as narrow as asked: they still hold.
    """

    least: Interval
    greatest: Interval
    at_least: Fraction
    at_greatest: Fraction
    maybe_undefined: bool
    complete: bool
    evaluations: int


@dataclass(slots=True)
class Budget:
    """How many evaluations may be made, and have been."""

    limit: int
    spent: int = 0


class Study:
    """One expression over boxes of one leaf (or of the position, which moves every clock that `clocks` knows)."""

    def __init__(self, expr: ex.Expr, wrt: ex.Reading, env: Env, clocks: Sequence[Clocks], budget: Budget) -> None:
        self.wrt = wrt
        self.env = env
        self.clocks = clocks
        self.budget = budget
        self.tape = Tape(expr, clocks)
        leaves = self.tape.leaves | {e for e in ex.walk(expr) if isinstance(e, LEAVES)}
        self.moving = frozenset(
            leaf
            for leaf in leaves
            if leaf == wrt or (isinstance(leaf, ex.Reading) and leaf not in env and wrt == ex.STEPS)
        )
        slopes = {leaf: derivative(expr, leaf) for leaf in self.moving}
        self.slopes = None
        # Leaves that move in a way of their own leave no total derivative to speak of.
        own_way = any(leaf not in self.moving and not _stands_still(leaf) for leaf in leaves)
        if not own_way and all(s is not None for s in slopes.values()):
            self.slopes = {leaf: Tape(s, clocks) for leaf, s in slopes.items() if s is not None}

    def leaves(self, lo: Fraction, hi: Fraction) -> dict[ex.Expr, Any]:
        out: dict[ex.Expr, Any] = dict(self.env)
        for leaf in self.moving:
            if leaf == self.wrt:
                out[leaf] = (lo, hi)
            elif isinstance(leaf, ex.Reading):
                track = self.clocks[leaf.table]
                out[leaf] = (rd.reading(track, leaf.clock, lo), rd.reading(track, leaf.clock, hi))
        return out

    def over(self, lo: Fraction, hi: Fraction) -> tuple[Interval, int | None]:
        """The values over the box, and which way they go there (see `_trends`)."""
        self.budget.spent += 1
        env = self.leaves(lo, hi)
        values = self.tape.bounds(Floats, env)
        whole = _finished(values[self.tape.root])
        trend = 0 if lo == hi else _trends(self.tape, values, self.moving)
        if trend is None and self.slopes is not None and not whole.maybe_undefined:
            trend = self._trend_of_slopes(lo, hi, env)
        if trend is not None and lo < hi:
            a, b = self.at(lo), self.at(hi)
            tight = _hull([a, b])
            whole = Interval(max(whole.lo, tight.lo), min(whole.hi, tight.hi), whole.maybe_undefined)
        return whole, trend

    def _trend_of_slopes(self, lo: Fraction, hi: Fraction, env: Env) -> int | None:
        self.budget.spent += 1
        total = Interval(0.0, 0.0)
        for leaf, tape in (self.slopes or {}).items():
            slope = tape.bounds(Floats, env)[tape.root]
            if leaf != self.wrt and isinstance(leaf, ex.Reading):
                rates = rd.rates_between(self.clocks[leaf.table], leaf.clock, lo, hi)
                slope = _mul(Floats, slope, Interval(Floats.number(rates[0], False), Floats.number(rates[1], True)))
            total = _add(Floats, total, slope)
        return 1 if total.lo >= 0 else -1 if total.hi <= 0 else None

    def at(self, x: Fraction) -> Interval:
        """The value at one place, in rationals: exact wherever the formula allows."""
        self.budget.spent += 1
        return _finished(self.tape.bounds(Rationals, self.leaves(x, x))[self.tape.root])

    @property
    def exhausted(self) -> bool:
        return self.budget.spent >= self.budget.limit


def _middle(lo: Fraction, hi: Fraction) -> Fraction:
    middle = (lo + hi) / 2
    return Fraction(math.floor(middle)) if hi - lo >= 2 else middle


def _too_small(lo: Fraction, hi: Fraction) -> bool:
    return bool(hi - lo < max(Fraction(1), abs(lo), abs(hi)) / 2**40)


def certify_range(
    expr: ex.Expr,
    lo: Fraction,
    hi: Fraction,
    *,
    wrt: ex.Reading = ex.STEPS,
    env: Env = NO_LEAVES,
    clocks: Sequence[Clocks] = (),
    budget: int = 2000,
    tolerance: float = 1e-9,
) -> Range:
    """The least and greatest value while `wrt` runs from lo to hi, ends included.

    Each is enclosed to `tolerance` of the greatest size, if the budget allows. Where `wrt` is the position, all
    readings that `env` does not give move with it, as `clocks` say.
    """
    study = Study(expr, wrt, env, clocks, Budget(budget))
    ends = [(study.at(x), x) for x in dict.fromkeys((lo, hi))]
    low_at, high_at = min(ends, key=lambda e: e[0].hi), max(ends, key=lambda e: e[0].lo)
    shut: list[Interval] = [e[0] for e in ends]
    heap: list[tuple[float, int, Fraction, Fraction, Interval]] = []
    count = 0

    def urgency(x: Interval) -> float:
        return -float(max(x.hi - high_at[0].lo, low_at[0].hi - x.lo, INF if x.maybe_undefined else -INF))

    def file(a: Fraction, b: Fraction) -> None:
        nonlocal count, low_at, high_at
        x, trend = study.over(a, b)
        if (trend is not None and not x.maybe_undefined) or _too_small(a, b):
            shut.append(x)
            return
        count += 1
        heapq.heappush(heap, (urgency(x), count, a, b, x))

    if lo < hi:
        file(lo, hi)
    while heap and not study.exhausted:
        _, _, a, b, x = heapq.heappop(heap)
        scale = max(abs(float(high_at[0].lo)), abs(float(low_at[0].hi)))
        # What was urgent may no longer be: better values have been seen since.
        if -urgency(x) <= tolerance * scale:
            shut.append(x)
            continue
        middle = _middle(a, b)
        here = (study.at(middle), middle)
        low_at, high_at = min(low_at, here, key=lambda e: e[0].hi), max(high_at, here, key=lambda e: e[0].lo)
        shut.append(here[0])
        file(a, middle)
        file(middle, b)
    everything = shut + [box[4] for box in heap]
    return Range(
        least=Interval(min(x.lo for x in everything), low_at[0].hi),
        greatest=Interval(high_at[0].lo, max(x.hi for x in everything)),
        at_least=low_at[1],
        at_greatest=high_at[1],
        maybe_undefined=any(x.maybe_undefined for x in everything),
        complete=not heap,
        evaluations=study.budget.spent,
    )


def _settle(
    study: Study,
    lo: Fraction,
    hi: Fraction,
    holds: Callable[[Interval, int | None], bool],
    refute: Callable[[Fraction, Fraction], tuple[Fraction, ...]],
) -> Verdict:
    """Split the interval until the claim holds on every box, or fails at some place, or the budget is spent."""
    boxes = [(lo, hi)]
    stuck: list[tuple[Fraction, Fraction]] = []
    while boxes:
        if study.exhausted:
            return Verdict("undecided", (), _merged([*stuck, *boxes]), study.budget.spent)
        # Breadth first: a refutation anywhere is found before the budget goes into one corner.
        rest = []
        for i, (a, b) in enumerate(boxes):
            if study.exhausted:
                rest += boxes[i:]
                break
            if holds(*study.over(a, b)):
                continue
            witness = refute(a, b)
            if witness:
                return Verdict("refuted", witness, (), study.budget.spent)
            if a == b or _too_small(a, b):
                stuck.append((a, b))
                continue
            middle = _middle(a, b)
            rest += [(a, middle), (middle, b)]
        boxes = rest
    return Verdict("undecided" if stuck else "proved", (), _merged(stuck), study.budget.spent)


def _merged(boxes: Sequence[tuple[Fraction, Fraction]]) -> tuple[tuple[Fraction, Fraction], ...]:
    out: list[tuple[Fraction, Fraction]] = []
    for a, b in sorted(boxes):
        if out and a <= out[-1][1]:
            out[-1] = (out[-1][0], max(b, out[-1][1]))
        else:
            out.append((a, b))
    return tuple(out)


def certify_sign(
    expr: ex.Expr,
    lo: Fraction,
    hi: Fraction,
    relation: Literal["ge", "gt", "le", "lt"] = "ge",
    *,
    wrt: ex.Reading = ex.STEPS,
    env: Env = NO_LEAVES,
    clocks: Sequence[Clocks] = (),
    budget: int = 2000,
) -> Verdict:
    """Whether the expression stands in the relation to 0 everywhere from lo to hi, ends included."""
    study = Study(expr, wrt, env, clocks, Budget(budget))

    def holds(x: Interval, _: int | None) -> bool:
        return not x.maybe_undefined and bool(_compare(relation, x, Interval(0, 0)).lo == 1)

    def refute(a: Fraction, b: Fraction) -> tuple[Fraction, ...]:
        for place in dict.fromkeys((a, _middle(a, b), b)):
            x = study.at(place)
            if not x.maybe_undefined and _compare(relation, x, Interval(0, 0)).hi == 0:
                return (place,)
        return ()

    return _settle(study, lo, hi, holds, refute)


def certify_monotone(
    expr: ex.Expr,
    lo: Fraction,
    hi: Fraction,
    direction: Direction = "decreasing",
    *,
    wrt: ex.Reading = ex.STEPS,
    env: Env = NO_LEAVES,
    clocks: Sequence[Clocks] = (),
    budget: int = 2000,
) -> Verdict:
    """Whether the expression never rises (or never falls) from lo to hi, ends included."""
    allowed = Budget(budget)
    whole = Study(expr, wrt, env, clocks, allowed)
    wanted = (0, 1) if direction == "increasing" else (0, -1)

    def falls_short(first: Interval, second: Interval) -> bool:
        """Whether the later value is certainly on the wrong side of the earlier one."""
        low, high = (second, first) if direction == "increasing" else (first, second)
        return bool(low.hi < high.lo) and not (first.maybe_undefined or second.maybe_undefined)

    def holds(x: Interval, trend: int | None) -> bool:
        return not x.maybe_undefined and (trend in wanted or x.lo == x.hi)

    def refute(a: Fraction, b: Fraction) -> tuple[Fraction, ...]:
        places = list(dict.fromkeys((a, _middle(a, b), b)))
        shown = [whole.at(p) for p in places]
        for i, j in combinations(range(len(places)), 2):
            if falls_short(shown[i], shown[j]):
                return places[i], places[j]
        return ()

    uncovered: list[tuple[Fraction, Fraction]] = []
    before = None
    for a, b, part in _unfolded(expr, lo, hi, wrt, clocks):
        study = Study(part, wrt, env, clocks, allowed)
        if before is not None:
            left, right = before.at(a), study.at(a)
            step = right.hi <= left.lo if direction == "decreasing" else right.lo >= left.hi
            if not step or left.maybe_undefined or right.maybe_undefined:
                uncovered.append((a, a))
        found = _settle(study, a, b, holds, refute)
        if found.outcome == "refuted":
            return Verdict("refuted", found.at, (), allowed.spent)
        uncovered += found.uncovered
        before = study
    for a, b in _merged(uncovered):
        witness = refute(max(lo, a - 1), min(hi, b + 1))
        if witness:
            return Verdict("refuted", witness, (), allowed.spent)
    return Verdict("undecided" if uncovered else "proved", (), _merged(uncovered), allowed.spent)


def _unfolded(
    expr: ex.Expr, lo: Fraction, hi: Fraction, wrt: ex.Reading, clocks: Sequence[Clocks]
) -> list[tuple[Fraction, Fraction, ex.Expr]]:
    """Stretches, and on each the expression without the choices that it makes by a clock's reading alone.

    On its closed stretch each part is continued to the ends, where the expression itself may already make another
    choice.
    """

    def place(line: tuple[ex.Expr | None, Fraction, Fraction] | None, bound: Fraction) -> Fraction | None:
        """Where what is affine reaches the bound."""
        if line is None or not isinstance(line[0], ex.Reading):
            return None
        shown = (bound - line[1]) / line[2]
        if line[0] == wrt:
            return shown
        if wrt != ex.STEPS or line[0].table >= len(clocks):
            return None
        return rd.position(clocks[line[0].table], line[0].clock, shown)

    def choices(e: ex.Expr) -> list[Fraction | None]:
        match e:
            case ex.Piecewise(reading, bounds, _):
                return [place(affine(reading), b) for b in bounds]
            case ex.Op("if", (ex.Op("lt" | "le" | "gt" | "ge", (x, y)), _, _)):
                return [place(affine(ex.op("sub", x, y)), Fraction(0))]
        return []

    cuts = {c for e in ex.walk(expr) for c in choices(e) if c is not None and lo < c < hi}
    if not cuts or len(cuts) > MAX_STRETCHES:
        return [(lo, hi, expr)]
    out = []
    for a, b in pairwise([lo, *sorted(cuts), hi]):
        middle = (a + b) / 2

        def choose(e: ex.Expr, middle: Fraction = middle) -> ex.Expr | None:
            places = choices(e)
            if not places or None in places:
                return None
            study = Study(e.reading if isinstance(e, ex.Piecewise) else e.args[0], wrt, {}, clocks, Budget(1))  # type: ignore[union-attr]
            at = study.at(middle)
            if isinstance(e, ex.Piecewise):
                return ex.rebuild(e.values[sum(1 for v in e.bounds if v <= at.lo)], choose)
            assert isinstance(e, ex.Op)
            return ex.rebuild(e.args[1] if at.lo else e.args[2], choose)

        out.append((a, b, ex.rebuild(expr, choose)))
    return out
