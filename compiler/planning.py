"""Timeline -> Plan: the same schedules as frozen data, with places instead of spans."""

from __future__ import annotations

from fractions import Fraction

from schedc.compiler import plan
from schedc.compiler.amounts import Ground, Stop
from schedc.compiler.lower import scan, selection
from schedc.compiler.placing import Feedback
from schedc.compiler.source import Span
from schedc.compiler.timeline import Laid, Segment, Timeline


def place_of(span: Span) -> plan.Place:
    line, column = span.source.place(span.start)
    return plan.Place(file=span.source.name, line=line, column=column)


def to_plan(line: Timeline, version: str) -> plan.Plan:
    """The Plan of a laid-out program, without facts."""
    main = line.program.main
    end = None if line.run is None else line.run.end
    laid = line.all_laid()
    feedback = [f for b in laid for f in b.study.feedback]
    return plan.Plan(
        version=version,
        name=main.source.name,
        source=main.source.text,
        parameters={n: let.value.span.text for n, let in main.lets.items() if let.is_param},
        context=line.program.context,
        clocks=tuple(g.clocks.model(end if g is line.ground else _end(g)) for g in line.grounds),
        run=line.run,
        train=line.train,
        batch=line.batch,
        bindings=tuple(map(binding, line.bindings)),
        lets=tuple(map(binding, line.lets)),
        groups=tuple(
            plan.GroupRule(
                selection=selection(g.group.selectors),
                bindings=tuple(map(binding, g.bindings)),
                place=place_of(g.group.span),
            )
            for g in line.groups
        ),
        feedback=tuple(sorted((_feedback(f, line.ground) for f in feedback), key=lambda f: f.index)),
        init=tuple(line.init),
        derived=tuple(line.derived),
    )


def _end(ground: Ground) -> Fraction | None:
    return None if ground.end is None else ground.position(ground.end)


def binding(laid: Laid) -> plan.Binding:
    return plan.Binding(
        name=laid.name, relative=laid.relative, curve=curve(laid.segments, laid.after), place=place_of(laid.span)
    )


def curve(segments: tuple[Segment, ...], after: object) -> plan.Curve:
    return plan.Curve(segments=tuple(map(_segment, segments)), after=after)


def _segment(s: Segment) -> plan.Segment:
    return plan.Segment(
        start=s.start, end=s.end, formula=s.expr, clock=s.clock, origin=s.origin, table=s.table, horizon=s.horizon,  # type: ignore[arg-type]
        begins=s.begins, ends=s.ends, label=" ".join(s.span.text.split()), place=place_of(s.span), error=s.error,
    )  # fmt: skip


def _feedback(f: Feedback, ground: Ground) -> plan.Feedback:
    found: list[Segment] = []
    try:
        segments, after = scan(f.inner, ground, f.span, found)
        end = f.end
    except Stop:  # Something around it cuts it off before the stage that has no room.
        segments, after, end = tuple(found), None, found[-1].end if found else f.start
    return plan.Feedback(
        index=f.index, floor=f.floor, start=f.start, end=end, input=curve(segments, after), place=place_of(f.span),
        **f.settings,  # type: ignore[arg-type]
    )  # fmt: skip
