"""Claims about a formula over a stretch of time, decided by enclosures: its range, its sign, which way it goes.

The stretch is halved until a claim holds on every piece, fails at some place, or a budget is spent.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, pairwise
from typing import Any, Literal

from schedc.compiler import expressions as ex
from schedc.compiler import readings as rd
from schedc.compiler.enclosures import Tape, affine, derivative, finished, stands_still
from schedc.compiler.intervals import (
    INF,
    LEAVES,
    MAX_STRETCHES,
    NO_LEAVES,
    Env,
    Floats,
    Interval,
    Rationals,
    add,
    compared,
    div,
    hull,
    integers,
    is_finite,
    mul,
)
from schedc.compiler.plan import Clocks

Direction = Literal["increasing", "decreasing"]
KEEPS = frozenset({"exp", "log", "sqrt", "tanh", "floor", "ceil", "round", "min", "max", "clamp", "add"})
"""Operators that rise (weakly) with every argument, jumps included."""


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
            out.append(0 if what[0] is None or stands_still(what[0]) else None)
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
        case "turns" if what[1] == "cos" and is_finite(v[0].lo) and math.floor(v[0].lo) + 1 >= v[0].hi:
            falls = math.floor(v[0].lo) % 2 == 0
            return None if t[0] is None else -t[0] if falls else t[0]
        case "turns" if what[1] == "sin" and is_finite(v[0].lo):
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
            quotient = integers(div(Floats, v[0], v[1]), math.floor)
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
        own_way = any(leaf not in self.moving and not stands_still(leaf) for leaf in leaves)
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
        whole = finished(values[self.tape.root])
        trend = 0 if lo == hi else _trends(self.tape, values, self.moving)
        if trend is None and self.slopes is not None and not whole.maybe_undefined:
            trend = self._trend_of_slopes(lo, hi, env)
        if trend is not None and lo < hi:
            a, b = self.at(lo), self.at(hi)
            tight = hull([a, b])
            whole = Interval(max(whole.lo, tight.lo), min(whole.hi, tight.hi), whole.maybe_undefined)
        return whole, trend

    def _trend_of_slopes(self, lo: Fraction, hi: Fraction, env: Env) -> int | None:
        self.budget.spent += 1
        total = Interval(0.0, 0.0)
        for leaf, tape in (self.slopes or {}).items():
            slope = tape.bounds(Floats, env)[tape.root]
            if leaf != self.wrt and isinstance(leaf, ex.Reading):
                rates = rd.rates_between(self.clocks[leaf.table], leaf.clock, lo, hi)
                slope = mul(Floats, slope, Interval(Floats.number(rates[0], False), Floats.number(rates[1], True)))
            total = add(Floats, total, slope)
        return 1 if total.lo >= 0 else -1 if total.hi <= 0 else None

    def at(self, x: Fraction) -> Interval:
        """The value at one place, in rationals: exact wherever the formula allows."""
        self.budget.spent += 1
        return finished(self.tape.bounds(Rationals, self.leaves(x, x))[self.tape.root])

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
        return not x.maybe_undefined and bool(compared(relation, x, Interval(0, 0)).lo == 1)

    def refute(a: Fraction, b: Fraction) -> tuple[Fraction, ...]:
        for place in dict.fromkeys((a, _middle(a, b), b)):
            x = study.at(place)
            if not x.maybe_undefined and compared(relation, x, Interval(0, 0)).hi == 0:
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
