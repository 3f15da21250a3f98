"""Where the segments of every schedule lie on the time axis, and what they compute: what checks and Plans are made from.

Segments of one curve are in order, without gap or overlap, each [start, end) in updates, its value an exact expression.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from schedc.compiler import plan
from schedc.compiler import resolved as rd
from schedc.compiler.amounts import Ground
from schedc.compiler.expressions import Expr
from schedc.compiler.placed import Placed, Study
from schedc.compiler.source import Span


@dataclass(frozen=True, slots=True)
class Segment:
    """One stretch [start, end) of a curve; `end` None: for ever.

    `begins`, `ends`: its values at start and, from the left, at end.
    """

    start: Fraction
    end: Fraction | None
    expr: Expr
    begins: Expr
    ends: Expr | None
    clock: str
    origin: Fraction
    table: int
    horizon: Fraction | None
    span: Span
    error: str | None = None

    @property
    def first(self) -> int:
        return -(-self.start.numerator // self.start.denominator)

    @property
    def last(self) -> int | None:
        return None if self.end is None else -(-self.end.numerator // self.end.denominator) - 1


@dataclass(frozen=True, slots=True)
class Laid:
    """One binding laid out: its segments, the value held after them (None: endless), and what laying out showed."""

    name: str
    relative: bool
    segments: tuple[Segment, ...]
    after: Expr | None
    span: Span
    placed: Placed
    study: Study
    value: rd.Expr

    @property
    def end(self) -> Fraction | None:
        return (self.segments[-1].end if self.segments else Fraction(0)) if self.after is not None else None


@dataclass(frozen=True, slots=True)
class LaidGroup:
    group: rd.Group
    bindings: tuple[Laid, ...]


@dataclass
class Timeline:
    """A whole program laid out."""

    program: rd.Program
    ground: Ground
    grounds: list[Ground]
    bindings: list[Laid] = field(default_factory=list)
    lets: list[Laid] = field(default_factory=list)
    groups: list[LaidGroup] = field(default_factory=list)
    init: list[plan.InitRule] = field(default_factory=list)
    init_spans: list[Span] = field(default_factory=list)
    train: plan.TrainSettings = field(default_factory=plan.TrainSettings)
    batch: plan.BatchSettings = field(default_factory=plan.BatchSettings)
    run: plan.Run | None = None
    derived: list[plan.Derived] = field(default_factory=list)

    def all_laid(self) -> list[Laid]:
        """Every binding of the file and its groups."""
        return [*self.bindings, *(b for g in self.groups for b in g.bindings), *self.lets]
