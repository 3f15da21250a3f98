"""What is proved about the values of a Timeline: finite, never negative, no jump that nobody wrote.

A claim is *proved* (SymPy, exact arithmetic), *certified* (interval arithmetic, or every update of the run evaluated),
or
*refuted* with the update where it fails. Nothing is claimed on samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np

from schedc.compiler import expressions as ex
from schedc.compiler import messages_layout as layout
from schedc.compiler import messages_values as say
from schedc.compiler import plan
from schedc.compiler import resolved as rd
from schedc.compiler.amounts import Env, Stop, formal_argument
from schedc.compiler.certify import Range
from schedc.compiler.constants import approximate, exact
from schedc.compiler.diagnostics import Diagnostic, errors
from schedc.compiler.facts import facts_of
from schedc.compiler.kinds import varying
from schedc.compiler.placed import Seam, fix
from schedc.compiler.ranges import (
    environment,
    every_update,
    owned,
    reads_more_than_clocks,
    reads_what_a_run_supplies,
    segment_range,
)
from schedc.compiler.resolve import reads
from schedc.compiler.timeline import Laid, Segment, Timeline

SIGNED = frozenset({"dampening", "lambd"})
"""Hyper-parameters that may be negative."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What checking brought out."""

    said: tuple[Diagnostic, ...]
    facts: tuple[plan.Fact, ...]


def check_values(line: Timeline, draft: plan.Plan, base: float | None) -> Checked:
    """All checks of values, of every binding."""
    said: list[Diagnostic] = []
    facts: list[plan.Fact] = []
    ranges: dict[str, tuple[Any, Any]] = {}
    for laid in _in_order(line.bindings):
        found = _binding(laid, line, draft, ranges, base, facts)
        said += found
    if not errors(said):  # A Plan without errors alone has facts; and what is no number has none.
        for laid in line.bindings:
            facts += facts_of(laid, line, draft)
    for group in line.groups:
        for laid in group.bindings:
            said += _binding(laid, line, draft, dict(ranges), base, [])
    for laid in line.lets:
        said += _binding(laid, line, draft, ranges, base, [], signed=True)
    for laid in line.all_laid():
        for seam in laid.study.seams:
            said += smooth_seams(seam, laid, line)
    for laid in line.bindings:
        said += _lengths(laid, line)
    return Checked(tuple(said), tuple(facts))


def _in_order(bindings: list[Laid]) -> list[Laid]:
    """Bindings so that one read by another comes first."""
    names = {b.name: b for b in bindings}
    done: dict[str, Laid] = {}

    def visit(laid: Laid) -> None:
        if laid.name in done:
            return
        for s in laid.segments:
            for e in ex.walk(s.expr):
                if isinstance(e, ex.Bound) and e.name in names and e.name != laid.name and e.name not in done:
                    visit(names[e.name])
        done[laid.name] = laid

    for b in bindings:
        visit(b)
    return list(done.values())


def _binding(
    laid: Laid,
    line: Timeline,
    draft: plan.Plan,
    ranges: dict[str, tuple[Any, Any]],
    base: float | None,
    facts: list[plan.Fact],
    signed: bool = False,
) -> Iterator[Diagnostic]:
    least: Any = None
    greatest: Any = None
    how: Literal["certified", "undecided"] = "certified"
    for segment in laid.segments:
        if segment.error is not None:
            continue
        updates = owned(segment, line)
        if updates is None:
            continue
        first, last = updates
        span_range = segment_range(segment.expr, first, last, draft, ranges, base)
        low, high = span_range.least.lo, span_range.greatest.hi
        suspicious = span_range.maybe_undefined or not np.isfinite(float(high)) or not np.isfinite(float(low))
        # Intervals take batch and other bindings as if they moved on their own; every update tells it exactly.
        open_ = reads_what_a_run_supplies(segment.expr, draft, base)
        moving = reads_more_than_clocks(segment.expr) or not span_range.complete
        loose = laid in line.bindings and not open_ and moving
        values = every_update(segment.expr, first, last, draft, base) if suspicious or loose else None
        if suspicious or values is not None:
            if values is None:
                yield say.undecided(f"`{laid.name}` is finite", f"updates {first} to {last}", segment.span)
                how = "undecided"
                continue
            bad = np.flatnonzero(~np.isfinite(values))
            if len(bad):
                yield say.not_finite(
                    laid.name, _why(segment, first + int(bad[0]), line), layout.show(first + int(bad[0])), segment.span
                )
                return
            low, high = float(values.min()), float(values.max())
            if open_:  # These were the values for one base, with no cut made.
                yield say.undecided(f"`{laid.name}` is finite", f"updates {first} to {last}", segment.span)
                how = "undecided"
        negative = float(span_range.least.hi if values is None else low)
        peak = max(abs(float(high)), abs(float(low)), 1e-300)
        if not signed and laid.name not in SIGNED and negative < -1e-12 * peak:
            update = _first_negative(segment, first, last, draft, base, span_range)
            if update is not None:
                yield say.negative(laid.name, f"{update[1]:.6g}", layout.show(update[0]), segment.span)
                return
        least = low if least is None else min(least, low)
        greatest = high if greatest is None else max(greatest, high)
    if laid.after is not None:
        held = laid.end is not None and (line.run is None or laid.end < line.run.end)
        if held and laid.end is not None and not _defined(laid.after):
            end = layout.show(_ceil(laid.end))
            span = laid.segments[-1].span if laid.segments else laid.span
            yield say.not_finite(laid.name, "the value held from its end on is no number", end, span)
            return
        value = exact(laid.after)
        if value is not None:
            least = value if least is None else min(least, value)
            greatest = value if greatest is None else max(greatest, value)
        elif held and laid.end is not None:
            after = segment_range(laid.after, _ceil(laid.end), _ceil(laid.end), draft, ranges, base)
            least = after.least.lo if least is None else min(least, after.least.lo)
            greatest = after.greatest.hi if greatest is None else max(greatest, after.greatest.hi)
    if least is None or greatest is None:
        return
    size = environment(draft, base)["base"] if laid.relative else (1.0, 1.0)
    corners = [float(x) * float(y) for x in (least, greatest) for y in size]
    ranges[laid.name] = (min(corners), max(corners)) if laid.relative else (least, greatest)
    unit = " · base" if laid.relative else ""
    facts.append(plan.Fact(binding=laid.name, claim="finite", how=how))
    facts.append(
        plan.Fact(
            binding=laid.name, claim="range", how=how, detail=f"from {float(least):.6g} to {float(greatest):.6g}{unit}"
        )
    )
    if laid.name == "lr" and laid.relative and facts and 0 < float(greatest) < 0.05 and laid in line.bindings:
        yield say.forgotten_star(laid.name, f"{float(greatest):.6g}", laid.span, laid.span.text)


