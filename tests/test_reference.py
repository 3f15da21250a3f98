"""The exact reference: its values, and its plateau against traces of the frameworks'."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest

from schedc.backends import reference
from schedc.backends.reference import Group, ReferenceRun
from schedc.compiler import expressions as ex
from schedc.compiler.plan import Binding, ClockPiece, Clocks, Curve, Feedback, Plan, Segment

FACTOR = ex.Var("factor:0")
UPDATES = Clocks(
    pieces=(ClockPiece(update=0, epochs=Fraction(0), epochs_per_update=Fraction(1, 4)),),
)
nan = math.nan


def forever(formula: ex.Expr, start: int = 0) -> Segment:
    return Segment(start=Fraction(start), end=None, formula=formula, begins=formula, ends=None)


def plateau(x: ex.Expr | None = None, *, least: str = "0", base: str = "0.1", **options: Any) -> Plan:
    """`x | plateau`, as lowered: max(F·x, min(x, m))."""
    x = ex.num(Fraction(base)) if x is None else x
    floor = ex.num(Fraction(least))
    settings: dict[str, Any] = {
        "mode": "min", "factor": "0.1", "patience": 10, "cooldown": 0, "threshold": "0.0001", "threshold_mode": "rel",
        "atol": 0, "eps": "0.00000001", "window": 1, "in_cooldown": "track", "start": 0, "end": None, **options,
    }  # fmt: skip
    for name in ("factor", "patience", "cooldown", "threshold", "atol", "eps", "start"):
        settings[name] = Fraction(settings[name])
    feedback = Feedback(index=0, metric="loss", floor=floor, input=Curve(segments=(forever(x),)), **settings)
    formula = ex.op("max", ex.op("mul", FACTOR, x), ex.op("min", x, floor))
    lr = Binding(name="lr", relative=False, curve=Curve(segments=(forever(formula),)))
    return Plan(version="0", name="t", source="", clocks=(UPDATES,), bindings=(lr,), feedback=(feedback,))


def trace(plan: Plan, metrics: list[float]) -> list[float]:
    """The values before the first metric and after each."""
    run = ReferenceRun(plan)
    out = [float(run.value())]
    for metric in metrics:
        run.observe(loss=metric)
        run.step()
        out.append(float(run.value()))
    return out


def spelled(runs: str) -> list[float]:
    """`0.1*4 0.05*8` as four times 0.1, then eight times 0.05."""
    return [float(v) for part in runs.split() for v in [part.split("*")[0]] * int(part.split("*")[1])]


# From shared/research/oracles: torch 2.15 (in_cooldown=track) and Paddle 3.3 (ignore), cut to what shows the point.
TRACES: dict[str, tuple[dict[str, Any], list[float], str]] = {
    "torch-flat": (
        {"factor": "0.5", "patience": 2, "cooldown": 5}, [1.0] * 22, "0.1*4 0.05*8 0.025*8 0.0125*3",
    ),
    "torch-every-observation": ({"factor": "0.5", "patience": 0}, [1.0] * 4, "0.1*2 0.05*1 0.025*1 0.0125*1"),
    "torch-least": (
        {"factor": "0.3", "patience": 1, "least": "0.005"}, [1.0] * 10, "0.1*3 0.03*2 0.009*2 0.005*4",
    ),
    "torch-nan-first": ({"factor": "0.5", "patience": 1}, [nan, nan, 1.0, 1.0, nan], "0.1*2 0.05*3 0.025*1"),
    "torch-negative-never-cuts": ({"patience": 0}, [-1.0] * 6, "0.1*7"),
    "torch-max-abs": (
        {"factor": "0.5", "patience": 1, "mode": "max", "threshold_mode": "abs", "threshold": "0.01"},
        [0.5, 0.505, 0.511, 0.515, 0.52, 0.6], "0.1*5 0.05*2",
    ),
    "torch-eps": ({"factor": "0.5", "patience": 0, "eps": "0.02"}, [1.0] * 5, "0.1*2 0.05*1 0.025*3"),
    # The improvement during the cooldown becomes the best: what follows is measured against it.
    "torch-better-in-cooldown": (
        {"factor": "0.5", "patience": 0, "cooldown": 2}, [1.0, 1.0, 0.5, 0.8, 0.8, 0.8], "0.1*2 0.05*3 0.025*2",
    ),
    # Paddle discards it: 0.8 is better than the old best, 1, and 0.8 again is not.
    "paddle-better-in-cooldown": (
        {"factor": "0.5", "patience": 0, "cooldown": 2, "in_cooldown": "ignore"},
        [1.0, 1.0, 0.5, 0.8, 0.8, 0.8], "0.1*2 0.05*4 0.025*1",
    ),
    "paddle-flat": (
        {"factor": "0.5", "patience": 2, "cooldown": 5, "in_cooldown": "ignore"},
        [1.0] * 22, "0.1*4 0.05*8 0.025*8 0.0125*3",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TRACES)
def test_plateau_does_what_the_frameworks_do(name: str) -> None:
    options, metrics, wanted = TRACES[name]
    assert trace(plateau(**options), metrics) == pytest.approx(spelled(wanted), rel=1e-12)


@pytest.mark.parametrize("name", [n for n in TRACES if n.startswith("torch")])
def test_the_traces_are_torchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    options, metrics, wanted = TRACES[name]
    given = {
        k: float(v) if isinstance(v, str) and k not in ("mode", "threshold_mode") else v for k, v in options.items()
    }
    if "least" in given:
        given["min_lr"] = given.pop("least")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **given)
    found = [0.1]
    for metric in metrics:
        scheduler.step(metric)
        found.append(optimizer.param_groups[0]["lr"])
    assert found == pytest.approx(spelled(wanted), rel=1e-12)


def test_a_window_is_one_observation() -> None:
    # Means 1, 1, 0.9, 0.95: the second and the fourth are no better.
    metrics = [0.5, 1.5, 1.5, 0.5, 0.8, 1.0, 1.0, 0.9]
    assert trace(plateau(factor="0.5", patience=0, window=2), metrics) == pytest.approx(
        spelled("0.1*4 0.05*4 0.025*1"), rel=1e-12
    )


def test_atol_comes_on_top_of_the_threshold() -> None:
    metrics = [1.0, 0.85, 0.75]
    assert trace(plateau(patience=0, factor="0.5", threshold="0.1", atol="0.1"), metrics) == [0.1, 0.1, 0.05, 0.05]


def test_patience_in_a_clocks_unit() -> None:
    # Four updates an epoch, one observation each: more than half an epoch without a better one cuts.
    plan = plateau(factor="0.5", patience="1/2", patience_clock="epochs")
    assert trace(plan, [1.0] * 8) == spelled("0.1*4 0.05*3 0.025*2")
    # Reported half as often, it cuts at the same update.
    run = ReferenceRun(plan)
    seen = []
    for n in range(8):
        if n % 2 == 0 or n == 3:
            run.observe(loss=1.0)
        run.step()
        seen.append(float(run.value()))
    assert seen[:4] == spelled("0.1*3 0.05*1")


def test_cooldown_in_a_clocks_unit() -> None:
    counted = plateau(factor="0.5", patience=1, cooldown=4)
    timed = plateau(factor="0.5", patience=1, cooldown=1, cooldown_clock="epochs")
    assert trace(counted, [1.0] * 20) == trace(timed, [1.0] * 20)


def test_it_observes_only_while_it_is_current() -> None:
    plan = plateau(factor="0.5", patience=0, start=2, end=Fraction(9, 2))
    # Update 2 sets the best, 3 and 4 cut, 5 and later are not seen.
    assert trace(plan, [1.0] * 8) == spelled("0.1*4 0.05*1 0.025*4")


def test_no_metric_no_change_and_others_are_passed_over() -> None:
    run = ReferenceRun(plateau(patience=0))
    run.observe(loss=1.0)
    for _ in range(5):
        run.step()
        assert run.observe(accuracy=0.0) == set()
    assert run.value() == Fraction(1, 10)
    assert run.observe(loss=1.0) == {0}
    assert run.value() == Fraction(1, 100)


def test_a_cut_that_the_schedule_would_not_feel_is_not_made() -> None:
    # The input has decayed to 0: halving it changes nothing.
    falling = ex.op("max", ex.sub(ex.ONE, ex.div(ex.STEPS, ex.num(3))), ex.ZERO)
    run = ReferenceRun(plateau(falling, factor="0.5", patience=0))
    cuts = []
    for _ in range(6):
        cuts.append(bool(run.observe(loss=1.0)))
        run.step()
    assert cuts == [False, True, True, False, False, False]


def test_eps_is_in_the_unit_before_base() -> None:
    plan = plateau(ex.ONE, factor="0.5", patience=0, eps="0.3")
    relative = plan.bindings[0].model_copy(update={"relative": True})
    run = ReferenceRun(plan.model_copy(update={"bindings": (relative,)}), base=1e-3)
    for _ in range(4):
        run.observe(loss=1.0)
    assert float(run.value()) == pytest.approx(0.5e-3)


def test_values_are_exact_where_they_are_rational() -> None:
    third = ex.div(ex.STEPS, ex.num(3))
    assert reference.expression_value((), ex.mul(third, ex.num(3)), Fraction(7)) == 7
    root = ex.op("sqrt", ex.add(ex.STEPS, ex.num(2)))
    assert reference.expression_value((), root, Fraction(2)) == Fraction(2)
    error = reference.expression_value((), ex.mul(root, root), Fraction(3)) - 5
    assert abs(error) < reference.mp.mpf(10) ** -58


def test_whole_numbers_in_disguise_are_whole() -> None:
    log8 = ex.div(ex.op("log", ex.num(8)), ex.op("log", ex.num(2)))
    assert reference.expression_value((), ex.op("floor", log8), Fraction(0)) == 3
    assert reference.expression_value((), ex.Op("eq", (log8, ex.num(3))), Fraction(0)) == 1
    zero = ex.op("sin", ex.mul(ex.Const("pi"), ex.STEPS))
    assert reference.expression_value((), zero, Fraction(10**6)) == 0
    tiny = ex.op("exp", ex.num(-200))
    assert reference.expression_value((), ex.op("ceil", tiny), Fraction(0)) == 1


@pytest.mark.parametrize(
    "expr",
    [
        ex.div(ex.ONE, ex.STEPS),
        ex.op("log", ex.STEPS),
        ex.op("sqrt", ex.sub(ex.STEPS, ex.ONE)),
        ex.op("pow", ex.STEPS, ex.num(-2)),
        ex.op("mod", ex.ONE, ex.STEPS),
        ex.op("pow", ex.sub(ex.STEPS, ex.ONE), ex.num(Fraction(1, 2))),
    ],
)
def test_what_does_not_exist_is_undefined(expr: ex.Expr) -> None:
    with pytest.raises(reference.Undefined):
        reference.expression_value((), expr, Fraction(0))


def test_an_error_stage_ends_the_run() -> None:
    end = Segment(start=Fraction(1), end=None, formula=ex.ONE, begins=ex.ONE, ends=None, error="enough")
    first = Segment(start=Fraction(0), end=Fraction(1), formula=ex.ONE, begins=ex.ONE, ends=ex.ONE)
    curve = Curve(segments=(first, end))
    assert reference.curve_value((), curve, Fraction(0)) == 1
    with pytest.raises(reference.Ended, match="enough"):
        reference.curve_value((), curve, Fraction(1))


def test_a_missing_base_is_an_error() -> None:
    plan = plateau()
    relative = plan.model_copy(update={"bindings": (plan.bindings[0].model_copy(update={"relative": True}),)})
    with pytest.raises(ValueError, match="no base for lr"):
        reference.binding_value(relative, "lr", Fraction(0), Group())
    assert reference.binding_value(relative, "lr", Fraction(0), Group(base=2.0)) == Fraction(1, 5)
