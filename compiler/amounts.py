"""Constants of a program: numbers, words, durations, as exact values in the place where they are used."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fractions import Fraction

from schedc.compiler import expressions as ex
from schedc.compiler import messages_layout as say
from schedc.compiler import messages_names
from schedc.compiler import resolved as rd
from schedc.compiler.clocks import Clocks
from schedc.compiler.constants import approximate, as_fraction, exact
from schedc.compiler.diagnostics import Diagnostic, Label
from schedc.compiler.expressions import Expr
from schedc.compiler.plan import UnknownClock
from schedc.compiler.resolve import type_of
from schedc.compiler.source import Span

LARGEST = Fraction(2) ** 1023
"""Numbers from here on are refused: they do not fit in double precision."""


class Stop(Exception):
    """A program that can't be laid out; carries what to say."""

    def __init__(self, said: Diagnostic) -> None:
        super().__init__(said.title)
        self.said = said


@dataclass(frozen=True, slots=True)
class Mark:
    """A boundary: the position where `clock` shows `reading`."""

    clock: str
    reading: Fraction


@dataclass(frozen=True, slots=True)
class Quantity:
    """An amount of a clock's unit.

    `bare`: written as a plain number, so it may also count something else (observations).
    """

    clock: str
    amount: Fraction
    bare: bool = False


@dataclass(slots=True)
class Declared:
    """A declared run: its clock and length."""

    clock: str
    length: Fraction


@dataclass(slots=True)
class Ground:
    """What the schedules of one file stand on: its clocks, its run, and the number of its clocks in the Plan.

    `base` is what the optimizer was built with, where that is known already: bounds may speak of it.
    """

    clocks: Clocks
    run: Declared | None = None
    table: int = 0
    growing: bool = False
    base: Fraction | None = None

    def position(self, mark: Mark) -> Fraction:
        return self.clocks.position(mark.clock, mark.reading)

    def passed(self, mark: Mark, position: Fraction) -> bool:
        return self.clocks.at(mark.clock, position) >= mark.reading

    @property
    def end(self) -> Mark | None:
        return None if self.run is None else Mark(self.run.clock, self.run.length)


@dataclass(slots=True, eq=False)
class Env:
    """The parameters of the definition being used: values already computed, or what was written and where.

    `piped`: in a modifier that is a pipe itself (`input | plateau`), what its `input` stands for.
    """

    args: dict[str, Expr | tuple[rd.Expr, Env]] = field(default_factory=dict)
    definition: rd.Definition | None = None
    horizon: Quantity | None = None
    call: Span | None = None
    outer: Env | None = None
    piped: tuple[rd.Expr, Env] | None = None

    def site(self, span: Span) -> Span:
        """The place to show for `span`: where the user's own text calls the library, if it lies in the library."""
        env: Env | None = self
        while env is not None and span.source.name.startswith("stdlib/"):
            if env.call is not None:
                span = env.call
            env = env.outer
        return span


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """Where a formula is evaluated: the unit and origin of `t`, the horizon `T`, the entering value.

    `values` holds what the operands and `input` are just now; `past` says that the horizon is reached, where p is 1.
    """

    ground: Ground
    clock: str | None = None
    origin: Fraction = Fraction(0)
    horizon: Fraction | None = None
    entering: Expr | None = None
    fallback: bool = False
    past: bool = False
    values: dict[tuple[int, int], Expr] = field(default_factory=dict)
    shift: object = None
    owner: str = "this stage"


def stop(env: Env, said: Diagnostic) -> Stop:
    """The message, moved to the user's own text if it points into the library, with the library's line as a label."""
    site = env.site(said.span)
    if site is said.span:
        return Stop(said)

    return Stop(
        replace(
            said,
            primary=Label(site, said.primary.text),
            labels=(*said.labels, Label(said.span, "from here in the library")),
        )
    )


_COMPARE = {"lt": "below", "le": "at most", "gt": "above", "ge": "at least", "eq": "equal to", "ne": "not"}


