"""Laying out: where on the time axis each part of a schedule lies, and what it computes there.

The parts of a chain are placed when the one before them is known to have ended, so that a batch schedule can be
followed
while the clocks are still growing from it.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from schedc.compiler import expressions as ex
from schedc.compiler import messages_layout as say
from schedc.compiler import messages_names
from schedc.compiler import resolved as rd
from schedc.compiler.amounts import (
    Env,
    Frame,
    Ground,
    Mark,
    Quantity,
    Stop,
    checked_duration,
    duration,
    formal_argument,
    number,
    position_terms,
    stop,
    word,
)
from schedc.compiler.chains import Chained, Cut, Ended
from schedc.compiler.constants import exact  # fmt: skip
from schedc.compiler.cycles import Modified, Repeated
from schedc.compiler.expressions import Expr
from schedc.compiler.formulas import Formula
from schedc.compiler.kinds import CLOSED, CONSTANT, ENDLESS, OPEN, is_operand, kind
from schedc.compiler.placed import Context, Part, Placed, enter, reading_at, words_of
from schedc.compiler.source import Span


class Feedback(Placed):
    """`| plateau`: its input times a factor that only observations change."""

    def __init__(self, index: int, inner: Placed, settings: dict[str, object], floor: Expr, span: Span) -> None:
        self.index, self.inner, self.settings, self.floor, self.span = index, inner, settings, floor, span
        self.ground, self.start = inner.ground, inner.start

    def _cut(self, x: Expr) -> Expr:
        reduced = ex.mul(ex.Var(f"factor:{self.index}"), x)
        return reduced if self.floor == ex.ZERO else ex.op("max", reduced, ex.op("min", x, self.floor))

    def ended(self, position: Fraction) -> bool:
        return self.inner.ended(position)

    @property
    def end(self) -> Fraction | None:
        return self.inner.end

    def at(self, position: Fraction) -> Part:
        part = self.inner.at(position)
        return replace(part, expr=self._cut(part.expr), left=lambda where: self._cut(self.inner.left(where, position)))

    def marks(self, position: Fraction) -> list[Mark]:
        return self.inner.marks(position)

    def end_value(self) -> Expr:
        return self._cut(self.inner.end_value())


class Shifted(Placed):
    """A schedule of another file, laid out from update 0 on that file's clocks and used from a later update on."""

    def __init__(self, inner: Placed, start: Fraction, ground: Ground, span: Span, name: str) -> None:
        self.inner, self.start, self.ground, self.span = inner, start, ground, span
        self.name = name
        if start != 0:
            for clock in ("samples", "tokens", "epochs"):
                if inner.ground.clocks.known[clock] and inner.ground.clocks.ratio(clock, "steps") is None:
                    raise Stop(say.own_clock(name, span))

    def _move(self, expr: Expr) -> Expr:
        if self.start == 0:
            return expr
        clocks, table = self.inner.ground.clocks, self.inner.ground.table

        def change(e: Expr) -> Expr | None:
            if isinstance(e, ex.Reading) and e.table == table:
                rate = clocks.ratio(e.clock, "steps")
                assert rate is not None
                return ex.mul(ex.Num(rate), ex.local_time("steps", self.start, self.ground.table))
            return None

        return ex.rebuild(expr, change)

    def ended(self, position: Fraction) -> bool:
        return self.inner.ended(position - self.start)

    @property
    def end(self) -> Fraction | None:
        return None if self.inner.end is None else self.inner.end + self.start

    def at(self, position: Fraction) -> Part:
        part = self.inner.at(position - self.start)
        moved = replace(
            part,
            expr=self._move(part.expr),
            left=lambda where: self.inner.left(where - self.start, position - self.start),
        )
        if self.start == 0:
            return moved
        return replace(moved, clock="steps", origin=self.start, table=self.ground.table, horizon=None)

    def marks(self, position: Fraction) -> list[Mark]:
        inner = self.inner.ground
        return [Mark("steps", inner.position(m) + self.start) for m in self.inner.marks(position - self.start)]

    def value(self, position: Fraction) -> Expr:
        return self.inner.value(position - self.start)

    def end_value(self) -> Expr:
        return self.inner.end_value()


