"""What the clocks show: exactly at one position, and over whole arrays of updates.

Positions count updates. A clock is a strictly increasing, piecewise linear function of the position, given by
`plan.Clocks`; before update 0 its first piece goes on backwards. Over arrays (numpy, torch) readings are kept as
integers over a common denominator, as long as they fit, so that a boundary such as "30 epochs" is never missed by a
rounding: `Exact`, with the arithmetic beside it. A result that does not fit becomes floating point.
"""

from __future__ import annotations

import math
import sys
import weakref
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from schedc.compiler.plan import Clocks, UnknownClock

FITS = 2**62
"""Integers in arrays stay below this, so that 64 bits hold them."""
SCALAR_FITS = 2**4096
"""Single exact numbers stay below this; larger ones go on as floats."""

Array = Any
"""A numpy array or a torch tensor."""


# No "Error" in the name: it names what is missing, and a diagnostic is made of it.
class Exact(NamedTuple):
    """An exact number, or an array of them: num / den. `top` and `deep` bound |num| and den."""

    num: Any
    den: Any
    top: int
    deep: int

    @property
    def scalar(self) -> bool:
        return type(self.num) is int and type(self.den) is int


Value = Exact | float | Array
"""A number or an array of numbers; where it is not `Exact`, in floating point."""


def exact(value: Fraction | int) -> Exact:
    """The number, as a Value."""
    return Exact(value.numerator, value.denominator, abs(value.numerator), value.denominator)


def is_tensor(x: Any) -> bool:
    """Whether it is a torch tensor. Where nobody has imported torch, nothing is."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def is_scalar(x: Any) -> TypeGuard[int | float | Fraction]:
    """Whether it is a single Python number (and not an array of any shape)."""
    return isinstance(x, int | float | Fraction) and not isinstance(x, np.generic)


def int_array(values: Sequence[int], like: Array) -> Array:
    """The integers in an array of the same library, on the same device."""
    if is_tensor(like):
        return sys.modules["torch"].tensor(values, dtype=sys.modules["torch"].int64, device=like.device)
    return np.array(values, dtype=np.int64)


def float_array(values: Sequence[float], like: Array) -> Array:
    """The numbers in a float64 array of the same library, on the same device."""
    if is_tensor(like):
        return sys.modules["torch"].tensor(values, dtype=sys.modules["torch"].float64, device=like.device)
    return np.array(values, dtype=np.float64)


def as_ints(x: Array) -> Array:
    """The array as 64-bit integers."""
    return x.long() if is_tensor(x) else np.asarray(x).astype(np.int64)


def as_floats(x: Array) -> Array:
    """The array, or the number, in float64."""
    if is_scalar(x):
        return float(x)
    return x.double() if is_tensor(x) else np.asarray(x).astype(np.float64)


def count_not_above(marks: Array, x: Array) -> Array:
    """For each element, how many of the sorted marks are at most it."""
    if is_tensor(x):
        return sys.modules["torch"].searchsorted(marks, x.contiguous(), right=True)
    return np.searchsorted(marks, x, side="right")


def ratio(num: int, den: int) -> float:
    """The quotient, correctly rounded; infinite where a float can't hold it."""
    try:
        return num / den
    except OverflowError:
        return math.inf if num > 0 else -math.inf


def to_float(x: Value) -> Any:
    """The value in floating point: a Python float or a float64 array."""
    if not isinstance(x, Exact):
        return x
    return ratio(x.num, x.den) if x.scalar else as_floats(x.num) / x.den


