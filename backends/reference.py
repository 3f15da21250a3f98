"""The exact, slow value of everything in a Plan: what every other way of computing it is tested against.

Written from the meaning of the language alone, without the vectorised evaluator, the clocks' lookups or any generated
code. Rational values are Fractions; the others have 60 decimal digits, and count as equal (or whole) where 50 agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from mpmath.ctx_mp import MPContext

from schedc.compiler import expressions as ex
from schedc.compiler.plan import Binding, ClockPiece, Clocks, Curve, Feedback, Plan

mp = MPContext()
"""A context of its own: nobody else's precision is changed."""
mp.dps = 60
CLOSE = mp.mpf(10) ** -50

Number = Any
"""A Fraction where the value is rational, else a number of `mp`."""
Look = Callable[[str, Fraction], Number]
"""Another binding's value at a position."""
Show = Callable[[str, Fraction], Fraction]
"""What a clock shows at a position."""
NOTHING: Mapping[Any, Any] = MappingProxyType({})


class Undefined(ArithmeticError):
    """A value that does not exist: a division by zero, the logarithm of a negative number."""


class Ended(Exception):
    """The update belongs to an `error` stage."""


def _real(x: Number) -> Any:
    return mp.mpf(x.numerator) / x.denominator if isinstance(x, Fraction) else x


def _settled(x: Number) -> Number:
    """A number that is whole to 50 digits, as a Fraction: floors and comparisons then do not hang on the 60th."""
    if isinstance(x, Fraction) or not mp.isfinite(x):
        return x
    near = mp.nint(x)
    return Fraction(int(near)) if abs(x - near) <= CLOSE * abs(near) else x


def _order(a: Number, b: Number) -> int:
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return (a > b) - (a < b)
    x, y = _real(a), _real(b)
    if mp.isfinite(x) and mp.isfinite(y) and abs(x - y) <= CLOSE * max(abs(x), abs(y)):
        return 0
    return int(x > y) - int(x < y)


def _floor(x: Number) -> Number:
    x = _settled(x)
    if isinstance(x, Fraction):
        return Fraction(math.floor(x))
    return Fraction(int(mp.floor(x))) if mp.isfinite(x) else x


def _arithmetic(name: str, a: Number, b: Number) -> Number:
    if not (isinstance(a, Fraction) and isinstance(b, Fraction)):
        a, b = _real(a), _real(b)
    match name:
        case "add" | "sub":
            out = a + b if name == "add" else a - b
            cancelled = not isinstance(out, Fraction) and mp.isfinite(out) and abs(out) <= CLOSE * max(abs(a), abs(b))
            return Fraction(0) if cancelled else out
        case "mul":
            return a * b
    if b == 0:
        raise Undefined("division by zero")
    return a / b


def _power(a: Number, b: Number) -> Number:
    b = _settled(b)
    if b == 0:
        return Fraction(1)
    if a == 0 and b < 0:
        raise Undefined("a negative power of zero")
    if isinstance(b, Fraction) and b.denominator == 1:
        if isinstance(a, Fraction) and abs(b) * (a.numerator.bit_length() + a.denominator.bit_length()) < 20_000:
            return a ** int(b)
        if a == 0:
            return Fraction(0)
        if abs(b * mp.ln(abs(_real(a)))) > 10**9:
            raise OverflowError("a power beyond all bounds")
        return mp.power(_real(a), int(b))
    if a < 0:
        raise Undefined("a fractional power of a negative number")
    return mp.power(_real(a), _real(b))


def _function(name: str, x: Number) -> Number:
    if (name == "log" and x <= 0) or (name == "sqrt" and x < 0):
        raise Undefined(f"{name} of {x}")
    if x == 0:
        return Fraction(1) if name in ("exp", "cos") else Fraction(0)
    if name == "tan" and abs(mp.cos(_real(x))) < CLOSE:
        raise Undefined("tan of half a turn")
    value = getattr(mp, {"log": "ln"}.get(name, name))(_real(x))
    # What is left at a zero of sin or cos is the rounding of its argument.
    return Fraction(0) if name in ("sin", "cos", "tan") and abs(value) <= CLOSE * max(1, abs(x)) else value


