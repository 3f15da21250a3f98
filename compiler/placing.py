"""Laying out: where on the time axis each part of a schedule lies, and what it computes there.

A `Placed` begins at a position with an entering value and has, perhaps, an end. It answers at any position, without
having passed through those before; the parts of a chain are placed when the one before them is known to have ended,
so that a batch schedule can be followed while the clocks are still growing from it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property

from schedc.compiler import expressions as ex, messages_layout as say, resolved as rd
from schedc.compiler.amounts import (
    Env, Frame, Ground, Mark, Quantity, Stop, check_bounds, checked_duration, convert, duration, exact, formal_argument, is_none,
    number, position_terms, stop, word,
)  # fmt: skip
from schedc.compiler.clocks import UnknownClock
from schedc.compiler.expressions import Expr
from schedc.compiler.kinds import CLOSED, CONSTANT, ENDLESS, OPEN, is_operand, kind, operands_of, own_reads, varying
from schedc.compiler.resolve import type_of
from schedc.compiler.source import Span

MAX_CYCLES = 10_000
"""Cycles of a growing repeat that are unrolled."""
UNROLLED = 64
"""Up to so many cycles, a finite repeat is written out; beyond, and when endless, it is one formula with a remainder."""
FAR = Fraction(1 << 53)
"""No run reaches this update: growing cycles are unrolled up to here."""


@dataclass(frozen=True, slots=True)
class Part:
    """The formula in force at some position, with the unit and origin of its local time, and the stage it comes from.

    `left(position)` is its value there as seen from the left.
    """

    expr: Expr
    span: Span
    clock: str = "steps"
    origin: Fraction = Fraction(0)
    table: int = 0
    horizon: Fraction | None = None
    error: str | None = None
    left: Callable[[Fraction], Expr] | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """Where a schedule is placed. `end`: where an open one must stop; `exact`: and every other formula too."""

    ground: Ground
    start: Fraction
    entering: Expr | None = None
    fallback: bool = False
    end: Mark | None = None
    exact: bool = False
    anchor: Fraction = Fraction(0)
    unit: str | None = None
    study: Study | None = None


@dataclass
class Seam:
    """Where one stage of a chain hands over to the next."""

    position: Fraction
    before: Expr
    after: Placed
    node: rd.Expr
    env: Env


@dataclass
class Study:
    """What laying out brings to light beside the values: seams, and the feedback modifiers met."""

    seams: list[Seam] = field(default_factory=list)
    feedback: list[Feedback] = field(default_factory=list)
    names: list[int] = field(default_factory=lambda: [0])
    imported: Callable[[rd.Module, Ground], Ground] | None = None


def fix(expr: Expr, position: Fraction, ground: Ground) -> Expr:
    """The expression's value at one position: clocks, batch and other bindings read there."""

    def change(e: Expr) -> Expr | None:
        match e:
            case ex.Reading(clock, table) if table == ground.table:
                return ex.Num(ground.clocks.at(clock, position))
            case ex.Var("batch"):
                return ex.num(ground.clocks.batch_at(position))
            case ex.Bound(name, None):
                return ex.Bound(name, position)
            case ex.Convert(reading, source, target, table) if table == ground.table:
                inner = exact(ex.rebuild(reading, change))
                if inner is not None:
                    return ex.Num(ground.clocks.at(target, ground.clocks.position(source, inner)))
        return None

    return ex.rebuild(expr, change)


class Placed:
    """A schedule laid out. `start` is its position; `ended`, `at` and `marks` take a position not before it."""

    ground: Ground
    start: Fraction
    span: Span

    def ended(self, position: Fraction) -> bool:
        """Whether the schedule has ended at or before the position."""
        raise AssertionError

    @property
    def end(self) -> Fraction | None:
        """The position where it ends; None: never."""
        raise AssertionError

    def at(self, position: Fraction) -> Part:
        """The part that holds the position; after the end, the end value."""
        raise AssertionError

    def marks(self, position: Fraction) -> list[Mark]:
        """Boundaries after the position, the next one among them."""
        raise AssertionError

    def end_value(self) -> Expr:
        """The value at the end."""
        raise AssertionError

    def value(self, position: Fraction) -> Expr:
        """The value at the position: at a seam that of the later part, at the end the end value."""
        if self.ended(position):
            return self.end_value()
        return fix(self.at(position).expr, position, self.ground)

    def left(self, position: Fraction, inside: Fraction) -> Expr:
        """The value at the position as seen from the left, by the part that holds `inside`."""
        part = self.at(inside)
        return part.left(position) if part.left else fix(part.expr, position, self.ground)

    def held(self) -> Part:
        return Part(self.end_value(), self.span, table=self.ground.table)


