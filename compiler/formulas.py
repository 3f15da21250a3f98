"""Formulas of local time, with the schedules inside them."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import cached_property

from schedc.compiler import expressions as ex
from schedc.compiler import messages_layout as say
from schedc.compiler import resolved as rd
from schedc.compiler.amounts import (
    Env,
    Frame,
    Ground,
    Mark,
    Quantity,
    duration,
    formal_argument,
    is_none,
    items,
    number,
    reads_total,
    stop,
    word,
)
from schedc.compiler.constants import exact
from schedc.compiler.expressions import Expr
from schedc.compiler.kinds import is_operand, own_reads, varying
from schedc.compiler.placed import Context, Part, Placed, fix, reading_at
from schedc.compiler.source import Span


class Formula(Placed):
    """A formula of local time, with schedules in it (`operands`) that run in parallel from the same start."""

    def __init__(self, node: rd.Expr, env: Env, context: Context, owner: str) -> None:
        self.node, self.env, self.context, self.ground = node, env, context, context.ground
        self.start, self.span = context.start, env.site(node.span)
        self.owner = owner
        ground = self.ground
        own = own_reads(node, env)
        given, clock = (
            env.horizon if "T" in (f.name for f in (env.definition.formals if env.definition else ())) else None,
            None,
        )
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
            clock = unit_of(env, ground, own) or context.unit or "steps"
        self.clock = clock
        self.origin = self._read(clock) if own & {"t", "p"} or clock == "steps" else Fraction(0)
        self.horizon = horizon.amount if horizon is not None else None
        self.horizon_mark = (
            Mark(horizon.clock, self._read(horizon.clock) + horizon.amount) if horizon is not None else None
        )
        self.end_mark = Mark(length.clock, self._read(length.clock) + length.amount) if length is not None else None
        self.endless = self.end_mark is None and bool(own & {"t", "n", "batch", "bound"})
        self.operands: dict[tuple[int, int], Placed] = {}
        inner = replace(
            context, end=self.end_mark if self.end_mark is not None else context.end, exact=False, unit=clock
        )
        self._spread(node, env, inner, arithmetic=False)

    def _read(self, clock: str) -> Fraction:
        return reading_at(self.env, self.span, self.ground, clock, self.start)

    def _room(self, length: Quantity) -> None:
        if length.amount < 0:
            end = self.context.end
            assert end is not None
            taken = say.amount(self._read(end.clock), end.clock)
            why = say.room(say.amount(end.reading, end.clock) + " for all", taken, length.amount, end.clock)
            raise stop(self.env, say.no_room(self.owner, length.amount, length.clock, why, self.node.span))

    def frame(self, past: bool = False, values: dict[tuple[int, int], Expr] | None = None) -> Frame:
        c = self.context
        return Frame(
            self.ground,
            self.clock,
            self.origin,
            self.horizon,
            c.entering,
            c.fallback,
            past,
            values or {},
            owner=self.owner,
        )

    def _spread(self, node: rd.Expr, env: Env, context: Context, arithmetic: bool) -> None:
        """Place every operand inside the formula, each with the entering value that reaches it."""
        if is_operand(node, env):
            entering = context.entering
            placed = context.place(
                node, env, replace(context, fallback=context.fallback or arithmetic, entering=entering)
            )
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

        main = [
            p
            for (k, o), p in zip(self.operands.items(), parts.values(), strict=True)
            if not (isinstance(o, Formula) and o.constant)
        ]
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


def unit_of(env: Env, ground: Ground, own: set[str]) -> str | None:
    """The unit of `t` by the duration arguments of the definition around; they must agree if `t` is read.

    Defaults only count where no argument is given: a run in epochs doesn't make a warmup in steps ambiguous.
    """
    if env.definition is None:
        return None
    formals = [f for f in env.definition.formals if f.type.kind == "duration" and not is_none(f.name, env)]
    units = _units_of([f for f in formals if f.name in env.args], env, ground)
    if not units:
        units = _units_of([f for f in formals if f.name not in env.args], env, ground)
    if len(units) > 1 and "t" in own:
        (a, _), (b, span), *_ = units.items()
        raise stop(env, say.mixed_clocks(a, b, span))
    return next(iter(units), None)


def _units_of(formals: list[rd.Formal], env: Env, ground: Ground) -> dict[str, Span]:
    """The units of the parameters that are durations, each with a place where it is written; 0 may be of any unit."""
    frame = Frame(ground)
    units: dict[str, Span] = {}
    for formal in formals:
        found = formal_argument(formal.name, env)
        if not isinstance(found, tuple):
            continue
        for node, where in items(*found) if formal.type.is_list else [found]:
            if ground.run is None and formal.name not in env.args and reads_total(node):
                continue  # a default that the formula may do without
            quantity = duration(node, where, frame)
            if not (quantity.bare and quantity.amount == 0):
                units.setdefault(quantity.clock, node.span)
    return units
