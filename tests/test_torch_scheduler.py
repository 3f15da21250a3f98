"""The scheduler on real optimizers: values, groups, plateaus, state, and torch's manners."""

from __future__ import annotations

import copy
import io
import math
import multiprocessing
import pickle
import warnings
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Literal
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.multiprocessing.spawn import spawn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from schedc.backends.selectors import param_groups
from schedc.backends.torch_scheduler import PlanScheduler, ScheduleChanged, scheduler
from schedc.compiler import expressions as ex
from schedc.compiler.plan import (
    Binding,
    ClockPiece,
    Clocks,
    Curve,
    Feedback,
    GroupRule,
    Place,
    Plan,
    Run,
    ScheduleEnded,
    Segment,
    Selection,
    SelectorModel,
)

N = ex.num
F0 = ex.Var("factor:0")


def exact(text: str | int) -> ex.Expr:
    return N(Fraction(text))


def cosine(start: str, end: str, origin: int, T: int) -> ex.Expr:  # noqa: N803 - as in the language
    t = ex.local_time("steps", Fraction(origin))
    half = ex.div(ex.sub(N(1), ex.op("cos", ex.mul(ex.Const("pi"), ex.div(t, N(T))))), N(2))
    return ex.sub(exact(start), ex.mul(N(Fraction(start) - Fraction(end)), half))


def segment(start: int, end: int | None, formula: ex.Expr, **more: Any) -> Segment:
    last = more.pop("last", formula)
    ends = None if end is None else last
    return Segment(
        start=Fraction(start), end=None if end is None else Fraction(end), formula=formula, begins=formula,
        ends=ends, origin=Fraction(more.pop("origin", 0)), **more,
    )  # fmt: skip


def bound(name: str, *segments: Segment, relative: bool = False, after: ex.Expr | None = None) -> Binding:
    return Binding(name=name, relative=relative, curve=Curve(segments=segments, after=after))


def constant(name: str, value: str | int | ex.Expr, relative: bool = False) -> Binding:
    formula = exact(value) if isinstance(value, str | int) else value
    return bound(name, segment(0, None, formula), relative=relative)


def plan(*bindings: Binding, **more: Any) -> Plan:
    more = {"clocks": (Clocks(pieces=(ClockPiece(update=0),)),), "source": "…", **more}
    return Plan(version="0.1.0", name="test.sched", bindings=bindings, **more)


def warmup_cosine(peak: str = "1", warm: int = 5, T: int = 20, factor: ex.Expr = ex.ONE) -> tuple[Segment, ...]:  # noqa: N803
    rise = ex.mul(exact(peak), ex.div(ex.STEPS, N(warm)))
    fall = cosine(peak, "0", warm, T)
    return (
        segment(
            0, warm, ex.mul(factor, rise), last=ex.mul(factor, exact(peak)), horizon=Fraction(warm), label="warmup"
        ),
        segment(warm, warm + T, ex.mul(factor, fall), last=N(0), horizon=Fraction(T), origin=warm, label="cosine"),
    )


def plateau(watched: Curve, **more: Any) -> Feedback:
    values: dict[str, Any] = {
        "index": 0, "metric": "loss", "mode": "min", "factor": Fraction(1, 5), "patience": Fraction(10),
        "cooldown": Fraction(0), "threshold": Fraction("1e-4"), "threshold_mode": "rel", "atol": Fraction(0),
        "floor": N(0), "eps": Fraction("1e-8"), "window": 1, "in_cooldown": "track", "start": Fraction(0), "end": None,
    }  # fmt: skip
    return Feedback(**{**values, "input": watched, **more})


def with_plateau(peak: str = "1", relative: bool = True, **more: Any) -> Plan:
    raw = Curve(segments=warmup_cosine(peak, 500, 10000), after=N(0))
    binding = bound("lr", *warmup_cosine(peak, 500, 10000, F0), relative=relative, after=N(0))
    return plan(binding, feedback=(plateau(raw, **more),))


def flat_plateau(value: str = "1", **more: Any) -> Plan:
    """`lr = value | plateau …`."""
    x = exact(value)
    floor = more.get("floor", N(0))
    cut = ex.mul(F0, x)
    formula = cut if floor == ex.ZERO else ex.op("max", cut, ex.op("min", x, floor))
    return plan(constant("lr", formula), feedback=(plateau(Curve(segments=(segment(0, None, x),)), **more),))


def value_of_warmup_cosine(n: int, warm: int = 5, T: int = 20) -> float:  # noqa: N803
    if n < warm:
        return n / warm
    return 0.5 * (1 + math.cos(math.pi * (n - warm) / T)) if n < warm + T else 0.0