def _drawn(pieces: Sequence[ClockPiece], clock: str, piece: ClockPiece, position: Fraction) -> Fraction:
    if clock == "steps":
        return position
    start, rate = getattr(piece, clock), getattr(piece, f"{clock}_per_update")
    if start is None or rate is None:
        raise Undefined(f"the clock {clock} is unknown")
    return Fraction(start + (position - piece.update) * rate)


def reading(clocks: Clocks, clock: str, position: Fraction) -> Fraction:
    """What the clock shows at the position."""
    if clock == "steps":
        return position
    begun = [p for p in clocks.pieces if p.update <= position] or [clocks.pieces[0]]
    if clocks.period is None or position < (clocks.period_start or 0) + clocks.period:
        return _drawn(clocks.pieces, clock, begun[-1], position)
    start, end = Fraction(clocks.period_start or 0), Fraction((clocks.period_start or 0) + clocks.period)
    inside = [p for p in clocks.pieces if p.update < end]
    at_end = _drawn(clocks.pieces, clock, inside[-1], end)
    periods = (position - start) // clocks.period
    rest = reading(clocks, clock, position - periods * clocks.period)
    return rest + periods * (at_end - reading(clocks, clock, start))


def position(clocks: Clocks, clock: str, value: Fraction) -> Fraction:
    """Where the clock shows the value: the update in progress by bisection, then along its straight line."""
    if clock == "steps":
        return value
    if abs(value) > 10**30:
        raise OverflowError("a clock reading beyond all bounds")
    low, high = 0, 1
    while reading(clocks, clock, Fraction(high)) <= value:
        low, high = high, 2 * high
    while reading(clocks, clock, Fraction(low)) > value:
        low = 2 * low - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if reading(clocks, clock, Fraction(middle)) <= value else (low, middle)
    before, after = (reading(clocks, clock, Fraction(n)) for n in (low, high))
    return low + (value - before) / (after - before)


def batch(clocks: Clocks, position: Fraction) -> Fraction:
    """The global batch of the update in progress."""
    if clocks.period is not None and position >= (clocks.period_start or 0):
        position -= (position - (clocks.period_start or 0)) // clocks.period * clocks.period
    size = ([p for p in clocks.pieces if p.update <= position] or [clocks.pieces[0]])[-1].batch
    if size is None:
        raise Undefined("the batch size is unknown")
    return Fraction(size)


def number(value: Any) -> Number:
    """A given number, exactly: a float is the rational it stands for."""
    return Fraction(value) if not isinstance(value, float) or math.isfinite(value) else mp.mpf(value)


ORDERS = {"lt": (-1,), "le": (-1, 0), "gt": (1,), "ge": (0, 1), "eq": (0,), "ne": (-1, 1)}
"""The orders of the two sides for which a comparison holds."""