class Formula(Placed):
    """A formula of local time, with schedules in it (`operands`) that run in parallel from the same start."""

    def __init__(self, node: rd.Expr, env: Env, context: Context, owner: str) -> None:
        self.node, self.env, self.context, self.ground = node, env, context, context.ground
        self.start, self.span = context.start, env.site(node.span)
        self.owner = owner
        ground = self.ground
        own = own_reads(node, env)
        given, clock = env.horizon if "T" in (f.name for f in (env.definition.formals if env.definition else ())) else None, None
        length: Quantity | None = None
        if context.end is not None and (context.exact or (own & {"T", "p"} and given is None)):
            length = Quantity(context.end.clock, context.end.reading - self._read(context.end.clock))
            self._room(length)
        if given is not None and length is None:
            length = given
        horizon = given if given is not None else length
        if own & {"T", "p"} and horizon is None:
            raise stop(env, say.no_duration(owner, node.span))
        if horizon is not None and (given is not None or length is not None):
            clock = horizon.clock
        else:
            clock = _unit(env, ground, own) or context.unit or "steps"
        self.clock = clock
        self.origin = self._read(clock) if own & {"t", "p"} or clock == "steps" else Fraction(0)
        self.horizon = horizon.amount if horizon is not None else None
        self.horizon_mark = Mark(horizon.clock, self._read(horizon.clock) + horizon.amount) if horizon is not None else None
        self.end_mark = Mark(length.clock, self._read(length.clock) + length.amount) if length is not None else None
        self.endless = self.end_mark is None and bool(own & {"t", "n", "batch", "bound"})
        self.operands: dict[tuple[int, int], Placed] = {}
        inner = replace(context, end=self.end_mark if self.end_mark is not None else context.end, exact=False, unit=clock)
        self._spread(node, env, inner, arithmetic=False)

    def _read(self, clock: str) -> Fraction:
        return _reading(self.env, self.span, self.ground, clock, self.start)

    def _room(self, length: Quantity) -> None:
        if length.amount < 0:
            end = self.context.end
            assert end is not None
            why = f"{say.amount(end.reading, end.clock)} for all, less {say.amount(self._read(end.clock), end.clock)} before = {say.amount(length.amount, end.clock)}"
            raise stop(self.env, say.no_room(self.owner, length.amount, length.clock, why, self.node.span))

    def frame(self, past: bool = False, values: dict[tuple[int, int], Expr] | None = None) -> Frame:
        c = self.context
        return Frame(self.ground, self.clock, self.origin, self.horizon, c.entering, c.fallback, past, values or {}, owner=self.owner)

    def _spread(self, node: rd.Expr, env: Env, context: Context, arithmetic: bool) -> None:
        """Place every operand inside the formula, each with the entering value that reaches it."""
        if is_operand(node, env):
            entering = context.entering
            placed = place(node, env, replace(context, fallback=context.fallback or arithmetic, entering=entering))
            self.operands[id(node), id(env)] = placed
            return
        match node:
            case rd.FormalRef(name=name):
                found = formal_argument(name, env)
                if isinstance(found, tuple):
                    self._spread(*found, context, arithmetic)
            case rd.Choose(branches=branches):
                chosen = word(node.word, env)
                if chosen in branches:
                    self._spread(branches[chosen], env, context, arithmetic)
            case rd.Apply(name="if", args=(condition, a, b)):
                self._spread(condition, env, replace(context, entering=None), True)
                decided = None if varying(condition, env) else exact(self._constant(condition, env))
                for i, branch in enumerate((a, b)):
                    if decided is None or bool(decided) == (i == 0):
                        self._spread(branch, env, context, arithmetic)
            case rd.Apply(name="min" | "max" | "clamp", args=args):
                for a in args:
                    self._spread(a, env, context, arithmetic)
            case rd.Apply(name=name, args=args):
                moving = [a for a in args if varying(a, env)]
                for a in args:
                    given = context.entering if len(moving) == 1 and moving[0] is a else None
                    if given is not None:
                        given = self._undone(name, args, a, env, given)
                    self._spread(a, env, replace(context, entering=given), True)
            case rd.CurveCall(args=args):
                for a in args:
                    self._spread(a, env, replace(context, entering=None), True)

    def _constant(self, node: rd.Expr, env: Env) -> Expr:
        return number(node, env, self.frame())

    def _undone(self, name: str, args: tuple[rd.Expr, ...], operand: rd.Expr, env: Env, entering: Expr) -> Expr | None:
        """The entering value with one affine step undone, so that k·(a -> b) = k·a -> k·b; None where it can't be."""
        if name == "neg":
            return ex.op("neg", entering)
        if name not in ("add", "sub", "mul", "div"):
            return None
        first = args[0] is operand
        k = self._constant(args[1] if first else args[0], env)
        if name == "add":
            return ex.sub(entering, k)
        if name == "sub":
            return ex.add(entering, k) if first else ex.sub(k, entering)
        if k == ex.ZERO or "batch" in ex.variables(k):
            return None
        if name == "mul":
            return ex.div(entering, k)
        return ex.mul(entering, k) if first else None

    # -- Placed

    def ended(self, position: Fraction) -> bool:
        if self.end_mark is not None:
            return self.ground.passed(self.end_mark, position)
        closed = self._closed()
        return not self.endless and bool(closed) and all(o.ended(position) for o in closed)

    def _closed(self) -> list[Placed]:
        """The operands that end, or none where one does not and varies."""
        out = []
        for (_, _), operand in self.operands.items():
            if isinstance(operand, Formula) and operand.constant:
                continue
            out.append(operand)
        return out

    @property
    def constant(self) -> bool:
        """Whether this is one number that holds for ever: no end and nothing that varies."""
        return self.end_mark is None and not self.endless and not self._closed()

    @cached_property
    def _end(self) -> Fraction | None:
        if self.end_mark is not None:
            return self.ground.position(self.end_mark)
        closed = self._closed()
        if self.endless or not closed:
            return None
        ends = [o.end for o in closed]
        return None if any(e is None for e in ends) else max(e for e in ends if e is not None)

    @property
    def end(self) -> Fraction | None:
        return self._end

    def _past(self, position: Fraction) -> bool:
        return self.horizon_mark is not None and self.ground.passed(self.horizon_mark, position)

    def at(self, position: Fraction) -> Part:
        if self.ended(position):
            return self.held()
        past = self._past(position)
        parts = {key: o.at(position) for key, o in self.operands.items()}
        expr = number(self.node, self.env, self.frame(past, {k: p.expr for k, p in parts.items()}))

        def left(where: Fraction) -> Expr:
            values = {k: o.left(where, position) for k, o in self.operands.items()}
            return fix(number(self.node, self.env, self.frame(past, values)), where, self.ground)

        main = [p for (k, o), p in zip(self.operands.items(), parts.values(), strict=True) if not (isinstance(o, Formula) and o.constant)]
        if len(main) == 1 and not self.endless and not own_reads(self.node, self.env):
            return replace(main[0], expr=expr, left=left)
        error = next((p.error for p in parts.values() if p.error), None)
        return Part(expr, self.span, self.clock, self.origin, self.ground.table, self.horizon, error, left)

    def marks(self, position: Fraction) -> list[Mark]:
        own = [m for m in (self.end_mark, self.horizon_mark) if m is not None and not self.ground.passed(m, position)]
        return own + [m for o in self.operands.values() for m in o.marks(position)]

    def end_value(self) -> Expr:
        end = self.end
        assert end is not None
        values = {k: (o.end_value() if o.ended(end) else o.value(end)) for k, o in self.operands.items()}
        return fix(number(self.node, self.env, self.frame(self._past(end), values)), end, self.ground)


