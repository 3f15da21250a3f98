"""Interval bounds: they enclose, they are tight where it matters, and what is certified is true."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schedc.backends import reference
from schedc.compiler import certify, enclosures, intervals
from schedc.compiler import expressions as ex
from schedc.compiler.plan import ClockPiece, Clocks

n = ex.STEPS
pi = ex.Const("pi")


def num(p: int, q: int = 1) -> ex.Expr:
    return ex.num(Fraction(p, q))


def cosine(length: int, high: Fraction = Fraction(1), low: Fraction = Fraction(0)) -> ex.Expr:
    """From high to low, written as the language's `from + (to - from) * (1 - cos(pi * p)) / 2`."""
    p = ex.div(n, num(length))
    shape = ex.div(ex.sub(ex.ONE, ex.op("cos", ex.mul(pi, p))), num(2))
    return ex.add(ex.Num(high), ex.mul(ex.Num(low - high), shape))


# In one variable, defined and smooth or not, of moderate size for 0 <= n <= 100.
leaves = st.one_of(
    st.just(ex.div(n, num(100))),
    st.just(n),
    st.integers(-3, 3).map(num),
    st.sampled_from([num(1, 3), num(-7, 10), pi]),
)
smooth = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["add", "sub", "mul"]), inner, inner).map(lambda x: ex.op(*x)),
        st.tuples(st.sampled_from(["sin", "cos", "tanh", "neg"]), inner).map(lambda x: ex.op(*x)),
        inner.map(lambda x: ex.op("exp", ex.op("sin", x))),
        inner.map(lambda x: ex.op("sqrt", ex.add(ex.ONE, ex.op("pow", x, num(2))))),
        inner.map(lambda x: ex.op("log", ex.add(num(2), ex.op("cos", x)))),
        st.tuples(inner, inner).map(lambda x: ex.div(x[0], ex.add(num(3), ex.op("sin", x[1])))),
        st.tuples(inner, st.integers(0, 3)).map(lambda x: ex.op("pow", x[0], num(x[1]))),
    ),
    max_leaves=8,
)
rough = st.recursive(
    leaves,
    lambda inner: st.one_of(
        smooth,
        st.tuples(st.sampled_from(["add", "sub", "mul", "min", "max"]), inner, inner).map(lambda x: ex.op(*x)),
        st.tuples(st.sampled_from(["floor", "ceil", "round", "abs"]), inner).map(lambda x: ex.op(*x)),
        st.tuples(inner, st.sampled_from([num(3), num(-1, 2), num(10)])).map(lambda x: ex.op("mod", *x)),
        st.tuples(inner, inner, inner).map(lambda x: ex.op("if", ex.op("lt", x[0], num(1)), x[1], x[2])),
        inner.map(lambda x: ex.op("clamp", x, num(-1), num(2))),
        inner.map(lambda x: ex.op("passed", x, num(0), num(1), num(30))),
        st.tuples(inner, inner).map(lambda x: ex.op("product", x[0], num(1, 2), x[1], num(2))),
        st.tuples(inner, inner).map(lambda x: ex.op("pick", x[0], num(4), x[1])),
        st.tuples(inner, inner).map(lambda x: ex.piecewise(n, (Fraction(10), Fraction(101, 3)), (x[0], num(1), x[1]))),
    ),
    max_leaves=8,
)
boxes = st.tuples(st.integers(0, 100), st.integers(0, 100), st.integers(1, 5)).map(
    lambda x: (Fraction(min(x[0], x[1]), x[2]), Fraction(max(x[0], x[1]), x[2]))
)
parts = st.lists(st.integers(0, 24), min_size=3, max_size=6)


def truth(expr: ex.Expr, at: Fraction) -> Fraction:
    return Fraction(reference.rational(reference.expression_value((), expr, at)))


