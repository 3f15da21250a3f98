"""Enclosures of an expression's values, and its derivative: intervals carried through a formula node by node."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from schedc.compiler import expressions as ex
from schedc.compiler import readings as rd
from schedc.compiler.evaluate import turns_of
from schedc.compiler.intervals import (
    INF,
    NO_LEAVES,
    Env,
    Floats,
    Interval,
    Kernel,
    Rationals,
    hull,
    is_infinite,
    operate,
    turns,
)
from schedc.compiler.plan import Clocks


def affine(expr: ex.Expr) -> tuple[ex.Expr | None, Fraction, Fraction] | None:
    """(leaf, a, b) where the expression is a + b·leaf in exact numbers; the leaf is None where b is 0."""
    match expr:
        case ex.Num(value):
            return None, value, Fraction(0)
        case ex.Reading() | ex.Var() | ex.Bound():
            return expr, Fraction(0), Fraction(1)
        case ex.Op("neg", (x,)):
            return _scaled(affine(x), Fraction(-1))
        case ex.Op("add" | "sub" as name, (x, y)):
            p, q = affine(x), affine(y)
            if p is None or q is None or (p[0] is not None and q[0] is not None and p[0] != q[0]):
                return None
            sign = 1 if name == "add" else -1
            slope = p[2] + sign * q[2]
            return (p[0] or q[0]) if slope else None, p[1] + sign * q[1], slope
        case ex.Op("mul", (x, y)):
            p, q = affine(x), affine(y)
            if p is not None and p[0] is None:
                return _scaled(q, p[1])
            return _scaled(p, q[1]) if q is not None and q[0] is None else None
        case ex.Op("div", (x, y)):
            q = affine(y)
            return _scaled(affine(x), 1 / q[1]) if q is not None and q[0] is None and q[1] else None
    return None


def _scaled(
    p: tuple[ex.Expr | None, Fraction, Fraction] | None, by: Fraction
) -> tuple[ex.Expr | None, Fraction, Fraction] | None:
    return None if p is None else (p[0] if by else None, p[1] * by, p[2] * by)


def is_whole(expr: ex.Expr) -> bool:
    """Whether the expression is a whole number by its form."""
    match expr:
        case ex.Num(value):
            return value.denominator == 1
        case ex.Op("floor" | "ceil" | "round" | "passed", _):
            return True
        case ex.Op("add" | "sub" | "mul" | "neg" | "min" | "max" | "abs", args):
            return all(is_whole(a) for a in args)
    return False


class Tape:
    """An expression in the order of evaluation, shared parts once, ready to be bounded over many boxes."""

    def __init__(self, expr: ex.Expr, clocks: Sequence[Clocks] = ()) -> None:
        self.clocks = clocks
        self.nodes: list[tuple[Any, tuple[int, ...]]] = []
        self._seen: dict[ex.Expr, int] = {}
        self._by_id: dict[int, int] = {}
        self._kept: list[ex.Expr] = []
        self.leaves: set[ex.Expr] = set()
        self.root = self._put(expr)

    def _put(self, expr: ex.Expr) -> int:
        found = self._by_id.get(id(expr))
        if found is None:
            self._kept.append(expr)
            found = self._by_id[id(expr)] = self._new(expr)
        return found

    def _new(self, expr: ex.Expr) -> int:
        line = affine(expr)
        if line is not None:
            if line[0] is not None:
                self.leaves.add(line[0])
            return self.add(line, ())
        match expr:
            case ex.Op("sin" | "cos" | "tan" as name, (x,)) if (inner := turns_of(x)) is not None:
                return self.add(("turns", name), (self._put(inner),))
            case ex.Op(name, args):
                whole = name == "pow" and is_whole(args[1])
                return self.add((name, whole), tuple(self._put(a) for a in args))
            case ex.Piecewise(reading, bounds, values):
                return self.add(("piecewise", bounds), tuple(self._put(e) for e in (reading, *values)))
            case ex.Convert(reading, _, _, _):
                return self.add(("convert", expr), (self._put(reading),))
            case _:
                return self.add(("const", expr), ())

    def add(self, what: Any, args: tuple[int, ...]) -> int:
        self.nodes.append((what, args))
        return len(self.nodes) - 1

    def bounds(self, k: Kernel, env: Env) -> list[Interval]:
        """The interval of every node; the last is the expression's."""
        out: list[Interval] = []
        for what, args in self.nodes:
            if len(what) == 3:
                out.append(self._line(k, what, env))
                continue
            inner = [out[i] for i in args]
            x = self._node(k, what, inner)
            if _reaches_infinity(x) and inner and not any(map(_reaches_infinity, inner)):
                # An overflow on the way: the result may be finite, but computing it is not safe.
                x = x._replace(maybe_undefined=True)
            out.append(x)
        return out

    @staticmethod
    def _line(k: Kernel, line: tuple[ex.Expr | None, Fraction, Fraction], env: Env) -> Interval:
        leaf, a, b = line
        if leaf is None:
            return Interval(k.number(a, False), k.number(a, True))
        given = env[leaf]
        ends: list[Any] = []
        for end in given[:2] if b > 0 else given[1::-1]:
            if isinstance(end, float) and is_infinite(end):
                ends.append(end if b > 0 else -end)
            else:
                ends.append(a + b * (end if isinstance(end, Fraction | int) else Fraction(end)))
        return Interval(k.number(ends[0], False), k.number(ends[1], True), given[2] if len(given) > 2 else False)

    def _node(self, k: Kernel, what: tuple[str, Any], args: list[Interval]) -> Interval:
        name, detail = what
        match name:
            case "turns":
                return turns(k, detail, args[0])
            case "const":
                if detail.name == "inf":
                    return Interval(INF, INF)
                value = {"pi": math.pi, "e": math.e}[detail.name]
                # Both floats lie below the number they stand for.
                return Interval(k.number(value, False), k.number(math.nextafter(value, 4), True))
            case "piecewise":
                first, last = (sum(e >= b for b in detail) for e in args[0][:2])
                out = hull(args[1 + first : 2 + last])
                return out._replace(maybe_undefined=out.maybe_undefined or args[0].maybe_undefined)
            case "convert":
                return self._converted(k, detail, args[0])
        return operate(k, name, args, detail)

    def _converted(self, k: Kernel, expr: ex.Convert, a: Interval) -> Interval:
        ends = []
        for end, up in ((a.lo, False), (a.hi, True)):
            if is_infinite(end):
                ends.append(end)
            else:
                shown = rd.convert(self.clocks[expr.table], expr.source, expr.target, Fraction(end))
                ends.append(k.number(shown, up))
        return Interval(ends[0], ends[1], a.maybe_undefined)