def _reading(env: Env, span: Span, ground: Ground, clock: str, position: Fraction) -> Fraction:
    try:
        return ground.clocks.at(clock, position)
    except UnknownClock as unknown:
        raise stop(env, say.no_context(unknown.clock, span)) from None


def _unit(env: Env, ground: Ground, own: set[str]) -> str | None:
    """The unit of `t` by the duration arguments of the definition around; they must agree if `t` is read."""
    if env.definition is None:
        return None
    frame = Frame(ground)
    units: dict[str, Span] = {}
    for formal in env.definition.formals:
        found = formal_argument(formal.name, env)
        if formal.type.kind != "duration" or not isinstance(found, tuple) or is_none(formal.name, env):
            continue
        from schedc.compiler.amounts import items

        nodes = items(*found) if formal.type.is_list else [found]
        for node, where in nodes:
            quantity = duration(node, where, frame)
            if not (quantity.bare and quantity.amount == 0):
                units.setdefault(quantity.clock, node.span)
    if len(units) > 1 and "t" in own:
        (a, _), (b, span), *_ = units.items()
        raise stop(env, say.mixed_clocks(a, b, span))
    return next(iter(units), None)


class Chained(Placed):
    """Stages one after another. A stage without a length of its own fills what the others leave."""

    def __init__(self, node: rd.Chain, env: Env, context: Context) -> None:
        self.node, self.env, self.context, self.ground = node, env, context, context.ground
        self.start, self.span = context.start, env.site(node.span)
        self.placed: list[Placed] = []
        *firsts, last = node.stages
        fillers = [i for i, s in enumerate(firsts) if kind(s, env, self.ground) != CLOSED]
        last_kind = kind(last, env, self.ground)
        if len(fillers) > 1 or (fillers and last_kind == OPEN):
            second = node.stages[fillers[1]] if len(fillers) > 1 else last
            raise stop(env, say.two_open(node.stages[fillers[0]].span, second.span))
        self.filler = fillers[0] if fillers else None
        if self.filler is not None and context.end is None:
            raise stop(env, say.no_duration(_words(node.stages[self.filler]), node.stages[self.filler].span))

    def _child(self, index: int) -> Placed:
        while len(self.placed) <= index:
            self.placed.append(self._place(len(self.placed)))
        return self.placed[index]

    def _place(self, index: int) -> Placed:
        context, node = self.context, self.node.stages[index]
        end = context.end
        if index == self.filler:
            assert end is not None
            end = _before(self.node.stages[index + 1 :], self.env, self.ground, end, node.span)
        elif index < len(self.node.stages) - 1:
            end = None
        if index == 0:
            return place(node, self.env, replace(context, end=end, exact=index == self.filler))
        before = self.placed[index - 1]
        start = before.end
        assert start is not None
        if index == self.filler and end is not None:
            room = end.reading - _reading(self.env, node.span, self.ground, end.clock, start)
            if room < 0:
                taken = say.amount(end.reading - room, end.clock)
                why = f"{say.amount(end.reading, end.clock)} left by the stages behind it, less {taken} before = {say.amount(room, end.clock)}"
                raise stop(self.env, say.no_room(_words(node), room, end.clock, why, node.span))
        entering = before.end_value()
        inner = replace(context, start=start, entering=entering, fallback=False, end=end, exact=index == self.filler)
        placed = place(node, self.env, inner)
        if context.study is not None:
            context.study.seams.append(Seam(start, entering, placed, node, self.env))
        return placed

    def _current(self, position: Fraction) -> int:
        index = 0
        while index < len(self.node.stages) - 1 and self._child(index).ended(position):
            index += 1
        return index

    def ended(self, position: Fraction) -> bool:
        index = self._current(position)
        return index == len(self.node.stages) - 1 and self._child(index).ended(position)

    @property
    def end(self) -> Fraction | None:
        return self._child(len(self.node.stages) - 1).end

    def at(self, position: Fraction) -> Part:
        return self._child(self._current(position)).at(position)

    def marks(self, position: Fraction) -> list[Mark]:
        return self._child(self._current(position)).marks(position)

    def end_value(self) -> Expr:
        return self._child(len(self.node.stages) - 1).end_value()

    def left(self, position: Fraction, inside: Fraction) -> Expr:
        return self._child(self._current(inside)).left(position, inside)


