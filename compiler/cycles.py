"""Schedules read at another time: cycles that repeat, and modifiers of time."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from math import ceil

from schedc.compiler import expressions as ex
from schedc.compiler import messages_layout as say
from schedc.compiler import resolved as rd
from schedc.compiler.amounts import Env, Frame, Ground, Mark, Stop, convert, number, stop
from schedc.compiler.expressions import Expr
from schedc.compiler.formulas import Formula, unit_of
from schedc.compiler.kinds import own_reads
from schedc.compiler.placed import Context, Part, Placed, enter, fix, reading_at
from schedc.compiler.source import NOWHERE, Span

MAX_CYCLES = 2_000
"""Cycles of a growing repeat that are unrolled."""
MAX_STRETCH_BITS = 16_384
"""How exactly a growing repeat knows its bounds: a `growth` of many digits is used up after fewer cycles."""
UNROLLED = 64
"""Up to so many pieces, a finite repeat is written out; beyond, and when endless, it is one formula with a remainder."""
FAR = Fraction(1 << 53)
"""No run reaches this update: growing cycles are unrolled up to here."""


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
            if ground.growing and not isinstance(inner, Formula):
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
                raise Stop(say.look_ahead("the batch at another time", NOWHERE))
        return None

    return ex.rebuild(expr, change)


def not_negative(expr: Expr, clock: str, origin: Fraction) -> bool:
    """Whether an expression is certainly at least 0, by its form, once `clock` shows at least `origin`."""
    match expr:
        case ex.Num(value):
            return value >= 0
        case ex.Reading():
            return True
        case ex.Op("sub", (ex.Reading(found), ex.Num(value))):
            return value <= (origin if found == clock else 0)
        case ex.Op("mul" | "add" | "div" | "min", args):
            return all(not_negative(a, clock, origin) for a in args)
        case ex.Op("max", args):
            return any(not_negative(a, clock, origin) for a in args)
        case ex.Op("floor" | "ceil" | "round" | "sqrt", (a,)):
            return not_negative(a, clock, origin)
        case ex.Op("mod", (_, b)):
            return not_negative(b, clock, origin)
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
        clock = unit_of(self.env, self.ground, own)
        if clock is None:
            marks = inner.marks(inner.start) if not isinstance(inner, Formula) else []
            clock = inner.clock if isinstance(inner, Formula) else (marks[0].clock if marks else "steps")
        self.clock = clock
        self.origin = reading_at(self.env, self.span, self.ground, clock, self.start)
        self.at_nodes = [n for n in parts_of(self.node) if isinstance(n, rd.InputAt)]
        if self.at_nodes:
            self._study_time()
        self.input_nodes = [n for n in parts_of(self.node) if isinstance(n, rd.Variable) and n.name == "input"]
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
        if not not_negative(x, self.clock, self.origin):
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
        frame = Frame(
            self.ground,
            self.clock,
            self.origin,
            self.horizon,
            self.context.entering,
            self.context.fallback,
            past,
            owner=self.owner,
        )
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
        if self.at_nodes and not self.input_nodes and not self.ground.growing:
            # Read at other times alone, the piped schedule shows its boundaries elsewhere, inside the one formula.
            end = self.inner.end
            return own if end is None else [*own, Mark("steps", end)]
        return own + self.inner.marks(position)

    def end_value(self) -> Expr:
        end = self.end
        assert end is not None
        return self._expr(self.inner.end_value(), end, end)


def parts_of(node: rd.Expr) -> list[rd.Expr]:
    out = [node]
    match node:
        case rd.Apply(args=args) | rd.CurveCall(args=args):
            for a in args:
                out += parts_of(a)
        case rd.InputAt(at=a):
            out += parts_of(a)
        case rd.Choose(branches=branches):
            for a in branches.values():
                out += parts_of(a)
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
        limit = (
            self.ground.run.length * 2 if self.ground.run is not None and self.ground.run.clock == self.clock else FAR
        )
        if self.times is not None and self.times > MAX_CYCLES:
            raise stop(self.env, say.too_many_segments(MAX_CYCLES, self.span))
        while (self.times is None and out[-1] < max(limit, FAR if self.growth >= Fraction(11, 10) else limit)) or (
            self.times is not None and len(out) <= self.times
        ):
            ex.spend()
            if len(out) > MAX_CYCLES or stretch.denominator.bit_length() > MAX_STRETCH_BITS:
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
            values = tuple(
                shifted(p.part.expr, self.ground, self.clock, ex.add(x, ex.Num(self.origin))) for p in self.pieces
            )
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

        return Part(
            expr,
            piece.part.span,
            self.clock,
            origin,
            self.ground.table,
            self.length * stretch,
            piece.part.error,
            left_unrolled,
        )

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


class Ticked(Placed):
    """A schedule read at each epoch's first update, and held through the epoch (`tick = epoch`)."""

    def __init__(self, inner: Placed) -> None:
        self.inner, self.ground, self.start, self.span = inner, inner.ground, inner.start, inner.span
        self.pieces = pieces_by(inner, "epochs")
        self.begins = [Fraction(ceil(p.begin)) for p in self.pieces]
        last = self.pieces[-1].end if self.pieces else Fraction(0)
        self.end_mark = None if last is None else Mark("epochs", Fraction(ceil(last)))

    def ended(self, position: Fraction) -> bool:
        return self.end_mark is not None and self.ground.passed(self.end_mark, position)

    @property
    def end(self) -> Fraction | None:
        return None if self.end_mark is None else self.ground.position(self.end_mark)

    def at(self, position: Fraction) -> Part:
        if self.ended(position):
            return self.held()
        epoch = self.ground.clocks.at("epochs", position)
        part = self.pieces[bisect_right(self.begins, epoch) - 1].part
        table = self.ground.table
        first = ex.op("floor", ex.Reading("epochs", table))
        expr = shifted(part.expr, self.ground, "epochs", first)

        def left(where: Fraction) -> Expr:
            before = ceil(self.ground.clocks.at("epochs", where)) - 1
            return fix(shifted(part.expr, self.ground, "epochs", ex.num(before)), where, self.ground)

        return replace(part, expr=expr, clock="epochs", origin=Fraction(0), table=table, left=left)

    def marks(self, position: Fraction) -> list[Mark]:
        marks = [Mark("epochs", b) for b in self.begins] + ([self.end_mark] if self.end_mark else [])
        return [m for m in marks if not self.ground.passed(m, position)]

    def end_value(self) -> Expr:
        return self.inner.end_value()