@settings(max_examples=300, deadline=None)
@given(rough, boxes, parts)
def test_bounds_over_a_box_enclose_every_value_in_it(
    expr: ex.Expr, box: tuple[Fraction, Fraction], at: list[int]
) -> None:
    lo, hi = box
    loose = enclosures.bounds(expr, {n: box})
    exact = enclosures.exact_bounds(expr, lo, hi)
    for k in at:
        value = truth(expr, lo + (hi - lo) * Fraction(k, 24))
        slack = abs(value) / 10**45
        for found in (loose, exact):
            assert found.lo <= value + slack
            assert value - slack <= found.hi


@settings(max_examples=150, deadline=None)
@given(smooth, st.integers(1, 99))
def test_derivatives_are_the_slopes(expr: ex.Expr, at: int) -> None:
    slope = enclosures.derivative(expr, n)
    assert slope is not None
    # At 60 digits a central difference with this step is good to 20 and more.
    step = Fraction(1, 10**18)
    rise = truth(expr, at + step) - truth(expr, at - step)
    found = truth(slope, Fraction(at))
    assert abs(found - rise / (2 * step)) <= Fraction(1, 10**8) * max(Fraction(1), abs(found))


@settings(max_examples=100, deadline=None)
@given(rough, boxes, parts)
def test_what_is_certified_holds_at_every_place(expr: ex.Expr, box: tuple[Fraction, Fraction], at: list[int]) -> None:
    lo, hi = box
    places = sorted({lo + (hi - lo) * Fraction(k, 24) for k in at})
    values = [truth(expr, x) for x in places]
    slack = Fraction(1, 10**40) * (1 + max(map(abs, values)))
    found = certify.certify_range(expr, lo, hi, budget=60)
    assert found.least.lo <= min(values) + slack
    assert max(values) - slack <= found.greatest.hi
    if not found.maybe_undefined:
        assert found.least.lo <= truth(expr, found.at_least) + slack
        assert truth(expr, found.at_least) - slack <= found.least.hi
        assert found.greatest.lo <= truth(expr, found.at_greatest) + slack
    directions: tuple[Literal["increasing", "decreasing"], ...] = ("increasing", "decreasing")
    for direction in directions:
        verdict = certify.certify_monotone(expr, lo, hi, direction, budget=60)
        sign = 1 if direction == "increasing" else -1
        if verdict.outcome == "proved":
            assert all(sign * (b - a) >= -slack for a, b in pairwise(values))
        if verdict.outcome == "refuted":
            first, second = verdict.at
            assert first < second
            assert sign * (truth(expr, second) - truth(expr, first)) < 0
    sign_of = certify.certify_sign(expr, lo, hi, "ge", budget=60)
    if sign_of.outcome == "proved":
        assert min(values) >= 0
    if sign_of.outcome == "refuted":
        assert truth(expr, sign_of.at[0]) < 0


@pytest.mark.parametrize("length", [3, 7, 999, 10_000])
def test_a_cosine_is_settled_at_once_and_exactly(length: int) -> None:
    expr = cosine(length, Fraction(1, 10))
    found = certify.certify_range(expr, Fraction(0), Fraction(length))
    assert [found.least.lo, found.least.hi, found.at_least] == [0, 0, length]
    assert [found.greatest.lo, found.greatest.hi, found.at_greatest] == [Fraction(1, 10), Fraction(1, 10), 0]
    assert not found.maybe_undefined
    assert found.complete
    assert found.evaluations < 20
    assert certify.certify_monotone(expr, Fraction(0), Fraction(length)).outcome == "proved"
    assert certify.certify_sign(expr, Fraction(0), Fraction(length)).outcome == "proved"
    strictly = certify.certify_sign(expr, Fraction(0), Fraction(length), "gt")
    assert [strictly.outcome, *strictly.at] == ["refuted", length]


def test_a_cosine_that_goes_on_rises_again() -> None:
    verdict = certify.certify_monotone(cosine(1000), Fraction(0), Fraction(1100))
    assert verdict.outcome == "refuted"
    assert verdict.at[1] > 1000
    assert certify.certify_range(cosine(1000), Fraction(900), Fraction(1100)).at_least == 1000


