"""What the backends share: their shape, and a Plan's curves as Python functions of the update.

A backend turns a checked Plan into something else. Whatever it writes as Python is put together here and in
`compiler.printer` from the Plan alone.
"""

from __future__ import annotations

import hashlib
import json
import keyword
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

from schedc.compiler import expressions as ex
from schedc.compiler.plan import Binding, ClockPiece, Clocks, Curve, Plan, Segment, UnknownClock
from schedc.compiler.printer import HELPERS, Printer, Scope
from schedc.compiler.printer_text import Call, Line, floating, number

MANY = 8
"""A curve of more segments than this looks its segment up, instead of asking for one after another."""


class Backend(Protocol):
    """What compiles a Plan to a file: `name` is what `--to` takes, `suffix` the files it is taken for."""

    name: str
    suffix: str

    def emit(self, plan: Plan) -> str: ...


def compositions(plan: Plan) -> dict[str, list[tuple[int | None, Binding]]]:
    """For each bound name, what applies to it in order, with the number of its group rule: top level, then file order.

    A name comes after those that its formulas read.
    """
    found: dict[str, list[tuple[int | None, Binding]]] = {}
    for binding in plan.bindings:
        found.setdefault(binding.name, []).append((None, binding))
    for i, rule in enumerate(plan.groups):
        for binding in rule.bindings:
            found.setdefault(binding.name, []).append((i, binding))
    ordered: dict[str, list[tuple[int | None, Binding]]] = {}

    def place(name: str) -> None:
        if name in found and name not in ordered:
            for _, binding in found[name]:
                for read in sorted(bound_names(binding.curve)):
                    if read != name:
                        place(read)
            ordered[name] = found[name]

    for name in found:
        place(name)
    return ordered


def formulas(curve: Curve) -> Iterator[ex.Expr]:
    """Everything that a curve computes with."""
    for s in curve.segments:
        yield s.formula
    yield after(curve)


def after(curve: Curve) -> ex.Expr:
    """The value once the segments have ended."""
    if curve.after is not None:
        return curve.after  # type: ignore[no-any-return]
    return curve.segments[-1].ends or ex.ZERO if curve.segments else ex.ZERO


def bound_names(curve: Curve) -> set[str]:
    """The other bindings that a curve reads."""
    return {e.name for f in formulas(curve) for e in ex.walk(f) if isinstance(e, ex.Bound)}


def groups_hash(plan: Plan) -> str:
    """What identifies the way in which a plan sorts parameters into groups; param groups carry it."""
    return hashlib.sha256("\n".join(str(rule.selection) for rule in plan.groups).encode()).hexdigest()[:16]


# Names and text from a program, in Python source.


def identifier(text: str) -> str:
    """The text as a Python name."""
    name = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_") or "value"
    return f"{name}_" if keyword.iskeyword(name) or name[0].isdigit() else name


def plain(text: str) -> str:
    """The text on one line, fit for a comment or a docstring."""
    text = " ".join(text.replace("\\", "/").replace('"', "'").split())
    return "".join(c if c.isprintable() else "?" for c in text)


def quoted(text: str) -> str:
    """The text as a Python string in double quotes, all in ASCII."""
    return json.dumps(text)


def comment(text: str, indent: str = "") -> list[str]:
    """The lines of the text as comments."""
    lines = ("".join(c if c.isprintable() else " " if c == "\t" else "?" for c in line) for line in text.splitlines())
    return [f"# {indent}{line}".rstrip() for line in lines]


def glob_pattern(glob: str) -> str:
    """A selector's glob as a regular expression for the whole name; `{i}` is a group that matches a number."""
    pattern, seen = "", set()
    for part in re.split(r"(\*|\?|\{\w+\})", glob):
        if part.startswith("{"):
            name = part[1:-1]
            pattern += f"(?P={name})" if name in seen else rf"(?P<{name}>\d+)"
            seen.add(name)
        else:
            pattern += {"*": ".*", "?": "."}.get(part) or re.escape(part)
    return pattern


# Clocks.


