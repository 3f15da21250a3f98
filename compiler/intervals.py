"""Certain bounds: what a formula's values can be while its clocks run over intervals.

Every result encloses the true values. Floats are rounded outwards, but not where an operation is exact; `exact_bounds`
works in rationals throughout. Whatever is affine in one leaf is computed exactly at both ends before anything is
rounded, so that p = t/T reaches 1 and not a little more. `certify_*` bisect until a claim about a whole interval is
proved or refuted, or the budget of evaluations is spent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from schedc.compiler import expressions as ex
from schedc.compiler import readings as rd

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


def is_infinite(x: Any) -> bool:
    return isinstance(x, float) and math.isinf(x)


def is_finite(x: Any) -> bool:
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
        return Fraction(x) if is_finite(x) else x

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


def hull(xs: Sequence[Interval]) -> Interval:
    return Interval(min(x.lo for x in xs), max(x.hi for x in xs), any(x.maybe_undefined for x in xs))


def add(k: Kernel, a: Interval, b: Interval) -> Interval:
    return Interval(k.add(a.lo, b.lo, False), k.add(a.hi, b.hi, True), a.maybe_undefined or b.maybe_undefined)


def _neg(a: Interval) -> Interval:
    return Interval(-a.hi, -a.lo, a.maybe_undefined)


def mul(k: Kernel, a: Interval, b: Interval) -> Interval:
    faulty = a.maybe_undefined or b.maybe_undefined
    if a.lo >= 0 and b.lo >= 0:
        return Interval(k.mul(a.lo, b.lo, False), k.mul(a.hi, b.hi, True), faulty)
    pairs = ((a.lo, b.lo), (a.lo, b.hi), (a.hi, b.lo), (a.hi, b.hi))
    return Interval(min(k.mul(x, y, False) for x, y in pairs), max(k.mul(x, y, True) for x, y in pairs), faulty)


def div(k: Kernel, a: Interval, b: Interval) -> Interval:
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
    if b.lo == b.hi and is_finite(b.lo) and b.lo == math.floor(b.lo):
        n = int(b.lo)
        if n == 0:
            return Interval(k.number(Fraction(1), False), k.number(Fraction(1), True), faulty)
        if n < 0:
            one = Interval(k.number(Fraction(1), False), k.number(Fraction(1), True), faulty)
            return div(k, one, _pow(k, a, Interval(-b.lo, -b.lo), whole))
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
    if x == 0 or is_infinite(x) or is_infinite(y):
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


def integers(a: Interval, down: Callable[[Any], int]) -> Interval:
    """A step function of the ends."""
    kind = type(a.lo) if isinstance(a.lo, float | Fraction) else Fraction
    ends = [e if is_infinite(e) else kind(down(e)) for e in (a.lo, a.hi)]
    return Interval(ends[0], ends[1], a.maybe_undefined)


def _mod(k: Kernel, a: Interval, b: Interval) -> Interval:
    faulty = a.maybe_undefined or b.maybe_undefined
    if b.lo == b.hi and b.lo != 0 and is_finite(a.lo) and is_finite(a.hi):
        quotient = integers(div(k, a, b), math.floor)
        if quotient.lo == quotient.hi:
            rest = add(k, a, _neg(mul(k, b, quotient)))
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
        elif is_infinite(x):
            limits = {"exp": (0.0, INF), "tanh": (-1.0, 1.0), "sqrt": (0.0, INF)}[name]
            ends.append(limits[x > 0])
        elif name == "sqrt":
            root = ex.exact_sqrt(Fraction(x))
            ends.append(k.number(root, up) if root is not None else k.call(math.sqrt, x, up))
        else:
            ends.append(k.call(math.exp if name == "exp" else math.tanh, x, up))
    least, most = {"exp": (0, INF), "tanh": (-1, 1), "sqrt": (0, INF), "log": (-INF, INF)}[name]
    return Interval(max(ends[0], k.number(least, False)), min(ends[1], k.number(most, True)), faulty)


def turns(k: Kernel, name: str, a: Interval) -> Interval:
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


def compared(name: str, a: Interval, b: Interval) -> Interval:
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
            return add(k, a, args[1])
        case "sub":
            return add(k, a, _neg(args[1]))
        case "mul":
            return mul(k, a, args[1])
        case "div":
            return div(k, a, args[1])
        case "neg":
            return _neg(a)
        case "pow":
            return _pow(k, a, args[1], whole)
        case "abs":
            return _abs(a)
        case "floor":
            return integers(a, math.floor)
        case "ceil":
            return integers(a, math.ceil)
        case "round":
            half = Fraction(1, 2)
            return integers(add(k, a, Interval(k.number(half, False), k.number(half, True))), math.floor)
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
            return turns(
                k, name, div(k, a, Interval(k.number(math.pi, False), k.number(math.nextafter(math.pi, 4), True)))
            )
        case "lt" | "le" | "gt" | "ge" | "eq" | "ne":
            return compared(name, a, args[1])
    return _choose(k, name, a, args[1:])


def _choose(k: Kernel, name: str, a: Interval, rest: Sequence[Interval]) -> Interval:
    match name:
        case "if":
            branches = list(rest) if a.lo <= 0 <= a.hi else [rest[0]]
            out = hull(branches[1:] if a.lo == a.hi == 0 else branches)
        case "pick":
            first, last = _span(a, len(rest) - 1)
            out = hull(rest[first : last + 1])
        case "product":
            first, last = _span(a, len(rest))
            products = [Interval(k.number(Fraction(1), False), k.number(Fraction(1), True))]
            for factor in rest[:last]:
                products.append(mul(k, products[-1], factor))
            out = hull(products[first : last + 1])
        case "passed":
            faulty = any(m.maybe_undefined for m in rest)
            ends = sum(m.hi <= a.lo for m in rest), sum(m.lo <= a.hi for m in rest)
            out = Interval(k.number(Fraction(ends[0]), False), k.number(Fraction(ends[1]), True), faulty)
        case _:
            raise ValueError(f"no operator {name}")
    return out._replace(maybe_undefined=out.maybe_undefined or a.maybe_undefined)