def _words(node: rd.Expr) -> str:
    text = " ".join(node.span.text.split())
    return text if len(text) <= 40 else text[:37] + "…"


def _before(stages: tuple[rd.Expr, ...], env: Env, ground: Ground, end: Mark, filler: Span) -> Mark:
    """Where the open stage must end so that the stages behind it end at `end`."""
    mark = end
    for stage in reversed(stages):
        lengths = length_of(stage, env, ground)
        if lengths is None:
            raise stop(env, say.unknown_length(stage.span, filler))
        for q in reversed(lengths):
            if q.clock == mark.clock:
                mark = Mark(mark.clock, mark.reading - q.amount)
            else:
                reading = _reading(env, stage.span, ground, q.clock, ground.position(mark)) - q.amount
                mark = Mark(q.clock, reading)
    return mark


def length_of(node: rd.Expr, env: Env, ground: Ground) -> list[Quantity] | None:
    """How long a schedule lasts wherever it stands, as amounts one after another; None if that depends on the place."""
    frame = Frame(ground)
    match node:
        case rd.Timed(word="for", amount=amount):
            return [checked_duration(amount, env, frame)]
        case rd.Timed():
            return None
        case rd.Chain(stages=stages):
            parts = [length_of(s, env, ground) for s in stages]
            return None if any(p is None for p in parts) else [q for p in parts if p for q in p]
        case rd.StageCall(definition=definition) if definition.body is not None:
            inner = enter(node, env, ground)
            if inner.horizon is not None and not is_operand(definition.body, inner):
                return [inner.horizon]
            return length_of(definition.body, inner, ground)
        case rd.StageCall():
            return []
        case rd.LetRef(let=let) if is_operand(node, env):
            return length_of(let.value, Env(outer=env), ground)
        case rd.FormalRef(name=name) if is_operand(node, env):
            found = formal_argument(name, env)
            return length_of(*found, ground) if isinstance(found, tuple) else None
        case rd.Pipe(body=body, modifier=modifier) if not modifier.definition.external or modifier.definition.name == "plateau":
            return length_of(body, env, ground)
    if kind(node, env, ground) == CONSTANT:
        return []
    inside = operands_of(node, env)
    lengths = [length_of(o, e, ground) for o, e in inside]
    if lengths and all(q is not None and len(q) == 1 and q[0].clock == lengths[0][0].clock for q in lengths if lengths[0]):  # type: ignore[index]
        return [max((q[0] for q in lengths if q), key=lambda q: q.amount)]
    return None