def _first_negative(
    segment: Segment, first: int, last: int, draft: plan.Plan, base: float | None, found: Range
) -> tuple[int, float] | None:
    values = every_update(segment.expr, first, last, draft, base)
    if values is None:
        at = int(found.at_least)
        value = float(found.least.hi)
        return (at, value) if value < 0 else None
    peak = float(np.abs(values).max())
    below = np.flatnonzero(values < -1e-12 * peak)
    return (first + int(below[0]), float(values[below[0]])) if len(below) else None


def _why(segment: Segment, update: int, line: Timeline) -> str:
    """The innermost thing that has no finite value at the update, in words."""
    ground = line.grounds[segment.table]
    for e in sorted(ex.walk(segment.expr), key=lambda e: len(list(ex.walk(e)))):
        if isinstance(e, ex.Op) and e.name in ("div", "log", "sqrt", "pow"):
            args = [exact(fix(a, Fraction(update), ground)) for a in e.args]
            match e.name, args:
                case "div", [_, b] if b == 0:
                    return f"division by zero at update {update}"
                case "log", [a] if a is not None and a <= 0:
                    return f"log of {layout.show(a)} at update {update}"
                case "sqrt", [a] if a is not None and a < 0:
                    return f"square root of {layout.show(a)} at update {update}"
                case "pow", [a, b] if a == 0 and b is not None and b < 0:
                    return f"division by zero at update {update}: 0 to a negative power"
    return f"too large or undefined at update {update}"


def smooth_seams(seam: Seam, laid: Laid, line: Timeline) -> Iterator[Diagnostic]:
    """No value jumps where one stage hands over to the next, unless somebody wrote it."""
    ends = [e for e in (laid.end, None if line.run is None else line.run.end) if e is not None]
    if ends and seam.position >= min(ends):
        return
    node, env = seam.node, seam.env
    while isinstance(node, rd.FormalRef) and isinstance(found := formal_argument(node.name, env), tuple):
        node, env = found
    # A dialect's own jumps are the framework's; those between schedules handed to it are not.
    if purposeful(node, env) or node.span.source.name.startswith("stdlib/dialects/"):
        return
    try:
        value = seam.after.value(seam.position)
    except Stop:  # A stage that something around it cuts off before it is reached, and that has no room there.
        return
    after = unobserved(value, seam.position, ((f.index, f.start) for f in laid.study.feedback))
    if after == seam.before or not (_defined(seam.before) and _defined(after)):
        return
    from schedc.compiler.symbolic import equal

    if equal(seam.before, after) is not False:
        return
    before_text, after_text = shown(seam.before), shown(after)
    update = layout.show(seam.position) if seam.position.denominator == 1 else f"{float(seam.position):.6g}"
    span = env.site(node.span)
    if says_from(node):
        a, b = _approximate(seam.before), _approximate(after)
        share = (
            "not the entering value"
            if a in (None, 0) or b is None
            else f"{b / a:.6g} times the entering value"
            if abs(b / a - 1) >= 0.1
            else f"{abs(b / a - 1) * 100:.3g} % {'above' if b > a else 'below'} the entering value"
        )
        near = bool(a and b is not None and 0 < abs(b / a - 1) < 0.1)
        yield say.from_jump(update, before_text, after_text, share, near, span)
    elif reads(node, "base") or _of_a_dialect(node):
        own = "`base`" if "base" in ex.variables(after) else "a value of its own"
        yield say.base_jump(own, update, before_text, after_text, span)
    else:
        previous = next((s.span for s in laid.segments if s.end == seam.position), None)
        yield say.jump(span.text, update, before_text, after_text, span, previous)