def number(node: rd.Expr, env: Env, frame: Frame) -> Expr:
    """The value of a formula as an expression of clocks and run-time values."""
    ex.spend()
    match node:
        case rd.Literal(value=value, unit=None):
            return ex.Num(value)
        case rd.Literal():
            return _counted(node, env, frame)
        case rd.Variable():
            return _variable(node, env, frame)
        case rd.FormalRef(name=name, type=type_):
            key = (id(node), id(env))
            if key in frame.values:
                return frame.values[key]
            return _formal(node, name, type_, env, frame)
        case rd.LetRef(let=let):
            key = (id(node), id(env))
            if key in frame.values:
                return frame.values[key]
            if type_of(let.value) == "duration":
                return _counted(node, env, frame)
            return number(let.value, Env(outer=env), frame)
        case rd.BoundRef(name=name):
            return ex.Bound(name)
        case rd.CaptureRef(name=name):
            return ex.Var(f"capture:{name}")
        case rd.FlagValue(value=flag):
            return ex.ONE if flag else ex.ZERO
        case rd.Apply():
            return _apply(node, env, frame)
        case rd.Choose(branches=branches):
            return number(_chosen(node, env, branches), env, frame)
        case rd.CurveCall(curve=curve, args=args):
            return _curve(curve, tuple(number(a, env, frame) for a in args), env, frame)
        case rd.InputAt() | rd.Chain() | rd.Timed() | rd.Pipe() | rd.StageCall() | rd.ImportedRef():
            if (id(node), id(env)) in frame.values:
                return frame.values[id(node), id(env)]
    raise stop(env, messages_names.not_a_number("a formula", type_of(node), node.span))


def _chosen(node: rd.Choose, env: Env, branches: dict[str, rd.Expr]) -> rd.Expr:
    chosen = word(node.word, env)
    if chosen not in branches:
        raise stop(env, messages_names.unknown_word("choose", chosen, branches, node.span))
    return branches[chosen]


def _variable(node: rd.Variable, env: Env, frame: Frame) -> Expr:
    ground = frame.ground
    match node.name:
        case "pi" | "e" | "inf" as name:
            return ex.Const(name)
        case "none":
            raise stop(env, messages_names.not_a_number("a formula", "none", node.span))
        case "base" | "fan_in" | "fan_out" | "numel" as name:
            return ex.Var(name)
        case "n":
            return ex.STEPS
        case "start":
            if frame.entering is not None:
                return frame.entering
            if frame.fallback:
                return ex.ONE
            raise stop(env, say.no_entering(frame.owner, node.span))
        case "t":
            if frame.clock is None:
                raise stop(env, messages_names.not_here("t", "outside a schedule", node.span))
            return ex.local_time(frame.clock, frame.origin, ground.table)
        case "T":
            horizon = env.horizon
            if horizon is not None:
                return ex.Num(convert(horizon, frame.clock or horizon.clock, frame, env, node.span))
            if frame.horizon is None:
                raise stop(env, say.no_duration(frame.owner, node.span))
            return ex.Num(frame.horizon)
        case "p":
            if frame.past or frame.horizon == 0:
                return ex.ONE
            if frame.horizon is None or frame.clock is None:
                raise stop(env, say.no_duration(frame.owner, node.span))
            return ex.div(ex.local_time(frame.clock, frame.origin, ground.table), ex.Num(frame.horizon))
        case "total":
            return _counted(node, env, frame)
        case "batch":
            constant = ground.clocks.constant_batch()
            if ground.clocks.batch is None:
                raise stop(env, say.no_context("samples", node.span))
            if constant is None and ground.table:
                raise stop(env, say.own_clock("batch", node.span))
            return ex.Var("batch") if constant is None else ex.num(constant)
        case "input":
            if (id(node), id(env)) in frame.values:
                return frame.values[id(node), id(env)]
            raise stop(env, messages_names.not_here("input", "where one number is expected", node.span))
    raise AssertionError(node.name)


def _counted(node: rd.Expr, env: Env, frame: Frame) -> Expr:
    """A duration in a formula: its count in the unit of `t`."""
    quantity = duration(node, env, frame)
    return ex.Num(convert(quantity, frame.clock or quantity.clock, frame, env, node.span))