class Cut(Placed):
    """A schedule that ends at a given mark: cut there, or held until there."""

    def __init__(self, inner: Placed, mark: Mark, span: Span) -> None:
        self.inner, self.mark, self.span = inner, mark, span
        self.ground, self.start = inner.ground, inner.start

    def ended(self, position: Fraction) -> bool:
        return self.ground.passed(self.mark, position)

    @property
    def end(self) -> Fraction | None:
        return self.ground.position(self.mark)

    def at(self, position: Fraction) -> Part:
        return self.held() if self.ended(position) else self.inner.at(position)

    def marks(self, position: Fraction) -> list[Mark]:
        return [] if self.ended(position) else [self.mark, *self.inner.marks(position)]

    def end_value(self) -> Expr:
        end = self.end
        assert end is not None
        return self.inner.value(end)

    def left(self, position: Fraction, inside: Fraction) -> Expr:
        return self.inner.left(position, inside)


class Ended(Placed):
    """`error`: reaching it stops training."""

    def __init__(self, context: Context, span: Span) -> None:
        self.ground, self.start, self.span = context.ground, context.start, span
        self.entering = context.entering or ex.ZERO

    def ended(self, position: Fraction) -> bool:
        return False

    @property
    def end(self) -> Fraction | None:
        return None

    def at(self, position: Fraction) -> Part:
        line, column = self.span.source.place(self.span.start)
        message = f"the schedule ends here with `error` ({self.span.source.name}:{line}:{column})"
        return Part(self.entering, self.span, table=self.ground.table, error=message)

    def marks(self, position: Fraction) -> list[Mark]:
        return []


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a placed schedule, by readings of one clock counted from its start."""

    begin: Fraction
    end: Fraction | None
    part: Part


def pieces_by(inner: Placed, clock: str, limit: Fraction | None = None, most: int = MAX_CYCLES) -> list[Piece]:
    """The pieces of a placed schedule, their bounds as readings of `clock` since its start."""
    ground = inner.ground
    zero = ground.clocks.at(clock, inner.start)
    out: list[Piece] = []
    position = inner.start
    while not inner.ended(position):
        part = inner.at(position)
        marks = inner.marks(position)
        begin = ground.clocks.at(clock, position) - zero
        if not marks:
            out.append(Piece(begin, None, part))
            break
        # A mark of the same clock needs no position: that keeps a growing clock from being asked about its future.
        same = [m.reading - zero for m in marks if m.clock == clock]
        if len(same) == len(marks):
            end = min(same)
            if ground.growing and inner.marks and not isinstance(inner, Formula):
                raise Stop(say.look_ahead("a chain read at another time", inner.span))
            out.append(Piece(begin, end, part))
            if ground.growing:
                break
            position = ground.clocks.position(clock, zero + end)
        else:
            position = min(p for m in marks if (p := ground.position(m)) > position)
            out.append(Piece(begin, ground.clocks.at(clock, position) - zero, part))
        if len(out) > most:
            raise Stop(say.too_many_segments(most, inner.span))
    return out


def shifted(expr: Expr, ground: Ground, clock: str, reading: Expr) -> Expr:
    """The expression at the position where `clock` shows `reading`, instead of here."""

    def change(e: Expr) -> Expr | None:
        match e:
            case ex.Reading(found, table) if table == ground.table:
                if found == clock:
                    return reading
                ratio = ground.clocks.ratio(found, clock)
                if ratio is not None:
                    return ex.mul(ex.Num(ratio), reading)
                return ex.Convert(reading, clock, found, table)
            case ex.Var("batch"):
                raise Stop(say.look_ahead("the batch at another time", Span(_NOWHERE, 0, 0)))
        return None

    return ex.rebuild(expr, change)


from schedc.compiler.source import Source  # noqa: E402  (only the placeholder below needs it)

_NOWHERE = Source("<program>", "")


def not_negative(expr: Expr, ground: Ground) -> bool:
    """Whether an expression of local time is certainly at least 0, by its form."""
    match expr:
        case ex.Num(value):
            return value >= 0
        case ex.Reading():
            return True
        case ex.Op("sub", (ex.Reading(), ex.Num())):
            return True
        case ex.Op("mul" | "add" | "div" | "min", args):
            return all(not_negative(a, ground) for a in args)
        case ex.Op("max", args):
            return any(not_negative(a, ground) for a in args)
        case ex.Op("floor" | "ceil" | "round" | "sqrt", (a,)):
            return not_negative(a, ground)
        case ex.Op("mod", (_, b)):
            return not_negative(b, ground)
        case ex.Op("abs", _):
            return True
    return False


class Modified(Placed):
    """A modifier's formula over the piped schedule; it lasts as long as that."""

    def __init__(self, call: rd.StageCall, env: Env, inner: Placed, context: Context) -> None:
        self.inner, self.ground, self.start = inner, inner.ground, inner.start
        self.env = enter(call, env, self.ground)
        self.span = env.site(call.span)
        self.owner = call.definition.name
        assert call.definition.body is not None
        self.node = call.definition.body
        own = own_reads(self.node, self.env)
        clock = _unit(self.env, self.ground, own)
        if clock is None:
            marks = inner.marks(inner.start) if not isinstance(inner, Formula) else []
            clock = inner.clock if isinstance(inner, Formula) else (marks[0].clock if marks else "steps")
        self.clock = clock
        self.origin = _reading(self.env, self.span, self.ground, clock, self.start)
        self.at_nodes = [n for n in _walk(self.node) if isinstance(n, rd.InputAt)]
        if self.at_nodes:
            self._study_time()
        self.input_nodes = [n for n in _walk(self.node) if isinstance(n, rd.Variable) and n.name == "input"]
        self.context = context

    @cached_property
    def horizon(self) -> Fraction | None:
        if self.env.horizon is not None:
            return convert(self.env.horizon, self.clock, Frame(self.ground), self.env, self.span)
        if not own_reads(self.node, self.env) & {"T", "p"}:
            return None
        end = self.inner.end
        return None if end is None else self.ground.clocks.at(self.clock, end) - self.origin

    def _study_time(self) -> None:
        for p in self._pieces:
            if any(v.startswith("factor:") for v in ex.variables(p.part.expr)):
                raise stop(self.env, say.time_over_feedback(self.span))

    @cached_property
    def _pieces(self) -> list[Piece]:
        return pieces_by(self.inner, self.clock)

    def _input_at(self, x: Expr) -> Expr:
        """The piped schedule where the clock shows `x` after the start; held outside."""
        reading = ex.add(x, ex.Num(self.origin))
        values = [shifted(p.part.expr, self.ground, self.clock, reading) for p in self._pieces]
        bounds = [p.end for p in self._pieces if p.end is not None]
        if len(bounds) == len(values):
            values.append(self._end_of_input())
        if not not_negative(x, self.ground):
            bounds.insert(0, Fraction(0))
            values.insert(0, self.inner.value(self.start))
        return ex.piecewise(x, tuple(bounds), tuple(values))

    def _end_of_input(self) -> Expr:
        if self.ground.growing and isinstance(self.inner, Formula):
            last = self._pieces[-1]
            assert last.end is not None
            mark = ex.Num(self.origin + last.end)
            return shifted(last.part.expr, self.ground, self.clock, mark)
        return self.inner.end_value()

    def _expr(self, given: Expr, position: Fraction, fixed: Fraction | None) -> Expr:
        past = self.horizon is not None and self.ground.clocks.at(self.clock, position) - self.origin >= self.horizon
        frame = Frame(self.ground, self.clock, self.origin, self.horizon, self.context.entering, self.context.fallback, past, owner=self.owner)
        values: dict[tuple[int, int], Expr] = {(id(n), id(self.env)): given for n in self.input_nodes}
        frame = replace(frame, values=values)
        for n in self.at_nodes:
            values[id(n), id(self.env)] = self._input_at(number(n.at, self.env, frame))
        expr = number(self.node, self.env, frame)
        return expr if fixed is None else fix(expr, fixed, self.ground)

    def ended(self, position: Fraction) -> bool:
        return self.inner.ended(position)

    @property
    def end(self) -> Fraction | None:
        return self.inner.end

    def at(self, position: Fraction) -> Part:
        if self.ended(position):
            return self.held()
        part = self.inner.at(position)

        def left(where: Fraction) -> Expr:
            return self._expr(self.inner.left(where, position), position, where)

        expr = self._expr(part.expr, position, None)
        if self.at_nodes:
            return Part(expr, part.span, self.clock, self.origin, self.ground.table, self.horizon, part.error, left)
        return replace(part, expr=expr, left=left)

    def marks(self, position: Fraction) -> list[Mark]:
        if self.ended(position):
            return []
        own = []
        if self.horizon is not None:
            mark = Mark(self.clock, self.origin + self.horizon)
            own = [] if self.ground.passed(mark, position) else [mark]
        return own + self.inner.marks(position)

    def end_value(self) -> Expr:
        end = self.end
        assert end is not None
        return self._expr(self.inner.end_value(), end, end)