def place(node: rd.Expr, env: Env, context: Context) -> Placed:
    """Lay the schedule out."""
    ex.spend()
    ground = context.ground
    match node:
        case rd.Chain():
            return Chained(node, env, context)
        case rd.Timed():
            return _timed(node, env, context)
        case rd.Pipe():
            return _piped(node, env, context)
        case rd.StageCall(span=span, definition=definition):
            if definition.external:
                return Ended(context, env.site(span))
            inner = enter(node, env, ground)
            assert definition.body is not None
            if (
                inner.horizon is None
                and definition.formal("T")
                and not context.exact
                and context.end is not None
                and _opens(definition, inner, ground)
            ):
                inner.horizon = _fill(inner, context, definition.name, span)
                context = replace(context, exact=not is_operand(definition.body, inner))
            elif inner.horizon is None and definition.formal("T") and context.exact and context.end is not None:
                inner.horizon = _fill(inner, context, definition.name, span)
            elif inner.horizon is None and definition.formal("T") and _opens(definition, inner, ground):
                raise stop(env, say.no_duration(definition.name, span))
            named = replace(context, anchor=context.start)
            if is_operand(definition.body, inner):
                return place(definition.body, inner, named)
            return Formula(definition.body, inner, named, definition.name)
        case rd.LetRef(let=let) if is_operand(node, env):
            return place(let.value, Env(outer=env), replace(context, anchor=context.start))
        case rd.FormalRef(name=name) if is_operand(node, env):
            found = formal_argument(name, env)
            assert isinstance(found, tuple)
            return place(*found, replace(context, anchor=context.start))
        case rd.ImportedRef():
            return _imported(node, env, context)
        case rd.Variable(name="input") if env.piped is not None:
            return place(*env.piped, context)
    return Formula(node, env, context, words_of(node))


def _opens(definition: rd.Definition, inner: Env, ground: Ground) -> bool:
    assert definition.body is not None
    return kind(definition.body, inner, ground) == OPEN or any(
        isinstance(n, rd.Variable) and n.name == "T" for n in _durations(definition.body)
    )


def _durations(node: rd.Expr) -> list[rd.Expr]:
    """Everything inside a body, arguments of calls and amounts included."""
    out: list[rd.Expr] = [node]
    match node:
        case rd.Apply(args=parts) | rd.CurveCall(args=parts) | rd.Chain(stages=parts) | rd.ListValue(items=parts):
            for p in parts:
                out += _durations(p)
        case rd.Timed(body=a, amount=b) | rd.Pipe(body=a, modifier=b):
            out += _durations(a) + _durations(b)
        case rd.StageCall(args=args):
            for p in args.values():
                out += _durations(p)
        case rd.Choose(branches=args):
            for p in args.values():
                out += _durations(p)
        case rd.InputAt(at=a):
            out += _durations(a)
    return out


def _fill(env: Env, context: Context, owner: str, span: Span) -> Quantity:
    """What is left for an open stage, as a duration."""
    end = context.end
    assert end is not None
    before = reading_at(env, span, context.ground, end.clock, context.start)
    left = end.reading - before
    if left < 0:
        why = say.room(say.amount(end.reading, end.clock) + " for all", say.amount(before, end.clock), left, end.clock)
        raise stop(env, say.no_room(owner, left, end.clock, why, span))
    return Quantity(end.clock, left)


def _timed(node: rd.Timed, env: Env, context: Context) -> Placed:
    ground = context.ground
    frame = Frame(ground, owner=words_of(node.body))
    if node.word == "for":
        length = checked_duration(node.amount, env, frame)
        mark = Mark(
            length.clock, reading_at(env, node.amount.span, ground, length.clock, context.start) + length.amount
        )
    else:
        mark = _until(node, env, context, frame)
        here = reading_at(env, node.span, ground, mark.clock, context.start)
        if mark.reading < here:
            raise stop(
                env,
                say.before_start(node.amount.span, say.amount(mark.reading, mark.clock), say.amount(here, mark.clock)),
            )
    inner = place(node.body, env, replace(context, end=mark, exact=True))
    if isinstance(inner, Formula) and inner.end_mark == mark:
        return inner
    return Cut(inner, mark, env.site(node.span))


def _until(node: rd.Timed, env: Env, context: Context, frame: Frame) -> Mark:
    ground = context.ground
    terms = position_terms(node.amount, env, frame)
    terms.sort(key=lambda q: q.amount < 0)
    if all(q.clock == terms[0].clock for q in terms):
        clock = terms[0].clock
        return Mark(
            clock,
            reading_at(env, node.amount.span, ground, clock, context.anchor)
            + sum((q.amount for q in terms), Fraction(0)),
        )
    position = context.anchor
    mark = Mark("steps", position)
    for q in terms:
        reading = reading_at(env, node.amount.span, ground, q.clock, position) + q.amount
        if reading < 0:
            raise stop(env, say.negative_duration(say.amount(reading, q.clock), node.amount.span))
        mark = Mark(q.clock, reading)
        position = ground.position(mark)
    return mark