def convert(quantity: Quantity, clock: str, frame: Frame, env: Env, span: Span) -> Fraction:
    """The amount in another clock's unit, where the ratio is constant."""
    if quantity.clock == clock:
        return quantity.amount
    ratio = _guarded(env, span, lambda: frame.ground.clocks.ratio(clock, quantity.clock))
    if ratio is None:
        raise stop(env, say.mixed_clocks(quantity.clock, clock, span))
    return quantity.amount * ratio


def _guarded(env: Env, span: Span, ask: object) -> Fraction | None:
    try:
        return ask()  # type: ignore[operator,no-any-return]
    except UnknownClock as unknown:
        raise stop(env, say.no_context(unknown.clock, span)) from None


def formal_argument(name: str, env: Env) -> Expr | tuple[rd.Expr, Env] | None:
    """What a parameter of the definition around stands for: given, or its default; None where neither exists."""
    if name in env.args:
        return env.args[name]
    formal = env.definition.formal(name) if env.definition else None
    return None if formal is None or formal.default is None else (formal.default, env)


def _formal(node: rd.Expr, name: str, type_: rd.Type, env: Env, frame: Frame) -> Expr:
    found = formal_argument(name, env)
    if found is None:
        assert env.definition is not None
        raise stop(env, messages_names.missing_argument(env.definition.name, name, str(type_), node.span))
    if not isinstance(found, tuple):
        return found
    given, where = found
    if is_none(name, env):
        owner, parameter = _left_none(name, env)
        raise stop(env, messages_names.missing_argument(owner, parameter, str(type_), node.span))
    if type_.kind == "level":
        return level(given, where, frame)
    if type_.kind == "duration":
        return _counted(node, env, frame)
    if type_.kind == "flag":
        return ex.ONE if flag(given, where) else ex.ZERO
    return number(given, where, frame)


def level(node: rd.Expr, env: Env, frame: Frame) -> Expr:
    """A number, or a `%`: that share of the entering value."""
    match node:
        case rd.Literal(value=value, unit="%"):
            return ex.mul(ex.Num(value / 100), _variable(rd.Variable(node.span, "start"), env, frame))
        case rd.FormalRef(name=name, type=rd.Type(kind="level")):
            return _formal(node, name, node.type, env, frame)
        case rd.LetRef(let=let) if type_of(let.value) == "share":
            return level(let.value, Env(outer=env), frame)
    return number(node, env, frame)


def _apply(node: rd.Apply, env: Env, frame: Frame) -> Expr:
    name, args = node.name, node.args
    if name == "len":
        return ex.num(len(items(args[0], env)))
    if name in ("passed", "pick", "product"):
        values = [_item(a, where, frame) for a, where in items(args[0], env)]
        return ex.op(name, number(args[1], env, frame), *values) if values else ex.ZERO if name == "passed" else ex.ONE
    if name in ("eq", "ne") and isinstance(args[0], rd.FormalRef) and type_of(args[1]) == "none":
        return ex.num(int(is_none(args[0].name, env) == (name == "eq")))
    if name in ("eq", "ne") and type_of(args[0]) in ("word", "text", "flag"):
        same = word(args[0], env) == word(args[1], env)
        return ex.num(int(same == (name == "eq")))
    if name == "if":
        condition = number(args[0], env, frame)
        if isinstance(condition, ex.Num):
            return number(args[1] if condition.value else args[2], env, frame)
        return ex.op("if", condition, number(args[1], env, frame), number(args[2], env, frame))
    kinds = [type_of(a) for a in args]
    if (
        name in ("div", "lt", "le", "gt", "ge", "eq", "ne")
        and all(k in ("duration", "share") for k in kinds)
        and frame.clock is None
    ):
        a, b = (duration(x, env, frame) for x in args)
        return ex.op(name, ex.Num(a.amount), ex.Num(convert(b, a.clock, frame, env, args[1].span)))
    return ex.op(name, *(number(a, env, frame) for a in args))


def _item(node: rd.Expr, env: Env, frame: Frame) -> Expr:
    return _counted(node, env, frame) if type_of(node) in ("duration", "share") else number(node, env, frame)


