"""Whether two Plans mean the same, and if not, from which update on and by how much.

Each bound name is compared stretch by stretch between the seams of both schedules. A stretch is *proved* equal by its
formulas alone (they are the same, or SymPy shows that they are); what is left is evaluated at every update of the run,
and *certified* equal if no value differs by more than TOLERANCE of the peak. Runs of more than EVERY_UPDATE updates are
narrowed down by interval arithmetic first. Nothing is claimed on samples.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import zip_longest
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from schedc.compiler import expressions as ex
from schedc.compiler import readings as rd
from schedc.compiler.evaluate import binding_values, curve_values
from schedc.compiler.plan import (
    Binding,
    Clocks,
    Curve,
    Feedback,
    Frozen,
    GroupRule,
    InitRule,
    Plan,
    Run,
    ScheduleEnded,
    Segment,
    UnknownClock,
)

TOLERANCE = 1e-12
"""Values that differ by no more than this share of the peak are equal in floating point."""
EVERY_UPDATE = 5_000_000
"""Up to so many updates are all evaluated; beyond, intervals first say where it is worth it."""
UNBOUNDED = 1_000_000
"""How many updates of an endless schedule are evaluated where no run is declared."""
CHUNK = 1 << 18
"""Updates evaluated at once."""
MAX_EVALUATED = 200_000_000
"""Updates of one schedule that are evaluated before the search is given up."""
MAX_ENCLOSED = 20_000
"""Stretches of one schedule that are enclosed before the search is given up."""
MAX_ASKED = 48
"""Pairs of formulas that SymPy is asked about in one comparison."""

_CHOOSING = frozenset("min max clamp if abs floor ceil round mod passed pick product lt le gt ge eq ne".split())
"""Operators that SymPy rewrites at length and to no end; their arguments are compared one by one."""

Array = NDArray[np.float64]
Places = NDArray[np.int64]
How = Literal["proved", "certified", "different", "undecided"]


@dataclass(frozen=True, slots=True)
class Side:
    """One schedule at one update: its stage as written, the formula there in local time, the value."""

    label: str
    formula: str
    value: float | None
    stops: str | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """Both schedules at one update."""

    update: int
    a: Side
    b: Side

    @property
    def amount(self) -> float:
        """How far the values are apart; infinity where one of them is none."""
        if self.a.value is None or self.b.value is None:
            return 0.0 if self.a.value is self.b.value else math.inf
        apart = abs(self.a.value - self.b.value)
        return math.inf if math.isnan(apart) else apart


@dataclass(frozen=True, slots=True)
class Compared:
    """What came out for one name, or for one name of a group rule.

    `updates` is how many were compared, None if all there will ever be. `parts` is the first update where the
    schedules part, `largest` where they are farthest apart (`share` of the peak).
    """

    name: str
    group: str | None
    how: How
    detail: str = ""
    updates: int | None = None
    parts: Point | None = None
    largest: Point | None = None
    share: float | None = None

    @property
    def equal(self) -> bool:
        return self.how in ("proved", "certified")


@dataclass(frozen=True, slots=True)
class Changed:
    """Something besides the schedules that is not the same."""

    what: str
    a: str
    b: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two Plans side by side. As text it is what `schedc diff` prints."""

    a: str
    b: str
    first: int
    bindings: tuple[Compared, ...]
    changes: tuple[Changed, ...]

    @property
    def equal(self) -> bool:
        """Whether every schedule was shown to be equal, and nothing else differs."""
        return not self.changes and all(c.equal for c in self.bindings)

    @property
    def parts(self) -> int | None:
        """The first update where any two schedules part; None if none do, or none that can be named."""
        return min((c.parts.update for c in self.bindings if c.parts is not None), default=None)

    def __bool__(self) -> bool:
        raise TypeError("say what is asked: `.equal`, or `.parts` for the first update that differs")

    def __str__(self) -> str:
        return "\n".join(text for _, text in rows(self))


def compare(a: Plan, b: Plan, *, first: int = 0, bases: tuple[float | None, float | None] = (None, None)) -> Comparison:
    """All that differs between two Plans from update `first` on.

    `bases` is what relative schedules multiply, where it is known; else they are compared as factors.
    """
    if first < 0:
        raise ValueError("updates are counted from 0")
    sides = _Side(a, bases[0]), _Side(b, bases[1])
    session = _Session(sides, first)
    compared = [*session.top("bindings"), *session.top("lets")]
    changes = [*_of_run(a, b), *_of_settings(a, b), *_of_batch(a, b, first), *_of_clocks(a, b, first)]
    matched, regrouped = _matched(a.groups, b.groups)
    compared += [c for pair in matched for c in session.rule(*pair)]
    changes += [*regrouped, *_of_feedback(a, b, first), *([] if first else _of_init(a.init, b.init))]
    return Comparison(a.name, b.name, first, tuple(compared), tuple(changes))


