"""Chains: one stage after another, cut, held, filled."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from schedc.compiler import expressions as ex
from schedc.compiler import messages_layout as say
from schedc.compiler import resolved as rd
from schedc.compiler.amounts import Env, Frame, Ground, Mark, Quantity, checked_duration, formal_argument, stop
from schedc.compiler.expressions import Expr
from schedc.compiler.kinds import CLOSED, CONSTANT, OPEN, is_operand, kind, operands_of
from schedc.compiler.placed import Context, Part, Placed, Seam, enter, reading_at, words_of
from schedc.compiler.source import Span

MAX_STAGES = 1_000
"""Stages of one chain."""


class Chained(Placed):
    """Stages one after another. A stage without a length of its own fills what the others leave."""

    def __init__(self, node: rd.Chain, env: Env, context: Context) -> None:
        self.node, self.env, self.context, self.ground = node, env, context, context.ground
        self.start, self.span = context.start, env.site(node.span)
        if len(node.stages) > MAX_STAGES:
            raise stop(env, say.too_many_stages(MAX_STAGES, node.stages[MAX_STAGES].span))
        self.placed: list[Placed] = []
        self.reached = (self.start, 0)
        *firsts, last = node.stages
        fillers = [i for i, s in enumerate(firsts) if kind(s, env, self.ground) != CLOSED]
        last_kind = kind(last, env, self.ground)
        if len(fillers) > 1 or (fillers and last_kind == OPEN):
            second = node.stages[fillers[1]] if len(fillers) > 1 else last
            raise stop(env, say.two_open(node.stages[fillers[0]].span, second.span))
        self.filler = fillers[0] if fillers else None
        if self.filler is not None and context.end is None:
            raise stop(env, say.no_duration(words_of(node.stages[self.filler]), node.stages[self.filler].span))

    def _child(self, index: int) -> Placed:
        while len(self.placed) <= index:
            self.placed.append(self._place(len(self.placed)))
        return self.placed[index]

    def _place(self, index: int) -> Placed:
        context, node = self.context, self.node.stages[index]
        end = context.end
        if index == self.filler:
            assert end is not None
            end = mark_before(self.node.stages[index + 1 :], self.env, self.ground, end, node.span)
        elif index < len(self.node.stages) - 1:
            end = None
        if index == 0:
            return context.place(node, self.env, replace(context, end=end, exact=index == self.filler))
        before = self.placed[index - 1]
        start = before.end
        assert start is not None
        if index == self.filler and end is not None:
            room = end.reading - reading_at(self.env, node.span, self.ground, end.clock, start)
            if room < 0:
                taken = say.amount(end.reading - room, end.clock)
                why = say.room(
                    say.amount(end.reading, end.clock) + " left by the stages behind it", taken, room, end.clock
                )
                raise stop(self.env, say.no_room(words_of(node), room, end.clock, why, node.span))
        entering = before.end_value()
        inner = replace(context, start=start, entering=entering, fallback=False, end=end, exact=index == self.filler)
        placed = context.place(node, self.env, inner)
        if context.study is not None:
            context.study.seams.append(Seam(start, entering, placed, node, self.env))
        return placed

    def _current(self, position: Fraction) -> int:
        # From where the last look ended, if it was not further on: looks go forward, and a chain can be long.
        index = self.reached[1] if self.reached[0] <= position else 0
        while index < len(self.node.stages) - 1 and self._child(index).ended(position):
            index += 1
        self.reached = (position, index)
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


def mark_before(stages: tuple[rd.Expr, ...], env: Env, ground: Ground, end: Mark, filler: Span) -> Mark:
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
                reading = reading_at(env, stage.span, ground, q.clock, ground.position(mark)) - q.amount
                mark = Mark(q.clock, reading)
    return mark


def length_of(node: rd.Expr, env: Env, ground: Ground) -> list[Quantity] | None:
    """How long a schedule lasts wherever it stands, as amounts one after another; None if that depends on the place."""
    ex.spend()
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
        case rd.Pipe(body=body, modifier=modifier) if isinstance(modifier.definition.body, rd.Pipe):
            within = enter(modifier, env, ground)
            within.piped = (body, env)
            return length_of(modifier.definition.body, within, ground)
        case rd.Pipe(body=body, modifier=modifier) if (
            not modifier.definition.external or modifier.definition.name == "plateau"
        ):
            return length_of(body, env, ground)
        case rd.Pipe() | rd.ImportedRef():
            return None
        case rd.Variable(name="input") if env.piped is not None:
            return length_of(*env.piped, ground)
    if kind(node, env, ground) == CONSTANT:
        return []
    inside = operands_of(node, env)
    lengths = [length_of(o, e, ground) for o, e in inside]
    if lengths and all(
        q is not None and len(q) == 1 and q[0].clock == lengths[0][0].clock for q in lengths if lengths[0]
    ):
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
