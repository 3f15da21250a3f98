"""Facts about a bound schedule over its whole domain: where it jumps, which way each stage goes, how long it lasts.

Each fact says how it is known: *proved* by exact values at the seams, *certified* by interval arithmetic, or *undecided*.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Literal

from schedc.compiler import evaluate, plan
from schedc.compiler import expressions as ex
from schedc.compiler import messages_layout as layout
from schedc.compiler.certify import certify_monotone
from schedc.compiler.expressions import Expr
from schedc.compiler.ranges import owned
from schedc.compiler.timeline import Laid, Segment, Timeline

BUDGET = 200
"""Evaluations of interval arithmetic for the direction of one stage."""
MAX_STAGES = 200
"""A schedule of more segments is not described stage by stage."""
STEPS = frozenset({"floor", "ceil", "round", "mod", "passed", "pick", "product", "if"})
"""Operators whose value may step while what they read moves on."""

Way = Literal["rises", "falls", "stays", "unknown"]


def facts_of(laid: Laid, line: Timeline, draft: plan.Plan) -> Iterator[plan.Fact]:
    """Length, continuity and direction of one binding."""
    name = laid.name
    if laid.end is not None:
        end = -(-laid.end.numerator // laid.end.denominator)
        yield plan.Fact(binding=name, claim="length", how="proved", detail=f"ends at update {layout.show(end)}")
    if len(laid.segments) > MAX_STAGES:
        return
    yield from _continuity(laid, line)
    yield from _directions(laid, line, draft)


def _continuity(laid: Laid, line: Timeline) -> Iterator[plan.Fact]:
    from schedc.compiler.check_values import shown, unobserved
    from schedc.compiler.symbolic import equal

    end = None if line.run is None else line.run.end
    jumps: list[str] = []
    unsure: list[str] = []
    for before, after in zip(laid.segments, laid.segments[1:], strict=False):
        if (end is not None and after.start >= end) or after.error is not None or before.ends is None:
            continue
        begins = unobserved(after.begins, after.start, ((f.index, f.start) for f in laid.study.feedback))
        same = equal(before.ends, begins)
        if same is not True:
            place = f"at update {layout.show(after.first)}"
            text = f"{place} from {shown(before.ends)} to {shown(begins)}"
            (jumps if same is False else unsure).append(text)
    stepping = [s for s in laid.segments if _steps(s.expr) and owned(s, line) is not None]
    if jumps:
        yield plan.Fact(binding=laid.name, claim="jumps", how="proved", detail="; ".join(jumps))
    elif unsure or stepping:
        why = unsure or [f"{' '.join(s.span.text.split())} steps inside" for s in stepping]
        yield plan.Fact(binding=laid.name, claim="continuous", how="undecided", detail="; ".join(why))
    else:
        yield plan.Fact(binding=laid.name, claim="continuous", how="proved")


def _steps(expr: Expr) -> bool:
    return any(isinstance(e, ex.Piecewise) or (isinstance(e, ex.Op) and e.name in STEPS) for e in ex.walk(expr))


def _directions(laid: Laid, line: Timeline, draft: plan.Plan) -> Iterator[plan.Fact]:
    parts: list[tuple[Way, int, int]] = []
    before: Segment | None = None
    for segment in laid.segments:
        updates = owned(segment, line)
        if updates is None or segment.error is not None:
            continue
        way = direction(segment, *updates, draft)
        if (
            parts
            and parts[-1][0] == way
            and way != "unknown"
            and before
            and _goes_on(way, before, segment, parts[-1][2], updates[0], draft)
        ):
            parts[-1] = (way, parts[-1][1], updates[1])
        else:
            parts.append((way, *updates))
        before = segment
    if not parts:
        return
    known = [p for p in parts if p[0] != "unknown"]
    detail = ", ".join(f"{way} over updates {layout.show(a)} to {layout.show(b)}" for way, a, b in known)
    open_ = ", ".join(f"updates {layout.show(a)} to {layout.show(b)}" for way, a, b in parts if way == "unknown")
    if known:
        yield plan.Fact(binding=laid.name, claim="direction", how="certified", detail=detail)
    if open_:
        yield plan.Fact(binding=laid.name, claim="direction", how="undecided", detail=open_)


def _goes_on(way: Way, a: Segment, b: Segment, last: int, first: int, draft: plan.Plan) -> bool:
    """Whether from a's last update to b's first one the value goes the way too: what two stages do is not what their seam does."""
    for factor in (1.0, 1e-6) if draft.feedback else (1.0,):
        values: dict[str, Any] = {"base": 1.0, **{f"factor:{f.index}": factor for f in draft.feedback}}
        x, y = (evaluate.expression_value(draft.clocks, s.expr, n, values) for s, n in ((a, last), (b, first)))
        if not {"rises": x <= y, "falls": x >= y, "stays": x == y}[way]:
            return False
    return True


def direction(segment: Segment, first: int, last: int, draft: plan.Plan) -> Way:
    """Which way the segment goes over the updates first … last, for every base above 0 and every feedback factor."""
    if ex.is_constant(segment.expr) or first == last:
        return "stays"
    names = sorted(ex.variables(segment.expr))
    factors = [n for n in names if n.startswith("factor:")]
    others: dict[Expr, Any] = {ex.Var("base"): (Fraction(1), Fraction(1))}
    if set(names) - set(factors) - {"base"} or any(isinstance(e, ex.Bound) for e in ex.walk(segment.expr)):
        return "unknown"  # batch, captures and other bindings move on their own
    found: set[Way] = set()
    # With what feedback has left at both ends of its range the way must be the same.
    for corner in (Fraction(1), Fraction(1, 10**6)) if factors else (Fraction(1),):
        env = dict(others)
        env.update({ex.Var(f): (corner, corner) for f in factors})
        found.add(_way(segment.expr, first, last, env, draft))
    return found.pop() if len(found) == 1 else "unknown"


def _way(expr: Expr, first: int, last: int, env: dict[Expr, Any], draft: plan.Plan) -> Way:
    ways: tuple[tuple[Literal["increasing", "decreasing"], Way], ...] = (
        ("decreasing", "falls"),
        ("increasing", "rises"),
    )
    holds = [
        way
        for claim, way in ways
        if certify_monotone(
            expr, Fraction(first), Fraction(last), claim, env=env, clocks=draft.clocks, budget=BUDGET
        ).outcome
        == "proved"
    ]
    if len(holds) == 2:
        return "stays"
    return holds[0] if holds else "unknown"
