"""Constant expressions as numbers: exactly where they are rational, to 60 digits where not."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import mpmath

from schedc.compiler import expressions as ex
from schedc.compiler.expressions import Expr

LARGEST_POWER = 1 << 17
"""Powers of 2 and of e beyond this one have no value here: they are far from anything that a double holds."""


def exact(expr: Expr) -> Fraction | None:
    """The value of a constant expression, where it is rational; floor, ceil and round of irrational ones included."""
    if isinstance(expr, ex.Num):
        return expr.value
    if (
        isinstance(expr, ex.Op)
        and expr.name in ("floor", "ceil", "round")
        and ex.is_constant(expr)
        and not ex.variables(expr)
    ):
        return _rounded(expr)
    if isinstance(expr, ex.Op):
        parts = [exact(a) for a in expr.args]
        if all(p is not None for p in parts):
            value = ex.fold(expr.name, tuple(p for p in parts if p is not None))
            return value if value is not None and ex.is_small(value) else None
    return None


def _rounded(expr: ex.Op) -> Fraction | None:
    with mpmath.workdps(60):
        value = approximate(expr.args[0])
        if value is None or not mpmath.isfinite(value) or mpmath.mag(value) > ex.MAX_EXACT_BITS:
            return None
        if expr.name == "round":
            value = value + mpmath.mpf(1) / 2
        low = int(mpmath.floor(value))
        return Fraction(low if expr.name != "ceil" else -int(mpmath.floor(-value)))


def approximate(expr: Expr) -> Any:
    """The value of a constant expression to 60 digits (an mpf); None if it reads anything or is undefined."""
    with mpmath.workdps(60):
        try:
            return _mpf(expr)
        except (ZeroDivisionError, ValueError, OverflowError, KeyError):
            return None


def _mpf(expr: Expr) -> Any:
    match expr:
        case ex.Num(value):
            return mpmath.mpf(value.numerator) / value.denominator
        case ex.Const(name):
            return {"pi": mpmath.pi, "e": mpmath.e, "inf": mpmath.inf}[name] + 0
        case ex.Op(name, args):
            a = [_mpf(x) for x in args]
            _moderate(name, a)
            simple = {
                "add": lambda: a[0] + a[1], "sub": lambda: a[0] - a[1], "mul": lambda: a[0] * a[1], "div": lambda: a[0] / a[1],
                "neg": lambda: -a[0], "pow": lambda: mpmath.mpf(1) if a[1] == 0 else mpmath.power(a[0], a[1]),
                "exp": lambda: mpmath.exp(a[0]), "log": lambda: mpmath.log(a[0]), "sqrt": lambda: mpmath.sqrt(a[0]),
                "sin": lambda: mpmath.sin(a[0]), "cos": lambda: mpmath.cos(a[0]), "tan": lambda: mpmath.tan(a[0]),
                "tanh": lambda: mpmath.tanh(a[0]), "abs": lambda: abs(a[0]), "min": lambda: min(a), "max": lambda: max(a),
                "floor": lambda: mpmath.floor(a[0]), "ceil": lambda: mpmath.ceil(a[0]), "round": lambda: mpmath.floor(a[0] + 0.5),
                "mod": lambda: a[0] - a[1] * mpmath.floor(a[0] / a[1]), "clamp": lambda: min(max(a[0], a[1]), a[2]),
                "if": lambda: a[1] if a[0] else a[2], "lt": lambda: a[0] < a[1], "le": lambda: a[0] <= a[1], "gt": lambda: a[0] > a[1],
                "ge": lambda: a[0] >= a[1], "eq": lambda: a[0] == a[1], "ne": lambda: a[0] != a[1],
            }  # fmt: skip
            value = simple[name]()
            if isinstance(value, mpmath.mpc):
                raise ValueError(name)
            return value
    raise KeyError(expr)


def _moderate(name: str, args: list[Any]) -> None:
    """Refuse what takes mpmath as many digits as its result, or its argument, is large."""
    x = args[0]
    if not all(map(mpmath.isfinite, args)):
        return
    if (name == "pow" and abs(args[1]) * (abs(mpmath.mag(x)) + 1 if x else 1) > LARGEST_POWER) or (
        name in ("exp", "tanh") and abs(x) > LARGEST_POWER
    ):
        raise OverflowError(name)
    if name in ("sin", "cos", "tan", "mod", "floor", "ceil", "round") and x and mpmath.mag(x) > ex.MAX_EXACT_BITS:
        raise OverflowError(name)


def as_fraction(value: Any) -> Fraction | None:
    """An mpf as a fraction; None if it is not finite, or too large to hold."""
    if not mpmath.isfinite(value) or (value != 0 and abs(mpmath.mag(value)) > ex.MAX_EXACT_BITS):
        return None
    return Fraction(str(mpmath.nstr(value, 50)))
