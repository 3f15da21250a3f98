"""Ranges of segments over the updates they own: enclosures by interval arithmetic, or every update evaluated."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np

from schedc.compiler import evaluate, plan
from schedc.compiler import expressions as ex
from schedc.compiler.certify import Range, certify_range
from schedc.compiler.enclosures import bounds
from schedc.compiler.expressions import Expr
from schedc.compiler.intervals import Interval
from schedc.compiler.timeline import Segment, Timeline

EVERY_UPDATE = 2_000_000
"""Up to so many updates of one segment are all evaluated where intervals do not decide."""
USUAL_PARTS = 20
"""A formula of more parts is evaluated at fewer updates."""
UNBOUNDED = 1_000_000
"""How many updates of an endless segment are looked at where no run is declared."""
BUDGET = 400
"""Evaluations of interval arithmetic for one claim about one segment."""
MAX_PARTS = 20_000
"""Parts of a formula that its evaluations by interval arithmetic may look at: a long formula gets fewer."""
MAX_CORNERS = 4
"""Feedback factors of one formula whose extremes are tried in all combinations."""

Given = dict[str, tuple[Any, Any]]


def environment(draft: plan.Plan, base: float | None) -> Given:
    """The ranges of what a run supplies: base, feedback factors, the batch size."""
    batches = [p.global_batch for p in draft.batch.phases] or [1]
    return {
        "base": (0.0, 1e6) if base is None else (base, base),
        "batch": (Fraction(min(batches)), Fraction(max(batches))),
        **{f"factor:{f.index}": (Fraction(0), Fraction(1)) for f in draft.feedback},
    }


def owned(segment: Segment, line: Timeline) -> tuple[int, int] | None:
    """The first and last update of the run that the segment owns; None if none."""
    first, last = segment.first, segment.last
    if line.run is not None:
        last = line.run.updates - 1 if last is None else min(last, line.run.updates - 1)
    elif last is None:
        last = first + UNBOUNDED
    return None if last < first else (first, last)


def segment_range(expr: Expr, first: int, last: int, draft: plan.Plan, others: Given, base: float | None) -> Range:
    """The range over updates first … last, for every value that the run may supply.

    A formula that is affine in what feedback has left takes its extremes at the extremes of that, so these are tried
    one by
    one: interval arithmetic alone would lose that `F·a + (0 - F·a)·p` never passes 0.
    """
    given = environment(draft, base)
    formula, atoms = _atoms(expr, given)
    env: dict[Expr, Any] = {}
    for e in ex.walk(formula):
        if isinstance(e, ex.Var) and e.name not in atoms:
            env[e] = given.get(e.name, (Fraction(0), Fraction(1000)))
        elif isinstance(e, ex.Bound):
            env[e] = others.get(e.name, (0.0, 1e6))
    corners: Iterator[dict[Expr, Any]] = iter([{ex.Var(n): (i.lo, i.hi) for n, i in atoms.items()}])
    if 0 < len(atoms) <= MAX_CORNERS and all(_degree(formula, n) in (0, 1, 2) for n in atoms):
        names = list(atoms)
        corners = (
            {ex.Var(n): (v, v) for n, v in zip(names, c, strict=True)}
            for c in product(*((atoms[n].lo, atoms[n].hi) for n in names))
        )
    budget = max(1, min(BUDGET, MAX_PARTS // ex.extent(formula)[0]))
    try:
        found = [
            certify_range(
                formula, Fraction(first), Fraction(last), env={**env, **corner}, clocks=draft.clocks, budget=budget
            )
            for corner in corners
        ]
    except OverflowError:  # Exact bounds that no float can show: nothing is known of the range.
        unknown = Interval(-math.inf, math.inf, True)
        return Range(
            unknown, unknown, Fraction(first), Fraction(first), maybe_undefined=True, complete=False, evaluations=0
        )
    low, high = min(found, key=lambda r: r.least.lo), max(found, key=lambda r: r.greatest.hi)
    return Range(
        least=low.least, greatest=high.greatest, at_least=low.at_least, at_greatest=high.at_greatest,
        maybe_undefined=any(r.maybe_undefined for r in found), complete=all(r.complete for r in found),
        evaluations=sum(r.evaluations for r in found),
    )  # fmt: skip


def _atoms(expr: Expr, given: Given) -> tuple[Expr, dict[str, Interval]]:
    """The expression with what feedback decides, and time does not, named, and the range of each."""
    names: dict[Expr, str] = {}
    ranges: dict[str, Interval] = {}

    def reads_time(e: Expr) -> bool:
        return any(isinstance(x, ex.Reading | ex.Bound) or x == ex.Var("batch") for x in ex.walk(e))

    def change(e: Expr) -> Expr | None:
        if not any(v.startswith("factor:") for v in ex.variables(e)) or reads_time(e):
            return None
        if isinstance(e, ex.Op) and e.name in ("add", "sub", "neg", "mul", "div"):
            return None  # affine: what is inside is named
        if e not in names:
            names[e] = f"atom:{len(names)}"
            env: dict[Expr, Any] = {
                v: given.get(v.name, (Fraction(0), Fraction(1000))) for v in ex.walk(e) if isinstance(v, ex.Var)
            }
            ranges[names[e]] = bounds(e, env)
        return ex.Var(names[e])

    return ex.rebuild(expr, change), ranges


def _degree(expr: Expr, name: str) -> int | None:
    """0: it does not read the variable; 1: affine in it; 2: it goes one way with it; None: neither is sure."""
    if name not in ex.variables(expr):
        return 0
    match expr:
        case ex.Var():
            return 1
        case ex.Op("add" | "sub", (a, b)):
            pair = (
                sorted((_degree(a, name) or 0, _degree(b, name) or 0))
                if None not in (_degree(a, name), _degree(b, name))
                else None
            )
            return None if pair is None else pair[1] if pair[0] == 0 or pair == [1, 1] else None
        case ex.Op("neg", (a,)):
            return _degree(a, name)
        case ex.Op("mul", (a, b)):
            x, y = _degree(a, name), _degree(b, name)
            return (x or y) if 0 in (x, y) else None
        case ex.Op("div", (a, b)) if _degree(b, name) == 0:
            return _degree(a, name)
        case ex.Op("max" | "min", args):
            degrees = [_degree(a, name) for a in args]
            moving = [d for d in degrees if d != 0]
            return 2 if len(moving) == 1 and moving[0] is not None else None
    return None


def every_update(
    expr: Expr, first: int, last: int, draft: plan.Plan, base: float | None
) -> np.ndarray[Any, Any] | None:
    """The values at every update from `first` to `last` with no cut made; None if there are too many."""
    if (last - first) * ex.extent(expr)[0] >= EVERY_UPDATE * USUAL_PARTS or last - first >= EVERY_UPDATE:
        return None
    values = {"base": 1.0 if base is None else base, **{f"factor:{f.index}": 1.0 for f in draft.feedback}}
    for name in ex.variables(expr):
        if name not in values and name != "batch":
            values[name] = 1.0
    n = np.arange(first, last + 1)

    def other(name: str, at: Any) -> Any:
        return evaluate.binding_values(draft, name, at, base=1.0 if base is None else base)

    found = evaluate.expression_value(draft.clocks, expr, n, values, other)
    return np.asarray(found, dtype=np.float64) + np.zeros(len(n))


def reads_more_than_clocks(expr: Expr) -> bool:
    """Whether it reads the batch size or another binding, which intervals know only the whole range of."""
    return any(isinstance(e, ex.Bound) or e == ex.Var("batch") for e in ex.walk(expr))


def reads_what_a_run_supplies(expr: Expr, draft: plan.Plan, base: float | None) -> bool:
    """Whether it reads, perhaps through another binding, a base that is not known or what feedback has left."""
    bound = any(isinstance(e, ex.Bound) for e in ex.walk(expr))
    names = ex.variables(expr)
    if draft.feedback and (bound or any(n.startswith("factor:") for n in names)):
        return True
    if base is not None:
        return False
    return "base" in names or (bound and any(map(_on_base, draft.bindings)))


def _on_base(binding: plan.Binding) -> bool:
    return binding.relative or any("base" in ex.variables(s.formula) for s in binding.curve.segments)