def expression_value(
    clocks: Sequence[Clocks],
    expr: ex.Expr,
    at: Fraction,
    values: Mapping[str, Any] = NOTHING,
    look: Look | None = None,
) -> Number:
    """The formula's value at the position. Raises Undefined, and OverflowError where the digits would be too many."""

    def of(e: ex.Expr) -> Number:
        match e:
            case ex.Num(value):
                return value
            case ex.Const(name):
                return {"pi": mp.pi, "e": mp.e, "inf": mp.inf}[name] * 1
            case ex.Reading(clock, table):
                return at if clock == "steps" else reading(clocks[table], clock, at)
            case ex.Var(name):
                if name not in values and name.startswith("batch"):
                    return batch(clocks[int(name[6:] or 0)], at)
                return number(values[name]) if not isinstance(values[name], mp.mpf) else values[name]
            case ex.Bound(name, there):
                if look is None:
                    raise ValueError(f"nothing gives the value of {name}")
                return look(name, at if there is None else there)
            case ex.Piecewise(shown, bounds, choices):
                where = of(shown)
                return of(choices[sum(_order(where, b) >= 0 for b in bounds)])
            case ex.Convert(shown, source, target, table):
                there = position(clocks[table], source, rational(of(shown)))
                return reading(clocks[table], target, there)
            case ex.Op(name, args):
                return operation(name, args)

    def operation(name: str, args: tuple[ex.Expr, ...]) -> Number:
        match name:
            case "if":
                return of(args[1] if _order(of(args[0]), Fraction(0)) != 0 else args[2])
            case "pick":
                return of(args[1:][int(max(0, min(_bounded(of(args[0])), len(args) - 2)))])
            case "product":
                out: Number = Fraction(1)
                for factor in args[1 : 1 + int(max(0, min(_bounded(of(args[0])), len(args))))]:
                    out = _arithmetic("mul", out, of(factor))
                return out
        x, *rest = (of(a) for a in args)
        match name:
            case "add" | "sub" | "mul" | "div":
                return _arithmetic(name, x, rest[0])
            case "neg":
                return -x
            case "abs":
                return abs(x)
            case "pow":
                return _power(x, rest[0])
            case "floor":
                return _floor(x)
            case "ceil":
                return -_floor(-x)
            case "round":
                return _floor(_arithmetic("add", x, Fraction(1, 2)))
            case "mod":
                whole = _floor(_arithmetic("div", x, rest[0]))
                return _arithmetic("sub", x, _arithmetic("mul", rest[0], whole))
            case "min" | "max":
                for y in rest:
                    x = y if (_order(y, x) < 0) == (name == "min") and _order(y, x) else x
                return x
            case "clamp":
                low = x if _order(x, rest[0]) >= 0 else rest[0]
                return low if _order(low, rest[1]) <= 0 else rest[1]
            case "passed":
                return Fraction(sum(_order(mark, x) <= 0 for mark in rest))
            case "lt" | "le" | "gt" | "ge" | "eq" | "ne":
                return Fraction(_order(x, rest[0]) in ORDERS[name])
        return _function(name, x)

    return of(expr)


def _bounded(x: Number) -> Number:
    whole = _floor(x)
    return whole if isinstance(whole, Fraction) else Fraction(10**9 if whole > 0 else -1)


def rational(x: Number) -> Fraction:
    """The number as a Fraction, of 60 digits where it is irrational."""
    if isinstance(x, Fraction):
        return x
    sign, mantissa, exponent, _ = x._mpf_
    if not mp.isfinite(x) or exponent > 1_000_000:
        raise OverflowError("a clock reading beyond all bounds")
    size = int(mantissa) * 2**exponent if exponent >= 0 else Fraction(int(mantissa), 2**-exponent)
    return Fraction(-size if sign else size)


def curve_value(
    clocks: Sequence[Clocks],
    curve: Curve,
    at: Fraction,
    values: Mapping[str, Any] = NOTHING,
    look: Look | None = None,
) -> Number:
    """The curve's value at the position. Raises Ended in an `error` stage."""
    for segment in curve.segments:
        if segment.end is None or at < segment.end:
            if segment.error is not None:
                raise Ended(segment.error)
            return expression_value(clocks, segment.formula, at, values, look)
    formula = curve.after if curve.after is not None else curve.segments[-1].ends
    if formula is None:
        raise ValueError("the curve has ended, and nothing says what holds after it")
    return expression_value(clocks, formula, at, values, look)


@dataclass
class Group:
    """One param group: what it was built with, the group rules that match it, and the numbers their selectors bound."""

    base: float | Fraction | Mapping[str, float | Fraction] | None = None
    rules: Sequence[int] = ()
    captures: Mapping[int, Mapping[str, int]] = field(default_factory=dict)

    def base_of(self, name: str) -> Number | None:
        base = self.base.get(name) if isinstance(self.base, Mapping) else self.base
        return None if base is None else number(base)