def _curve(curve: rd.Expr, args: tuple[Expr, ...], env: Env, frame: Frame) -> Expr:
    definition, _ = curve_of(curve, env)
    inner = Env({}, definition, None, curve.span, env)
    for formal, value in zip(definition.formals, args, strict=False):
        inner.args[formal.name] = value
    assert definition.body is not None
    return number(definition.body, inner, frame)


def curve_of(node: rd.Expr, env: Env) -> tuple[rd.Definition, Env]:
    """The curve that an expression of type curve stands for."""
    match node:
        case rd.CurveRef(curve=curve):
            return curve, env
        case rd.FormalRef(name=name):
            found = formal_argument(name, env)
            if isinstance(found, tuple):
                return curve_of(*found)
    raise stop(env, messages_names.wrong_type("this", "curve", type_of(node), node.span))


def word(node: rd.Expr, env: Env) -> str:
    """The word, text or flag that an expression stands for."""
    match node:
        case rd.Word(value=value) | rd.TextValue(value=value):
            return value
        case rd.FlagValue(value=value):
            return "true" if value else "false"
        case rd.FormalRef(name=name):
            found = formal_argument(name, env)
            assert isinstance(found, tuple), name
            return word(*found)
        case rd.LetRef(let=let):
            return word(let.value, Env(outer=env))
        case rd.Choose(branches=branches):
            return word(_chosen(node, env, branches), env)
        case rd.Variable(name="none"):
            return "none"
    raise stop(env, messages_names.wrong_type("this", "word", type_of(node), node.span))


def flag(node: rd.Expr, env: Env) -> bool:
    return word(node, env) == "true"


def is_none(name: str, env: Env) -> bool:
    """Whether the parameter was given `none`, or has it as its default."""
    found = formal_argument(name, env)
    while isinstance(found, tuple):
        node, where = found
        if isinstance(node, rd.Variable):
            return node.name == "none"
        if not isinstance(node, rd.FormalRef):
            return False
        found = formal_argument(node.name, where)
    return found is None


def _left_none(name: str, env: Env) -> tuple[str, str]:
    """The definition, and its parameter, where a `none` that has been handed on comes from."""
    found = formal_argument(name, env)
    while isinstance(found, tuple) and isinstance(found[0], rd.FormalRef):
        name, env = found[0].name, found[1]
        found = formal_argument(name, env)
    return env.definition.name if env.definition else "this", name


def items(node: rd.Expr, env: Env) -> list[tuple[rd.Expr, Env]]:
    """The items of a list, each with the place where it was written."""
    match node:
        case rd.ListValue(items=found):
            return [(i, env) for i in found]
        case rd.FormalRef(name=name):
            given = formal_argument(name, env)
            assert isinstance(given, tuple), name
            return items(*given)
        case rd.LetRef(let=let):
            return items(let.value, Env(outer=env))
    raise stop(env, messages_names.wrong_type("this", "list", type_of(node), node.span))