def first_difference(
    a: Callable[[Places], NDArray[Any]],
    b: Callable[[Places], NDArray[Any]],
    first: int,
    last: int,
    tolerance: float = 0.0,
) -> int | None:
    """The first update in first … last where two functions of an array of updates differ by more than the tolerance."""
    for low in range(first, last + 1, CHUNK):
        n = np.arange(low, min(low + CHUNK, last + 1))
        found = np.flatnonzero(_apart(a(n), b(n)) > tolerance)
        if len(found):
            return low + int(found[0])
    return None


def _apart(x: Array, y: Array) -> Array:
    """The differences; two values that are both no number, or the same infinity, are equal."""
    with np.errstate(all="ignore"):
        apart = np.abs(x - y)
    odd = ~np.isfinite(apart)
    if odd.any():
        same = (x == y) | (np.isnan(x) & np.isnan(y))
        apart[odd] = np.where(same[odd], 0.0, np.inf)
    return apart


# -- the schedules


@dataclass(frozen=True)
class _Side:
    plan: Plan
    base: float | None

    @property
    def last(self) -> int | None:
        return None if self.plan.run is None else max(0, self.plan.run.updates - 1)


@dataclass(frozen=True)
class _Schedule:
    """One binding of one side, in one group rule or in none."""

    side: _Side
    binding: Binding
    group: tuple[int, ...] = ()

    @property
    def curve(self) -> Curve:
        return self.binding.curve

    @property
    def scale(self) -> float | None:
        """What its values are multiplied by to be those that the optimizer gets, if that is known."""
        return self.side.base if self.binding.relative and not self.group else None

    def given(self) -> dict[str, float]:
        """What its formulas read besides the clocks, where nothing is known of it."""
        read = _variables(self.binding)
        base = 1.0 if self.side.base is None else self.side.base
        return {"base": base, **{n: 1.0 for n in read if n.startswith(("factor:", "capture:"))}}

    def captures(self) -> dict[int, dict[str, int]]:
        """The captures of its group rules, where nothing is known of them."""
        rules = self.side.plan.groups
        read = {i: {n for b in rules[i].bindings for n in _variables(b)} for i in self.group}
        return {i: {n[8:]: 1 for n in names if n.startswith("capture:")} for i, names in read.items()}

    def values(self, n: Places) -> Array:
        """The values at an array of updates. Raises ScheduleEnded."""

        def bound(name: str, at: Any) -> Any:
            base = 1.0 if self.side.base is None else self.side.base
            return binding_values(self.side.plan, name, at, base=base, group=self.group, captures=self.captures())

        out = np.asarray(curve_values(self.side.plan.clocks, self.curve, n, self.given(), bound), dtype=np.float64)
        return out if self.scale is None else out * self.scale

    def formula(self, position: Fraction) -> tuple[ex.Expr | None, Segment | None]:
        """What holds at the position: the formula (None where training stops) and its segment (None after the last)."""
        segments, curve = self.curve.segments, self.curve
        index = bisect_right(segments, position, key=lambda s: s.start) - 1
        segment = segments[max(0, index)] if segments else None
        if segment is not None and segment.end is not None and position >= segment.end:
            after = curve.after if curve.after is not None else segment.ends
            return self._scaled(after), None
        if segment is None:
            return self._scaled(curve.after), None
        return (None, segment) if segment.error is not None else (self._scaled(segment.formula), segment)

    def _scaled(self, formula: ex.Expr | None) -> ex.Expr | None:
        if formula is None or self.scale is None:
            return formula
        return ex.op("mul", ex.Num(Fraction(str(self.scale))), formula)

    def at(self, update: int) -> Side:
        """What there is to say about one update."""
        from schedc.compiler.symbolic import text

        formula, segment = self.formula(Fraction(update))
        value: float | None = None
        if formula is not None:
            try:
                value = float(self.values(np.asarray([update]))[0])
            except ScheduleEnded as ended:
                return Side(segment.label if segment else "", "", None, str(ended))
        if segment is None:
            label = "held" if self.curve.segments else ""
            return Side(label, "" if formula is None else text(formula), value)
        if segment.error is not None:
            return Side(segment.label, "", None, segment.error)
        assert formula is not None
        local = text(formula, origin=segment.origin, clock=segment.clock, table=segment.table)
        return Side(segment.label, local, value)

    def marks(self) -> set[Fraction]:
        """Where one formula hands over to the next."""
        found = {s.start for s in self.curve.segments}
        return found | ({self.curve.end} if self.curve.end is not None else set())