def _walk(node: rd.Expr) -> list[rd.Expr]:
    out = [node]
    match node:
        case rd.Apply(args=args) | rd.CurveCall(args=args):
            for a in args:
                out += _walk(a)
        case rd.InputAt(at=a):
            out += _walk(a)
        case rd.Choose(branches=branches):
            for a in branches.values():
                out += _walk(a)
    return out


class Repeated(Placed):
    """One closed cycle, replayed: cycle k times decay^k, stretched by growth^k."""

    def __init__(self, cycle: Placed, times: int | None, growth: Fraction, decay: Expr, env: Env, span: Span) -> None:
        self.cycle, self.times, self.growth, self.decay = cycle, times, growth, decay
        self.ground, self.start, self.span, self.env = cycle.ground, cycle.start, span, env
        marks = cycle.marks(cycle.start)
        clocks = {m.clock for m in marks}
        self.clock = clocks.pop() if len(clocks) == 1 else "steps"
        self.origin = self.ground.clocks.at(self.clock, self.start)
        end = cycle.end
        assert end is not None
        self.length = self.ground.clocks.at(self.clock, end) - self.origin
        if self.length <= 0:
            raise stop(env, say.not_closed("of length 0", span))
        self.pieces = pieces_by(cycle, self.clock)
        self.rolled = growth == 1 and (times is None or times * len(self.pieces) > UNROLLED)

    @cached_property
    def bounds(self) -> list[Fraction]:
        """Where each cycle begins, counted from the start; one more than there are cycles. Exact, by adding up."""
        out = [Fraction(0)]
        stretch = Fraction(1)
        limit = self.ground.run.length * 2 if self.ground.run is not None and self.ground.run.clock == self.clock else FAR
        while (self.times is None and out[-1] < max(limit, FAR if self.growth >= Fraction(11, 10) else limit)) or (
            self.times is not None and len(out) <= self.times
        ):
            if len(out) > MAX_CYCLES:
                raise stop(self.env, say.too_many_segments(MAX_CYCLES, self.span))
            out.append(out[-1] + self.length * stretch)
            stretch *= self.growth
        return out

    @cached_property
    def end_mark(self) -> Mark | None:
        if self.times is None:
            return None
        return Mark(self.clock, self.origin + (self.length * self.times if self.growth == 1 else self.bounds[-1]))

    def ended(self, position: Fraction) -> bool:
        return self.end_mark is not None and self.ground.passed(self.end_mark, position)

    @property
    def end(self) -> Fraction | None:
        return None if self.end_mark is None else self.ground.position(self.end_mark)

    def _cycle_at(self, position: Fraction) -> tuple[int, Fraction, int]:
        """Cycle, time in the first cycle's measure, and piece."""
        t = self.ground.clocks.at(self.clock, position) - self.origin
        if self.growth == 1:
            k = t // self.length
            x = t - k * self.length
        else:
            k = min(bisect_right(self.bounds, t) - 1, len(self.bounds) - 2)
            x = (t - self.bounds[k]) / self.growth**k
        piece = next((i for i, p in enumerate(self.pieces) if p.end is None or x < p.end), len(self.pieces) - 1)
        return int(k), x, piece

    def _begin(self, k: int) -> Fraction:
        return self.length * k if self.growth == 1 else self.bounds[k]

    def at(self, position: Fraction) -> Part:
        if self.ended(position):
            return self.held()
        t = ex.local_time(self.clock, self.origin, self.ground.table)
        if self.rolled:
            x = ex.op("mod", t, ex.Num(self.length))
            values = tuple(shifted(p.part.expr, self.ground, self.clock, ex.add(x, ex.Num(self.origin))) for p in self.pieces)
            expr = ex.piecewise(x, tuple(p.end for p in self.pieces[:-1] if p.end is not None), values)
            if self.decay != ex.ONE:
                expr = ex.mul(ex.op("pow", self.decay, ex.op("floor", ex.div(t, ex.Num(self.length)))), expr)

            def left(where: Fraction) -> Expr:
                turns = (self.ground.clocks.at(self.clock, where) - self.origin) / self.length
                if turns.denominator == 1 and turns > 0:
                    return ex.mul(ex.op("pow", self.decay, ex.Num(turns - 1)), self.cycle.end_value())
                return fix(expr, where, self.ground)

            return Part(expr, self.span, self.clock, self.origin, self.ground.table, self.length, left=left)
        k, _, index = self._cycle_at(position)
        begin, stretch = self._begin(k), self.growth**k
        origin = self.origin + begin
        x = ex.div(ex.local_time(self.clock, origin, self.ground.table), ex.Num(stretch))
        piece = self.pieces[index]
        factor = ex.op("pow", self.decay, ex.num(k))
        expr = ex.mul(factor, shifted(piece.part.expr, self.ground, self.clock, ex.add(x, ex.Num(self.origin))))
        last = index == len(self.pieces) - 1

        def left_unrolled(where: Fraction) -> Expr:
            at_end = self.ground.clocks.at(self.clock, where) - origin == self.length * stretch
            return ex.mul(factor, self.cycle.end_value()) if last and at_end else fix(expr, where, self.ground)

        return Part(expr, piece.part.span, self.clock, origin, self.ground.table, self.length * stretch, piece.part.error, left_unrolled)

    def marks(self, position: Fraction) -> list[Mark]:
        if self.ended(position):
            return []
        if self.rolled:
            return [] if self.end_mark is None else [self.end_mark]
        k, _, index = self._cycle_at(position)
        if self.times is None and self.growth != 1 and k >= len(self.bounds) - 2:
            return []
        end = self.pieces[index].end
        within = self.length if end is None else end
        return [Mark(self.clock, self.origin + self._begin(k) + within * self.growth**k)]

    def end_value(self) -> Expr:
        assert self.times is not None
        return ex.mul(ex.op("pow", self.decay, ex.num(self.times - 1)), self.cycle.end_value())


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
        moved = replace(part, expr=self._move(part.expr), left=lambda where: self.inner.left(where - self.start, position - self.start))
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