def piece_values(piece: ClockPiece, clock: str) -> tuple[Fraction, Fraction]:
    """What a clock shows at a piece's start, and its rate."""
    if clock == "steps":
        return Fraction(piece.update), Fraction(1)
    start, rate = getattr(piece, clock), getattr(piece, f"{clock}_per_update")
    if start is None or rate is None:
        raise UnknownClock(clock)
    return start, rate


def line_of(clocks: Clocks, clock: str) -> Line | None:
    """The clock as a straight line, if its rate never changes."""
    values = [(p.update, *piece_values(p, clock)) for p in clocks.pieces]
    first, start, rate = values[0]
    if all(r == rate and s == start + rate * (u - first) for u, s, r in values):
        return Line.of(rate, start - rate * first)
    return None


def reading_at(clocks: Clocks, clock: str, position: Fraction) -> Fraction:
    """What a clock shows at a position."""
    cycles = Fraction(0)
    if clocks.period is not None and clocks.period_start is not None and position >= clocks.period_start:
        cycle, within = divmod(position - clocks.period_start, clocks.period)
        if cycle:
            cycles = cycle * period_advance(clocks, clock)
            position = clocks.period_start + within
    i = max(0, bisect_right([p.update for p in clocks.pieces], position) - 1)
    start, rate = piece_values(clocks.pieces[i], clock)
    return cycles + start + rate * (position - clocks.pieces[i].update)


def period_advance(clocks: Clocks, clock: str) -> Fraction:
    """By how much a clock advances in one period."""
    assert clocks.period is not None
    assert clocks.period_start is not None
    last = clocks.pieces[-1]
    start, rate = piece_values(last, clock)
    at_end = start + rate * (clocks.period_start + clocks.period - last.update)
    bare = Clocks(pieces=clocks.pieces)
    return at_end - reading_at(bare, clock, Fraction(clocks.period_start))


def exact_literal(value: Fraction) -> str:
    """An exact number in Python source."""
    if value.denominator == 1:
        return f"{value.numerator:_}" if abs(value) >= 1_000_000 else str(value.numerator)
    return f"Fraction({value.numerator}, {value.denominator})"


def batches(plan: Plan) -> list[tuple[int, int]]:
    """From which update on the global batch is what, in samples."""
    if plan.batch.phases:
        found = [(phase.update, phase.global_batch) for phase in plan.batch.phases]
    else:
        found = [(p.update, p.batch) for p in plan.clocks[0].pieces if p.batch is not None]
    return [b for i, b in enumerate(found) if i == 0 or found[i - 1][1] != b[1]]


# Curves.


@dataclass(frozen=True)
class Function:
    """A curve as a Python function. `reads` are the arguments after n: variables, or bindings of the same group."""

    name: str
    reads: tuple[ex.Var | ex.Bound, ...]
    text: str