def test_a_root_that_ends_at_zero_is_defined() -> None:
    # p = n/300 reaches 1 exactly, though 1/300 is no float.
    p = ex.div(n, num(300))
    expr = ex.sub(ex.ONE, ex.op("sqrt", ex.sub(ex.ONE, p)))
    found = certify.certify_range(expr, Fraction(0), Fraction(300))
    assert not found.maybe_undefined
    assert (found.least.lo, found.greatest.hi) == (0, 1)
    assert certify.certify_range(expr, Fraction(0), Fraction(301), budget=200).maybe_undefined


@pytest.mark.parametrize(
    ("expr", "faulty"),
    [
        (ex.div(ex.ONE, ex.sub(n, num(5))), True),
        (ex.div(ex.ONE, ex.add(n, num(5))), False),
        (ex.op("log", n), True),
        (ex.op("log", ex.add(n, ex.ONE)), False),
        (ex.op("exp", ex.mul(n, n)), True),
        (ex.op("tan", n), True),
        (ex.op("pow", ex.sub(n, ex.ONE), num(1, 2)), True),
        (ex.op("pow", num(-1), ex.op("floor", n)), False),
        (ex.op("mod", n, ex.sub(n, num(3))), True),
        (ex.op("if", ex.op("gt", n, num(-1)), n, ex.div(ex.ONE, n)), False),
        (ex.op("min", n, ex.Const("inf")), False),
        (ex.op("pow", n, num(0)), False),
    ],
)
def test_faults_are_flagged(expr: ex.Expr, faulty: bool) -> None:
    assert certify.certify_range(expr, Fraction(0), Fraction(100), budget=300).maybe_undefined is faulty


def test_staircases_are_monotone_over_their_jumps() -> None:
    steps = ex.op("pow", num(1, 10), ex.op("floor", ex.div(n, num(30))))
    assert certify.certify_monotone(steps, Fraction(0), Fraction(365)).outcome == "proved"
    drops = ex.op("product", ex.op("passed", n, num(30), num(60)), num(1, 10), num(1, 10))
    assert certify.certify_monotone(drops, Fraction(0), Fraction(90)).outcome == "proved"
    assert certify.certify_monotone(drops, Fraction(0), Fraction(90), "increasing").outcome == "refuted"
    saw = ex.op("mod", n, num(10))
    assert certify.certify_monotone(saw, Fraction(0), Fraction(9), "increasing").outcome == "proved"
    assert certify.certify_monotone(saw, Fraction(0), Fraction(11), "increasing").outcome == "refuted"


def test_choices_by_the_clock_are_taken_apart() -> None:
    falls = ex.sub(num(5), ex.div(n, num(10)))
    joined = ex.piecewise(n, (Fraction(10, 3), Fraction(30)), (num(5), falls, num(2)))
    assert certify.certify_monotone(joined, Fraction(0), Fraction(50)).outcome == "proved"
    up = ex.piecewise(n, (Fraction(30),), (falls, num(3)))
    assert certify.certify_monotone(up, Fraction(0), Fraction(50)).outcome == "refuted"
    chosen = ex.op("if", ex.op("lt", n, num(20)), falls, ex.sub(num(4), ex.div(n, num(20))))
    assert certify.certify_monotone(chosen, Fraction(0), Fraction(50)).outcome == "proved"


def test_other_clocks_move_with_the_position() -> None:
    clocks = Clocks(
        pieces=(
            ClockPiece(update=0, tokens=Fraction(0), tokens_per_update=Fraction(10)),
            ClockPiece(update=100, tokens=Fraction(1000), tokens_per_update=Fraction(30)),
        )
    )
    both = ex.sub(ex.div(ex.Reading("tokens"), num(20)), n)  # falls until the rate rises
    found = certify.certify_range(both, Fraction(0), Fraction(300), clocks=(clocks,))
    assert found.at_least == 100
    assert float(found.least.lo) == pytest.approx(-50) == float(found.least.hi)
    assert found.greatest.hi == pytest.approx(50)
    first = certify.certify_monotone(both, Fraction(0), Fraction(100), clocks=(clocks,))
    assert first.outcome == "proved"
    assert certify.certify_monotone(both, Fraction(0), Fraction(101), clocks=(clocks,)).outcome == "refuted"