# -- placing


def enter(call: rd.StageCall, env: Env, ground: Ground) -> Env:
    """The inside of a definition: its parameters bound, bounds checked, `T` known if given."""
    definition = call.definition
    inner = Env({name: (node, env) for name, node in call.args.items()}, definition, None, call.span, env)
    horizon = formal_argument("T", inner) if definition.formal("T") else None
    if isinstance(horizon, tuple):
        inner.horizon = checked_duration(*horizon, Frame(ground, owner=definition.name))
    check_bounds(definition, inner, Frame(ground, entering=ex.ONE, owner=definition.name))
    return inner


def place(node: rd.Expr, env: Env, context: Context) -> Placed:
    """Lay the schedule out."""
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
            if inner.horizon is None and definition.formal("T") and not context.exact and context.end is not None and _opens(definition, inner, ground):
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
        case rd.ImportedRef(span=span, module=module, name=name):
            return _imported(node, env, context)
    return Formula(node, env, context, _words(node))


def _opens(definition: rd.Definition, inner: Env, ground: Ground) -> bool:
    assert definition.body is not None
    return kind(definition.body, inner, ground) == OPEN or any(isinstance(n, rd.Variable) and n.name == "T" for n in _durations(definition.body))


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
    before = _reading(env, span, context.ground, end.clock, context.start)
    left = end.reading - before
    if left < 0:
        why = f"{say.amount(end.reading, end.clock)} for all, less {say.amount(before, end.clock)} before = {say.amount(left, end.clock)}"
        raise stop(env, say.no_room(owner, left, end.clock, why, span))
    return Quantity(end.clock, left)