@dataclass
class Curves:
    """Writes a Plan's curves as Python functions, and collects what else the file needs for them."""

    plan: Plan
    names: set[str] = field(default_factory=set)
    modules: set[str] = field(default_factory=set)
    helpers: set[str] = field(default_factory=set)
    clocks: dict[str, str] = field(default_factory=dict)
    raises: bool = False

    def __post_init__(self) -> None:
        self.names |= {"math", "n", "t", "base", "bisect", "Fraction", "batch", "float", "max", "min", "abs", *HELPERS}

    def named(self, wanted: str) -> str:
        """A name for something in the file, that nothing else in it has."""
        name = base = identifier(wanted)
        i = 2
        while name in self.names:
            name, i = f"{base}_{i}", i + 1
        self.names.add(name)
        return name

    def argument(self, read: ex.Var | ex.Bound) -> str:
        """What a function calls one of its arguments."""
        if isinstance(read, ex.Bound):
            at = "now" if read.at is None else f"at_{str(read.at).replace('/', '_')}"
            return f"{identifier(read.name)}_{at}"
        kind, _, which = read.name.partition(":")
        if kind == "factor":
            return "factor" if len(self.plan.feedback) == 1 else f"factor_{which}"
        return identifier(f"capture_{which}") if kind == "capture" else kind

    def function(self, name: str, curve: Curve, doc: str) -> Function:
        """The curve as the function `name(n, …)`."""
        segments = [s for s in curve.segments if s.last is None or s.last >= s.first]
        ends = not segments or segments[-1].end is not None
        used = [s.formula for s in segments if s.error is None] + ([after(curve)] if ends else [])
        reads = self._reads(used)
        head = ", ".join(["n", *map(self.argument, reads)])
        lines = [f"def {name}({head}):", f'    """{plain(doc)}"""']
        if len(segments) > MANY:
            return Function(name, reads, self._looked_up(name, head, segments, curve, lines))
        first = 0 if not segments else (segments[-1].last or 0) + 1
        last_body = self._print(after(curve), Scope(first=first)) if ends else []
        for i, s in enumerate(segments):
            body = self._body(s)
            label = "" if isinstance(s.formula, ex.Num) and not re.search(r"[a-z]{2}", s.label) else s.label
            label = f"  # {plain(label)}" if label else ""
            if i + 1 == len(segments) and (not ends or body == last_body):
                ends = False
                lines += [f"    #{label[3:]}"] * bool(label) + ["    " + b for b in body]
            elif s.last is not None:
                lines += [f"    if n < {number(Fraction(s.last + 1)).text}:{label}"] + ["        " + b for b in body]
        if ends:
            lines += ["    " + b for b in last_body]
        return Function(name, reads, "\n".join(lines))

    def _looked_up(self, name: str, head: str, segments: list[Segment], curve: Curve, lines: list[str]) -> str:
        """A curve of many segments: a table of values if all are constants, else one function for each."""
        bounds = [s.last + 1 for s in segments if s.last is not None]
        pieces: list[ex.Expr] = [s.formula for s in segments]
        if len(bounds) == len(segments):
            pieces.append(after(curve))
        self.modules.add("bisect")
        upper = name.upper()
        text = _table(f"{upper}_ENDS", [number(Fraction(b)).text for b in bounds])
        if all(isinstance(p, ex.Num) for p in pieces) and not any(s.error for s in segments):
            text += _table(f"{upper}_VALUES", [floating(p.value).text for p in pieces if isinstance(p, ex.Num)])
            return "\n".join([*text, "", "", *lines, f"    return {upper}_VALUES[bisect({upper}_ENDS, n)]"])
        made = []
        for i, piece in enumerate(pieces):
            stage = self.named(f"{name}_stage_{i + 1}")
            s = segments[i] if i < len(segments) else None
            body = self._body(s) if s else self._print(piece, Scope(first=bounds[-1]))
            note = [f"    # {plain(s.label)}"] if s and s.label else []
            made.append((stage, [f"def {stage}({head}):", *note, *("    " + b for b in body), "", ""]))
        text += _table(f"{upper}_STAGES", [stage for stage, _ in made])
        call = f"    return {upper}_STAGES[bisect({upper}_ENDS, n)]({head})"
        return "\n".join([*(line for _, part in made for line in part), *text, "", "", *lines, call])

    def expression(self, expr: ex.Expr, variables: dict[str, str] | None = None) -> str:
        """A formula in one line, for any update."""
        printer = self._printer(Scope())
        if variables is not None:
            printer.scope.variables = variables
        text = printer.text(self.folded(expr)).text
        self._collect(printer)
        return text

    def at(self, expr: ex.Expr, position: Fraction) -> ex.Expr:
        """The formula with its position fixed."""

        def fix(e: ex.Expr) -> ex.Expr | None:
            if isinstance(e, ex.Reading):
                return ex.Num(reading_at(self.plan.clocks[e.table], e.clock, position))
            if isinstance(e, ex.Bound) and e.at is None:
                return ex.Bound(e.name, position)
            if e == ex.Var("batch"):
                found = batches(self.plan)
                return ex.num(found[max(0, bisect_right([u for u, _ in found], position) - 1)][1])
            return None

        return ex.rebuild(expr, fix)

    def folded(self, expr: ex.Expr) -> ex.Expr:
        """The formula with a constant batch, and conversions between evenly advancing clocks, worked out."""

        def fold(e: ex.Expr) -> ex.Expr | None:
            if e == ex.Var("batch") and len(batches(self.plan)) == 1:
                return ex.num(batches(self.plan)[0][1])
            if isinstance(e, ex.Convert):
                inner = ex.rebuild(e.reading, fold)
                if e.source == e.target:
                    return inner
                a, b = (line_of(self.plan.clocks[e.table], clock) for clock in (e.source, e.target))
                if a and b:
                    slope = Fraction(b.slope * a.scale, a.slope * b.scale)
                    offset = Fraction(b.offset, b.scale) - slope * Fraction(a.offset, a.scale)
                    return ex.add(ex.mul(ex.Num(slope), inner), ex.Num(offset))
            return None

        return ex.rebuild(expr, fold)

    def _reads(self, exprs: Iterable[ex.Expr]) -> tuple[ex.Var | ex.Bound, ...]:
        found: dict[ex.Var | ex.Bound, None] = {}
        for expr in exprs:
            for e in ex.walk(expr):
                if isinstance(e, ex.Bound) or (isinstance(e, ex.Var) and e.name != "batch"):
                    found[e] = None
        order = {"base": 0, "capture": 1, "factor": 2}
        return tuple(
            sorted(
                found,
                key=lambda e: (
                    (3, e.name, e.at or 0)
                    if isinstance(e, ex.Bound)
                    else (order.get(e.name.partition(":")[0], 4), e.name, 0)
                ),
            )
        )

    def _body(self, s: Segment) -> list[str]:
        if s.error is not None:
            self.raises = True
            place = f" ({s.place.file}:{s.place.line}:{s.place.column})" if s.place else ""
            return [f'raise ScheduleEnded(f"the schedule ends before update {{n}}: " + {quoted(s.error + place)})']
        scope = Scope(origin=(s.clock, s.table, s.origin), horizon=s.horizon, first=s.first, last=s.last)
        return self._print(s.formula, scope)

    def _print(self, expr: ex.Expr, scope: Scope) -> list[str]:
        printer = self._printer(scope)
        lines = printer.body(self.folded(expr))
        self._collect(printer)
        return lines

    def _printer(self, scope: Scope) -> Printer:
        scope.variables = _Names(self)
        scope.readings = _Readings(self)
        scope.bound = self.argument
        scope.convert = self._convert
        return Printer(scope)

    def _collect(self, printer: Printer) -> None:
        self.helpers |= printer.helpers
        self.modules |= printer.modules

    def batch(self) -> str:
        """What reads the global batch."""
        found = batches(self.plan)
        if not found:
            raise UnknownClock("samples")
        self.modules.add("bisect")
        lines = _table("BATCH_STARTS", [number(Fraction(u)).text for u, _ in found])
        lines += _table("BATCH_SIZES", [number(Fraction(b)).text for _, b in found])
        lines += ["", "", "def batch(n):", '    """Samples in the global batch of update n."""']
        self.clocks["batch"] = "\n".join([*lines, "    return BATCH_SIZES[bisect(BATCH_STARTS, n) - 1]"])
        return "batch(n)"

    def reading(self, clock: str, table: int) -> Line | Call:
        """How a clock is read."""
        line = Line(1, 0, 1) if clock == "steps" else line_of(self.plan.clocks[table], clock)
        return line or self.clock(clock, table)

    def clock(self, clock: str, table: int) -> Call:
        """A clock that doesn't advance evenly, as a function of the update."""
        if clock == "steps":
            return Call("n", whole=True)
        clocks = self.plan.clocks[table]
        rows = [(p.update, *piece_values(p, clock)) for p in clocks.pieces]
        advance = period_advance(clocks, clock) if clocks.period else Fraction(0)
        whole = all(v.denominator == 1 for _, start, rate in rows for v in (start, rate)) and advance.denominator == 1
        name = clock if table == 0 else f"{clock}_{table}"
        if name not in self.clocks:
            self.names |= {name, name.upper(), f"update_of_{name}"}
            self.modules |= {"bisect"} | (set() if whole else {"fractions"})
            lines = [f"{name.upper()} = (", f"    # from update, {clock} before it, {clock} per update"]
            lines += [f"    ({', '.join(exact_literal(Fraction(v)) for v in row)})," for row in rows]
            lines += [")", "", "", f"def {name}(n):", f'    """{clock.capitalize()} consumed before update n."""']
            result = "before + rate * (n - first)"
            if clocks.period:
                start = clocks.period_start
                lines += [f"    cycles, within = divmod(max(0, n - {start}), {clocks.period})"]
                lines += [
                    f"    n = {start} + within if n >= {start} else n" if start else "    n = within if n >= 0 else n"
                ]
                result = f"cycles * {exact_literal(advance)} + {result}"
            lines += [f"    first, before, rate = {name.upper()}[max(0, bisect({name.upper()}, (n, math.inf)) - 1)]"]
            self.clocks[name] = "\n".join([*lines, f"    return {result}"])
        return Call(f"{name}(n)", whole)

    def _convert(self, e: ex.Convert, source: str) -> str:
        """The source of a reading's conversion; `source` is the reading's."""
        position = source
        if e.source != "steps":
            line = line_of(self.plan.clocks[e.table], e.source)
            self.modules.add("fractions")
            if line is not None:
                position = f"Fraction(({source}) * {line.scale} - {line.offset}) / {line.slope}".replace(" - 0)", ")")
            else:
                position = f"{self._inverse(e.source, e.table)}({source})"
        if e.target == "steps":
            return position
        line = line_of(self.plan.clocks[e.table], e.target)
        if line is not None:
            self.modules.add("fractions")
            return f"Fraction(({position}) * {line.slope} + {line.offset}) / {line.scale}"
        call = self.clock(e.target, e.table)
        return f"{call.text.partition('(')[0]}({position})"

    def _inverse(self, clock: str, table: int) -> str:
        self.clock(clock, table)
        clocks = self.plan.clocks[table]
        name = clock if table == 0 else f"{clock}_{table}"
        if f"update_of_{name}" not in self.clocks:
            lines = [f"def update_of_{name}(x):", f'    """The position where {clock} consumed are x."""']
            result = "first + Fraction(x - before) / rate"
            if clocks.period:
                begin = exact_literal(reading_at(clocks, clock, Fraction(clocks.period_start or 0)))
                step = exact_literal(period_advance(clocks, clock))
                lines += [f"    cycles, within = divmod(max(0, x - {begin}), {step})"]
                lines += [f"    x = {begin} + within if x >= {begin} else x"]
                result = f"cycles * {clocks.period} + {result}"
            found = f"bisect({name.upper()}, x, key=lambda row: row[1])"
            lines += [f"    first, before, rate = {name.upper()}[max(0, {found} - 1)]", f"    return {result}"]
            self.clocks[f"update_of_{name}"] = "\n".join(lines)
        return f"update_of_{name}"

    def support(self) -> list[str]:
        """The functions and tables that the curves' functions need."""
        return [*(HELPERS[h] for h in sorted(self.helpers)), *self.clocks.values()]

    def imports(self) -> list[str]:
        """The import lines of what has been written so far."""
        lines = ["import math"]
        lines += ["from bisect import bisect"] * ("bisect" in self.modules)
        return lines + ["from fractions import Fraction"] * ("fractions" in self.modules)


class _Readings(dict[tuple[str, int], Line | Call]):
    """Every clock's reading, written when it is first asked for."""

    def __init__(self, curves: Curves) -> None:
        self.curves = curves

    def __missing__(self, key: tuple[str, int]) -> Line | Call:
        self[key] = self.curves.reading(*key)
        return self[key]

    def get(self, key: tuple[str, int], default: object = None) -> Line | Call:
        return self[key]


class _Names(dict[str, str]):
    """What variables are called in functions."""

    def __init__(self, curves: Curves) -> None:
        self.curves = curves

    def __missing__(self, name: str) -> str:
        return self.curves.batch() if name == "batch" else self.curves.argument(ex.Var(name))


def _table(name: str, items: list[str]) -> list[str]:
    """A tuple, over as many lines as it takes."""
    lines, line = [f"{name} = ("], "   "
    for item in items:
        if len(line) + len(item) > 100:
            lines, line = [*lines, line], "   "
        line += f" {item},"
    return [*lines, line, ")"]