def binding_value(plan: Plan, name: str, at: Fraction, group: Group, factors: Mapping[int, Number] = NOTHING) -> Number:
    """What `name` is in the group at the position; `factors` are the plateaus', 1 where not given."""
    base = group.base_of(name)
    rules: list[tuple[Binding, Mapping[str, int]]] = [(b, {}) for b in plan.bindings if b.name == name]
    for i in sorted(group.rules):
        rules += [(b, group.captures.get(i, {})) for b in plan.groups[i].bindings if b.name == name]
    rules = rules or [(b, {}) for b in plan.lets if b.name == name]
    value = base
    replaced = max((i for i, (b, _) in enumerate(rules) if not b.relative), default=0)
    for binding, captured in rules[replaced:]:
        if binding.relative and value is None:
            raise ValueError(f"no base for {name}")
        values: dict[str, Number] = {f"factor:{f.index}": factors.get(f.index, Fraction(1)) for f in plan.feedback}
        values.update({f"capture:{i}": Fraction(c) for i, c in captured.items()})
        if base is not None:
            values["base"] = base
        own = curve_value(
            plan.clocks,
            binding.curve,
            at,
            values,
            lambda other, there: binding_value(plan, other, there, group, factors),
        )
        value = _arithmetic("mul", value, own) if binding.relative else own
    if value is None:
        raise ValueError(f"no base for {name}")
    return value


@dataclass
class FeedbackState:
    """What one plateau remembers.

    `bad` counts observations since the last better one, `since` is where its patience clock started; `cooling` counts
    observations still to be passed over, `cooled` is the reading of the cooldown's clock at which it ends.
    """

    spec: Feedback
    cuts: int = 0
    best: float | None = None
    bad: int = 0
    since: Fraction | None = None
    cooling: int = 0
    cooled: Fraction | None = None
    window: list[float] = field(default_factory=list)

    @property
    def factor(self) -> Fraction:
        return Fraction(self.spec.factor**self.cuts)

    def is_better(self, metric: float) -> bool:
        """In double precision, as the metrics are: at the bar itself, exact arithmetic would decide otherwise."""
        threshold, atol = float(self.spec.threshold), float(self.spec.atol)
        sign = 1 if self.spec.mode == "min" else -1
        best = sign * math.inf if self.best is None else self.best
        bar = best * (1 - sign * threshold) if self.spec.threshold_mode == "rel" and math.isfinite(best) else best
        if self.spec.threshold_mode == "abs":
            bar -= sign * threshold
        bar -= sign * atol
        return metric < bar if self.spec.mode == "min" else metric > bar

    def observe(self, metric: float, at: Fraction, show: Show, value: Callable[[int], Number]) -> bool:
        """Take one observation at the position; whether it cut.

        `show` reads a clock at a position, `value` gives the schedule, as written, after so many cuts.
        """
        spec = self.spec
        if at < spec.start or (spec.end is not None and at >= spec.end):
            return False
        self.window.append(metric)
        if len(self.window) < spec.window:
            return False
        metric = self.window[0] if spec.window == 1 else sum(self.window) / spec.window
        self.window = []
        cooling = self._is_cooling(at, show)
        if not (cooling and spec.in_cooldown == "ignore"):
            if self.is_better(metric):
                self.best = metric
                self._forgive(at, show)
            else:
                self.bad += 1
        if cooling:
            self.cooling = max(0, self.cooling - 1)
            self._forgive(at, show)
        if not self._is_out_of_patience(at, show):
            return False
        fall = _arithmetic("sub", value(self.cuts), value(self.cuts + 1))
        cut = _order(fall, spec.eps) > 0
        self.cuts += cut
        # Also after a cut that eps forbade, as torch does.
        self._forgive(at, show)
        if spec.cooldown_clock is None:
            self.cooling = int(spec.cooldown)
        elif spec.cooldown > 0:
            self.cooled = show(spec.cooldown_clock, at) + spec.cooldown
        return cut

    def _is_cooling(self, at: Fraction, show: Show) -> bool:
        if self.spec.cooldown_clock is None:
            return self.cooling > 0
        return self.cooled is not None and show(self.spec.cooldown_clock, at) <= self.cooled

    def _forgive(self, at: Fraction, show: Show) -> None:
        self.bad = 0
        if self.spec.patience_clock:
            self.since = show(self.spec.patience_clock, at)

    def _is_out_of_patience(self, at: Fraction, show: Show) -> bool:
        clock = self.spec.patience_clock
        if clock is None:
            return self.bad > self.spec.patience
        # Before the first better one, patience has run since the plateau began to watch.
        since = show(clock, self.spec.start) if self.since is None else self.since
        return self.bad > 0 and show(clock, at) - since > self.spec.patience