def duration(node: rd.Expr, env: Env, frame: Frame) -> Quantity:
    """A duration as an amount of one clock. Durations of two clocks are joined where their ratio is constant."""
    ex.spend()
    match node:
        case rd.Literal(value=value, unit=None):
            return Quantity("steps", value, True)
        case rd.Literal(value=value, unit="%"):
            run = frame.ground.run
            if run is None:
                raise stop(env, say.share_without_run(node.span))
            return Quantity(run.clock, run.length * value / 100)
        case rd.Literal(value=value, unit=str(unit)):
            if not frame.ground.clocks.known[unit]:
                raise stop(env, say.no_context(unit, node.span))
            return Quantity(unit, value)
        case rd.Variable(name="total"):
            run = frame.ground.run
            if run is None:
                raise stop(env, say.total_without_run(node.span))
            return Quantity(run.clock, run.length)
        case rd.Variable(name="T"):
            if env.horizon is not None:
                return env.horizon
            if frame.horizon is not None and frame.clock is not None:
                return Quantity(frame.clock, frame.horizon)
            raise stop(env, say.no_duration(frame.owner, node.span))
        case rd.FormalRef(name=name, type=type_):
            found = formal_argument(name, env)
            if is_none(name, env) and env.definition:
                owner, parameter = _left_none(name, env)
                raise stop(env, messages_names.missing_argument(owner, parameter, str(type_), node.span))
            if isinstance(found, tuple):
                return duration(*found, frame)
            if found is None and env.definition:
                raise stop(env, messages_names.missing_argument(env.definition.name, name, str(type_), node.span))
        case rd.LetRef(let=let):
            return duration(let.value, Env(outer=env), frame)
        case rd.Choose(branches=branches):
            return duration(_chosen(node, env, branches), env, frame)
        case rd.Apply(name="if", args=args):
            condition = number(args[0], env, frame)
            decided = exact(condition)
            if decided is not None:
                return duration(args[1] if decided else args[2], env, frame)
        case rd.Apply(name="mul", args=(a, b)):
            if type_of(a) in ("duration", "share") or type_of(b) not in ("duration", "share"):
                a, b = b, a
            if type_of(b) in ("duration", "share"):
                quantity, factor = duration(b, env, frame), _rational(a, env, frame)
                return Quantity(quantity.clock, quantity.amount * factor)
        case rd.Apply(name="div", args=(a, b)) if type_of(a) in ("duration", "share") and type_of(b) == "number":
            quantity, factor = duration(a, env, frame), _rational(b, env, frame)
            if factor == 0:
                raise stop(env, say.irrational(node.span))
            return Quantity(quantity.clock, quantity.amount / factor)
        case rd.Apply(name="pick", args=(a, b)):
            listed = [duration(i, where, frame) for i, where in items(a, env)]
            if not listed:
                raise stop(env, messages_names.missing_argument("pick", "list", "an item at least", a.span))
            return listed[max(0, min(int(_rational(b, env, frame)), len(listed) - 1))]
        case rd.Apply(
            name="neg" | "add" | "sub" | "min" | "max" | "floor" | "ceil" | "round" | "clamp" | "mod" | "abs" as name,
            args=args,
        ) if any(type_of(a) in ("duration", "share") for a in args):
            parts = [duration(a, env, frame) for a in args]
            clock = next((p.clock for p in parts if not p.bare), parts[0].clock)
            values = [
                p.amount if p.bare and name not in ("add", "sub") else convert(p, clock, frame, env, node.span)
                for p in parts
            ]
            folded = ex.fold(name, tuple(values))
            assert folded is not None
            return Quantity(clock, folded)
    return Quantity("steps", _rational(node, env, frame), True)


def _rational(node: rd.Expr, env: Env, frame: Frame) -> Fraction:
    value = exact(number(node, env, frame))
    if value is None:
        raise stop(env, say.irrational(node.span))
    return value


def checked_duration(node: rd.Expr, env: Env, frame: Frame) -> Quantity:
    """A duration as a length: in whole steps if written as a bare number, and not negative."""
    quantity = duration(node, env, frame)
    if not ex.is_small(quantity.amount) or quantity.amount >= LARGEST:
        raise stop(env, say.number_too_large(node.span))
    if quantity.bare and quantity.amount.denominator != 1:
        raise stop(env, say.bare_fraction(quantity.amount, node.span))
    if quantity.amount < 0:
        raise stop(env, say.negative_duration(say.amount(quantity.amount, quantity.clock), node.span))
    return quantity


def position_terms(node: rd.Expr, env: Env, frame: Frame) -> list[Quantity]:
    """A sum behind `until`, term by term: each moves the position reached so far."""
    match node:
        case rd.Apply(name="add", args=(a, b)):
            return [*position_terms(a, env, frame), *position_terms(b, env, frame)]
        case rd.Apply(name="sub", args=(a, b)):
            less = [Quantity(q.clock, -q.amount, q.bare) for q in position_terms(b, env, frame)]
            return [*position_terms(a, env, frame), *less]
    quantity = duration(node, env, frame)
    if not ex.is_small(quantity.amount) or quantity.amount >= LARGEST:
        raise stop(env, say.number_too_large(node.span))
    if quantity.bare and quantity.amount.denominator != 1:
        raise stop(env, say.bare_fraction(quantity.amount, node.span))
    return [quantity]


