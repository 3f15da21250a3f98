"""Printed Python means what the expression means, and reads as if written by hand."""

from __future__ import annotations

import math
from bisect import bisect
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schedc.compiler import expressions as ex
from schedc.compiler.printer import HELPERS, Printer, Scope
from schedc.compiler.printer_text import Call, Line, number

N = ex.num
PI = ex.Const("pi")


def since(origin: int) -> ex.Expr:
    return ex.local_time("steps", Fraction(origin))


def body(expr: ex.Expr, **scope: Any) -> str:
    return "\n".join(Printer(Scope(**scope)).body(expr))


def stage(origin: int, horizon: int) -> dict[str, Any]:
    return {
        "origin": ("steps", 0, Fraction(origin)),
        "horizon": Fraction(horizon),
        "first": origin,
        "last": origin + horizon - 1,
    }


def run(expr: ex.Expr, n: int, scope: Scope | None = None, **names: Any) -> float:
    """What the printed function returns at update n."""
    printer = Printer(scope or Scope())
    arguments = ", ".join(["n", *names])
    lines = [f"def f({arguments}):", *("    " + line for line in printer.body(expr))]
    space: dict[str, Any] = {"math": math, "bisect": bisect, "Fraction": Fraction}
    exec("\n".join([*HELPERS.values(), *lines]), space)
    return float(space["f"](n, **names))


COSINE = ex.div(ex.add(N(1), ex.op("cos", ex.mul(PI, ex.div(since(500), N(10000))))), N(2))

WHOLE = ex.op("floor", ex.div(since(500), N(30)))
REST = ex.sub(N(1), ex.div(since(500), N(90)))


@pytest.mark.parametrize(
    ("expr", "scope", "expected"),
    [
        (ex.mul(N(Fraction("3e-4")), COSINE), stage(500, 10000), "return 1.5e-4 * (1 + math.cos(math.pi * t / 10000))"),
        (ex.mul(N(Fraction("3e-4")), ex.div(ex.STEPS, N(500))), stage(0, 500), "return 3e-4 * n / 500"),
        (ex.mul(N(Fraction("2.2e-4")), ex.div(ex.STEPS, N(300))), stage(0, 300), "return 2.2e-4 * n / 300"),
        (ex.div(ex.STEPS, N(500)), stage(0, 500), "return n / 500"),
        (ex.mul(N(Fraction(1, 3)), since(500)), {}, "return (n - 500) / 3"),
        (ex.op("pow", N(Fraction("0.95")), WHOLE), stage(500, 90), "return 0.95 ** (t // 30)"),
        (ex.op("pow", REST, N(Fraction(9, 10))), stage(500, 90), "return (1 - t / 90) ** 0.9"),
        (ex.op("sqrt", ex.sub(N(1), ex.op("sin", ex.STEPS))), {}, "return math.sqrt(max(0.0, 1 - math.sin(n)))"),
        (ex.op("round", ex.div(since(500), N(64))), stage(500, 90), "return float((t + 32) // 64)"),
        (ex.op("mod", since(500), N(Fraction(5, 2))), stage(500, 90), "return 2 * t % 5 / 2"),
        (
            ex.op("pick", ex.op("passed", ex.STEPS, N(30), N(60)), N(1), N(Fraction(1, 10)), N(0)),
            {},
            "return (1.0, 0.1, 0.0)[(n >= 30) + (n >= 60)]",
        ),
        (
            ex.op("product", ex.op("passed", ex.STEPS, N(3), N(6), N(9)), *[N(Fraction(1, 10))] * 3),
            {},
            "return 0.1 ** bisect((3, 6, 9), n)",
        ),
        (ex.op("clamp", ex.op("sin", ex.STEPS), N(0), N(1)), {}, "return min(max(math.sin(n), 0), 1)"),
        (ex.op("exp", ex.mul(N(Fraction(-1, 3)), ex.STEPS)), {}, "return math.exp(-n / 3)"),
        (ex.op("exp", ex.STEPS), {}, "return exp(n)"),
        (ex.op("pow", N(2), ex.STEPS), {}, "return power(2.0, n)"),
        (ex.sub(N(1), ex.sub(ex.op("sin", ex.STEPS), N(-2))), {}, "return 1 - (math.sin(n) + 2)"),
        (ex.add(ex.mul(N(-3), ex.op("sin", ex.STEPS)), N(1)), {}, "return 1 - 3 * math.sin(n)"),
        (N(0), {}, "return 0.0"),
        (ex.STEPS, {}, "return float(n)"),
    ],
)  # fmt: skip
def test_text_reads_as_if_written_by_hand(expr: ex.Expr, scope: dict[str, Any], expected: str) -> None:
    assert body(expr, **scope).splitlines()[-1] == expected