def test_a_supplied_value_is_any_of_its_range_but_the_same_throughout() -> None:
    factor = ex.Var("factor:0")
    expr = ex.mul(factor, cosine(100))
    env: dict[ex.Expr, Any] = {factor: (Fraction(0), Fraction(1))}
    assert certify.certify_monotone(expr, Fraction(0), Fraction(100), env=env).outcome == "proved"
    assert certify.certify_range(expr, Fraction(0), Fraction(100), env=env).greatest.hi == 1
    # The batch moves by itself: nothing may be concluded from where it stands still.
    batch: dict[ex.Expr, Any] = {ex.Var("batch"): (Fraction(1), Fraction(2))}
    by_batch = ex.mul(ex.Var("batch"), cosine(100))
    assert certify.certify_monotone(by_batch, Fraction(0), Fraction(100), env=batch, budget=50).outcome == "undecided"


def test_a_spent_budget_names_what_is_open() -> None:
    wiggle = ex.add(ex.div(n, num(1000)), ex.mul(num(1, 10**6), ex.op("sin", ex.mul(n, n))))
    verdict = certify.certify_monotone(wiggle, Fraction(0), Fraction(1000), "increasing", budget=30)
    assert verdict.outcome == "undecided"
    assert verdict.uncovered
    assert verdict.evaluations < 40


def test_a_batch_ramp_is_constant_exactly_where_it_is() -> None:
    # 3072 + (15360 - 3072)·tokens/469e9, in steps of a billion tokens, rounded to 64.
    tokens = ex.Reading("tokens")
    stair = ex.mul(ex.op("floor", ex.div(tokens, num(10**9))), num(10**9))
    size = ex.add(num(3072), ex.mul(num(12288), ex.div(stair, num(469 * 10**9))))
    rounded = ex.mul(ex.op("round", ex.div(size, num(64))), num(64))
    before = Fraction(2 * 10**9 - 1)
    found = enclosures.exact_bounds(rounded, Fraction(0), Fraction(5), {("tokens", 0): (Fraction(0), before)})
    assert (found.lo, found.hi, found.maybe_undefined) == (3072, 3072, False)
    found = enclosures.exact_bounds(rounded, Fraction(0), Fraction(5), {("tokens", 0): (Fraction(0), before + 1)})
    assert (found.lo, found.hi) == (3072, 3136)
    assert isinstance(found.hi, Fraction)


def test_exact_bounds_are_exact_for_rational_operations() -> None:
    third = ex.div(n, num(3))
    expr = ex.op("floor", ex.sub(ex.mul(num(3), third), num(1, 3)))
    found = enclosures.exact_bounds(expr, Fraction(1, 3), Fraction(4, 3) - Fraction(1, 10**30))
    assert (found.lo, found.hi) == (0, 0)
    found = enclosures.exact_bounds(ex.op("exp", ex.ONE), Fraction(0), Fraction(0))
    assert found.lo < Fraction(math.e) + Fraction(1, 10**15)
    assert found.hi - found.lo < Fraction(1, 10**14)
    with pytest.raises(KeyError):
        enclosures.exact_bounds(ex.Reading("tokens"), Fraction(0), Fraction(1))


@given(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300))
def test_float_operations_round_to_the_neighbour_at_most(a: float, b: float) -> None:
    exact = {"add": Fraction(a) + Fraction(b), "mul": Fraction(a) * Fraction(b)}
    if b:
        exact["div"] = Fraction(a) / Fraction(b)
    for name, value in exact.items():
        low, high = (getattr(intervals.Floats, name)(a, b, up) for up in (False, True))
        assert low <= value <= high
        assert (
            math.isinf(high)
            or math.isinf(low)
            or high <= math.nextafter(low, math.inf)
            or not 1e-139 < abs(low) < 1e139
            or not 1e-139 < abs(b) < 1e139
            or not 1e-139 < abs(a) < 1e139
        )