class ReferenceRun:
    """A training run of one param group: the plan, the update it is at, and what its plateaus remember.

    An observation counts at the current update: after `step()` has gone on to n + 1, that is n + 1.
    """

    def __init__(self, plan: Plan, base: float | Mapping[str, float] | None = None, group: Group | None = None) -> None:
        self.plan = plan
        self.group = group or Group()
        if base is not None:
            self.group = Group(base, self.group.rules, self.group.captures)
        self.update = 0
        self.states = [FeedbackState(f) for f in plan.feedback]

    @property
    def factors(self) -> dict[int, Fraction]:
        return {s.spec.index: s.factor for s in self.states}

    def value(self, name: str = "lr") -> Number:
        """What the current update uses."""
        return binding_value(self.plan, name, Fraction(self.update), self.group, self.factors)

    def step(self) -> None:
        """Go on to the next update."""
        self.update += 1

    def observe(self, **metrics: float) -> set[int]:
        """Report metrics; the plateaus that watch one of them may cut. Gives the indices of those that did."""
        at = Fraction(self.update)
        clocks = self.plan.clocks[0] if self.plan.clocks else Clocks(pieces=())
        cut = set()
        for state in self.states:
            if state.spec.metric in metrics:
                metric = float(metrics[state.spec.metric])
                if state.observe(metric, at, lambda c, p: reading(clocks, c, p), self._watched(state.spec, at)):
                    cut.add(state.spec.index)
        return cut

    def _watched(self, spec: Feedback, at: Fraction) -> Callable[[int], Number]:
        """The plateau's output at the position, in the unit of the schedule as written, after so many cuts."""

        def after(cuts: int) -> Number:
            values: dict[str, Number] = {f"factor:{i}": f for i, f in self.factors.items()}
            base = self.group.base_of(self._owner(spec))
            if base is not None:
                values["base"] = base
            for captured in self.group.captures.values():
                values.update({f"capture:{i}": Fraction(c) for i, c in captured.items()})
            look = self._look
            x = curve_value(self.plan.clocks, spec.input, at, values, look)
            least = expression_value(self.plan.clocks, spec.floor, at, values, look)
            scaled = _arithmetic("mul", Fraction(spec.factor**cuts), x)
            under = x if _order(x, least) <= 0 else least
            return scaled if _order(scaled, under) >= 0 else under

        return after

    def _owner(self, spec: Feedback) -> str:
        """The name whose formula reads the plateau's factor."""
        bindings = [*self.plan.bindings, *(b for g in self.plan.groups for b in g.bindings), *self.plan.lets]
        for binding in bindings:
            formulas = [s.formula for s in binding.curve.segments]
            if binding.curve.after is not None:
                formulas.append(binding.curve.after)
            if any(f"factor:{spec.index}" in ex.variables(f) for f in formulas):
                return binding.name
        return "lr"

    def _look(self, name: str, at: Fraction) -> Number:
        return binding_value(self.plan, name, at, self.group, self.factors)
