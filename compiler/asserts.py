"""`assert`: what a user claims about the schedules, decided over every update of the run, every group and every F in (0, 1]."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np

from schedc.compiler import evaluate, messages_names, plan
from schedc.compiler import messages_layout as layout
from schedc.compiler import messages_values as say
from schedc.compiler import resolved as rd
from schedc.compiler.amounts import LARGEST, Env, Frame, Stop, duration, number
from schedc.compiler.check_values import unobserved
from schedc.compiler.constants import exact
from schedc.compiler.diagnostics import Diagnostic
from schedc.compiler.resolve import LetTable, Names, Scope
from schedc.compiler.source import Span
from schedc.compiler.timeline import Timeline
from schedc.grammar import syntax

TOLERANCE = 1e-9
"""`==` holds to this, relative to the larger side, or to the binding's peak if one side is 0."""
EVERY_UPDATE = 5_000_000
"""A run of more updates is not decided update by update."""
MAX_LOOKS = 200_000_000
"""Looks at values that all claims of a file may take together, whatever the groups."""
COMPUTED = 8
"""What computing a value counts, against looking at it again."""
FURTHEST = 1 << 62
"""No claim can speak of a position from here on."""
ASKED = ("max", "min", "first", "last", "end", "mean", "continuous", "decreasing", "increasing")


@dataclass(slots=True)
class Known:
    """Values of bindings at every update, by case and name, and how many values were looked at."""

    values: dict[tuple[tuple[int, ...], tuple[tuple[int, float], ...], str], np.ndarray[Any, Any]] = field(
        default_factory=dict
    )
    looks: int = 0


class Deferred(Exception):
    """The claim needs `base`, which is not known yet."""


class NeedsModel(Exception):
    """The claim depends on what a group's selectors capture; its text names the group."""


class Malformed(Exception):
    """The claim has no meaning; carries what to say."""

    def __init__(self, said: Diagnostic) -> None:
        super().__init__(said.title)
        self.said = said


@dataclass(frozen=True, slots=True)
class Case:
    """One way the run may go: the group rules that match, and the feedback factors."""

    words: str
    rules: tuple[int, ...]
    factors: dict[int, float]


@dataclass(frozen=True, slots=True)
class Amount:
    """A number in a claim, how it came about in words, and the peak of the binding it is from."""

    value: float
    words: str
    peak: float = 0.0


def check_asserts(line: Timeline, draft: plan.Plan, base: float | None) -> Iterator[Diagnostic]:
    """Decide every assertion of the file."""
    known = Known()
    for claim in line.program.main.claims:
        text = " ".join(claim.tree.span.text.split())
        waits: NeedsModel | None = None
        failure: str | None = None
        try:
            for case in _cases(draft, claim.tree):
                try:
                    failure = _Claims(line, draft, base, case, claim.tree.span, known).failure(claim.tree)
                except NeedsModel as reason:
                    waits = waits or reason
                if failure:
                    break
        except Deferred:
            yield say.deferred(text, claim.tree.span)
        except Malformed as fault:
            yield fault.said
        except Stop as fault:
            yield fault.said
        except plan.ScheduleEnded as fault:
            yield say.failed(text, str(fault), claim.tree.span)
        else:
            if failure:
                yield say.failed(text, failure, claim.tree.span)
            elif waits is not None:
                yield say.undecided(f"`assert {text}` holds {waits}", "known only with a model", claim.tree.span)


def _cases(draft: plan.Plan, tree: syntax.Expr) -> list[Case]:
    """Every group rule on its own beside the top level, and F at both ends of its range.

    A claim that names groups (`lr of "head.*"`) means the top level by its other names.
    """
    groups: list[tuple[str, tuple[int, ...]]] = [("", ())]
    if not any(isinstance(e, syntax.GroupOf) for e in _walk(tree)):
        groups += [(f"in group {g.selection}", (i,)) for i, g in enumerate(draft.groups)]
    out = []
    for words, rules in groups:
        out.append(Case(words, rules, {}))
        if draft.feedback:
            low = {f.index: 1e-9 for f in draft.feedback}
            out.append(Case((words + " once `plateau` has cut").strip(), rules, low))
    return out


def _group_of(args: tuple[syntax.Arg, ...]) -> syntax.GroupOf | None:
    """The first argument, if it is a binding of one group."""
    tree = args[0].value if args else None
    while isinstance(tree, syntax.Paren):
        tree = tree.body
    return tree if isinstance(tree, syntax.GroupOf) else None


