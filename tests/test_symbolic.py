"""Formulas in SymPy and on one line, and what is decided about seams."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
import sympy as sp

from schedc.backends import reference
from schedc.compiler import expressions as ex
from schedc.compiler import symbolic
from schedc.compiler.plan import ClockPiece, Clocks

n = ex.STEPS
pi = ex.Const("pi")


def num(p: int, q: int = 1) -> ex.Expr:
    return ex.num(Fraction(p, q))


t = ex.local_time("steps", Fraction(500))
COSINE = ex.div(ex.add(ex.ONE, ex.op("cos", ex.mul(pi, ex.div(t, num(10_000))))), num(2))
STAIRS = ex.op("pow", num(1, 10), ex.op("floor", ex.div(t, num(30))))


@pytest.mark.parametrize(
    ("expr", "shown"),
    [
        (COSINE, "(1 + cos(pi*t/10000))/2"),
        (STAIRS, "0.1^floor(t/30)"),
        (ex.mul(num(3, 10_000), ex.div(t, num(7))), "3*t/70000"),
        (ex.sub(ex.ONE, ex.div(t, num(3))), "1 - t/3"),
        (ex.sub(num(1), ex.sub(n, ex.Var("base"))), "1 - (t + 500 - base)"),
        (ex.mul(num(3, 10_000), COSINE), "0.00015*(1 + cos(pi*t/10000))"),
        (ex.div(ex.Var("base"), ex.op("sqrt", ex.add(ex.ONE, t))), "base/sqrt(t + 1)"),
        (ex.op("max", ex.mul(ex.Var("factor:0"), num(1, 10)), num(-1, 3)), "max(F_0/10, -1/3)"),
        (
            ex.op("if", ex.op("lt", t, num(5)), ex.op("neg", ex.ONE), ex.Bound("lr", Fraction(7, 2))),
            "if(t < 5, -1, lr(7/2))",
        ),
        (ex.op("pow", ex.op("neg", ex.Var("base")), num(2)), "(-base)^2"),
        (ex.op("pow", num(3, 4), ex.sub(num(12), ex.Var("capture:i"))), "0.75^(12 - i)"),
        (ex.add(ex.Var("base"), ex.mul(num(-2), ex.op("exp", t))), "base - 2*exp(t)"),
        (ex.div(ex.ONE, ex.mul(ex.Var("base"), ex.op("exp", t))), "1/(base*exp(t))"),
        (ex.op("passed", t, num(3), num(1, 2)), "passed(t, 3, 0.5)"),
        (ex.piecewise(t, (Fraction(3),), (ex.ONE, num(2))), "1 while t < 3; then 2"),
    ],
)
def test_text_reads_as_written(expr: ex.Expr, shown: str) -> None:
    assert symbolic.text(expr, origin=Fraction(500)) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Fraction(1, 10), "0.1"),
        (Fraction(-5, 4), "-1.25"),
        (Fraction(1, 3), "1/3"),
        (Fraction(10**12), "1000000000000"),
        (Fraction(1, 10**8), "1e-8"),
        (Fraction(73, 10**7), "7.3e-6"),
        (Fraction(1, 2**20), "1/1048576"),
        (Fraction(1001, 1000), "1.001"),
    ],
)
def test_numbers_are_written_exactly(value: Fraction, shown: str) -> None:
    assert symbolic.number(value) == shown
    assert Fraction(shown) == value


def test_sympy_sees_what_the_reference_computes() -> None:
    steps = sp.Symbol("steps", real=True)
    x = ex.div(n, num(7))
    branches = ex.op("if", ex.op("ge", x, ex.ONE), ex.op("min", x, num(2)), ex.op("mod", n, num(3)))
    looked_up = ex.op("pick", ex.op("floor", x), num(4), x, num(1, 3))
    counted = ex.op("product", ex.op("passed", n, num(3), num(9)), num(1, 2), num(1, 5))
    clamped = ex.op("clamp", ex.op("round", x), ex.ONE, num(2))
    pieces = ex.piecewise(n, (Fraction(4), Fraction(8)), (x, ex.op("ceil", x), ex.op("abs", ex.sub(num(1), x))))
    for expr in (branches, looked_up, counted, clamped, pieces, STAIRS, COSINE):
        translated = symbolic.to_sympy(expr)
        for at in (0, 3, 4, 7, 8, 9, 20, 530):
            wanted = float(reference.expression_value((), expr, Fraction(at)))
            assert float(translated.subs(steps, at)) == pytest.approx(wanted, rel=1e-14)


def test_local_time_is_a_symbol_of_its_own() -> None:
    found = symbolic.to_sympy(COSINE, origin=Fraction(500))
    (symbol,) = found.free_symbols
    assert symbol.name == "t"
    assert sp.simplify(found - (1 + sp.cos(sp.pi * symbol / 10_000)) / 2) == 0
    assert symbolic.to_sympy(n, origin=Fraction(500)) == symbol + 500
    other = symbolic.to_sympy(ex.add(ex.Reading("tokens", 1), n), origin=Fraction(1), clock="tokens", table=1)
    assert {s.name for s in other.free_symbols} == {"t", "steps"}
    assert symbolic.latex(ex.div(t, num(3)), origin=Fraction(500)) == r"\frac{t}{3}"


def test_names_are_not_sympys() -> None:
    # beta, gamma, E, I and S mean something to SymPy's parser.
    for name in ("beta", "E", "I", "S"):
        assert symbolic.to_sympy(ex.Bound(name)) == sp.Symbol(name, real=True)


def test_a_step_is_seen_from_the_left() -> None:
    seam = symbolic.seam_limits(STAIRS, STAIRS, {n: Fraction(530)})
    assert (seam.left, seam.right, seam.equal) == (ex.ONE, num(1, 10), False)
    assert symbolic.seam_limits(STAIRS, STAIRS, {n: Fraction(531)}).equal is True


@pytest.mark.parametrize(
    ("expr", "at", "left"),
    [
        (ex.op("floor", n), 3, 2),
        (ex.op("floor", ex.op("neg", n)), 3, -3),
        (ex.op("ceil", n), 3, 3),
        (ex.op("ceil", ex.op("neg", n)), 3, -2),
        (ex.op("round", ex.div(n, num(2))), 3, 1),
        (ex.op("mod", n, num(3)), 3, 3),
        (ex.op("passed", n, num(3), num(2)), 3, 1),
        (ex.op("pick", ex.div(n, num(3)), num(7), num(8)), 3, 7),
        (ex.op("product", ex.op("passed", n, num(3)), num(1, 2)), 3, 1),
        (ex.op("if", ex.op("lt", n, num(3)), num(5), num(6)), 3, 5),
        (ex.op("if", ex.op("ge", n, num(3)), num(5), num(6)), 3, 6),
        (ex.op("if", ex.op("eq", n, num(3)), num(5), num(6)), 3, 6),
        (ex.piecewise(n, (Fraction(3),), (num(5), num(6))), 3, 5),
        (ex.op("floor", ex.op("exp", ex.sub(n, num(3)))), 3, 0),
        (ex.op("floor", ex.op("floor", n)), 3, 2),
    ],
)
def test_limits_from_the_left(expr: ex.Expr, at: int, left: int) -> None:
    shown = {n: Fraction(at)}
    assert symbolic.at_seam(expr, shown, from_left=True) == num(left)
    near = reference.expression_value((), expr, Fraction(at) - Fraction(1, 10**12))
    assert abs(near - left) < Fraction(1, 10**9)


def test_a_side_that_is_not_known_is_left_open() -> None:
    # Both clocks rise: from which side their difference comes depends on their rates.
    between = ex.op("floor", ex.sub(ex.Reading("tokens"), n))
    seam = symbolic.seam_limits(between, ex.ZERO, {n: Fraction(1), ex.Reading("tokens"): Fraction(1)})
    assert (seam.left, seam.equal) == (None, None)


def test_seams_of_other_clocks() -> None:
    clocks = Clocks(pieces=(ClockPiece(update=0, tokens=Fraction(0), tokens_per_update=Fraction(10)),))
    left = ex.Convert(ex.Reading("tokens"), "tokens", "steps")
    seam = symbolic.seam_limits(left, num(3), {ex.Reading("tokens"): Fraction(30)}, (clocks,))
    assert (seam.left, seam.equal) == (num(3), True)


@pytest.mark.parametrize(
    ("a", "b", "wanted"),
    [
        (ex.op("cos", ex.div(pi, num(5))), ex.div(ex.add(ex.ONE, ex.op("sqrt", num(5))), num(4)), True),
        (ex.op("exp", ex.op("log", num(3))), num(3), True),
        (ex.op("exp", ex.ONE), ex.Const("e"), True),
        (ex.op("sqrt", num(2)), ex.Num(Fraction(2**0.5)), False),
        (
            ex.mul(ex.Var("base"), ex.add(ex.Var("base"), ex.ONE)),
            ex.add(ex.op("pow", ex.Var("base"), num(2)), ex.Var("base")),
            True,
        ),
        (ex.Var("base"), ex.mul(ex.Var("base"), ex.Num(1 + Fraction(1, 10**12))), False),
        (ex.mul(ex.Var("factor:0"), num(1, 3)), ex.div(ex.Var("factor:0"), num(3)), True),
        (num(1), num(2), False),
    ],
)
def test_equality_is_decided(a: ex.Expr, b: ex.Expr, wanted: bool) -> None:
    assert symbolic.equal(a, b) is wanted


def test_hard_questions_come_back() -> None:
    tower: ex.Expr = num(9)
    for _ in range(4):
        tower = ex.Op("pow", (num(9), tower))
    nested: ex.Expr = n
    for _ in range(60):
        nested = ex.op("sin", ex.add(nested, ex.op("exp", ex.op("neg", nested))))
    began = time.perf_counter()
    assert symbolic.equal(tower, ex.add(tower, ex.ONE)) in (None, False)
    assert symbolic.equal(nested, ex.op("cos", nested)) in (None, False)
    assert symbolic.equal(ex.op("exp", ex.op("exp", num(100))), ex.op("exp", ex.op("exp", num(101)))) in (None, False)
    assert time.perf_counter() - began < 20
    with pytest.raises(symbolic.TooLarge):
        symbolic.to_sympy(tower)