@pytest.fixture
def model() -> torch.nn.Sequential:
    return torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.LayerNorm(3), torch.nn.Linear(3, 2))


def adamw(model: torch.nn.Sequential, **more: Any) -> torch.optim.AdamW:
    return torch.optim.AdamW(model.parameters(), **{"lr": 0.5, **more})


def train(sched: PlanScheduler, updates: int) -> list[float]:
    """The lr of each update."""
    used = []
    for _ in range(updates):
        used.append(float(sched.optimizer.param_groups[0]["lr"]))
        sched.optimizer.step()
        sched.step()
    return used


class TestValues:
    def test_update_n_uses_the_value_at_n(self, model: torch.nn.Sequential) -> None:
        sched = scheduler(plan(bound("lr", *warmup_cosine(), after=N(0))), adamw(model))
        assert train(sched, 30) == pytest.approx([value_of_warmup_cosine(n) for n in range(30)], abs=1e-15)
        assert isinstance(sched, LRScheduler)
        assert (sched.last_epoch, sched._step_count) == (30, 31)

    def test_relative_schedules_multiply_what_the_group_was_built_with(self, model: torch.nn.Sequential) -> None:
        groups: list[dict[str, Any]] = [
            {"params": list(model[0].parameters()), "lr": 0.25},
            {"params": list(model[2].parameters())},
        ]
        optimizer = torch.optim.AdamW(groups, lr=0.5)
        sched = scheduler(plan(bound("lr", *warmup_cosine(), relative=True, after=N(0))), optimizer)
        train(sched, 7)
        expected = value_of_warmup_cosine(7)
        assert sched.get_last_lr() == pytest.approx([0.25 * expected, 0.5 * expected])
        assert sched.get_lr() == sched.get_last_lr()
        assert [g["initial_lr"] for g in optimizer.param_groups] == [0.25, 0.5]

    def test_base_in_a_formula(self, model: torch.nn.Sequential) -> None:
        formula = ex.op("max", ex.mul(ex.Var("base"), cosine("1", "0", 0, 10)), exact("0.1"))
        sched = scheduler(plan(bound("lr", segment(0, None, formula))), adamw(model))
        assert train(sched, 11)[-1] == 0.1

    def test_any_key_betas_momentum_and_what_reads_another_binding(self, model: torch.nn.Sequential) -> None:
        weight_decay = ex.op("pow", ex.Bound("lr"), N(2))
        early = ex.mul(N(2), ex.Bound("lr", Fraction(5, 2)))
        p = plan(
            constant("weight_decay", weight_decay),
            bound("lr", *warmup_cosine(), after=N(0)),
            constant("betas[1]", "0.95"),
            bound("momentum", segment(0, None, ex.op("min", ex.div(ex.STEPS, N(10)), exact("0.9")))),
            constant("eps", early),
        )
        optimizer = adamw(model)
        sched = scheduler(p, optimizer)
        train(sched, 4)
        group = optimizer.param_groups[0]
        assert group["lr"] == 0.8
        assert group["weight_decay"] == 0.8**2
        assert group["betas"] == (0.4, 0.95)
        assert group["initial_betas"] == (0.9, 0.999)
        assert group["eps"] == 1.0

    def test_momentum_is_sgds_own(self, model: torch.nn.Sequential) -> None:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        scheduler(plan(constant("momentum", "0.5", relative=True)), optimizer)
        assert optimizer.param_groups[0]["momentum"] == 0.45

    def test_a_key_that_the_optimizer_lacks_is_named(self, model: torch.nn.Sequential) -> None:
        with pytest.raises(ValueError, match=r"dampening, which AdamW does not have: lr, betas, eps"):
            scheduler(plan(constant("dampening", "0.5")), adamw(model))
        with pytest.raises(ValueError, match=r"betas\[2\]"):
            scheduler(plan(constant("betas[2]", "0.5")), adamw(model))

    def test_tokens_under_a_batch_ramp(self, model: torch.nn.Sequential) -> None:
        pieces = (
            ClockPiece(update=0, tokens=Fraction(0), tokens_per_update=Fraction(100), batch=10),
            ClockPiece(update=10, tokens=Fraction(1000), tokens_per_update=Fraction(250), batch=25),
        )
        tokens = ex.local_time("tokens", Fraction(500))
        formula = ex.mul(ex.Var("batch"), ex.sub(N(1), ex.div(tokens, N(4000))))
        warm = segment(0, 5, ex.ONE)
        decay = segment(5, None, formula, clock="tokens", origin=500, horizon=Fraction(4000))
        sched = scheduler(plan(bound("lr", warm, decay), clocks=(Clocks(pieces=pieces),)), adamw(model))
        seen = train(sched, 15)
        assert seen[4:10] == [1.0, *(10 * (1 - (100 * n - 500) / 4000) for n in range(5, 10))]
        assert seen[10:] == [25 * (1 - (1000 + 250 * (n - 10) - 500) / 4000) for n in range(10, 15)]

    def test_a_period_of_the_clocks_repeats(self, model: torch.nn.Sequential) -> None:
        # Each epoch has two updates of 100 samples and a last one of 30.
        pieces = (
            ClockPiece(update=0, samples=Fraction(0), samples_per_update=Fraction(100)),
            ClockPiece(update=2, samples=Fraction(200), samples_per_update=Fraction(30)),
        )
        clocks = Clocks(pieces=pieces, period_start=0, period=3)
        sched = scheduler(plan(bound("lr", segment(0, None, ex.Reading("samples"))), clocks=(clocks,)), adamw(model))
        assert train(sched, 8) == [0, 100, 200, 230, 330, 430, 460, 560]

    def test_the_last_update_and_an_error_stage(self, model: torch.nn.Sequential) -> None:
        stop = segment(3, None, N(0), error="the run is over", place=Place(file="a.sched", line=2, column=8))
        sched = scheduler(plan(bound("lr", segment(0, 3, ex.ONE), stop)), adamw(model))
        train(sched, 2)
        sched.optimizer.step()
        with pytest.raises(ScheduleEnded, match=r"before update 3: the run is over \(a.sched:2:8\)"):
            sched.step()
        assert (sched.last_epoch, sched.get_last_lr()) == (2, [1.0])
        run = Run(clock="steps", length=Fraction(3), end=Fraction(3), updates=3)
        sched = scheduler(plan(bound("lr", segment(0, 3, ex.ONE), stop), run=run), adamw(model))
        train(sched, 3)  # The loop's last step() is not training on.
        sched.optimizer.step()
        with pytest.raises(ScheduleEnded):
            sched.step()