def _kept(num: Any, den: Any, top: int, deep: int) -> Exact | None:
    if type(num) is int and type(den) is int:
        if top > SCALAR_FITS or deep > SCALAR_FITS:
            return None
        common = math.gcd(num, den)
        return Exact(num // common, den // common, abs(num) // common, den // common)
    return Exact(num, den, top, deep) if top < FITS and deep < FITS else None


def on_one_denominator(a: Exact, b: Exact) -> tuple[Any, Any, Any, int, int] | None:
    """Both numerators over one denominator, it, and bounds of them; None if they do not fit."""
    if type(a.den) is int and type(b.den) is int:
        deep = math.lcm(a.den, b.den)
        up_a, up_b = deep // a.den, deep // b.den
        den: Any = deep
    else:
        up_a, up_b, den, deep = b.den, a.den, None, a.deep * b.deep
    top = max(a.top * (up_a if type(up_a) is int else b.deep), b.top * (up_b if type(up_b) is int else a.deep))
    limit = SCALAR_FITS if a.scalar and b.scalar else FITS
    if top >= limit or deep >= limit:
        return None
    return a.num * up_a, b.num * up_b, a.den * b.den if den is None else den, top, deep


def add(a: Value, b: Value) -> Value:
    if isinstance(a, Exact) and isinstance(b, Exact):
        same = on_one_denominator(a, b)
        if same is not None:
            x, y, den, top, deep = same
            kept = _kept(x + y, den, 2 * top, deep)
            if kept is not None:
                return kept
    return to_float(a) + to_float(b)


def neg(a: Value) -> Value:
    return a._replace(num=-a.num) if isinstance(a, Exact) else -a


def mul(a: Value, b: Value) -> Value:
    if isinstance(a, Exact) and isinstance(b, Exact):
        # Cancel across first: 1/T times T·k would otherwise fill the 64 bits for nothing.
        if type(a.num) is int and type(b.den) is int and (g := math.gcd(a.num, b.den)) > 1:
            a = a._replace(num=a.num // g, top=a.top // g)
            b = b._replace(den=b.den // g, deep=b.deep // g)
        if type(b.num) is int and type(a.den) is int and (g := math.gcd(b.num, a.den)) > 1:
            b = b._replace(num=b.num // g, top=b.top // g)
            a = a._replace(den=a.den // g, deep=a.deep // g)
        if (a.scalar and b.scalar) or max(a.top, b.top, a.top * b.top, a.deep * b.deep) < FITS:
            kept = _kept(a.num * b.num, a.den * b.den, a.top * b.top, a.deep * b.deep)
            if kept is not None:
                return kept
    return to_float(a) * to_float(b)


def reciprocal(a: Value) -> Exact | None:
    """One over a single exact number other than 0."""
    if not isinstance(a, Exact) or not a.scalar or a.num == 0:
        return None
    sign = 1 if a.num > 0 else -1
    return Exact(sign * a.den, sign * a.num, a.den, abs(a.num))


def floor(a: Exact) -> Exact:
    """The whole part."""
    return Exact(a.num // a.den, 1, a.top + 1, 1)


def gather(table: Sequence[Fraction], index: Any) -> Value:
    """The table's entries at the indices, which must lie within it."""
    if is_scalar(index):
        return exact(table[int(index)])
    den = 1
    for entry in table:
        den = math.lcm(den, entry.denominator)
        if den >= FITS:
            break
    if den < FITS:
        nums = [entry.numerator * (den // entry.denominator) for entry in table]
        top = max(map(abs, nums))
        if top < FITS:
            return Exact(int_array(nums, index)[index], den, top, den)
    tops = max(abs(e.numerator) for e in table), max(e.denominator for e in table)
    if max(tops) < FITS:
        nums, dens = [e.numerator for e in table], [e.denominator for e in table]
        return Exact(int_array(nums, index)[index], int_array(dens, index)[index], *tops)
    return float_array([ratio(e.numerator, e.denominator) for e in table], index)[index]


def passed(x: Value, marks: Sequence[Fraction]) -> Any:
    """How many of the sorted marks are at most x, elementwise: a Python int or an integer array."""
    if isinstance(x, Exact):
        if x.scalar:
            return bisect_right(marks, Fraction(x.num, x.den))
        if type(x.den) is int:
            # num/den >= m exactly where num >= ceil(m·den).
            limits = [max(-FITS, min(FITS, math.ceil(m * x.den))) for m in marks]
            return count_not_above(int_array(limits, x.num), x.num)
        if len(marks) <= 64 and all(on_one_denominator(x, exact(m)) for m in marks):
            return sum(as_ints(x.num * m.denominator >= x.den * m.numerator) for m in marks)
    values = to_float(x)
    rounded = [ratio(m.numerator, m.denominator) for m in marks]
    return bisect_right(rounded, values) if is_scalar(values) else count_not_above(float_array(rounded, values), values)


@dataclass(frozen=True, slots=True)
class Track:
    """One clock: readings and rates where its pieces begin, and what a period adds. `limit`: known only up to there."""

    clock: str
    updates: tuple[int, ...]
    starts: tuple[Fraction, ...]
    rates: tuple[Fraction, ...]
    limit: int | None = None
    period_start: int = 0
    period: int | None = None
    tail: Fraction = Fraction(0)
    gain: Fraction = Fraction(0)

    def reading(self, position: Fraction) -> Fraction:
        extra = Fraction(0)
        if self.period is not None and position >= self.period_start:
            times = math.floor((position - self.period_start) / self.period)
            position, extra = position - times * self.period, times * self.gain
        elif self.limit is not None and position > self.limit:
            raise UnknownClock(self.clock)
        i = max(0, bisect_right(self.updates, position) - 1)
        return self.starts[i] + (position - self.updates[i]) * self.rates[i] + extra

    def position(self, reading: Fraction) -> Fraction:
        extra = 0
        if self.period is not None and reading >= self.tail:
            times = math.floor((reading - self.tail) / self.gain)
            reading, extra = reading - times * self.gain, times * self.period
        i = max(0, bisect_right(self.starts, reading) - 1)
        found = self.updates[i] + (reading - self.starts[i]) / self.rates[i]
        if self.limit is not None and found > self.limit:
            raise UnknownClock(self.clock)
        return found + extra


def _track(clocks: Clocks, clock: str) -> Track:
    if clock == "steps":
        updates = tuple(p.update for p in clocks.pieces) or (0,)
        starts, rates = tuple(map(Fraction, updates)), (Fraction(1),) * len(updates)
        whole = Track(clock, updates, starts, rates)
    else:
        known = []
        limit = None
        for piece in clocks.pieces:
            start, rate = getattr(piece, clock), getattr(piece, clock + "_per_update")
            if start is None or rate is None:
                limit = piece.update
                break
            known.append((piece.update, start, rate))
        if not known or (limit is not None and clocks.period is not None):
            raise UnknownClock(clock)
        whole = Track(clock, tuple(k[0] for k in known), tuple(k[1] for k in known), tuple(k[2] for k in known), limit)
    if clocks.period is None:
        return whole
    first = clocks.period_start or 0
    tail, end = whole.reading(Fraction(first)), whole.reading(Fraction(first + clocks.period))
    return Track(clock, whole.updates, whole.starts, whole.rates, None, first, clocks.period, tail, end - tail)


_TRACKS: dict[int, dict[str, Track]] = {}


def track(clocks: Clocks, clock: str) -> Track:
    """The clock, ready for lookups. Raises UnknownClock where nothing at all gives its rate."""
    tracks = _TRACKS.get(id(clocks))
    if tracks is None:
        tracks = _TRACKS[id(clocks)] = {}
        weakref.finalize(clocks, _TRACKS.pop, id(clocks), None)
    if clock not in tracks:
        tracks[clock] = _track(clocks, clock)
    return tracks[clock]


def reading(clocks: Clocks, clock: str, position: Fraction) -> Fraction:
    """What the clock shows at the position: what was consumed before it."""
    return position if clock == "steps" else track(clocks, clock).reading(position)


def position(clocks: Clocks, clock: str, reading: Fraction) -> Fraction:
    """Where the clock shows the reading."""
    return reading if clock == "steps" else track(clocks, clock).position(reading)


def convert(clocks: Clocks, source: str, target: str, value: Fraction) -> Fraction:
    """What the clock `target` shows where the clock `source` shows the value."""
    return value if source == target else reading(clocks, target, position(clocks, source, value))


def converted(clocks: Clocks, source: str, target: str, x: Value) -> Value:
    """`convert` over a Value: exact where x is and the result fits."""
    if source == target:
        return x
    if isinstance(x, Exact) and x.scalar:
        return exact(convert(clocks, source, target, Fraction(x.num, x.den)))
    if is_scalar(x) and math.isfinite(x):
        return float(convert(clocks, source, target, Fraction(x)))
    a, b = track(clocks, source), track(clocks, target)
    limit = min((t.limit for t in (a, b) if t.limit is not None), default=None)
    if limit is not None:
        beyond = passed(x, [a.reading(Fraction(limit))]) > 0
        if bool(beyond.any()) and bool((to_float(x)[beyond] > a.reading(Fraction(limit))).any()):
            raise UnknownClock(a.clock if a.limit == limit else b.clock)
    times: Value = exact(0)
    if a.period is not None:
        through = mul(add(x, exact(-a.tail)), exact(1 / a.gain))
        whole = floor(through) if isinstance(through, Exact) else through // 1
        times = whole._replace(num=whole.num * (whole.num > 0)) if isinstance(whole, Exact) else whole * (whole > 0)
        x = add(x, mul(times, exact(-a.gain)))
    count = min(len(a.starts), len(b.starts))
    slopes = [b.rates[i] / a.rates[i] for i in range(count)]
    offsets = [b.starts[i] - a.starts[i] * slopes[i] for i in range(count)]
    if count == 1:
        out = add(exact(offsets[0]), mul(exact(slopes[0]), x))
    else:
        index = passed(x, a.starts[1:count])
        out = add(gather(offsets, index), mul(gather(slopes, index), x))
    return out if a.period is None else add(out, mul(times, exact(b.gain)))


def readings_at(clocks: Clocks, clock: str, n: Array) -> Array:
    """What the clock shows before each update: float64, the exact reading rounded once where 64 bits allow."""
    return to_float(converted(clocks, "steps", clock, counts(n)))


def counts(n: Array) -> Value:
    """The updates, or positions, as a Value: exact where they are whole numbers."""
    if is_scalar(n):
        return exact(n) if not isinstance(n, float) else exact(Fraction(n)) if math.isfinite(n) else n
    if not is_tensor(n):
        n = np.asarray(n)
    floating = n.is_floating_point() if is_tensor(n) else n.dtype.kind == "f"
    if floating:
        whole = as_ints(n)
        if not bool((whole == n).all()):
            return as_floats(n)
        n = whole
    n = as_ints(n)
    size = n.numel() if is_tensor(n) else n.size
    return Exact(n, 1, max(abs(int(n.min())), abs(int(n.max()))) if size else 0, 1)


def rates_between(clocks: Clocks, clock: str, lo: Fraction, hi: Fraction) -> tuple[Fraction, Fraction]:
    """The least and the greatest rate that the clock has between two positions."""
    whole = track(clocks, clock)
    if whole.period is not None and hi > whole.period_start + whole.period:
        return min(whole.rates), max(whole.rates)
    first = max(0, bisect_right(whole.updates, lo) - 1)
    # A piece that begins at hi has no part in what lies before.
    rates = whole.rates[first : max(first + 1, bisect_left(whole.updates, hi))]
    return min(rates), max(rates)