def _reaches_infinity(x: Interval) -> bool:
    return is_infinite(x.lo) or is_infinite(x.hi)


def finished(x: Interval) -> Interval:
    return x._replace(maybe_undefined=x.maybe_undefined or _reaches_infinity(x))


def bounds(expr: ex.Expr, env: Env, clocks: Sequence[Clocks] = ()) -> Interval:
    """An enclosure of the expression's values, in floats, while its leaves range over `env`."""
    tape = Tape(expr, clocks)
    return finished(tape.bounds(Floats, env)[tape.root])


def exact_bounds(
    expr: ex.Expr,
    lo: Fraction,
    hi: Fraction,
    reading_ranges: Mapping[tuple[str, int], tuple[Fraction, Fraction]] = NO_LEAVES,
    *,
    values: Env = NO_LEAVES,
    clocks: Sequence[Clocks] = (),
) -> Interval:
    """An enclosure in rationals while the position runs from lo to hi and the clocks over their ranges, ends included.

    `values` gives other leaves. An infinite end is a float; irrational functions are enclosed to about 1e-15.
    """
    tape = Tape(expr, clocks)
    env: dict[ex.Expr, Any] = dict(values)
    for leaf in tape.leaves:
        if isinstance(leaf, ex.Reading) and leaf not in env:
            key = (leaf.clock, leaf.table)
            env[leaf] = reading_ranges[key] if key in reading_ranges or leaf.clock != "steps" else (lo, hi)
    return finished(tape.bounds(Rationals, env)[tape.root])


