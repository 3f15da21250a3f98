"""Between which floats an expression lies, seen at once: the printer leaves out guards that cannot matter."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from schedc.compiler import expressions as ex
from schedc.compiler.printer_text import Line

if TYPE_CHECKING:
    from schedc.compiler.printer import Scope

Range = tuple[float, float]

ANY: Range = (-math.inf, math.inf)
SANE = 1e100
"""No hyper-parameter is as large as this, and no model has LAYERS layers: what a run supplies lies below them."""
LAYERS = 1000


def value_range(expr: ex.Expr, scope: Scope) -> Range:
    """Bounds of the value over the scope's updates, not the tightest ones; infinite where nothing is known."""
    try:
        low, high = _range(expr, scope)
    except (OverflowError, ZeroDivisionError, ValueError):
        return ANY
    return ANY if math.isnan(low) or math.isnan(high) else (low, high)


def _range(expr: ex.Expr, scope: Scope) -> Range:
    match expr:
        case ex.Num(value):
            return float(value), float(value)
        case ex.Const(name):
            x = {"pi": math.pi, "e": math.e, "inf": math.inf}[name]
            return x, x
        case ex.Reading(clock, table):
            reading = scope.readings.get((clock, table))
            last = math.inf if scope.last is None else scope.last
            if isinstance(reading, Line):
                first, last = ((reading.slope * n + reading.offset) / reading.scale for n in (scope.first, last))
                return first, last
            return 0.0, math.inf
        case ex.Convert():
            return 0.0, math.inf
        case ex.Var(name):
            kind = name.partition(":")[0]
            return 0.0, {"factor": 1.0, "capture": float(LAYERS)}.get(kind, SANE)
        case ex.Bound():
            return -SANE, SANE
        case ex.Piecewise(_, _, values):
            return _hull([value_range(v, scope) for v in values])
        case ex.Op(name, args):
            return _op(name, [value_range(a, scope) for a in args], args)
    return ANY


def _hull(ranges: list[Range]) -> Range:
    return min(r[0] for r in ranges), max(r[1] for r in ranges)


def _product(a: Range, b: Range) -> Range:
    ends = [0.0 if x == 0 or y == 0 else x * y for x in a for y in b]
    return min(ends), max(ends)


def _op(name: str, r: list[Range], args: tuple[ex.Expr, ...]) -> Range:
    low, high = r[0]
    match name:
        case "add":
            return low + r[1][0], high + r[1][1]
        case "sub":
            return low - r[1][1], high - r[1][0]
        case "neg":
            return -high, -low
        case "mul":
            return _product(r[0], r[1])
        case "div" if r[1][0] > 0 or r[1][1] < 0:
            return _product(r[0], (1 / r[1][1], 1 / r[1][0]))
        case "pow" if low >= 0:
            return _hull([_powers(r[0], e) for e in r[1]])
        case "exp":
            return math.exp(low) if low < 709 else math.inf, math.exp(high) if high < 709 else math.inf
        case "sqrt" if low >= 0:
            return math.sqrt(low), math.sqrt(high) if high < math.inf else math.inf
        case "sin" | "cos" | "tanh":
            return -1.0, 1.0
        case "abs":
            return max(0.0, low, -high), max(-low, high)
        case "floor" | "ceil" | "round":
            return low - 1, high + 1
        case "min":
            return min(x[0] for x in r), min(x[1] for x in r)
        case "max":
            return max(x[0] for x in r), max(x[1] for x in r)
        case "clamp":
            return min(max(low, r[1][0]), r[2][0]), min(max(high, r[1][1]), r[2][1])
        case "mod" if r[1][0] > 0:
            return 0.0, r[1][1]
        case "if":
            return _hull(r[1:])
        case "lt" | "le" | "gt" | "ge" | "eq" | "ne":
            return 0.0, 1.0
        case "passed":
            return 0.0, float(len(args) - 1)
        case "pick":
            return _hull(r[1:])
    return ANY


def _powers(base: Range, exponent: float) -> Range:
    ends = []
    for x in base:
        if x == 0 or math.isinf(x) or math.isinf(exponent):
            grows = (x > 1) == (exponent > 0)
            ends.append(1.0 if x == 1 or exponent == 0 else math.inf if grows else 0.0)
        else:
            ends.append(x**exponent)
    return min(ends), max(ends)
