"""Values, vectorised: equal to the exact reference, also where rounding would choose the wrong update."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from schedc.backends import reference
from schedc.compiler import enclosures, evaluate, readings
from schedc.compiler import expressions as ex
from schedc.compiler.plan import (
    Binding,
    ClockPiece,
    Clocks,
    Curve,
    Feedback,
    GroupRule,
    Plan,
    ScheduleEnded,
    Segment,
    Selection,
    UnknownClock,
)

# An epoch of 50 000 samples in batches of 128: the last of its 391 updates takes 80.
EPOCHS = Clocks(
    pieces=(
        ClockPiece(
            update=0,
            samples=Fraction(0),
            epochs=Fraction(0),
            samples_per_update=Fraction(128),
            epochs_per_update=Fraction(1, 391),
            batch=128,
        ),
        ClockPiece(
            update=390,
            samples=Fraction(390 * 128),
            epochs=Fraction(390, 391),
            samples_per_update=Fraction(80),
            epochs_per_update=Fraction(1, 391),
            batch=128,
        ),
    ),
    period_start=0,
    period=391,
)
# A batch ramp, and a sequence length that changes with it.
RAMP = Clocks(
    pieces=(
        ClockPiece(
            update=0,
            samples=Fraction(0),
            tokens=Fraction(0),
            samples_per_update=Fraction(8),
            tokens_per_update=Fraction(56),
            batch=8,
            seq_len=7,
        ),
        ClockPiece(
            update=10,
            samples=Fraction(80),
            tokens=Fraction(560),
            samples_per_update=Fraction(16),
            tokens_per_update=Fraction(112),
            batch=16,
            seq_len=7,
        ),
        ClockPiece(
            update=25,
            samples=Fraction(320),
            tokens=Fraction(2240),
            samples_per_update=Fraction(24),
            tokens_per_update=Fraction(120),
            batch=24,
            seq_len=5,
        ),
    )
)
CLOCKS = (EPOCHS, RAMP)
LEAVES = [("steps", 0), ("samples", 0), ("epochs", 0), ("samples", 1), ("tokens", 1)]
UPDATES = [0, 1, 2, 7, 9, 10, 11, 24, 25, 26, 40, 389, 390, 391, 392, 500, 781, 782, 1000, 1173]
VALUES = {"base": 0.1, "capture:i": 3}

numbers = st.builds(
    lambda p, q: ex.num(Fraction(p, q)),
    st.sampled_from([0, 1, 2, 3, 5, 10, -1, -2, 7, 100]),
    st.sampled_from([1, 1, 2, 3, 391]),
)
leaves = st.one_of(
    st.sampled_from(LEAVES).map(lambda c: ex.Reading(*c)),
    numbers,
    st.sampled_from(
        [ex.Const("pi"), ex.Const("e"), ex.Var("base"), ex.Var("capture:i"), ex.Var("batch"), ex.Var("batch:1")]
    ),
)


def _grown(inner: st.SearchStrategy[ex.Expr]) -> st.SearchStrategy[ex.Expr]:
    def op(names: str, *args: st.SearchStrategy[ex.Expr]) -> st.SearchStrategy[ex.Expr]:
        return st.tuples(st.sampled_from(names.split()), *args).map(lambda x: ex.op(*x))

    either = st.one_of(numbers, inner)
    compared = op("lt le gt ge eq ne", inner, inner)
    conversions = [("samples", "epochs", 0), ("steps", "samples", 0), ("epochs", "steps", 0), ("tokens", "samples", 1)]
    bounds = st.sets(st.integers(0, 500).map(lambda k: Fraction(k, 3)), min_size=1, max_size=3)
    return st.one_of(
        op("add sub mul", inner, inner),
        op("div mod pow", inner, either),
        op("exp log sqrt sin cos tan tanh abs floor ceil round neg", inner),
        op("cos sin", inner.map(lambda x: ex.mul(ex.Const("pi"), x))),
        op("min max", inner, either),
        op("clamp", inner, numbers, numbers),
        op("if", compared, inner, inner),
        op("passed", inner, numbers, either, numbers),
        op("pick product", inner, either, numbers, either),
        st.tuples(inner, bounds, st.lists(inner, min_size=4, max_size=4)).map(
            lambda x: ex.piecewise(x[0], tuple(sorted(x[1])), tuple(x[2][: len(x[1]) + 1]))
        ),
        st.tuples(inner, st.sampled_from(conversions)).map(lambda x: ex.Convert(x[0], *x[1])),
    )


formulas = st.recursive(leaves, _grown, max_leaves=12)


def _point(n: int) -> dict[ex.Expr, tuple[Any, Any]]:
    env: dict[ex.Expr, tuple[Any, Any]] = {ex.Var(k): (v, v) for k, v in VALUES.items()}
    for clock, table in LEAVES:
        shown = readings.reading(CLOCKS[table], clock, Fraction(n))
        env[ex.Reading(clock, table)] = (shown, shown)
    for name, clocks in (("batch", EPOCHS), ("batch:1", RAMP)):
        size = reference.batch(clocks, Fraction(n))
        env[ex.Var(name)] = (size, size)
    return env


@settings(max_examples=150, deadline=None)
@given(formulas)
def test_random_formulas_agree_with_the_reference_within_certain_bounds(formula: ex.Expr) -> None:
    found = evaluate.expression_value(CLOCKS, formula, np.array(UPDATES), VALUES)
    for n, value in zip(UPDATES, found, strict=True):
        bounds = enclosures.bounds(formula, _point(n), CLOCKS)
        exact = enclosures.exact_bounds(formula, Fraction(n), Fraction(n), values=_point(n), clocks=CLOCKS)
        try:
            wanted = reference.expression_value(CLOCKS, formula, Fraction(n), VALUES)
        except reference.Undefined:
            assert bounds.maybe_undefined
            assert exact.maybe_undefined
            continue
        except OverflowError:
            continue
        if bounds.maybe_undefined or (not isinstance(wanted, Fraction) and not reference.mp.isfinite(wanted)):
            continue
        true = wanted if isinstance(wanted, Fraction) else Fraction(reference.rational(wanted))
        slack = abs(true) / 10**45  # the reference has 60 digits, and settles at 50
        assert bounds.lo <= true + slack
        assert true - slack <= bounds.hi
        assert exact.lo <= true + slack
        assert true - slack <= exact.hi
        # What float arithmetic may lose is what the intervals lose.
        tolerance = max(1e-12 * abs(float(true)), 3 * (bounds.hi - bounds.lo))
        assert abs(value - float(true)) <= tolerance
        assert abs(evaluate.expression_value(CLOCKS, formula, n, VALUES) - float(true)) <= tolerance


@settings(max_examples=40, deadline=None)
@given(formulas)
def test_tensors_get_what_arrays_get(formula: ex.Expr) -> None:
    torch = pytest.importorskip("torch")
    found = evaluate.expression_value(CLOCKS, formula, torch.tensor(UPDATES), VALUES)
    wanted = evaluate.expression_value(CLOCKS, formula, np.array(UPDATES), VALUES)
    assert found.dtype == torch.float64
    sure = [not enclosures.bounds(formula, _point(n), CLOCKS).maybe_undefined for n in UPDATES]
    widths = [b.hi - b.lo for b in (enclosures.bounds(formula, _point(n), CLOCKS) for n in UPDATES)]
    for a, b, ok, width in zip(found.tolist(), wanted.tolist(), sure, widths, strict=True):
        assert not ok or abs(a - b) <= max(1e-13 * abs(b), 3 * width)


@settings(max_examples=200, deadline=None)
@given(st.integers(-5, 5000), st.sampled_from(LEAVES), st.integers(1, 7))
def test_clocks_read_as_the_reference_reads_them(n: int, leaf: tuple[str, int], parts: int) -> None:
    clock, table = leaf
    position = Fraction(n, parts)
    shown = readings.reading(CLOCKS[table], clock, position)
    assert shown == reference.reading(CLOCKS[table], clock, position)
    assert readings.position(CLOCKS[table], clock, shown) == position
    assert reference.position(CLOCKS[table], clock, shown) == position


def test_readings_over_an_array_are_rounded_once() -> None:
    n = np.arange(3000)
    for clock, table in LEAVES:
        found = readings.readings_at(CLOCKS[table], clock, n)
        assert found.tolist() == [float(readings.reading(CLOCKS[table], clock, Fraction(int(k)))) for k in n]


def test_epochs_of_49_updates_end_on_the_update() -> None:
    # 1/49 in floats, 49 times, is a little less than 1.
    clocks = Clocks(pieces=(ClockPiece(update=0, epochs=Fraction(0), epochs_per_update=Fraction(1, 49)),))
    passed = ex.op("floor", ex.local_time("epochs", Fraction(16, 3)))
    n = np.arange(49 * 40)
    found = evaluate.expression_value((clocks,), passed, n)
    assert found.tolist() == [math.floor(Fraction(int(k), 49) - Fraction(16, 3)) for k in n]


def test_boundaries_hold_where_every_piece_has_another_denominator() -> None:
    lengths = [997, 991, 983, 977, 971, 967, 953, 947, 941, 937, 929, 919]
    pieces, update = [], 0
    for epoch, length in enumerate(lengths):
        pieces.append(ClockPiece(update=update, epochs=Fraction(epoch), epochs_per_update=Fraction(1, length)))
        update += length
    clocks = Clocks(pieces=tuple(pieces))
    formula = ex.op("floor", ex.op("mul", ex.num(3), ex.local_time("epochs", Fraction(1, 3))))
    n = np.arange(update)
    wanted = [math.floor(3 * (readings.reading(clocks, "epochs", Fraction(int(k))) - Fraction(1, 3))) for k in n]
    assert evaluate.expression_value((clocks,), formula, n).tolist() == wanted


def test_an_unknown_clock_is_named() -> None:
    known_till_10 = Clocks(
        pieces=(
            ClockPiece(update=0, tokens=Fraction(0), tokens_per_update=Fraction(4)),
            ClockPiece(update=10, samples=Fraction(0), samples_per_update=Fraction(1)),
        )
    )
    assert readings.reading(known_till_10, "tokens", Fraction(10)) == 40
    assert readings.readings_at(known_till_10, "tokens", np.array([3, 10])).tolist() == [12, 40]
    with pytest.raises(UnknownClock, match="how many tokens"):
        readings.reading(known_till_10, "tokens", Fraction(11))
    with pytest.raises(UnknownClock, match="how many tokens"):
        readings.readings_at(known_till_10, "tokens", np.array([3, 11]))
    with pytest.raises(UnknownClock) as caught:
        readings.reading(known_till_10, "samples", Fraction(3))
    assert caught.value.clock == "samples"


def _segment(start: int, end: int | None, formula: ex.Expr, error: str | None = None) -> Segment:
    return Segment(
        start=Fraction(start),
        end=None if end is None else Fraction(end),
        formula=formula,
        begins=ex.ZERO,
        ends=ex.ZERO,
        error=error,
    )


WARMUP = ex.div(ex.STEPS, ex.num(10))
COSINE = ex.div(
    ex.add(ex.ONE, ex.op("cos", ex.mul(ex.Const("pi"), ex.div(ex.local_time("steps", Fraction(10)), ex.num(90))))),
    ex.num(2),
)
CURVE = Curve(
    segments=(_segment(0, 10, WARMUP), _segment(10, 10, ex.num(7)), _segment(10, 100, COSINE)), after=ex.num(5)
)


def test_an_update_belongs_to_the_first_stage_that_ends_after_it() -> None:
    n = np.array([0, 5, 9, 10, 55, 99, 100, 10**12])
    assert evaluate.curve_values(CLOCKS, CURVE, n) == pytest.approx(
        [0, 0.5, 0.9, 1, 0.5, 0.0003045864904, 5, 5], rel=1e-9
    )
    assert [evaluate.curve_values(CLOCKS, CURVE, int(k)) for k in n] == evaluate.curve_values(CLOCKS, CURVE, n).tolist()


def test_order_and_shape_of_the_updates_do_not_matter() -> None:
    n = np.random.default_rng(0).permutation(120).reshape(2, 3, 20)
    found = evaluate.curve_values(CLOCKS, CURVE, n)
    assert found.shape == n.shape
    in_order = evaluate.curve_values(CLOCKS, CURVE, np.arange(120))
    assert (found == in_order[n]).all()
    assert evaluate.curve_values(CLOCKS, CURVE, np.array([], dtype=int)).shape == (0,)
    assert evaluate.curve_values(CLOCKS, CURVE, np.int64(5)) == 0.5


def test_a_long_table_is_its_parts() -> None:
    n = np.arange(evaluate.CHUNK - 50, 2 * evaluate.CHUNK + 50)[::-1]
    slow = ex.op("sqrt", ex.div(ex.STEPS, ex.num(3)))
    curve = Curve(segments=(_segment(0, evaluate.CHUNK + 7, slow), _segment(evaluate.CHUNK + 7, None, ex.STEPS)))
    found = evaluate.curve_values(CLOCKS, curve, n)
    assert [found[i] for i in range(0, len(n), 499)] == [evaluate.curve_values(CLOCKS, curve, int(k)) for k in n[::499]]


def test_a_fractional_end_leaves_the_update_before_it_to_the_stage() -> None:
    halves = Curve(
        segments=(
            Segment(start=Fraction(0), end=Fraction(5, 2), formula=ex.num(1), begins=ex.ONE, ends=ex.ONE),
            Segment(start=Fraction(5, 2), end=None, formula=ex.num(2), begins=ex.ONE, ends=None),
        )
    )
    assert evaluate.curve_values((), halves, np.arange(5)).tolist() == [1, 1, 1, 2, 2]
    assert evaluate.curve_values((), halves, Fraction(9, 4)) == 1


def test_one_minus_cosine_loses_no_digits() -> None:
    half = ex.div(ex.sub(ex.ONE, ex.op("cos", ex.mul(ex.Const("pi"), ex.div(ex.STEPS, ex.num(10**8))))), ex.num(2))
    wanted = float(reference.expression_value((), half, Fraction(1)))
    assert evaluate.expression_value((), half, np.array([1]))[0] == pytest.approx(wanted, rel=1e-15)
    end = ex.op("cos", ex.mul(ex.Const("pi"), ex.div(ex.STEPS, ex.num(2 * 10**8))))
    wanted = float(reference.expression_value((), end, Fraction(10**8 - 1)))
    assert evaluate.expression_value((), end, 10**8 - 1) == pytest.approx(wanted, rel=1e-15)


def test_an_error_stage_stops() -> None:
    curve = Curve(segments=(_segment(0, 10, ex.ONE), _segment(10, None, ex.ONE, "no further")))
    assert evaluate.curve_values(CLOCKS, curve, np.arange(10)).tolist() == [1.0] * 10
    with pytest.raises(ScheduleEnded, match="before update 12: no further"):
        evaluate.curve_values(CLOCKS, curve, np.array([3, 14, 12]))
    with pytest.raises(ScheduleEnded, match="before update 10"):
        evaluate.curve_values(CLOCKS, curve, 10)


@pytest.mark.filterwarnings("error")
def test_a_branch_not_taken_need_not_be_defined() -> None:
    inverse = ex.op("if", ex.op("gt", ex.STEPS, ex.ZERO), ex.op("log", ex.STEPS), ex.num(-1))
    assert evaluate.expression_value((), inverse, np.arange(3)).tolist() == [-1, 0, math.log(2)]
    assert evaluate.expression_value((), inverse, 0) == -1
    looked_up = ex.Op("pick", (ex.STEPS, ex.num(1), ex.div(ex.ONE, ex.local_time("steps", Fraction(0)))))
    assert evaluate.expression_value((), looked_up, np.arange(3)).tolist() == [1, 1, 0.5]


@pytest.mark.filterwarnings("error")
def test_what_is_undefined_is_silent() -> None:
    n = np.arange(2)
    assert evaluate.expression_value((), ex.div(ex.ONE, ex.STEPS), n).tolist() == [math.inf, 1]
    assert evaluate.expression_value((), ex.div(ex.ONE, ex.STEPS), 0) == math.inf
    assert math.isnan(evaluate.expression_value((), ex.op("sqrt", ex.op("neg", ex.STEPS)), n)[1])
    assert evaluate.expression_value((), ex.op("exp", ex.mul(ex.num(999), ex.STEPS)), 1) == math.inf
    assert evaluate.expression_value((), ex.Op("pow", (ex.STEPS, ex.Op("mul", (ex.ZERO, ex.STEPS)))), 0) == 1


def test_a_tensor_stays_a_tensor_of_the_dtype_asked_for() -> None:
    torch = pytest.importorskip("torch")
    n = torch.tensor([[0, 50], [99, 200]])
    found = evaluate.curve_values(CLOCKS, CURVE, n, dtype=torch.float32)
    assert found.dtype == torch.float32
    assert found.shape == n.shape
    wanted = evaluate.curve_values(CLOCKS, CURVE, n.numpy())
    assert torch.equal(found, torch.from_numpy(wanted).float())


@pytest.mark.gpu
def test_a_tensor_stays_on_its_device() -> None:
    import torch

    found = evaluate.curve_values(CLOCKS, CURVE, torch.arange(200, device="cuda"))
    assert found.device.type == "cuda"
    wanted = evaluate.curve_values(CLOCKS, CURVE, np.arange(200))
    assert np.allclose(found.cpu().numpy(), wanted, rtol=1e-14, atol=0)


def _plan(*bindings: Binding, groups: tuple[GroupRule, ...] = (), feedback: tuple[Feedback, ...] = ()) -> Plan:
    return Plan(version="0", name="t", source="", clocks=CLOCKS, bindings=bindings, groups=groups, feedback=feedback)


def _bind(name: str, formula: ex.Expr, relative: bool = False) -> Binding:
    return Binding(name=name, relative=relative, curve=Curve(segments=(_segment(0, None, formula),)))


def test_rules_apply_in_file_order() -> None:
    layer = GroupRule(
        selection=Selection(union=()),
        bindings=(
            _bind("lr", ex.op("pow", ex.num(Fraction(3, 4)), ex.sub(ex.num(12), ex.Var("capture:i"))), relative=True),
        ),
    )
    fixed = GroupRule(selection=Selection(union=()), bindings=(_bind("lr", ex.num(Fraction(1, 2))),))
    plan = _plan(_bind("lr", WARMUP, relative=True), groups=(layer, fixed, layer))
    n = np.arange(3)
    assert evaluate.binding_values(plan, "lr", n, base=2.0).tolist() == [0, 0.2, 0.4]
    found = evaluate.binding_values(plan, "lr", n, base=2.0, group=[0], captures={0: {"i": 10}})
    assert found == pytest.approx(np.array([0, 0.2, 0.4]) * 0.75**2)
    found = evaluate.binding_values(plan, "lr", n, group=[2, 0, 1], captures={0: {"i": 10}, 2: {"i": 11}})
    assert found == pytest.approx(np.full(3, 0.5 * 0.75))
    for n_ in (0, 2):
        group = reference.Group(2.0, [0, 1, 2], {0: {"i": 10}, 2: {"i": 11}})
        assert reference.binding_value(plan, "lr", Fraction(n_), group) == Fraction(3, 8)


def test_a_missing_base_is_never_assumed() -> None:
    plan = _plan(_bind("lr", WARMUP, relative=True), _bind("momentum", ex.op("min", ex.Var("base"), ex.ONE)))
    with pytest.raises(ValueError, match="`lr` is relative to the value the optimizer was built with"):
        evaluate.value(plan, "lr", 3)
    with pytest.raises(ValueError, match="nothing gives the value of `base`"):
        evaluate.value(plan, "momentum", 3)
    assert evaluate.binding_values(plan, "lr", 3, base={"lr": 2.0}) == pytest.approx(0.6)


def test_a_binding_reads_others_of_its_group() -> None:
    halved = GroupRule(selection=Selection(union=()), bindings=(_bind("lr", ex.num(Fraction(1, 2)), relative=True),))
    at_four = ex.Bound("lr", Fraction(4))
    plan = _plan(_bind("weight_decay", ex.op("mul", ex.Bound("lr"), at_four)), _bind("lr", WARMUP), groups=(halved,))
    assert evaluate.value(plan, "weight_decay", np.arange(3)) == pytest.approx([0, 0.04, 0.08])
    assert evaluate.binding_values(plan, "weight_decay", 2, group=[0]) == pytest.approx(0.1 * 0.2)
    ring = _plan(_bind("a", ex.Bound("b")), _bind("b", ex.Bound("a")))
    with pytest.raises(ValueError, match="a -> b -> a"):
        evaluate.value(ring, "a", 0)


def test_batch_is_the_one_at_the_update() -> None:
    plan = _plan(_bind("lr", ex.op("div", ex.Var("batch:1"), ex.Var("batch"))))
    assert evaluate.value(plan, "lr", np.array([9, 10, 25, 400])).tolist() == [1 / 16, 1 / 8, 24 / 128, 24 / 128]
    unknown = Clocks(pieces=(ClockPiece(update=0),))
    with pytest.raises(ValueError, match="batch"):
        evaluate.expression_value((unknown,), ex.Var("batch"), 0)


@given(st.integers(-(10**6), 10**6), st.integers(1, 1000), st.integers(-(10**6), 10**6), st.integers(1, 1000))
def test_exact_arithmetic_is_exact(a: int, b: int, c: int, d: int) -> None:
    x, y = readings.exact(Fraction(a, b)), readings.exact(Fraction(c, d))
    total = readings.add(x, y)
    assert isinstance(total, readings.Exact)
    assert Fraction(total.num, total.den) == Fraction(a, b) + Fraction(c, d)
    column = readings.Exact(np.array([a, c]), b, max(abs(a), abs(c)), b)
    assume(c)
    product = readings.mul(column, y)
    assert isinstance(product, readings.Exact)
    assert [Fraction(int(k), product.den) for k in product.num] == [
        Fraction(a, b) * Fraction(c, d),
        Fraction(c, b) * Fraction(c, d),
    ]