def stands_still(leaf: ex.Expr) -> bool:
    """Whether the leaf, though its value may be unknown, is the same at every position."""
    if isinstance(leaf, ex.Var):
        return not leaf.name.startswith("batch")
    return isinstance(leaf, ex.Bound) and leaf.at is not None


def derivative(expr: ex.Expr, wrt: ex.Expr = ex.STEPS) -> ex.Expr | None:
    """The derivative by one leaf, the others held; None where the expression may jump or has none to write down.

    At the kinks of min, max, clamp and abs it is one of the two sides' derivatives.
    """
    match expr:
        case ex.Num() | ex.Const() | ex.Reading():
            return ex.ONE if expr == wrt else ex.ZERO
        case ex.Var() | ex.Bound():
            return ex.ONE if expr == wrt else ex.ZERO if stands_still(expr) else None
        case ex.Op(name, args):
            slopes = [derivative(a, wrt) for a in args]
            if all(s == ex.ZERO for s in slopes):
                return ex.ZERO
            known = [s for s in slopes if s is not None]
            if name == "if" and slopes[0] == ex.ZERO and len(known) == 3:
                return ex.op("if", args[0], known[1], known[2])
            return _chain(name, args, known) if len(known) == len(slopes) else None
        case ex.Piecewise(reading, bounds, values):
            if derivative(reading, wrt) == ex.ZERO:
                inner = [derivative(v, wrt) for v in values]
                found = tuple(v for v in inner if v is not None)
                return ex.piecewise(reading, bounds, found) if len(found) == len(inner) else None
        case ex.Convert(reading, _, _, _):
            return ex.ZERO if derivative(reading, wrt) == ex.ZERO else None
    return None


def _chain(name: str, args: tuple[ex.Expr, ...], d: list[ex.Expr]) -> ex.Expr | None:
    op, x = ex.op, args[0]
    match name:
        case "add" | "sub":
            return op(name, *d)
        case "neg":
            return op("neg", d[0])
        case "mul":
            return op("add", op("mul", d[0], args[1]), op("mul", x, d[1]))
        case "div":
            if d[1] == ex.ZERO:
                return op("div", d[0], args[1])
            top = op("sub", op("mul", d[0], args[1]), op("mul", x, d[1]))
            return op("div", top, op("pow", args[1], ex.num(2)))
        case "pow":
            if d[1] == ex.ZERO:
                return op("mul", op("mul", args[1], op("pow", x, op("sub", args[1], ex.ONE))), d[0])
            log = ex.ONE if x == ex.Const("e") else op("log", x)
            grows = op("mul", op("mul", log, d[1]), ex.Op(name, args))
            if d[0] == ex.ZERO:
                return grows
            return op("add", grows, op("mul", op("mul", args[1], op("pow", x, op("sub", args[1], ex.ONE))), d[0]))
        case "exp":
            return op("mul", op("exp", x), d[0])
        case "log":
            return op("div", d[0], x)
        case "sqrt":
            return op("div", d[0], op("mul", ex.num(2), op("sqrt", x)))
        case "sin":
            return op("mul", op("cos", x), d[0])
        case "cos":
            return op("neg", op("mul", op("sin", x), d[0]))
        case "tan":
            return op("div", d[0], op("pow", op("cos", x), ex.num(2)))
        case "tanh":
            return op("mul", op("sub", ex.ONE, op("pow", op("tanh", x), ex.num(2))), d[0])
        case "abs":
            return op("if", op("ge", x, ex.ZERO), d[0], op("neg", d[0]))
        case "min" | "max":
            best, slope = x, d[0]
            for a, s in zip(args[1:], d[1:], strict=True):
                slope = op("if", op("le" if name == "min" else "ge", best, a), slope, s)
                best = op(name, best, a)
            return slope
        case "clamp":
            low = op("max", x, args[1])
            return op("if", op("le", low, args[2]), op("if", op("ge", x, args[1]), d[0], d[1]), d[2])
    return None