class TestTensors:
    def test_a_tensor_is_filled_in_place(self, model: torch.nn.Sequential) -> None:
        lr = torch.tensor(0.5, dtype=torch.float64)
        optimizer = adamw(model, lr=lr, foreach=False, capturable=False)
        sched = scheduler(plan(bound("lr", *warmup_cosine(), relative=True, after=N(0))), optimizer)
        for _ in range(3):
            optimizer.step()
            sched.step()
        assert optimizer.param_groups[0]["lr"] is lr
        assert lr.item() == 0.3
        assert sched.get_last_lr()[0] is not lr
        lr.fill_(7.0)
        sched.load_state_dict(sched.state_dict())
        assert lr.item() == 0.3

    def test_a_default_tensor_shared_by_different_groups_is_split(self, model: torch.nn.Sequential) -> None:
        p = plan(constant("lr", "1", relative=True), groups=(rule("0.*", constant("lr", "0.1", relative=True)),))
        lr = torch.tensor(0.5, dtype=torch.float64)
        optimizer = torch.optim.SGD(param_groups(p, model), lr=lr)
        scheduler(p, optimizer)
        assert [g["lr"].item() for g in optimizer.param_groups] == [0.05, 0.5]

    def test_betas_may_be_tensors(self, model: torch.nn.Sequential) -> None:
        betas = (torch.tensor(0.9, dtype=torch.float64), torch.tensor(0.99, dtype=torch.float64))
        optimizer = adamw(model)
        optimizer.param_groups[0]["betas"] = betas
        scheduler(plan(constant("betas[1]", "0.5")), optimizer)
        assert optimizer.param_groups[0]["betas"][1] is betas[1]
        assert betas[1].item() == 0.5


def rule(glob: str, *bindings: Binding) -> GroupRule:
    return GroupRule(selection=Selection(union=(SelectorModel(kind="glob", text=glob),)), bindings=bindings)