def test_local_time_is_named_once() -> None:
    assert body(COSINE, **stage(500, 10000)).splitlines()[0] == "t = n - 500"
    assert "t =" not in body(ex.div(ex.STEPS, N(3)), **stage(0, 500))


def test_choices_become_statements_and_stay_lazy() -> None:
    e = ex.op("if", ex.op("lt", ex.STEPS, N(Fraction(1, 2))), N(1), ex.div(N(1), ex.STEPS))
    assert body(e).splitlines() == ["if n < 1:", "    return 1.0", "return 1 / n"]
    assert run(e, 0) == 1.0
    inner = ex.add(N(1), ex.op("if", ex.op("gt", ex.STEPS, N(0)), ex.op("log", ex.STEPS), N(0)))
    assert body(inner) == "return 1 + (math.log(n) if n > 0 else 0)"
    assert run(inner, 0) == 1.0


def test_a_clock_that_advances_evenly_is_folded_into_whole_numbers() -> None:
    readings = {("steps", 0): Line(1, 0, 1), ("epochs", 0): Line(1, 0, 1252)}
    t = ex.local_time("epochs", Fraction(5))
    scope = {"readings": readings, "origin": ("epochs", 0, Fraction(5)), "first": 6260}
    decay = ex.op("pow", N(Fraction(1, 10)), ex.op("floor", ex.div(t, N(30))))
    assert body(decay, **scope) == "return 0.1 ** ((n - 6260) // 37560)"
    assert body(ex.op("cos", t), **scope).splitlines() == ["t = (n - 6260) / 1252", "return math.cos(t)"]
    far = ex.div(t, N(Fraction(112180, 1252)))
    assert body(far, **scope).splitlines()[-1] == "return (n - 6260) / 112180"


def test_a_clock_that_does_not_is_called() -> None:
    readings = {("tokens", 0): Call("tokens(n)", whole=True), ("epochs", 0): Call("epochs(n)", whole=False)}
    t = ex.local_time("tokens", Fraction(10**9))
    scope = {"readings": readings, "origin": ("tokens", 0, Fraction(10**9))}
    lines = ["t = tokens(n) - 1_000_000_000", "return t / 3"]
    assert body(ex.div(t, N(3)), **scope).splitlines() == lines
    assert body(ex.op("floor", ex.Reading("epochs")), readings=readings) == "return float(epochs(n) // 1)"


