"""What laying out makes: parts of schedules on the time axis.

A `Placed` begins at a position with an entering value and has, perhaps, an end. It answers at any position, without
having passed through those before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

from schedc.compiler import expressions as ex
from schedc.compiler import messages_layout as say
from schedc.compiler import resolved as rd
from schedc.compiler.amounts import Env, Frame, Ground, Mark, check_bounds, checked_duration, formal_argument, stop
from schedc.compiler.constants import exact
from schedc.compiler.expressions import Expr
from schedc.compiler.plan import UnknownClock
from schedc.compiler.source import Span

if TYPE_CHECKING:
    from schedc.compiler.placing import Feedback


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
    """Where a schedule is placed. `end`: where an open one must stop; `exact`: and every other formula too.

    `place` lays out what stands inside.
    """

    ground: Ground
    start: Fraction
    place: Callable[[rd.Expr, Env, Context], Placed]
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
            case ex.Reading("steps", _):  # Updates are the same to every run's clocks.
                return ex.Num(position)
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


def reading_at(env: Env, span: Span, ground: Ground, clock: str, position: Fraction) -> Fraction:
    try:
        return ground.clocks.at(clock, position)
    except UnknownClock as unknown:
        raise stop(env, say.no_context(unknown.clock, span)) from None


def words_of(node: rd.Expr) -> str:
    text = " ".join(node.span.text.split())
    return text if len(text) <= 40 else text[:37] + "…"


def enter(call: rd.StageCall, env: Env, ground: Ground) -> Env:
    """The inside of a definition: its parameters bound, bounds checked, `T` known if given."""
    definition = call.definition
    inner = Env({name: (node, env) for name, node in call.args.items()}, definition, None, call.span, env)
    horizon = formal_argument("T", inner) if definition.formal("T") else None
    if isinstance(horizon, tuple):
        inner.horizon = checked_duration(*horizon, Frame(ground, owner=definition.name))
    check_bounds(definition, inner, Frame(ground, entering=ex.ONE, owner=definition.name))
    return inner