class TestGroups:
    def grouped(self) -> Plan:
        by_layer = ex.op("pow", exact("3/4"), ex.sub(N(2), ex.Var("capture:i")))
        return plan(
            bound("lr", *warmup_cosine(), relative=True, after=N(0)),
            constant("weight_decay", "0.1"),
            groups=(
                rule("{i}.*", constant("lr", by_layer, relative=True)),
                rule("*.bias", constant("weight_decay", 0)),
                rule("2.*", constant("lr", "1/10")),
            ),
        )

    def test_rules_apply_in_order_with_captures(self, model: torch.nn.Sequential) -> None:
        p = self.grouped()
        groups = param_groups(p, model)
        assert [len(g["params"]) for g in groups] == [1, 1, 1, 1, 1, 1]
        optimizer = torch.optim.AdamW(groups, lr=0.5)
        sched = scheduler(p, optimizer)
        train(sched, 5)
        values = [(g["lr"], g["weight_decay"]) for g in optimizer.param_groups]
        first, second = 0.5 * 0.75**2, 0.5 * 0.75
        assert values == [(first, 0.1), (first, 0.0), (second, 0.1), (second, 0.0), (0.1, 0.1), (0.1, 0.0)]

    def test_groups_not_made_by_param_groups_are_refused(self, model: torch.nn.Sequential) -> None:
        with pytest.raises(ValueError, match=r"plan.param_groups\(model\)"):
            scheduler(self.grouped(), adamw(model))
        other = plan(constant("lr", 1), groups=(rule("*.bias", constant("lr", 0)),))
        with pytest.raises(ValueError, match="other group rules"):
            scheduler(self.grouped(), torch.optim.AdamW(param_groups(other, model)))

    def test_the_marks_survive_the_optimizers_state(self, model: torch.nn.Sequential) -> None:
        p = self.grouped()
        optimizer = torch.optim.AdamW(param_groups(p, model), lr=0.5)
        sched = scheduler(p, optimizer)
        train(sched, 6)
        saved = safely({"optimizer": optimizer.state_dict(), "scheduler": sched.state_dict()})
        values = [(g["lr"], g["weight_decay"], g["schedc"]) for g in optimizer.param_groups]
        for order in (("optimizer", "scheduler"), ("scheduler", "optimizer")):
            fresh = torch.optim.AdamW(param_groups(p, model), lr=0.5)
            again = scheduler(p, fresh)
            for what in order:
                loads: Any = fresh if what == "optimizer" else again
                loads.load_state_dict(saved[what])
            assert [(g["lr"], g["weight_decay"], g["schedc"]) for g in fresh.param_groups] == values
            fresh.step()
            again.step()
            assert again.last_epoch == 7

    def test_one_evaluation_for_a_curve_however_many_groups(self, model: torch.nn.Sequential) -> None:
        groups = [{"params": [p], "lr": 0.1 * (i + 1)} for i, p in enumerate(model.parameters())]
        sched = scheduler(plan(bound("lr", *warmup_cosine(), relative=True, after=N(0))), torch.optim.SGD(groups))
        with mock.patch.dict(sched.functions, lr=mock.Mock(wraps=sched.functions["lr"])) as functions:
            train(sched, 3)
            assert [call.args for call in functions["lr"].call_args_list] == [(1,), (2,), (3,)]

    def test_a_late_group_joins_at_the_next_step(self, model: torch.nn.Sequential) -> None:
        optimizer = torch.optim.SGD(model[0].parameters(), lr=0.5)
        sched = scheduler(plan(bound("lr", *warmup_cosine(), relative=True, after=N(0))), optimizer)
        train(sched, 2)
        optimizer.add_param_group({"params": list(model[2].parameters()), "lr": 0.25})
        train(sched, 1)
        assert sched.get_last_lr() == pytest.approx([0.3, 0.15])
        assert len(sched.get_lr()) == 2
        assert optimizer.param_groups[1]["initial_lr"] == 0.25

    def test_a_late_group_with_the_default_tensor_knows_what_it_was(self, model: torch.nn.Sequential) -> None:
        optimizer = torch.optim.SGD(model[0].parameters(), lr=torch.tensor(0.5, dtype=torch.float64))
        sched = scheduler(plan(bound("lr", *warmup_cosine(), relative=True, after=N(0))), optimizer)
        train(sched, 2)
        optimizer.add_param_group({"params": list(model[2].parameters())})
        train(sched, 1)
        assert [float(lr) for lr in sched.get_last_lr()] == pytest.approx([0.3, 0.3])