def _walk(tree: syntax.Expr) -> Iterator[syntax.Expr]:
    yield tree
    match tree:
        case syntax.Compare(left=a, right=b) | syntax.Implies(left=a, right=b) | syntax.Binary(left=a, right=b):
            yield from _walk(a)
            yield from _walk(b)
        case syntax.Paren(body=a) | syntax.Negate(body=a) | syntax.GroupOf(body=a):
            yield from _walk(a)
        case syntax.Call(args=args):
            for arg in args:
                yield from _walk(arg.value)


class _Lets(LetTable):
    """The lets of a resolved module, for the numbers in its claims."""

    def __init__(self, module: rd.Module) -> None:
        self.module = module

    def get(self, name: str) -> rd.Let | None:
        return self.module.lets.get(name)

    def names(self) -> Iterable[str]:
        return self.module.lets


class _Claims:
    """Claims of one file in one case."""

    def __init__(
        self, line: Timeline, draft: plan.Plan, base: float | None, case: Case, span: Span, known: Known
    ) -> None:
        self.line, self.draft, self.base, self.case, self.span = line, draft, base, case, span
        self.known = known

    def of(self, tree: syntax.GroupOf) -> _Claims:
        """The same claims in the group that has the selector."""
        wanted = tree.selector.value
        for i, g in enumerate(self.draft.groups):
            if any(s.text == wanted for s in g.selection.union):
                case = Case(f"in group {g.selection}", (i,), self.case.factors)
                return _Claims(self.line, self.draft, self.base, case, self.span, self.known)
        raise Malformed(say.bad_assert("no group has this selector", tree.selector.span))

    # -- claims

    def failure(self, tree: syntax.Expr) -> str | None:
        """Why the claim does not hold, in numbers; None if it holds."""
        match tree:
            case syntax.Paren(body=body):
                return self.failure(body)
            case syntax.Implies(left=a, right=b):
                return None if self.failure(a) else self.failure(b)
            case syntax.Compare(left=a, op=op, right=b):
                return self.compared(self.amount(a), op, self.amount(b))
            case syntax.Call(name=syntax.Name(text="continuous" | "decreasing" | "increasing" as what), args=args):
                if (group := _group_of(args)) is not None:
                    inside = (replace(args[0], value=group.body), *args[1:])
                    return self.of(group).failure(replace(tree, args=inside))
                return self.continuous(tree) if what == "continuous" else self.monotone(what, args, tree)
        raise Malformed(
            say.bad_assert(
                "an assertion is a comparison, or `continuous`, `decreasing`, `increasing` of a binding",
                tree.span,
                "write `assert max(lr) <= 1e-3`",
            )
        )

    def compared(self, a: Amount, op: str, b: Amount) -> str | None:
        size = max(abs(a.value), abs(b.value))
        if a.value == 0 or b.value == 0:
            size = max(size, a.peak, b.peak)
        slack = TOLERANCE * size
        holds = {
            "==": abs(a.value - b.value) <= slack, "!=": abs(a.value - b.value) > slack, "<=": a.value <= b.value + slack * 1e-3,
            ">=": a.value >= b.value - slack * 1e-3, "<": a.value < b.value, ">": a.value > b.value,
        }[op]  # fmt: skip
        if holds:
            return None
        sides = [x.words for x in (a, b) if x.words]
        return " and ".join(sides) + (f" {self.case.words}" if self.case.words else "")

    def continuous(self, tree: syntax.Call) -> str | None:
        from schedc.compiler.symbolic import equal

        name = self.binding(self.only(tree))
        laid = next((b for b in self.line.bindings + self.line.lets if b.name == name), None)
        curve = self.curve(name)
        end = None if self.draft.run is None else self.draft.run.end
        values = [(s.ends, n.begins, n.start) for s, n in zip(curve.segments, curve.segments[1:], strict=False)]
        for before, after, position in values:
            after = unobserved(after, position, ((f.index, f.start) for f in self.draft.feedback))
            if (end is None or position < end) and before is not None and equal(before, after) is not True:
                return f"it jumps at update {layout.show(-(-position.numerator // position.denominator))}"
        if laid is None:
            return None
        for s in laid.segments:
            from schedc.compiler import expressions as ex

            if any(
                isinstance(e, ex.Piecewise)
                or (
                    isinstance(e, ex.Op)
                    and e.name in ("floor", "ceil", "round", "mod", "passed", "pick", "product", "if")
                )
                for e in ex.walk(s.expr)
            ):
                found = self.all_values(name)
                step = np.abs(np.diff(found))
                if len(step) and step.max() > 0.2 * np.abs(found).max():
                    return f"it jumps at update {int(step.argmax()) + 1}"
        return None

    def monotone(self, what: str, args: tuple[syntax.Arg, ...], tree: syntax.Call) -> str | None:
        if not 1 <= len(args) <= 3:
            raise Malformed(say.bad_assert(f"`{what}` takes a binding and, if wanted, from where to where", tree.span))
        name = self.binding(args[0].value)
        first = ceil(self.position(args[1].value)) if len(args) > 1 else 0
        last = ceil(self.position(args[2].value)) if len(args) > 2 else self.updates() - 1
        values = self.all_values(name)[first : last + 1]
        step = np.diff(values) * (-1 if what == "decreasing" else 1)
        wrong = np.flatnonzero(step < -1e-12 * max(np.abs(values).max(initial=0), 1e-300))
        if not len(wrong):
            return None
        i = int(wrong[0])
        way = "rises" if what == "decreasing" else "falls"
        return f"it {way} from {values[i]:.6g} at update {first + i} to {values[i + 1]:.6g} at update {first + i + 1}"

    # -- numbers

    def amount(self, tree: syntax.Expr) -> Amount:
        match tree:
            case syntax.Paren(body=body):
                return self.amount(body)
            case syntax.GroupOf(body=body):
                return self.of(tree).amount(body)
            case syntax.Negate(body=body):
                inner = self.amount(body)
                return replace(inner, value=-inner.value)
            case syntax.Binary(left=a, op=op, right=b) if any(self.asks(x) for x in _walk(tree)):
                x, y = self.amount(a), self.amount(b)
                calc: dict[str, Callable[[float, float], float]] = {
                    "+": operator.add, "-": operator.sub, "*": operator.mul, "^": operator.pow,
                    "/": lambda p, q: p / q if q else np.nan,
                }  # fmt: skip
                words = " and ".join(w for w in (x.words, y.words) if w)
                return Amount(calc[op](x.value, y.value), words, max(x.peak, y.peak))
            case syntax.Call(name=name, args=args) if self.asks(tree):
                return self.asked(name.text, args, tree)
        return Amount(self.constant(tree), "")

    def asks(self, tree: syntax.Expr) -> bool:
        """Whether the call asks about a binding: `max(lr)`, `lr(5T tokens)`."""
        if not isinstance(tree, syntax.Call) or tree.short or not tree.args:
            return False
        name = tree.name.text
        return self.is_binding(name) or (name in ASKED and self.names_binding(tree.args[0].value))

    def names_binding(self, tree: syntax.Expr) -> bool:
        while isinstance(tree, syntax.Paren | syntax.GroupOf):
            tree = tree.body
        if isinstance(tree, syntax.Indexed):
            return self.is_binding(f"{tree.name}[{tree.index}]")
        return isinstance(tree, syntax.Name) and (
            self.is_binding(tree.text) or tree.text in ("lr", "weight_decay", "momentum")
        )

    def is_binding(self, name: str) -> bool:
        return any(b.name == name for b in (*self.draft.bindings, *self.draft.lets)) or any(
            b.name == name for g in self.draft.groups for b in g.bindings
        )

    def asked(self, what: str, args: tuple[syntax.Arg, ...], tree: syntax.Call) -> Amount:
        if (group := _group_of(args)) is not None:
            return self.of(group).asked(what, (replace(args[0], value=group.body), *args[1:]), tree)
        if self.is_binding(what):
            position = self.position(args[0].value)
            update = int(position)
            value = self.at(what, update)
            return Amount(value, f"`{what}` is {value:.6g} at update {layout.show(update)}", self.peak(what))
        name = self.binding(args[0].value)
        if len(args) != 1:
            raise Malformed(say.bad_assert(f"`{what}` takes one binding", tree.span))
        if what == "end":
            n = self.updates()
            value = self.at(name, n)
            return Amount(value, f"`{name}` ends at {value:.6g}", self.peak(name))
        if what in ("first", "last"):
            n = 0 if what == "first" else self.updates() - 1
            value = self.at(name, n)
            return Amount(value, f"`{name}` is {value:.6g} at update {layout.show(n)}", self.peak(name))
        values = self.all_values(name)
        if what == "mean":
            value = float(values.mean())
            return Amount(
                value, f"`{name}` is {value:.6g} on average over {layout.show(len(values))} updates", self.peak(name)
            )
        at = int(values.argmax() if what == "max" else values.argmin())
        value = float(values[at])
        return Amount(value, f"`{name}` is {value:.6g} at update {layout.show(at)}", self.peak(name))

    def only(self, tree: syntax.Call) -> syntax.Expr:
        if len(tree.args) != 1:
            raise Malformed(say.bad_assert(f"`{tree.name.text}` takes one binding", tree.span))
        return tree.args[0].value

    def binding(self, tree: syntax.Expr) -> str:
        while isinstance(tree, syntax.Paren | syntax.GroupOf):
            tree = tree.body
        name = (
            tree.text
            if isinstance(tree, syntax.Name)
            else f"{tree.name}[{tree.index}]"
            if isinstance(tree, syntax.Indexed)
            else None
        )
        if name is None:
            raise Malformed(say.bad_assert("here stands the name of a binding", tree.span))
        if not self.is_binding(name):
            names = [b.name for b in (*self.draft.bindings, *self.draft.lets)]
            raise Malformed(messages_names.unknown_name(name, "binding", tree.span, names, "nothing is bound to it"))
        return name

    def constant(self, tree: syntax.Expr) -> float:
        node = self.resolved(tree)
        value = exact(number(node, Env(), Frame(self.line.ground)))
        if value is not None:
            if abs(value) >= LARGEST:
                raise Malformed(layout.number_too_large(tree.span))
            return float(value)
        from schedc.compiler.constants import approximate

        found = approximate(number(node, Env(), Frame(self.line.ground)))
        if found is None:
            raise Malformed(say.bad_assert("this is no number", tree.span))
        return float(found)

    def resolved(self, tree: syntax.Expr) -> rd.Expr:
        said: list[Diagnostic] = []
        main = self.line.program.main
        scope = Scope(where="in an assertion", variables=frozenset({"pi", "e", "inf", "total"}))
        node = Names(main, said, [], _Lets(main)).expression(tree, scope)
        if said:
            raise Malformed(said[0])
        return node

    def position(self, tree: syntax.Expr) -> Fraction:
        """The position that a duration since the start of the run means."""
        if isinstance(tree, syntax.Name) and tree.text == "end":
            return Fraction(self.updates())
        quantity = duration(self.resolved(tree), Env(), Frame(self.line.ground))
        if not 0 <= quantity.amount < FURTHEST:
            raise Malformed(say.bad_assert("no run has such a position", tree.span))
        return self.line.ground.clocks.position(quantity.clock, quantity.amount)

    # -- values

    def updates(self) -> int:
        """How many updates a claim speaks about."""
        if self.draft.run is not None:
            return self.draft.run.updates
        ends = [b.curve.end for b in self.draft.bindings if b.curve.after is not None and b.curve.end is not None]
        return max((ceil(e) for e in ends), default=0) + 1

    def curve(self, name: str) -> plan.Curve:
        return next(b.curve for b in (*self.draft.bindings, *self.draft.lets) if b.name == name)

    def at(self, name: str, update: int) -> float:
        return float(self.values(name, np.arange(update, update + 1))[0])

    def peak(self, name: str) -> float:
        return float(np.abs(self.all_values(name)).max(initial=0))

    def all_values(self, name: str) -> np.ndarray[Any, Any]:
        key = (self.case.rules, tuple(self.case.factors.items()), name)
        n = self.updates()
        self.known.looks += n if key in self.known.values else COMPUTED * n
        if key not in self.known.values or self.known.looks > MAX_LOOKS:
            if n > EVERY_UPDATE or self.known.looks > MAX_LOOKS:
                raise Malformed(
                    say.undecided(
                        f"this holds over {layout.show(n)} updates",
                        "too many to evaluate each",
                        self.span,
                    )
                )
            self.known.values[key] = self.values(name, np.arange(n))
        return self.known.values[key]

    def values(self, name: str, n: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if any(b.name == name for b in self.draft.lets):
            let = next(b for b in self.draft.lets if b.name == name)
            return np.asarray(
                evaluate.curve_values(
                    self.draft.clocks,
                    let.curve,
                    n,
                    {f"factor:{i}": f for i, f in self.case.factors.items()} or self._ones(),
                )
            )
        try:
            return np.asarray(
                evaluate.binding_values(
                    self.draft,
                    name,
                    n,
                    base=self.base,
                    group=self.case.rules,
                    factors=self.case.factors or {f.index: 1.0 for f in self.draft.feedback},
                )
            )
        except ValueError as fault:
            if "base" in str(fault):
                raise Deferred from None
            if "capture:" in str(fault):
                raise NeedsModel(self.case.words.removesuffix(" once `plateau` has cut")) from None
            raise

    def _ones(self) -> dict[str, float]:
        return {f"factor:{f.index}": 1.0 for f in self.draft.feedback}