def check_bounds(definition: rd.Definition, env: Env, frame: Frame) -> None:
    """Every argument within its parameter's bounds; raises Stop for the first that is not."""
    for formal in definition.formals:
        found = formal_argument(formal.name, env)
        if (
            isinstance(found, tuple)
            and formal.type.kind in ("number", "count", "duration", "level")
            and not is_none(formal.name, env)
        ):
            try:
                check_value(formal.name, formal.type, *found, env, frame, formal.span)
            except Stop as fault:
                raise Stop(replace(fault.said, notes=(*fault.said.notes, *_told(formal.name, definition)))) from None


def _told(name: str, definition: rd.Definition) -> tuple[str, ...]:
    """What the documentation of a library's definition says about a parameter: the sentences that name it."""
    if not definition.module.is_library or definition.doc is None:
        return ()
    prose = re.split(r"(?m)^\s*(?:Source|Example):", definition.doc)[0]
    sentences = re.split(r"(?<=[.:])\s+(?=[A-Z`])", " ".join(prose.split()))
    found = [s for s in sentences if re.search(rf"(?<![\w.]){name}(?!\w)", s)]
    return (f"`{definition.name}`: {' '.join(found)}",) if found else ()


def check_value(
    name: str, type_: rd.Type, node: rd.Expr, where: Env, env: Env, frame: Frame, declared: Span | None
) -> None:
    if type_.kind not in ("number", "count", "duration", "level"):
        return
    if isinstance(node, rd.Variable) and node.name in ("none", "start", "inf"):
        return
    nodes = items(node, where) if type_.is_list else [(node, where)]
    for item, place in nodes:
        if type_.kind == "duration":
            if frame.ground.run is None and reads_total(item):
                continue
            quantity = duration(item, place, frame)
            value: Fraction | None = quantity.amount
        elif (
            type_of(item) in ("share", "duration")
            or (isinstance(item, rd.FormalRef) and item.type.kind in ("level", "duration"))
            or _reads_start(item)
        ):
            continue
        else:
            expr = _based(number(item, place, frame), frame)
            value = exact(expr)
            if value is None:
                approximation = approximate(expr)
                value = None if approximation is None else as_fraction(approximation)
        if value is None:
            continue
        if type_.kind == "count" and (value.denominator != 1 or value < 0):
            raise stop(
                place,
                messages_names.out_of_bounds(name, "a whole number from 0 on", say.show(value), item.span, declared),
            )
        # A limit that is a duration is told in the unit of the value; one that can't be says nothing.
        unit = replace(frame, clock=quantity.clock) if type_.kind == "duration" else frame
        for op, limit in type_.bounds:
            bound = _limit(limit, env, unit)
            if bound is not None and not ex.fold(op, (value, bound)):
                raise stop(
                    place,
                    messages_names.out_of_bounds(
                        name, f"{_COMPARE[op]} {say.show(bound)}", say.show(value), item.span, declared
                    ),
                )


def _limit(node: rd.Expr, env: Env, frame: Frame) -> Fraction | None:
    """A bound's value; None where it is not known."""
    try:
        return exact(_based(number(node, env, frame), frame))
    except Stop:
        if type_of(node) == "duration":
            return None
        raise


def _based(expr: Expr, frame: Frame) -> Expr:
    """The expression with base put in, if it is known."""
    base = frame.ground.base
    return expr if base is None else ex.rebuild(expr, lambda e: ex.Num(base) if e == ex.Var("base") else None)


def reads_total(node: rd.Expr) -> bool:
    return any(isinstance(n, rd.Variable) and n.name == "total" for n in _inside(node))


def _reads_start(node: rd.Expr) -> bool:
    return any(isinstance(n, rd.Variable) and n.name == "start" for n in _inside(node))


def _inside(node: rd.Expr) -> Iterable[rd.Expr]:
    yield node
    if isinstance(node, rd.Apply | rd.CurveCall):
        for a in node.args:
            yield from _inside(a)