def safely(state: dict[str, Any]) -> dict[str, Any]:
    """The state as it comes back from a file."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file, weights_only=True)
    return loaded


class TestState:
    @pytest.mark.parametrize("at", [0, 1, 4, 5, 6, 24, 25, 26])
    def test_resuming_is_exact_at_every_boundary(self, model: torch.nn.Sequential, at: int) -> None:
        p = plan(bound("lr", *warmup_cosine(), relative=True, after=N(0)))
        whole = train(scheduler(p, adamw(model)), 30)
        first = scheduler(p, adamw(model))
        train(first, at)
        saved = safely({"s": first.state_dict(), "o": first.optimizer.state_dict()})
        second = scheduler(p, adamw(model))
        second.load_state_dict(saved["s"])
        assert second.get_last_lr() == [whole[at]]
        second.optimizer.load_state_dict(saved["o"])
        assert second.get_last_lr() == [whole[at]]
        assert train(second, 30 - at) == whole[at:]
        with_number = scheduler(p, first.optimizer, last_epoch=at - 1)
        assert with_number.get_last_lr() == [whole[at]]

    def test_plateaus_resume(self, model: torch.nn.Sequential) -> None:
        p = flat_plateau(patience=Fraction(2), cooldown=Fraction(3))
        metrics = [1.0, 2, 2, 2, 2, 2, 2, 2, 2, 2, 0.5, 1, 1, 1, 1, 1, 1, 1]
        whole = scheduler(p, adamw(model))
        values = []
        for m in metrics:
            whole.observe(loss=m)
            values += whole.get_last_lr()
        for cut in range(len(metrics)):
            sched = scheduler(p, adamw(model))
            for m in metrics[:cut]:
                sched.observe(loss=m)
            again = scheduler(p, adamw(model))
            again.load_state_dict(safely(sched.state_dict()))
            seen = []
            for m in metrics[cut:]:
                again.observe(loss=m)
                seen += again.get_last_lr()
            assert seen == values[cut:]

    @pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
    def test_copies_go_on_alone(self, model: torch.nn.Sequential, copied: Callable[[Any], Any]) -> None:
        sched = scheduler(with_plateau(patience=Fraction(1)), adamw(model))
        train(sched, 600)
        for _ in range(3):
            sched.observe(loss=1.0)
        optimizer, other = copied((sched.optimizer, sched))
        assert other.optimizer is optimizer
        assert optimizer is not sched.optimizer
        assert other.get_last_lr() == sched.get_last_lr()
        before = sched.get_last_lr()
        train(other, 5)
        assert sched.get_last_lr() == before
        train(sched, 5)
        assert other.get_last_lr() == sched.get_last_lr()

    def test_the_state_of_another_schedule_is_refused_and_shown(self, model: torch.nn.Sequential) -> None:
        old, new = (plan(bound("lr", *warmup_cosine(T=T), after=N(0))) for T in (20, 30))
        first = scheduler(old, adamw(model))
        train(first, 3)
        saved = safely(first.state_dict())
        sched = scheduler(new, adamw(model))
        with pytest.raises(ScheduleChanged, match=r"from update 6 on, lr was 0.9938441703 and is 0.9972609477"):
            sched.load_state_dict(saved)
        assert sched.last_epoch == 0
        sched.load_state_dict(saved, on_change="replace")
        assert train(sched, 10) == train(scheduler(new, adamw(model), last_epoch=2), 10)
        kept = scheduler(new, adamw(model), on_change="keep")
        kept.load_state_dict(saved)
        assert train(kept, 10) == train(first, 10)
        assert kept.state_dict()["plan"] == old.canonical_json()
        with pytest.raises(ValueError, match="on_change"):
            scheduler(new, adamw(model), on_change="maybe")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="not the state of a schedc scheduler"):
            sched.load_state_dict({"last_epoch": 3})

    def test_a_plateau_goes_on_where_the_schedule_is_replaced(self, model: torch.nn.Sequential) -> None:
        old, new = flat_plateau(patience=Fraction(1)), flat_plateau("2", patience=Fraction(1))
        first = scheduler(old, adamw(model))
        for _ in range(3):
            first.observe(loss=1.0)
        sched = scheduler(new, adamw(model), on_change="replace")
        sched.load_state_dict(first.state_dict())
        assert sched.get_last_lr() == [0.4]
        with pytest.raises(ScheduleChanged, match=r"from update 0 on, lr was 0.2 and is 0.4"):
            sched.load_state_dict(first.state_dict(), on_change="error")

    def test_a_plan_that_differs_elsewhere_is_no_change(self, model: torch.nn.Sequential) -> None:
        old = plan(bound("lr", *warmup_cosine(), after=N(0)))
        new = old.model_copy(update={"train": old.train.model_copy(update={"classes": 10})})
        assert old.hash != new.hash
        sched = scheduler(new, adamw(model))
        sched.load_state_dict(scheduler(old, adamw(model), last_epoch=3).state_dict())
        assert sched.last_epoch == 4


class Skips:
    """What a GradScaler does: it steps the optimizer, but for the numbered updates."""

    def __init__(self, *skipped: int) -> None:
        self.skipped, self.calls = skipped, 0

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        if self.calls not in self.skipped:
            optimizer.step()
        self.calls += 1


class TestManners:
    @pytest.mark.filterwarnings("ignore:Detected call")
    @pytest.mark.parametrize("skipped", [(3,), (3, 4, 9), (0,), (0, 1, 5)])
    def test_updates_that_mixed_precision_skips_do_not_count(
        self, model: torch.nn.Sequential, skipped: tuple[int, ...]
    ) -> None:
        sched = scheduler(plan(bound("lr", *warmup_cosine(), after=N(0))), adamw(model))
        scaler = Skips(*skipped)
        for i in range(12):
            scaler.step(sched.optimizer)
            sched.step()
            if i > max(skipped):
                assert sched.last_epoch == i + 1 - len(skipped)
                assert sched.get_last_lr() == [value_of_warmup_cosine(sched.last_epoch)]

    def test_a_fused_optimizer_that_skips_within_its_step(self, model: torch.nn.Sequential) -> None:
        optimizer: Any = adamw(model, fused=True)
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        sched = scheduler(plan(bound("lr", *warmup_cosine(), after=N(0))), optimizer)
        for found_inf in (0.0, 1.0, 0.0, 1.0, 0.0):
            optimizer.grad_scale = torch.tensor(1.0)  # As GradScaler does it.
            optimizer.found_inf = torch.tensor(found_inf)
            optimizer.step()
            del optimizer.grad_scale, optimizer.found_inf
            sched.step()
        assert sched.last_epoch == 3
        assert {int(s["step"]) for s in optimizer.state.values()} == {3}

    def test_calls_for_every_process_or_micro_batch_count_once(self, model: torch.nn.Sequential) -> None:
        sched = scheduler(plan(bound("lr", *warmup_cosine(), after=N(0))), adamw(model))
        for _ in range(6):
            sched.optimizer.step()
            for _ in range(4):
                sched.step()
        assert sched.last_epoch == 6

    def test_two_schedulers_and_one_of_torchs_share_an_optimizer(self, model: torch.nn.Sequential) -> None:
        optimizer = adamw(model)
        first = scheduler(plan(bound("lr", *warmup_cosine(), after=N(0))), optimizer)
        second = scheduler(plan(bound("weight_decay", *warmup_cosine(), after=N(0))), optimizer)
        other = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(3):
                optimizer.step()
                first.step()
                second.step()
                other.step()
        assert (first.last_epoch, second.last_epoch) == (3, 3)

    def test_without_any_optimizer_step_it_warns_and_goes_on(self, model: torch.nn.Sequential) -> None:
        sched = scheduler(plan(bound("lr", *warmup_cosine(), after=N(0))), adamw(model))
        with pytest.warns(UserWarning, match=r"Detected call of `lr_scheduler.step\(\)` before `optimizer.step\(\)`"):
            sched.step()
        sched.step()
        assert sched.last_epoch == 2

    def test_an_overridden_step_is_told_of(self, model: torch.nn.Sequential) -> None:
        sched = scheduler(plan(bound("lr", *warmup_cosine(), after=N(0))), adamw(model))
        sched.optimizer.step = lambda: None  # type: ignore[method-assign, assignment]
        with pytest.warns(UserWarning, match="has been overridden"):
            sched.step()
        for _ in range(3):
            sched.step()
        assert sched.last_epoch == 4

    def test_standing_still_is_told_of(self, model: torch.nn.Sequential) -> None:
        sched = scheduler(plan(bound("lr", *warmup_cosine(), after=N(0))), adamw(model))
        train(sched, 2)
        for _ in range(99):
            sched.step()
        with pytest.warns(UserWarning, match="stands at update 2"):
            sched.step()

    def test_a_position_is_refused(self, model: torch.nn.Sequential) -> None:
        sched = scheduler(flat_plateau(), adamw(model))
        with pytest.raises(TypeError, match=r"write observe\(loss=…\) or step\(metrics=…\)"):
            sched.step(0.5)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="this schedule observes loss, not los"):
            sched.observe(los=0.5)
        plain = scheduler(plan(constant("lr", 1)), adamw(model))
        with pytest.raises(TypeError, match="observes no metric"):
            plain.observe(loss=0.5)

    def test_others_may_write_its_counters(self, model: torch.nn.Sequential) -> None:
        sched = scheduler(plan(bound("lr", *warmup_cosine(), after=N(0))), adamw(model))
        sched._step_count += 1
        sched.last_epoch = 6
        sched.optimizer.step()
        sched.step()
        assert sched.get_last_lr() == [value_of_warmup_cosine(7)]

    def test_in_a_sequence_of_torchs(self, model: torch.nn.Sequential) -> None:
        optimizer = adamw(model)
        first = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=0.5)
        second = scheduler(plan(bound("lr", *warmup_cosine(), after=N(0))), optimizer)
        both = torch.optim.lr_scheduler.SequentialLR(optimizer, [first, second], milestones=[2])
        seen = []
        for _ in range(5):
            seen.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            both.step()
        assert seen[2:] == [0.0, 0.2, 0.4]


def cut(p: Plan, metrics: list[float], updates: int = 0) -> list[int]:
    """How many cuts there were after each observation, with some updates before each."""
    sched = scheduler(p, torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5))
    seen = []
    for m in metrics:
        for _ in range(updates):
            sched.optimizer.step()
            sched.step()
        sched.observe(loss=m)
        seen.append(sched.plateaus[0].cuts)
    return seen


class TestPlateau:
    def test_warmup_then_cosine_under_a_plateau(self, model: torch.nn.Sequential) -> None:
        sched = scheduler(with_plateau(), adamw(model))
        train(sched, 600)
        for i in range(12):
            assert sched.get_last_lr() == pytest.approx([0.5 * value_of_warmup_cosine(600, 500, 10000)]), i
            sched.observe(loss=1.0)
        assert sched.last_epoch == 600
        assert sched.get_last_lr() == pytest.approx([0.1 * value_of_warmup_cosine(600, 500, 10000)])
        train(sched, 1)
        assert sched.get_last_lr() == pytest.approx([0.1 * value_of_warmup_cosine(601, 500, 10000)])
        sched.step(metrics=1.0)
        sched.step(metrics={"loss": 1.0})
        sched.observe()
        assert sched.last_epoch == 601

    def test_more_than_patience(self) -> None:
        assert cut(flat_plateau(patience=Fraction(2)), [1.0] * 9) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
        assert cut(flat_plateau(patience=Fraction(0)), [1.0] * 3) == [0, 1, 2]

    def test_cooldown(self) -> None:
        # As torch: a flat metric, factor 1/2, patience 2, cooldown 5, cuts at 4, 12, 20 of the values.
        p = flat_plateau(factor=Fraction(1, 2), patience=Fraction(2), cooldown=Fraction(5))
        seen = cut(p, [1.0] * 20)
        assert [i + 1 for i in range(1, 20) if seen[i] > seen[i - 1]] == [4, 12, 20]

    def test_observations_in_cooldown_are_tracked_or_ignored(self) -> None:
        metrics = [1.0, 1, 1, 0.5, 0.7, 0.7, 0.7, 0.7, 0.7]
        common: dict[str, Any] = {"patience": Fraction(1), "cooldown": Fraction(2)}
        assert cut(flat_plateau(**common), metrics) == [0, 0, 1, 1, 1, 1, 2, 2, 2]
        assert cut(flat_plateau(**common, in_cooldown="ignore"), metrics) == [0, 0, 1, 1, 1, 1, 1, 2, 2]

    def test_modes_and_thresholds(self) -> None:
        zero: dict[str, Any] = {"patience": Fraction(0)}
        assert cut(flat_plateau(**zero, threshold=Fraction(1, 10)), [1.0, 0.95, 0.89]) == [0, 1, 1]
        assert cut(flat_plateau(**zero, threshold=Fraction(1, 10), threshold_mode="abs"), [10.0, 9.95, 9.5]) == [
            0,
            1,
            1,
        ]
        assert cut(flat_plateau(**zero, mode="max", threshold=Fraction(1, 10)), [1.0, 1.05, 1.2]) == [0, 1, 1]
        assert cut(flat_plateau(**zero, mode="max", threshold=Fraction(0)), [1.0, 1.05, 1.05]) == [0, 0, 1]
        assert cut(flat_plateau(**zero, atol=Fraction(1, 2)), [1.0, 0.6, 0.4]) == [0, 1, 1]

    def test_a_window_is_averaged(self) -> None:
        p = flat_plateau(patience=Fraction(0), window=2)
        assert cut(p, [1.0, 1.0, 0.5, 1.2, 9.0, 9.0]) == [0, 0, 0, 0, 0, 1]

    def test_patience_and_cooldown_in_a_clock(self) -> None:
        epochs = Clocks(pieces=(ClockPiece(update=0, epochs=Fraction(0), epochs_per_update=Fraction(1, 10)),))
        p = flat_plateau(patience=Fraction(1), patience_clock="epochs").model_copy(update={"clocks": (epochs,)})
        # An observation every 4 updates: the first at 0.4 is the best, 1.4 epochs are not passed before update 16.
        assert cut(p, [1.0] * 8, updates=4) == [0, 0, 0, 1, 1, 1, 2, 2]
        cooling: dict[str, Any] = {"patience": Fraction(0), "cooldown": Fraction(1), "cooldown_clock": "epochs"}
        p = flat_plateau(**cooling).model_copy(update={"clocks": (epochs,)})
        assert cut(p, [1.0] * 8, updates=4) == [0, 1, 1, 1, 2, 2, 2, 3]

    def test_a_floor_and_eps(self) -> None:
        assert cut(flat_plateau(patience=Fraction(0), floor=exact("0.3")), [1.0] * 5) == [0, 1, 1, 1, 1]
        assert (
            cut(flat_plateau(patience=Fraction(0), eps=Fraction(1, 10)), [1.0] * 5)
            == [0, 1, 2, 2, 2][:2] + [2 if 0.2 * 0.8 > 0.1 else 1] * 3
        )

    def test_nan_is_bad_and_reported_once(self, model: torch.nn.Sequential) -> None:
        sched = scheduler(flat_plateau(patience=Fraction(1)), adamw(model))
        with pytest.warns(UserWarning, match="loss is NaN at update 0"):
            sched.observe(loss=math.nan)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            sched.observe(loss=math.nan)
            sched.observe(loss=math.nan)
        assert sched.plateaus[0].cuts == 1
        assert sched.plateaus[0].best == math.inf

    def test_it_observes_only_while_it_is_current(self, model: torch.nn.Sequential) -> None:
        p = flat_plateau(patience=Fraction(0), start=Fraction(2), end=Fraction(4))
        sched = scheduler(p, adamw(model))
        cuts = []
        for _ in range(6):
            sched.observe(loss=torch.tensor(1.0))
            cuts.append(sched.plateaus[0].cuts)
            train(sched, 1)
        assert cuts == [0, 0, 0, 1, 1, 1]

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(st.sampled_from([0.0, 0.5, 0.9, 0.99995, 1.0, 1.1, 2.0, math.inf, math.nan, -1.0]), max_size=40),
        st.sampled_from(["min", "max"]), st.sampled_from(["rel", "abs"]),
        st.integers(0, 4), st.integers(0, 3), st.sampled_from([0.0, 1e-4, 0.1]), st.sampled_from([0.0, 0.03]),
    )  # fmt: skip
    def test_decisions_are_torchs(
        self, metrics: list[float], mode: Literal["min", "max"], threshold_mode: Literal["rel", "abs"],
        patience: int, cooldown: int, threshold: float, least: float,
    ) -> None:  # fmt: skip
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
        theirs = ReduceLROnPlateau(
            optimizer, mode=mode, factor=0.25, patience=patience, threshold=threshold,
            threshold_mode=threshold_mode, cooldown=cooldown, min_lr=least,
        )  # fmt: skip
        p = flat_plateau(
            "1/2", mode=mode, factor=Fraction(1, 4), patience=Fraction(patience), threshold=Fraction(str(threshold)),
            threshold_mode=threshold_mode, cooldown=Fraction(cooldown), floor=exact(str(least)),
        )  # fmt: skip
        ours = scheduler(p, torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5))
        for m in metrics:
            theirs.step(m)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ours.observe(loss=m)
            assert ours.get_last_lr() == pytest.approx(theirs.get_last_lr(), rel=1e-12)


def observe_on(rank: int, world: int, file: str, results: Any) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=world)
    try:
        sched = scheduler(flat_plateau(patience=Fraction(0)), torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))]))
        cuts = []
        # Alone, rank 0 would see an improvement each time and rank 1 none; the means are 1, 1.25 and 0.75.
        for mine in ([1.0, 0.5, 0.4], [1.0, 2.0, 1.1])[rank]:
            sched.observe(loss=mine)
            cuts.append(sched.plateaus[0].cuts)
        results[rank] = (cuts, sched.plateaus[0].best)
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.usefixtures("spawnable")
def test_ranks_decide_alike(tmp_path: Any) -> None:
    results = multiprocessing.get_context("spawn").Manager().dict()
    spawn(observe_on, (2, str(tmp_path / "store"), results), nprocs=2)  # type: ignore[no-untyped-call]
    assert results[0] == results[1] == ([0, 1, 1], 0.75)