def test_boundaries_are_exact_where_floats_would_miss_them() -> None:
    # 0.3 · 10 is not 3 in floating point.
    e = ex.op("floor", ex.div(ex.STEPS, N(Fraction(3, 10))))
    assert [run(e, n) for n in range(7)] == [n * 10 // 3 for n in range(7)]
    third = ex.Piecewise(ex.div(ex.STEPS, N(3)), (Fraction(1, 3), Fraction(2, 3)), (N(0), N(1), N(2)))
    assert [run(third, n) for n in range(4)] == [0, 1, 2, 2]


@pytest.mark.parametrize("count", [3, 40, 3000])
def test_many_pieces_are_looked_up(count: int) -> None:
    bounds = tuple(Fraction(i, 2) for i in range(1, count))
    constant = ex.Piecewise(ex.STEPS, bounds, tuple(N(i) for i in range(count)))
    varying = ex.Piecewise(ex.STEPS, bounds, tuple(ex.add(ex.op("sin", ex.STEPS), N(i)) for i in range(count)))
    for n in (0, 1, count // 4, count):
        expected = sum(b <= n for b in bounds)
        assert run(constant, n) == expected
        assert run(ex.mul(N(1), varying), n) == math.sin(n) + expected
        assert run(ex.op("tanh", varying), n) == math.tanh(math.sin(n) + expected)


def test_what_no_float_holds_does_not_raise() -> None:
    decay = ex.div(N(1), ex.add(N(1), ex.op("exp", ex.STEPS)))
    assert run(decay, 5000) == 0.0
    assert run(ex.div(N(1), ex.op("pow", N(Fraction("1.5")), ex.STEPS)), 10**6) == 0.0
    assert run(ex.op("pow", N(-2), ex.STEPS), 10**5 + 1) == -math.inf
    assert run(ex.op("pow", N(Fraction(1, 2)), ex.STEPS), 10**6) == 0.0
    assert run(ex.op("pow", ex.STEPS, N(0)), 0) == 1.0


def test_rounding_never_makes_a_root_complex() -> None:
    p = ex.add(N(Fraction(1, 10)), ex.mul(N(Fraction(3, 10)), ex.op("cos", N(0))))
    e = ex.op("pow", ex.sub(N(Fraction(4, 10)), ex.mul(p, ex.op("min", ex.STEPS, N(1)))), N(Fraction(9, 10)))
    assert run(e, 1) == 0.0


@given(st.fractions(), st.integers(0, 400))
def test_numbers_are_correctly_rounded(value: Fraction, exponent: int) -> None:
    for v in (value, value / 10**exponent):
        text = number(v).text
        assert float(Fraction(text.replace("_", "")) if "." not in text and "e" not in text else float(text)) == float(
            v
        )


def leaves() -> st.SearchStrategy[ex.Expr]:
    numbers = st.fractions(-5, 5, max_denominator=12).map(N)
    return st.one_of(numbers, st.just(ex.STEPS), st.just(since(7)), st.just(ex.Var("base")), st.just(PI))


def deeper(inner: st.SearchStrategy[ex.Expr]) -> st.SearchStrategy[ex.Expr]:
    two = st.sampled_from(["add", "sub", "mul", "min", "max", "lt", "le", "gt", "ge", "eq", "ne"])
    one = st.sampled_from(["neg", "abs", "sin", "cos", "tanh", "floor", "ceil", "round"])
    divisor = st.fractions(Fraction(1, 9), 9, max_denominator=9).map(N)
    return st.one_of(
        st.builds(ex.op, two, inner, inner),
        st.builds(ex.op, one, inner),
        st.builds(ex.op, st.sampled_from(["div", "mod"]), inner, divisor),
        st.builds(ex.op, st.just("if"), inner, inner, inner),
        st.builds(lambda i, a, b, c: ex.op("pick", i, a, b, c), inner, inner, inner, inner),
        st.builds(lambda x, a, b: ex.op("passed", x, N(a), N(b)), inner, st.integers(-3, 3), st.integers(-3, 9)),
        st.builds(lambda r, *v: ex.piecewise(r, (Fraction(1, 3), Fraction(8)), v), inner, inner, inner, inner),
        st.builds(lambda b, e: ex.op("pow", ex.op("abs", b), N(e)), inner, st.integers(0, 3)),
    )  # fmt: skip


def decides_on_irrational(expr: ex.Expr) -> bool:
    """Whether something that jumps has an argument that floating point can't hold exactly."""
    jumps = {"floor", "ceil", "round", "mod", "passed", "pick", "if", "lt", "le", "gt", "ge", "eq", "ne"}
    for e in ex.walk(expr):
        if isinstance(e, ex.Piecewise) or (isinstance(e, ex.Op) and e.name in jumps):
            for inner in ex.walk(e):
                if isinstance(inner, ex.Const | ex.Var):
                    return True
                if isinstance(inner, ex.Op) and inner.name in ("sin", "cos", "tanh", "pow", "pick", "product"):
                    return True
                if isinstance(inner, ex.Piecewise) and inner is not e:
                    return True
                if isinstance(inner, ex.Op) and inner.name in ("mul", "div") and not isinstance(inner.args[0], ex.Num):
                    return True
    return False


@settings(max_examples=400, deadline=None)
@given(st.recursive(leaves(), deeper, max_leaves=12), st.integers(0, 60))
def test_values_are_those_of_the_reference(expr: ex.Expr, n: int) -> None:
    from schedc.backends.reference import expression_value
    from schedc.compiler.plan import ClockPiece, Clocks

    if decides_on_irrational(expr):
        return
    clocks = (Clocks(pieces=(ClockPiece(update=0),)),)
    expected = float(expression_value(clocks, expr, Fraction(n), {"base": Fraction(3, 7)}))
    scope = Scope(variables={"base": "base"}, origin=("steps", 0, Fraction(7)))
    size = max(
        [1.0, *(abs(float(expression_value(clocks, e, Fraction(n), {"base": Fraction(3, 7)}))) for e in ex.walk(expr))]
    )
    assert run(expr, n, scope, base=3 / 7) == pytest.approx(expected, rel=1e-14, abs=1e-14 * size)