def _piped(node: rd.Pipe, env: Env, context: Context) -> Placed:
    call, ground = node.modifier, context.ground
    definition = call.definition
    if definition.external and definition.name == "repeat":
        inner_env = enter(call, env, ground)
        body_kind = kind(node.body, env, ground)
        if body_kind != CLOSED:
            raise stop(
                env,
                say.not_closed({OPEN: "open", ENDLESS: "endless", CONSTANT: "a constant"}[body_kind], node.body.span),
            )
        cycle = place(node.body, env, replace(context, end=None, exact=False, anchor=context.start))
        frame = Frame(ground, entering=context.entering, fallback=True)
        times = _argument("times", inner_env, frame)
        count = None if times == ex.Const("inf") else exact(times)
        growth = exact(_argument("growth", inner_env, frame))
        if count is not None and (count.denominator != 1 or count < 1):
            given = call.args["times"].span
            raise stop(
                env, messages_names.out_of_bounds("times", "a whole number from 1 on", say.show(count), given, None)
            )
        if growth is None or (count is None and times != ex.Const("inf")):
            raise stop(env, say.irrational(call.span))
        if any(v.startswith("factor:") for v in ex.variables(cycle.at(cycle.start).expr)) or _has_feedback(node.body):
            raise stop(env, say.time_over_feedback(call.span))
        return Repeated(
            cycle,
            None if count is None else int(count),
            growth,
            _argument("decay", inner_env, frame),
            env,
            env.site(node.span),
        )
    if isinstance(definition.body, rd.Pipe):
        inner_env = enter(call, env, ground)
        inner_env.piped = (node.body, env)
        return place(definition.body, inner_env, context)
    body = place(node.body, env, context)
    if definition.external and definition.name == "plateau":
        return _feedback(call, env, body, context)
    if definition.external:
        raise AssertionError(definition.name)
    return Modified(call, env, body, context)


def _has_feedback(node: rd.Expr) -> bool:
    """Whether a `plateau` stands in the chain."""
    match node:
        case rd.Pipe(body=body, modifier=modifier):
            return modifier.definition.name == "plateau" or _has_feedback(body)
        case rd.Chain(stages=parts) | rd.Apply(args=parts):
            return any(map(_has_feedback, parts))
        case rd.Timed(body=body):
            return _has_feedback(body)
    return False


def _argument(name: str, env: Env, frame: Frame) -> Expr:
    assert env.definition is not None
    formal = env.definition.formal(name)
    assert formal is not None
    return number(rd.FormalRef(env.definition.tree.name_span, name, formal.type), env, frame)


def _feedback(call: rd.StageCall, env: Env, inner: Placed, context: Context) -> Placed:
    here = enter(call, env, context.ground)
    frame = Frame(context.ground, entering=context.entering, fallback=True, owner="plateau")

    def value(name: str) -> Fraction:
        found = exact(_argument(name, here, frame))
        if found is None:
            raise stop(env, say.irrational(call.span))
        return found

    def quantity(name: str) -> Quantity:
        found = formal_argument(name, here)
        assert isinstance(found, tuple)
        return duration(*found, frame)

    def name_of(name: str) -> str:
        found = formal_argument(name, here)
        assert isinstance(found, tuple)
        return word(*found)

    patience, cooldown = quantity("patience"), quantity("cooldown")
    settings: dict[str, object] = {
        "metric": name_of("metric"), "mode": name_of("mode"), "factor": value("factor"),
        "patience": patience.amount, "patience_clock": None if patience.bare else patience.clock,
        "cooldown": cooldown.amount, "cooldown_clock": None if cooldown.bare else cooldown.clock,
        "threshold": value("threshold"), "threshold_mode": name_of("threshold_mode"), "atol": value("atol"),
        "eps": value("eps"), "window": int(value("window")), "in_cooldown": name_of("in_cooldown"),
    }  # fmt: skip
    study = context.study
    index = 0
    if study is not None:
        index = study.names[0]
        study.names[0] += 1
    placed = Feedback(index, inner, settings, _argument("min", here, frame), env.site(call.span))
    if study is not None:
        study.feedback.append(placed)
    return placed


def _imported(node: rd.ImportedRef, env: Env, context: Context) -> Placed:
    module, name = node.module, node.name
    if name in module.binds:
        bind = module.binds[name]
        value, relative = bind.value, bind.relative
    else:
        value, relative = module.lets[name].value, False
    assert context.study is not None
    assert context.study.imported is not None
    ground = context.study.imported(module, context.ground)
    if relative:
        value = rd.Apply(value.span, "mul", (rd.Variable(value.span, "base"), value))
    outer = Env(call=node.span, outer=env)
    inner_env = Env(outer=outer)
    if ground is context.ground:
        return place(value, inner_env, replace(context, fallback=context.fallback or relative, anchor=context.start))
    inner = place(
        value, inner_env, Context(ground, Fraction(0), place, None, relative, ground.end, study=context.study)
    )
    return Shifted(inner, context.start, context.ground, env.site(node.span), name)