def _timed(node: rd.Timed, env: Env, context: Context) -> Placed:
    ground = context.ground
    frame = Frame(ground, owner=_words(node.body))
    if node.word == "for":
        length = checked_duration(node.amount, env, frame)
        mark = Mark(length.clock, _reading(env, node.amount.span, ground, length.clock, context.start) + length.amount)
    else:
        mark = _until(node, env, context, frame)
        here = _reading(env, node.span, ground, mark.clock, context.start)
        if mark.reading < here:
            raise stop(env, say.before_start(node.amount.span, say.amount(mark.reading, mark.clock), say.amount(here, mark.clock)))
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
        return Mark(clock, _reading(env, node.amount.span, ground, clock, context.anchor) + sum((q.amount for q in terms), Fraction(0)))
    position = context.anchor
    mark = Mark("steps", position)
    for q in terms:
        reading = _reading(env, node.amount.span, ground, q.clock, position) + q.amount
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
            raise stop(env, say.not_closed({OPEN: "open", ENDLESS: "endless", CONSTANT: "a constant"}[body_kind], node.body.span))
        cycle = place(node.body, env, replace(context, end=None, exact=False, anchor=context.start))
        frame = Frame(ground, entering=context.entering, fallback=True)
        times = _argument("times", inner_env, frame)
        count = None if times == ex.Const("inf") else exact(times)
        growth = exact(_argument("growth", inner_env, frame))
        if growth is None or (count is None and times != ex.Const("inf")) or (count is not None and (count.denominator != 1 or count < 1)):
            raise stop(env, say.irrational(call.span))
        return Repeated(cycle, None if count is None else int(count), growth, _argument("decay", inner_env, frame), env, env.site(node.span))
    body = place(node.body, env, context)
    if definition.external and definition.name == "plateau":
        return _feedback(call, env, body, context)
    if definition.external:
        raise AssertionError(definition.name)
    return Modified(call, env, body, context)


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
    assert context.study is not None and context.study.imported is not None
    ground = context.study.imported(module, context.ground)
    if relative:
        value = rd.Apply(value.span, "mul", (rd.Variable(value.span, "base"), value))
    outer = Env(call=node.span, outer=env)
    entering = ex.ONE if relative else None
    if ground is context.ground:
        return place(value, Env(outer=outer), replace(context, entering=context.entering if context.entering is not None else entering, anchor=context.start))
    inner = place(value, Env(outer=outer), Context(ground, Fraction(0), entering, relative, ground.end, study=context.study))
    return Shifted(inner, context.start, context.ground, env.site(node.span), name)


__all__ = ["Context", "Part", "Placed", "Study", "fix", "length_of", "pieces_by", "place", "type_of"]