def _variables(binding: Binding) -> set[str]:
    """What the formulas of a binding read besides the clocks."""
    curve = binding.curve
    formulas = [s.formula for s in curve.segments] + ([] if curve.after is None else [curve.after])
    return set().union(*map(ex.variables, formulas))


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Updates with one formula on either side; `last` None: for ever."""

    first: int
    last: int | None
    a: ex.Expr | None
    b: ex.Expr | None


def _stretches(a: _Schedule, b: _Schedule, first: int, last: int | None) -> Iterator[_Stretch]:
    marks = sorted({Fraction(first)} | {m for m in a.marks() | b.marks() if m > first})
    for k, mark in enumerate(marks):
        low = -(-mark.numerator // mark.denominator)
        high = last
        if k + 1 < len(marks):
            before_next = -(-marks[k + 1].numerator // marks[k + 1].denominator) - 1
            high = before_next if last is None else min(before_next, last)
        if high is None or low <= high:
            # A formula is looked up where it applies, at the first update it owns.
            yield _Stretch(low, high, a.formula(Fraction(low))[0], b.formula(Fraction(low))[0])


@dataclass
class _Session:
    """One comparison: both sides, and what has been shown so far."""

    sides: tuple[_Side, _Side]
    first: int
    shown: dict[str, How] = field(default_factory=dict)
    asked: dict[tuple[ex.Expr, ex.Expr], bool] = field(default_factory=dict)

    def top(self, kind: Literal["bindings", "lets"]) -> Iterator[Compared]:
        """The names that are bound for all parameters, those that others read first; in the order of the files."""
        a, b = ({x.name: x for x in getattr(side.plan, kind)} for side in self.sides)
        found = {name: self.name(name, a.get(name), b.get(name)) for name in _readers_last({**a, **b}, a, b)}
        yield from (found[name] for name in dict.fromkeys([*a, *b]))

    def name(self, name: str, a: Binding | None, b: Binding | None) -> Compared:
        out = self.pair(name, None, a, b, (), ())
        self.shown[name] = out.how
        return out

    def rule(self, i: int, j: int) -> Iterator[Compared]:
        """The names of a rule of A and one of B that select the same parameters."""
        one, other = self.sides[0].plan.groups[i], self.sides[1].plan.groups[j]
        a, b = ({x.name: x for x in rule.bindings} for rule in (one, other))
        for name in dict.fromkeys([*a, *b]):
            yield self.pair(name, str(one.selection), a.get(name), b.get(name), (i,), (j,))

    def pair(
        self,
        name: str,
        group: str | None,
        a: Binding | None,
        b: Binding | None,
        group_a: tuple[int, ...],
        group_b: tuple[int, ...],
    ) -> Compared:
        if a is None or b is None:
            where = f"bound only in {'the second' if a is None else 'the first'}"
            return Compared(name, group, "different", where)
        one, other = _Schedule(self.sides[0], a, group_a), _Schedule(self.sides[1], b, group_b)
        if a.relative != b.relative and (group or None in (one.side.base, other.side.base)):
            signs = ["*=" if x.relative else "=" for x in (a, b)]
            return Compared(name, group, "different", f"`{name} {signs[0]} …` against `{name} {signs[1]} …`")
        return self.schedules(name, group, one, other)

    def schedules(self, name: str, group: str | None, a: _Schedule, b: _Schedule) -> Compared:
        ends = [side.last for side in self.sides]
        last = None if None in ends else max(e for e in ends if e is not None)
        if last is not None and last < self.first:
            return Compared(name, group, "proved", "no update is left", 0)
        open_ = [s for s in _stretches(a, b, self.first, last) if not self.proved(s, a, b)]
        count = None if last is None else last - self.first + 1
        if not open_:
            return Compared(name, group, "proved", "", count)
        finite, beyond = _bounded(open_)
        search = _Search(a, b, finite)
        search.run()
        if search.first is not None:
            return Compared(
                name, group, "different", search.why(), count,
                Point(search.first, a.at(search.first), b.at(search.first)),
                Point(search.farthest, a.at(search.farthest), b.at(search.farthest)),
                search.largest / search.peak if search.peak and math.isfinite(search.largest) else None,
            )  # fmt: skip
        told = _assumed(a, b)
        if search.left is not None:
            what = f"no difference before update {search.left}; the search was given up there"
            return Compared(name, group, "undecided", "; ".join([what, *told]), count)
        if beyond is not None:
            what = f"no difference up to update {beyond - 1}; what comes after was not compared: give the run's length"
            return Compared(name, group, "undecided", "; ".join([what, *told]), beyond - self.first)
        return Compared(name, group, "certified", "; ".join(told), count)

    def proved(self, stretch: _Stretch, a: _Schedule, b: _Schedule) -> bool:
        """Whether both formulas are shown to be equal, whatever the readings of the clocks."""
        x, y = stretch.a, stretch.b
        if x is None or y is None:
            return x is y
        if not self.same_leaves(x, y, a, b):
            return False
        if x == y:
            return True
        segment = a.formula(Fraction(stretch.first))[1] or b.formula(Fraction(stretch.first))[1]
        # SymPy's word is not taken alone; and where values differ, it need not be asked.
        return _agree(stretch, a, b) and self.alike(x, y, segment)

    def alike(self, x: ex.Expr, y: ex.Expr, segment: Segment | None) -> bool:
        """Whether the formulas are the same but for the way they are written, as far as that is quickly seen."""
        if x == y:
            return True
        if isinstance(x, ex.Op) and isinstance(y, ex.Op) and x.name == y.name and x.name in _CHOOSING:
            pairs = list(zip(x.args, y.args, strict=False))
            return len(x.args) == len(y.args) and all(self.alike(p, q, segment) for p, q in pairs)
        if any(isinstance(e, ex.Piecewise) or (isinstance(e, ex.Op) and e.name in _CHOOSING)
               for e in (*ex.walk(x), *ex.walk(y))):  # fmt: skip
            return False
        if (x, y) not in self.asked:
            if len(self.asked) >= MAX_ASKED:
                return False
            from schedc.compiler.symbolic import equal, in_local_time

            if segment is not None:  # There the arguments of cosines are multiples of t.
                where = segment.origin, segment.clock, segment.table
                self.asked[x, y] = equal(in_local_time(x, *where), in_local_time(y, *where)) is True
            else:
                self.asked[x, y] = equal(x, y) is True
        return self.asked[x, y]

    def same_leaves(self, x: ex.Expr, y: ex.Expr, a: _Schedule, b: _Schedule) -> bool:
        """Whether what both formulas read stands for the same on both sides."""
        one, other = a.side.plan, b.side.plan
        for e in (*ex.walk(x), *ex.walk(y)):
            match e:
                case ex.Reading(clock, table) if clock != "steps":
                    known = _same_clocks(one, other, table)
                case ex.Convert(_, source, target, table) if source != target:
                    known = _same_clocks(one, other, table)
                case ex.Var(name) if name.startswith("batch"):
                    known = _same_clocks(one, other, int(name.partition(":")[2] or 0))
                case ex.Var(name) if name.startswith("factor:"):
                    known = _same_feedback(one, other, int(name.partition(":")[2]))
                case ex.Var("base"):
                    known = a.side.base == b.side.base
                case ex.Bound(name, _):
                    known = self.shown.get(name) == "proved" and not a.group
                case _:
                    known = True
            if not known:
                return False
        return True


def _same_clocks(a: Plan, b: Plan, table: int) -> bool:
    return len(a.clocks) > table and len(b.clocks) > table and a.clocks[table] == b.clocks[table]


def _same_feedback(a: Plan, b: Plan, index: int) -> bool:
    found = [next((f for f in plan.feedback if f.index == index), None) for plan in (a, b)]
    return found[0] is not None and found[1] is not None and meaning(found[0]) == meaning(found[1])


def _agree(stretch: _Stretch, a: _Schedule, b: _Schedule) -> bool:
    """Whether the values agree at a few updates of the stretch, which a proof must not contradict."""
    last = stretch.first + UNBOUNDED if stretch.last is None else stretch.last
    n = np.unique(np.linspace(stretch.first, last, 65).astype(np.int64))
    try:
        x, y = a.values(n), b.values(n)
    except (ScheduleEnded, ValueError):
        return False
    peak = max(_peak(x), _peak(y))
    return bool((_apart(x, y) <= 1e-9 * peak).all())


def _peak(x: Array) -> float:
    finite = np.abs(x[np.isfinite(x)])
    return float(finite.max()) if len(finite) else 0.0


def _assumed(a: _Schedule, b: _Schedule) -> list[str]:
    """Under which values of what the run supplies the values were compared."""
    read = _variables(a.binding) | _variables(b.binding)
    told = []
    if "base" in read and a.side.base is None:
        told.append("for base = 1")
    if any(name.startswith("factor:") for name in read):
        told.append("with no cut by plateau")
    if any(name.startswith("capture:") for name in read):
        told.append("for captures of 1")
    return told


def _bounded(open_: Sequence[_Stretch]) -> tuple[list[_Stretch], int | None]:
    """The stretches, an endless one cut; and the first update behind the cut."""
    *rest, final = open_
    if final.last is not None:
        return list(open_), None
    constant = all(e is None or ex.is_constant(e) for e in (final.a, final.b))
    last = final.first if constant else final.first + UNBOUNDED - 1
    cut = _Stretch(final.first, last, final.a, final.b)
    return [*rest, cut], None if constant else last + 1


def _readers_last(names: Mapping[str, Any], a: Mapping[str, Binding], b: Mapping[str, Binding]) -> Iterator[str]:
    """The names, each after those that its formulas read."""
    done: dict[str, None] = {}

    def visit(name: str, way: frozenset[str]) -> None:
        if name in done or name in way:
            return
        for binding in (a.get(name), b.get(name)):
            for s in binding.curve.segments if binding else ():
                for e in ex.walk(s.formula):
                    if isinstance(e, ex.Bound) and e.name in names:
                        visit(e.name, way | {name})
        done[name] = None

    for name in names:
        visit(name, frozenset())
    yield from done


# -- the search


class _Search:
    """Looks for the first update where two schedules part, and for the one where they are farthest apart."""

    def __init__(self, a: _Schedule, b: _Schedule, stretches: Sequence[_Stretch]) -> None:
        self.a, self.b, self.stretches = a, b, stretches
        self.first: int | None = None
        self.farthest = -1
        self.largest = -1.0
        self.left: int | None = None
        """Where the search was given up."""
        self.exact_largest = True
        self.evaluated = 0
        self.enclosed = 0
        self.peak = 0.0

    def why(self) -> str:
        return "; ".join(
            ([] if self.exact_largest else ["the largest difference may be larger still"]) + _assumed(self.a, self.b)
        )

    def run(self) -> None:
        total = sum(self._last(s) - s.first + 1 for s in self.stretches)
        self._measure(whole=total <= EVERY_UPDATE)
        for s in self.stretches:
            if s.a is None or s.b is None:
                self._found(s.first, math.inf)
            elif total <= EVERY_UPDATE:
                self._evaluate(s.first, self._last(s))
            else:
                self._narrow(s)
            if self.left is not None:
                return
            if self.first is not None and total > EVERY_UPDATE:
                self._farthest()
                return

    @staticmethod
    def _last(s: _Stretch) -> int:
        assert s.last is not None
        return s.last

    def _measure(self, whole: bool) -> None:
        """The peak, which differences are measured against: of every update, or, of a long run, of some."""
        for s in self.stretches:
            if s.a is None or s.b is None:
                continue
            if whole:
                parts = [
                    np.arange(k, min(k + CHUNK, self._last(s) + 1)) for k in range(s.first, self._last(s) + 1, CHUNK)
                ]
            else:
                size = max(2, 1 + 50_000 // len(self.stretches))
                parts = [np.unique(np.linspace(s.first, self._last(s), size).astype(np.int64))]
            for n in parts:
                self.peak = max(self.peak, *(_peak(v) for v in self._values(n)))
        for schedule in (self.a, self.b):
            for segment in schedule.curve.segments[:1000]:
                for e in (segment.begins, segment.ends):
                    if isinstance(e, ex.Num):
                        self.peak = max(self.peak, abs(float(e.value)) * abs(schedule.scale or 1.0))

    def _values(self, n: Places) -> tuple[Array, Array]:
        out = []
        for schedule in (self.a, self.b):
            try:
                out.append(schedule.values(n))
            except ScheduleEnded:
                # Something that the formula reads stops training here.
                out.append(np.full(len(n), np.nan))
        return out[0], out[1]

    def _found(self, update: int, amount: float) -> None:
        if self.first is None or update < self.first:
            self.first = update
        if amount > self.largest:
            self.largest, self.farthest = amount, update

    def _evaluate(self, low: int, last: int) -> None:
        """Compare at every update from `low` to `last`."""
        for start in range(low, last + 1, CHUNK):
            n = np.arange(start, min(start + CHUNK, last + 1))
            x, y = self._values(n)
            self.evaluated += len(n)
            self.peak = max(self.peak, _peak(x), _peak(y))
            apart = _apart(x, y)
            more = np.flatnonzero(apart > TOLERANCE * self.peak)
            if len(more):
                self._found(start + int(more[0]), float(apart[more[0]]))
                top = int(np.argmax(apart))
                self._found(start + top, float(apart[top])) if apart[top] > self.largest else None

    def _narrow(self, s: _Stretch) -> None:
        """Find the first difference in a long stretch: enclosures say which parts cannot hold one."""
        boxes = [(s.first, self._last(s))]
        while boxes and self.first is None:
            low, high = boxes.pop()
            if high - low < CHUNK:
                self._evaluate(low, high)
                if self.evaluated > MAX_EVALUATED and boxes:
                    self.left = boxes[-1][0]
                    return
                continue
            # The first updates of what is left hold the difference more often than not.
            self._evaluate(low, low + 63)
            if self.first is not None:
                return
            self.enclosed += 1
            if self.enclosed > MAX_ENCLOSED:
                self.left = low
                return
            found = self._enclosure(s, low, high, 40)
            if found is not None and not found.maybe_undefined:
                size = max(abs(float(found.least.lo)), abs(float(found.greatest.hi)))
                if size <= TOLERANCE * self.peak:
                    continue
            middle = (low + high) // 2
            boxes += [(middle + 1, high), (low, middle)]

    def _enclosure(self, s: _Stretch, low: int, high: int, budget: int) -> Any:
        """The range of the difference, or None if it is not one formula."""
        from schedc.compiler.certify import certify_range

        if s.a is None or s.b is None:
            return None
        if any(isinstance(e, ex.Bound) for e in (*ex.walk(s.a), *ex.walk(s.b))):
            return None
        one, other = self.a.side.plan, self.b.side.plan
        shift = 0 if one.clocks == other.clocks else len(one.clocks)
        clocks = (*one.clocks, *other.clocks) if shift else one.clocks
        x, y = s.a, _shifted(s.b, shift)
        env: dict[ex.Expr, Any] = {}
        for name in ex.variables(x) | ex.variables(y):
            if name.startswith("batch"):
                sizes = [p.batch for c in clocks for p in c.pieces if p.batch is not None] or [1]
                env[ex.Var(name)] = (Fraction(min(sizes)), Fraction(max(sizes)))
            else:
                value = Fraction(str({**self.b.given(), **self.a.given()}.get(name, 1.0)))
                env[ex.Var(name)] = (value, value)
        where = _Box(Fraction(low), Fraction(high), env, clocks)
        try:
            # Where a choice falls one way all over the box, no correlation is lost to it.
            x, y = where.settled(x), where.settled(y)
            difference = ex.ZERO if x == y else ex.op("sub", x, y)
            return certify_range(difference, where.low, where.high, env=env, clocks=clocks, budget=budget)
        except (KeyError, IndexError, ValueError, UnknownClock):
            return None

    def _farthest(self) -> None:
        """The largest difference of a long run: where the enclosures of the difference have their extremes."""
        self.exact_largest = True
        for s in self.stretches:
            last = self._last(s)
            if s.a is None or s.b is None:
                self._found(max(s.first, self.first or 0), math.inf)
                return
            found = self._enclosure(s, s.first, last, 2000)
            places = {s.first, last}
            if found is None:
                places |= {int(n) for n in np.linspace(s.first, last, 100_001)}
                self.exact_largest = False
            else:
                for at in (found.at_least, found.at_greatest):
                    places |= {n for n in (math.floor(at), math.floor(at) + 1) if s.first <= n <= last}
                self.exact_largest &= found.complete
            n = np.asarray(sorted(places))
            apart = _apart(*self._values(n))
            top = int(np.argmax(apart))
            if apart[top] > self.largest:
                self.largest, self.farthest = float(apart[top]), int(n[top])


@dataclass(frozen=True)
class _Box:
    """A stretch of positions, and what formulas read there."""

    low: Fraction
    high: Fraction
    env: Mapping[ex.Expr, Any]
    clocks: Sequence[Clocks]

    def settled(self, expr: ex.Expr) -> ex.Expr:
        """The formula without the choices that fall one way all over the box."""
        return ex.rebuild(expr, self._settle)

    def _settle(self, e: ex.Expr) -> ex.Expr | None:
        match e:
            case ex.Op("clamp", (x, least, most)):
                return self.settled(ex.Op("min", (ex.Op("max", (x, least)), most)))
            case ex.Op("max" | "min" as name, (x, y)):
                above = self._is_above(x, y)
                if above is not None:
                    return self.settled(x if above == (name == "max") else y)
            case ex.Op("if", (ex.Op("ge" | "gt" | "lt" | "le" as sign, (x, y)), yes, no)):
                above = self._is_above(x, y, strictly=sign in ("gt", "le"))
                if above is not None:
                    return self.settled(yes if above == (sign in ("ge", "gt")) else no)
        return None

    def _is_above(self, x: ex.Expr, y: ex.Expr, strictly: bool = False) -> bool | None:
        """Whether x >= y everywhere (x > y if `strictly`), or the contrary everywhere; None if neither is sure."""
        from schedc.compiler.certify import certify_sign

        for relation in ("gt", "le") if strictly else ("ge", "lt"):
            found = certify_sign(
                ex.op("sub", x, y), self.low, self.high, relation, env=self.env, clocks=self.clocks, budget=40
            )
            if found.outcome == "proved":
                return relation in ("gt", "ge")
        return None


def _shifted(expr: ex.Expr, by: int) -> ex.Expr:
    """The formula with its tables of clocks numbered from `by` on."""

    def change(e: ex.Expr) -> ex.Expr | None:
        match e:
            case ex.Reading(clock, table) if clock != "steps":
                return ex.Reading(clock, table + by)
            case ex.Convert(reading, source, target, table):
                return ex.Convert(_shifted(reading, by), source, target, table + by)
            case ex.Var(name) if name.partition(":")[0] == "batch":
                return ex.Var(f"batch:{int(name.partition(':')[2] or 0) + by}")
        return None

    return ex.rebuild(expr, change) if by else expr


# -- everything else


def meaning(model: Frozen) -> Any:
    """What a part of a Plan means: its data without places and labels."""

    def bare(x: Any) -> Any:
        if isinstance(x, dict):
            return {k: bare(v) for k, v in x.items() if k not in ("place", "label")}
        return [bare(v) for v in x] if isinstance(x, list) else x

    return bare(model.model_dump(mode="json"))


def _shown(value: Any) -> str:
    if value is None:
        return "not given"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Fraction):
        from schedc.compiler.symbolic import number

        return number(value)
    return str(value)


def _of_run(a: Plan, b: Plan) -> Iterator[Changed]:
    def words(run: Run | None) -> str:
        if run is None:
            return "none declared"
        own = "" if run.clock == "steps" else f" ({_shown(run.length)} {run.clock})"
        return f"{run.updates} updates{own}"

    if a.run != b.run:
        yield Changed("run", words(a.run), words(b.run))


def _of_settings(a: Plan, b: Plan) -> Iterator[Changed]:
    pairs: list[tuple[str, Frozen, Frozen, Iterable[str]]] = [
        ("train", a.train, b.train, type(a.train).model_fields),
        ("batch", a.batch, b.batch, ("micro", "accumulation", "workers", "pin_memory")),
    ]
    for block, one, other, names in pairs:
        for name in names:
            x, y = getattr(one, name), getattr(other, name)
            if x != y:
                yield Changed(f"{block}.{name}", _shown(x), _shown(y))


def _of_batch(a: Plan, b: Plan, first: int) -> Iterator[Changed]:
    """The first update where the global batch or the sequence length is another one."""

    def at(plan: Plan, update: int) -> tuple[int, int | None] | None:
        phases = [p for p in plan.batch.phases if p.update <= update]
        return (phases[-1].global_batch, phases[-1].seq_len) if phases else None

    def words(plan: Plan, update: int) -> str:
        found = at(plan, update)
        if found is None:
            return "not known"
        return f"{found[0]}" + (f" × {found[1]} tokens" if found[1] is not None else "")

    updates = sorted({first} | {p.update for plan in (a, b) for p in plan.batch.phases if p.update > first})
    parts = next((n for n in updates if at(a, n) != at(b, n)), None)
    if parts is not None:
        yield Changed(f"global batch from update {parts} on", words(a, parts), words(b, parts))


def _of_clocks(a: Plan, b: Plan, first: int) -> Iterator[Changed]:
    """For each clock the first update where it reads something else."""
    one, other = (plan.clocks[0] if plan.clocks else Clocks(pieces=()) for plan in (a, b))
    if one == other:
        return
    ends = [p.run.updates for p in (a, b) if p.run is not None]
    last = min(max(ends), first + EVERY_UPDATE) if len(ends) == 2 else first + UNBOUNDED
    n = np.arange(first, last + 1)
    for clock in ("samples", "tokens", "epochs"):
        shown: list[tuple[Array, Clocks] | None] = []
        for clocks in (one, other):
            try:
                shown.append((np.asarray(rd.readings_at(clocks, clock, n), dtype=np.float64), clocks))
            except (UnknownClock, IndexError):
                shown.append(None)
        x, y = shown
        if x is None and y is None:
            continue
        if x is None or y is None:
            yield Changed(clock, "counted" if x else "not counted", "counted" if y else "not counted")
            continue
        found = np.flatnonzero(x[0] != y[0])
        if len(found):
            update = first + int(found[0])
            now = [_shown(rd.reading(c, clock, Fraction(update))) for _, c in (x, y)]
            yield Changed(f"{clock} before update {update}", *now)


def _matched(a: Sequence[GroupRule], b: Sequence[GroupRule]) -> tuple[list[tuple[int, int]], list[Changed]]:
    """Rules that select the same parameters, by their numbers; and what has no partner, or another order."""
    free = list(range(len(b)))
    pairs, changes = [], []
    for i, rule in enumerate(a):
        j = next((j for j in free if b[j].selection == rule.selection), None)
        if j is None:
            changes.append(Changed(f"group {rule.selection}", "there", "not there"))
        else:
            free.remove(j)
            pairs.append((i, j))
    changes += [Changed(f"group {b[j].selection}", "not there", "there") for j in free]
    order = [j for _, j in pairs]
    if order != sorted(order):
        names = [", ".join(str(rules[k].selection) for k in ks)
                 for rules, ks in ((a, [i for i, _ in pairs]), (b, sorted(order)))]  # fmt: skip
        changes.append(Changed("order of the groups", *names))
    return pairs, changes


def _of_feedback(a: Plan, b: Plan, first: int) -> Iterator[Changed]:
    from schedc.compiler.symbolic import text

    one, other = ([f for f in plan.feedback if f.end is None or f.end > first] for plan in (a, b))
    for x, y in zip_longest(one, other):
        if x is None or y is None:
            there = x or y
            words = f"on {there.metric}"
            yield Changed("plateau", words if x else "none", words if y else "none")
            continue
        for name in Feedback.model_fields:
            if name in ("index", "place", "input") or (name == "start" and first and max(x.start, y.start) <= first):
                continue
            p, q = getattr(x, name), getattr(y, name)
            if p != q:
                show = text if name == "floor" else _shown
                label = "min" if name == "floor" else name
                yield Changed(f"plateau on {x.metric}: {label}", show(p), show(q))


def _of_init(a: Sequence[InitRule], b: Sequence[InitRule]) -> Iterator[Changed]:
    from difflib import SequenceMatcher

    one, other = ([repr(meaning(rule)) for rule in rules] for rules in (a, b))
    for kind, i, j, k, m in SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        for x, y in zip_longest(a[i:j], b[k:m]):
            rule = x or y
            assert rule is not None
            if x is not None and y is not None and x.selection != y.selection:
                yield Changed(f"init {x.selection}", _initialiser(x), "no such rule here")
                yield Changed(f"init {y.selection}", "no such rule here", _initialiser(y))
                continue
            none = "no such rule here"
            yield Changed(f"init {rule.selection}", _initialiser(x) if x else none, _initialiser(y) if y else none)


def _initialiser(rule: InitRule) -> str:
    from schedc.compiler.symbolic import text

    given = {**{k: text(v) for k, v in rule.arguments.items()}, **{k: _shown(v) for k, v in rule.options.items()}}
    return " ".join([rule.kind, *(f"{k}={v}" for k, v in given.items())])


# -- in words

Style = Literal["heading", "equal", "different", "undecided", "plain"]


def rows(found: Comparison) -> Iterator[tuple[Style, str]]:
    """The lines of a report, each with what it is."""
    names = [_title(c) for c in found.bindings]
    width = max(map(len, names), default=0)
    since = f" from update {found.first} on" if found.first else ""
    verdict = "equal" if found.equal else "different"
    if not found.equal and not found.changes and all(c.how != "different" for c in found.bindings):
        verdict = "no difference found, and not shown to be equal"
    yield "heading", f"{found.a} and {found.b}: {verdict}{since}"
    pad = " " * (width + 2)
    if found.bindings:
        yield "plain", ""
    for title, one in zip(names, found.bindings, strict=True):
        style: Style = "equal" if one.equal else "undecided" if one.how == "undecided" else "different"
        yield style, f"{title:<{width}}  {_verdict(one)}"
        if one.parts is not None:
            yield from (("plain", pad + line) for line in _at(one.parts))
        if one.largest is not None and one.parts is not None:
            share = "" if one.share is None else f", {one.share * 100:.3g} % of the peak"
            where = one.largest
            if where.update == one.parts.update:
                yield "plain", f"{pad}it is nowhere larger than there: {where.amount:.6g}{share}"
            elif math.isfinite(where.amount):
                yield "plain", f"{pad}the largest difference, {where.amount:.6g}{share}, is at update {where.update}"
                yield from (("plain", pad + line) for line in _at(where))
    if found.changes:
        yield "plain", ""
        wide = max(len(c.what) for c in found.changes)
        column = max(len(c.a) for c in found.changes)
        for change in found.changes:
            yield "different", f"{change.what:<{wide}}  {change.a:<{column}}  ->  {change.b}"


def _title(one: Compared) -> str:
    return one.name if one.group is None else f"{one.name} of {one.group}"


def _verdict(one: Compared) -> str:
    updates = "all updates" if one.updates is None else f"{one.updates} updates"
    behind = f" ({one.detail})" if one.detail else ""
    match one.how:
        case "proved":
            return f"proved equal{behind}"
        case "certified":
            return f"certified equal over {updates}{behind}"
        case "undecided":
            return f"undecided: {one.detail}"
    return f"parts at update {one.parts.update}{behind}" if one.parts is not None else one.detail


def _at(point: Point) -> Iterator[str]:
    """Both schedules at an update, in columns."""
    sides = (point.a, point.b)
    values = ["stops" if s.stops is not None else "none" if s.value is None else repr(s.value) for s in sides]
    formulas = [s.stops if s.stops is not None else s.formula for s in sides]
    widths = max(map(len, values)), max(len(f) for f in formulas)
    for letter, side, value, formula in zip("ab", sides, values, formulas, strict=True):
        label = side.label if side.label != formula else ""
        yield f"  {letter}  {value:<{widths[0]}}  {formula:<{widths[1]}}  {label}".rstrip()