def unobserved(expr: ex.Expr, position: Fraction, feedback: Iterable[tuple[int, Fraction]]) -> ex.Expr:
    """The expression with the factor of every plateau (index, start) that starts at the position at 1: it has observed nothing yet."""
    fresh = {f"factor:{index}" for index, start in feedback if start == position}
    return ex.rebuild(expr, lambda e: ex.ONE if isinstance(e, ex.Var) and e.name in fresh else None) if fresh else expr


def _of_a_dialect(node: rd.Expr) -> bool:
    """Whether the stage is an entry of a dialect: its arguments say where it starts."""
    if isinstance(node, rd.Timed):
        return _of_a_dialect(node.body)
    return isinstance(node, rd.StageCall) and node.definition.module.source.name.startswith("stdlib/dialects/")


def purposeful(node: rd.Expr, env: Env) -> bool:
    """Whether the stage by its form says what it starts with: a constant, `error`, or a formula that reads `start` itself."""
    match node:
        case rd.Timed(body=body):
            return purposeful(body, env)
        case rd.Chain(stages=(first, *_)):
            return purposeful(first, env)
        case rd.Pipe():
            return False
        case rd.StageCall(definition=definition):
            return definition.external or (definition.body is not None and _reads_start(definition.body))
    return (not varying(node, env) and not reads(node, "p")) or _reads_start(node)


def _reads_start(node: rd.Expr) -> bool:
    """Whether the formula names `start`, outside the stages and parameters in it."""
    match node:
        case rd.Variable(name=name):
            return name == "start"
        case rd.Apply(args=args) | rd.CurveCall(args=args):
            return any(map(_reads_start, args))
        case rd.Choose(branches=branches):
            return any(map(_reads_start, branches.values()))
    return False


def says_from(node: rd.Expr) -> bool:
    """Whether the stage, or the first one inside it, is given `from=`."""
    match node:
        case rd.StageCall(args=args):
            return "from" in args
        case rd.Timed(body=body) | rd.Pipe(body=body):
            return says_from(body)
        case rd.Chain(stages=(first, *_)):
            return says_from(first)
        case rd.Apply(args=args):
            return any(map(says_from, args))
    return False


def _defined(expr: ex.Expr) -> bool:
    """Whether the value at a seam is a number, as far as can be told: one that is none is said to be not finite elsewhere."""
    if any(isinstance(e, ex.Bound) for e in ex.walk(expr)):
        return True
    value = _approximate(expr)
    return value is not None and bool(np.isfinite(value))


def _approximate(expr: ex.Expr) -> float | None:
    ones = ex.rebuild(expr, lambda e: ex.ONE if isinstance(e, ex.Var) else None)
    value = approximate(ones)
    return None if value is None else float(value)


def shown(expr: ex.Expr) -> str:
    """A value as messages write it: a number where it is one, else its formula."""
    value = exact(expr)
    if value is not None:
        text = layout.show(value)
        return text if len(text) < 16 else f"{float(value):.6g}"
    from schedc.compiler.symbolic import text as formula

    number = _approximate(expr)
    if ex.variables(expr) or number is None:
        return formula(expr)
    return f"{number:.6g}"


def _lengths(laid: Laid, line: Timeline) -> Iterator[Diagnostic]:
    """A schedule and the run it is for should end together; say the value where they do not."""
    run = line.run
    if run is None or not laid.segments:
        return
    end = laid.end
    chain = len(laid.segments) > 1
    if end is not None and end < run.end and laid.after is not None and laid.segments[-1].error is None:
        yield layout.shorter(laid.name, _at(end), _at(run.end), shown(laid.after), laid.segments[-1].span)
    for i, s in enumerate(laid.segments):
        cut_short = s.end is not None and s.end > run.end and (s.begins != s.ends or _ceil(s.end) > run.updates)
        if s.start < run.end and s.end is not None and cut_short and s.horizon is not None:
            cut = fix(s.expr, run.end, line.grounds[s.table])
            if i == 0 and chain:
                yield layout.warmup_long(laid.name, _at(s.end), _at(run.end), s.span)
            else:
                yield layout.longer(laid.name, _at(s.end), _at(run.end), shown(cut), shown(s.ends or cut), s.span)
            return
    begun = {s.span for s in laid.segments if s.start < run.end}  # The cycles of a repeat share one.
    for s in laid.segments:
        if s.start >= run.end and s.end not in (None, s.start) and s.error is None and s.span not in begun:
            yield layout.unreached(laid.name, _at(s.start), _at(run.end), s.span)
            return


def _at(position: Fraction) -> str:
    return f"update {layout.show(_ceil(position))}"


def _ceil(position: Fraction) -> int:
    return -(-position.numerator // position.denominator)
