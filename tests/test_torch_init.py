"""Init plans on PyTorch models."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.placement_types import _StridedShard
from torch.multiprocessing.spawn import spawn

import schedc
from schedc.backends import philox
from schedc.backends.torch_init import InitError, initialize
from schedc.compiler import expressions as ex
from schedc.compiler.plan import InitRule, Place, Plan, Selection, SelectorModel

FAN_IN, FAN_OUT = ex.Var("fan_in"), ex.Var("fan_out")


def over(a: ex.Expr | int, b: ex.Expr | int) -> ex.Expr:
    return ex.div(a if not isinstance(a, int) else ex.num(a), b if not isinstance(b, int) else ex.num(b))


def root(a: ex.Expr) -> ex.Expr:
    return ex.op("sqrt", a)


HE = root(over(2, FAN_IN))
GLOROT = root(over(2, ex.add(FAN_IN, FAN_OUT)))


def selector(text: str) -> SelectorModel:
    if text.startswith("ndim"):
        _, op, number = text.split()
        return SelectorModel(kind="ndim", op=op, number=int(number))
    glob = "*" in text or "{" in text or text.lower() == text
    return SelectorModel(kind="glob" if glob else "type", text=text)


def rule(text: str, kind: str, options: dict[str, str | bool | int] | None = None, **arguments: Any) -> InitRule:
    """A rule from selectors with commas between, and numbers or formulas."""
    formulas = {k: ex.num(Fraction(v)) if isinstance(v, int | float) else v for k, v in arguments.items()}
    selection = Selection(union=tuple(map(selector, text.split(", "))))
    place = Place(file="a.sched", line=3, column=5)
    return InitRule(selection=selection, kind=kind, arguments=formulas, options=options or {}, label=kind, place=place)


def plan(*rules: InitRule) -> Plan:
    return Plan(version="0", name="test", source="", clocks=(), init=rules)


NORMAL = plan(rule("*", "normal", std=0.02))


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def small() -> nn.Sequential:
    return nn.Sequential(nn.Linear(7, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))


class TestRules:
    def test_the_last_match_wins_and_each_parameter_is_written_once(self) -> None:
        model = small()
        report = initialize(
            plan(
                rule("*", "constant", value=1), rule("*.bias", "constant", value=2), rule("Linear", "constant", value=3)
            ),
            model,
        )
        assert {w.name: w.rule for w in report.written} == {
            "0.weight": 2, "0.bias": 2, "1.weight": 0, "1.bias": 1, "2.weight": 2, "2.bias": 2,
        }  # fmt: skip
        assert {n: float(p.detach().min()) for n, p in model.named_parameters()} == {
            "0.weight": 3, "0.bias": 3, "1.weight": 1, "1.bias": 2, "2.weight": 3, "2.bias": 3,
        }  # fmt: skip
        assert all((p == p.flatten()[0]).all() for p in model.parameters())

    def test_unmatched_parameters_and_buffers_stay(self) -> None:
        model = small()
        model.get_buffer("1.running_mean").fill_(7)
        before = state(model)
        report = initialize(plan(rule("*.weight", "normal")), model)
        assert report.unmatched == ("0.bias", "1.bias", "2.bias")
        for name, value in model.state_dict().items():
            assert torch.equal(value, before[name]) == (not name.endswith("weight"))

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            (rule("*.wight", "normal"), r'`"\*\.wight"` in `init "\*\.wight"` matches no parameter: the nearest names'),
            (rule("Conv2d", "normal"), "matches no parameter: modules with parameters are"),
            (rule("1.bias", "normal", std=HE), "`fan_in` of a parameter of shape \\(5,\\) is not defined"),
            (rule("0.bias", "orthogonal"), 'can\'t initialise "0.bias": `orthogonal` needs at least 2 dimensions'),
            (rule("0.weight", "dirac"), "`dirac` needs 3 to 5 dimensions, it has 2"),
            (rule("0.weight", "normal", std=-1), "`std` is -1, below 0"),
            (rule("0.weight", "normal", std=over(1, ex.sub(FAN_IN, ex.num(7)))), "`std` is inf for its shape"),
            (rule("0.weight", "uniform", low=2, high=1), "`low`, 2, is above `high`, 1"),
            (rule("0.weight", "trunc_normal", cutoff=0.001), "smallest is 0.01"),
            (rule("0.weight", "sparse", sparsity=2), "not between 0 and 1"),
            (rule("0.weight", "sparse"), "needs `sparsity`"),
            (rule("0.weight", "normal", gain=2), "takes no `gain`"),
            (rule("0.weight", "normal", {"split": 3}), "5, does not split in 3"),
            (rule("0.weight", "normal", {"fans": "keras"}), "torch or forward, not keras"),
            (rule("0.weight", "gamma"), "no distribution `gamma`"),
        ],
    )
    def test_nothing_is_written_unless_everything_fits(self, wrong: InitRule, message: str) -> None:
        model = small()
        before = state(model)
        with pytest.raises(InitError, match=message) as error:
            initialize(plan(rule("*", "constant", value=9), wrong), model)
        assert len(error.value.problems) == 1
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

    def test_every_problem_is_told_at_once(self) -> None:
        with pytest.raises(InitError) as error:
            initialize(plan(rule("nothing", "normal"), rule("*", "orthogonal")), small())
        assert len(error.value.problems) == 1 + 4
        assert 'the rule `"*" : orthogonal` (a.sched:3)' in error.value.problems[1]

    def test_a_selector_of_a_union_that_matches_nothing_is_noted(self) -> None:
        report = initialize(plan(rule("Linear, Conv2d", "normal"), rule("BatchNorm1d", "constant", value=1)), small())
        assert len(report.notes) == 1
        assert "`Conv2d` in `init Linear, Conv2d` matches no parameter" in report.notes[0]

    def test_captures_are_read(self) -> None:
        model = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
        initialize(plan(rule("{i}.*", "constant", value=ex.add(ex.Var("capture:i"), ex.ONE))), model)
        assert [float(model.get_parameter(f"{i}.bias").detach()[0]) for i in range(3)] == [1, 2, 3]

    def test_integers_are_refused(self) -> None:
        model = nn.Module()
        model.register_parameter("q", nn.Parameter(torch.zeros(2, 2, dtype=torch.int8), requires_grad=False))
        with pytest.raises(InitError, match="dtype is int8, not floating-point"):
            initialize(NORMAL, model)

    def test_the_report_is_a_table(self) -> None:
        report = initialize(plan(rule("Linear", "normal", std=HE), rule("*.bias", "constant", value=0)), small())
        lines = str(report).splitlines()
        assert lines[0].split() == "parameter shape rule fan_in fan_out mean std measured mean measured std".split()
        assert lines[1].split()[:7] == ["0.weight", "5×7", "normal", "7", "5", "0", "0.5345"]
        assert lines[-1] == "unmatched, kept as it was: 1.weight"


# fan_in, fan_out as torch.nn.init counts them, and as a forward pass has them. The first of each is in init_torch.json.
FANS: list[tuple[Any, tuple[int, int], tuple[int, int]]] = [
    (lambda: nn.Linear(300, 200), (300, 200), (300, 200)),
    (lambda: nn.Conv2d(16, 32, 3), (144, 288), (144, 288)),
    (lambda: nn.Conv2d(16, 32, 3, groups=4), (36, 288), (36, 72)),
    (lambda: nn.Conv2d(16, 16, 3, groups=16), (9, 144), (9, 9)),
    (lambda: nn.ConvTranspose2d(16, 32, 3), (288, 144), (144, 288)),
    (lambda: nn.ConvTranspose2d(16, 32, 3, groups=4), (72, 144), (36, 72)),
    (lambda: nn.Conv1d(16, 32, 5), (80, 160), (80, 160)),
    (lambda: nn.Conv3d(4, 8, 3), (108, 216), (108, 216)),
    (lambda: nn.Embedding(1000, 64), (64, 1000), (1, 64)),
]


class TestFans:
    @pytest.mark.parametrize(("make", "torchs", "forward"), FANS)
    def test_fans(self, make: Any, torchs: tuple[int, int], forward: tuple[int, int]) -> None:
        model = make()
        assert nn.init._calculate_fan_in_and_fan_out(model.weight) == torchs
        for style, expected in (("torch", torchs), ("forward", forward)):
            report = initialize(plan(rule("*", "normal", {"fans": style}, std=GLOROT)), model)
            assert {(w.fan_in, w.fan_out) for w in report.written} == {expected}
            assert report["weight"].declared_std == math.sqrt(2 / sum(expected))
            assert bool(report.notes) == (torchs != forward)

    def test_forward_fans_keep_the_variance_of_a_transposed_convolution(self) -> None:
        model = nn.ConvTranspose2d(64, 8, 3, bias=False)
        initialize(plan(rule("*", "normal", {"fans": "forward"}, std=root(over(1, FAN_IN)))), model)
        x = torch.randn(8, 64, 12, 12, generator=torch.Generator().manual_seed(0))
        # Away from the edges each output has all its inputs.
        assert float(model(x).detach()[:, :, 2:-2, 2:-2].std()) == pytest.approx(1, rel=0.1)

    def test_split_counts_each_part(self) -> None:
        model = nn.MultiheadAttention(64, 4)
        report = initialize(plan(rule("in_proj_weight", "normal", {"split": 3}, std=GLOROT)), model)
        assert (report["in_proj_weight"].fan_in, report["in_proj_weight"].fan_out) == (64, 64)

    def test_a_bias_has_its_weights_fans(self) -> None:
        limit = over(1, root(FAN_IN))
        model = nn.ConvTranspose2d(16, 32, 3)
        report = initialize(plan(rule("*", "uniform", low=ex.op("neg", limit), high=limit)), model)
        # What torch does by itself: ±1/√288.
        assert report["bias"].declared_std == pytest.approx(1 / math.sqrt(288 * 3))
        assert float(model.get_parameter("bias").detach().abs().max()) < 1 / math.sqrt(288)


def is_drawn(model: nn.Module, name: str, law: philox.Law, seed: int = 0) -> None:
    """The parameter has numpy's values for it, rounded to its dtype."""
    param = model.get_parameter(name)
    values = torch.from_numpy(philox.sample(law, seed, name, 0, param.numel())).reshape(param.shape)
    assert torch.equal(param.detach(), (values.float() if param.dtype.itemsize < 4 else values).to(param.dtype))


LAWS: list[tuple[InitRule, philox.Law]] = [
    (rule("*", "normal", mean=0.5, std=0.02), philox.normal(0.5, 0.02)),
    (rule("*", "uniform", low=-0.25, high=1), philox.uniform(-0.25, 1)),
    (rule("*", "trunc_normal", std=0.02, cutoff=2), philox.trunc_normal(0, 0.02, 2)),
    (rule("*", "trunc_normal", {"correct": False}, std=0.02), philox.trunc_normal(0, 0.02, 2, correct=False)),
]


class TestBits:
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
    @pytest.mark.parametrize(("written", "law"), LAWS)
    def test_values_are_numpys_rounded(self, written: InitRule, law: philox.Law, dtype: torch.dtype) -> None:
        model = nn.Linear(301, 333).to(dtype)  # More than one chunk.
        report = initialize(plan(written), model, seed=4)
        is_drawn(model, "weight", law, 4)
        is_drawn(model, "bias", law, 4)
        w = report["weight"]
        values = model.weight.detach().double().numpy()
        assert w.mean == pytest.approx(values.mean(), abs=1e-12)
        assert w.std == pytest.approx(values.std())
        assert w.std == pytest.approx(w.declared_std, rel=0.01)

    def test_the_order_of_building_does_not_matter(self) -> None:
        names = ["a", "b", "c"]
        first = nn.ModuleDict({n: nn.Linear(4, 4) for n in names})
        second = nn.ModuleDict({n: nn.Linear(4, 4) for n in reversed(names)})
        for model in (first, second):
            torch.rand(3)
            initialize(NORMAL, model)
        assert all(torch.equal(v, second.state_dict()[n]) for n, v in first.state_dict().items())
        assert not torch.equal(first.get_parameter("a.weight"), first.get_parameter("b.weight"))

    def test_the_seed_matters(self) -> None:
        a, b = small(), small()
        initialize(NORMAL, a, seed=0)
        initialize(NORMAL, b, seed=1)
        assert not torch.equal(a.get_parameter("0.weight"), b.get_parameter("0.weight"))

    def test_memory_layout_does_not_matter(self) -> None:
        model = nn.Conv2d(8, 16, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        assert not model.weight.is_contiguous()
        initialize(NORMAL, model)
        is_drawn(model, "weight", philox.normal(0, 0.02))

    def test_torchs_generator_is_not_touched(self) -> None:
        model = small()
        before = torch.get_rng_state()
        special = [rule("0.weight", "orthogonal"), rule("2.weight", "sparse", sparsity=0.5)]
        initialize(plan(rule("*.weight", "normal"), *special), model)
        assert torch.equal(torch.get_rng_state(), before)

    def test_wrappers_do_not_matter(self) -> None:
        model = small()
        initialize(NORMAL, model)
        wrapped = torch.compile(small(), backend="eager")
        report = initialize(NORMAL, wrapped)  # type: ignore[arg-type]
        assert report.written[0].name == "0.weight"
        weight = model.get_parameter("0.weight")
        assert torch.equal(dict(wrapped.named_parameters())["_orig_mod.0.weight"], weight)  # type: ignore[attr-defined]
        parallel = nn.DataParallel(small())
        initialize(NORMAL, parallel)
        assert torch.equal(parallel.get_parameter("module.0.weight"), weight)

    def test_gradients_go_on_as_before(self) -> None:
        model = small()
        initialize(NORMAL, model)
        assert all(p.requires_grad and p.is_leaf and p.grad is None for p in model.parameters())

    @pytest.mark.gpu
    def test_a_gpu_has_the_same_bits(self) -> None:
        for written, _ in [*LAWS, (rule("*", "sparse", sparsity=0.3), None)]:
            here, there = nn.Linear(301, 333, bias=False), nn.Linear(301, 333, bias=False).cuda()
            initialize(plan(written), here)
            initialize(plan(written), there)
            assert torch.equal(here.weight, there.weight.cpu())


class TestSpecial:
    @pytest.mark.parametrize("shape", [(30, 20), (20, 30), (8, 3, 3, 3), (64, 3, 3, 3), (12, 12)])
    def test_orthogonal(self, shape: tuple[int, ...]) -> None:
        model = nn.Module()
        model.register_parameter("w", nn.Parameter(torch.empty(shape, dtype=torch.float64)))
        report = initialize(plan(rule("w", "orthogonal", gain=3)), model)
        w = model.get_parameter("w").detach().reshape(shape[0], -1) / 3
        short = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
        assert torch.allclose(short, torch.eye(len(short), dtype=torch.float64), atol=1e-12)
        assert report["w"].std == pytest.approx(report["w"].declared_std, rel=0.05)
        assert report["w"].declared_std == pytest.approx(3 / math.sqrt(max(w.shape)))

    def test_orthogonal_parts(self) -> None:
        model = nn.Linear(10, 30, bias=False)
        initialize(plan(rule("weight", "orthogonal", {"split": 3})), model)
        for part in model.weight.detach().chunk(3):
            assert torch.allclose(part @ part.T, torch.eye(10), atol=1e-6)

    @pytest.mark.parametrize("shape", [(6, 4, 3), (4, 6, 3, 3), (6, 2, 4, 3, 5)])
    @pytest.mark.parametrize("groups", [1, 2])
    def test_dirac_is_torchs(self, shape: tuple[int, ...], groups: int) -> None:
        model = nn.Module()
        model.register_parameter("w", nn.Parameter(torch.full(shape, 9.0)))
        report = initialize(plan(rule("w", "dirac", groups=groups)), model)
        assert torch.equal(model.get_parameter("w"), nn.init.dirac_(torch.empty(shape), groups))
        assert report["w"].std == pytest.approx(report["w"].declared_std)

    @pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5, 3)])
    def test_identity_is_torchs(self, shape: tuple[int, int]) -> None:
        model = nn.Linear(shape[1], shape[0], bias=False)
        report = initialize(plan(rule("weight", "identity", gain=2)), model)
        assert torch.equal(model.weight, 2 * torch.eye(*shape))
        assert report["weight"].std == pytest.approx(report["weight"].declared_std)

    # 30 · 0.1 is 3 exactly, and 3.0000000000000004 in floating point.
    @pytest.mark.parametrize(("sparsity", "zeros"), [(Fraction(1, 10), 3), (Fraction(1, 7), 5), (0, 0), (1, 30)])
    def test_sparse(self, sparsity: Fraction, zeros: int) -> None:
        model = nn.Linear(40, 30, bias=False)
        report = initialize(plan(rule("weight", "sparse", sparsity=ex.num(sparsity), std=2)), model)
        assert ((model.weight == 0).sum(0) == zeros).all()
        assert report["weight"].std == pytest.approx(report["weight"].declared_std, rel=0.1)
        if 0 < zeros < 30:
            assert len({tuple(c.nonzero().flatten().tolist()) for c in (model.weight == 0).T}) > 20


CONV = (36, 288)
"""The fans of Conv2d(16, 32, 3, groups=4), as torch counts them."""

# Standard deviations as torch.nn.init, jax and keras have them (research/init.md).
NAMED = [
    ("zeros", 0.0),
    ("xavier_uniform", math.sqrt(2 / sum(CONV))),
    ("xavier_normal gain=2", 2 * math.sqrt(2 / sum(CONV))),
    ("kaiming_normal", nn.init.calculate_gain("relu") / math.sqrt(CONV[0])),
    ("kaiming_normal mode=fan_out nonlinearity=tanh", nn.init.calculate_gain("tanh") / math.sqrt(CONV[1])),
    ("kaiming_normal nonlinearity=selu", nn.init.calculate_gain("selu") / math.sqrt(CONV[0])),
    ("kaiming_uniform nonlinearity=sigmoid", 1 / math.sqrt(CONV[0])),
    ("kaiming_uniform nonlinearity=leaky_relu", nn.init.calculate_gain("leaky_relu") / math.sqrt(CONV[0])),
    (
        "kaiming_uniform nonlinearity=leaky_relu slope=0.2",
        nn.init.calculate_gain("leaky_relu", 0.2) / math.sqrt(CONV[0]),
    ),
    ("kaiming_normal mode=fan_avg", math.sqrt(2 / (sum(CONV) / 2))),
    ("kaiming_normal fans=forward mode=fan_out", math.sqrt(2 / 72)),
    ("lecun_normal", 1 / math.sqrt(CONV[0])),
    ("lecun_uniform", 1 / math.sqrt(CONV[0])),
    ("variance_scaling scale=2 mode=fan_geo_avg", math.sqrt(2 / math.sqrt(CONV[0] * CONV[1]))),
    ("variance_scaling_truncated scale=3", math.sqrt(3 / CONV[0])),
    ("variance_scaling_uniform mode=fan_out", math.sqrt(1 / CONV[1])),
    ("glorot_uniform", math.sqrt(2 / sum(CONV))),
    ("glorot_normal", math.sqrt(2 / sum(CONV))),
    ("he_uniform", math.sqrt(2 / CONV[0])),
    ("he_normal", math.sqrt(2 / CONV[0])),
    ("torch_default", 1 / math.sqrt(3 * CONV[0])),
    ("small_init", math.sqrt(2 / (5 * CONV[0]))),
    ("residual_normal std=0.02 branches=24", 0.02 / math.sqrt(24)),
    ("trunc_normal std=0.02", 0.02),
    ("trunc_normal std=0.02 correct=false", 0.02 * 0.8796256610342398),
]


class TestLanguage:
    @pytest.mark.parametrize(("text", "std"), NAMED)
    def test_the_named_initialisers_are_the_published_ones(self, text: str, std: float) -> None:
        model = nn.Conv2d(16, 32, 3, groups=4, bias=False)
        program = schedc.compile(f"lr = 0.1\ninit {{ Conv2d : {text} }}")
        written = initialize(program, model)["weight"]
        assert written.label == text
        assert written.declared_std == pytest.approx(std, rel=1e-12)
        assert written.std == pytest.approx(std, rel=0.05)
        assert written.mean == pytest.approx(0, abs=5 * std / math.sqrt(model.weight.numel()))

    # 1 / √E[f(z)²] of a standard normal z, the rule that gives He's √2 for relu.
    @pytest.mark.parametrize("name", ["relu", "gelu", "silu"])
    def test_gains_keep_the_second_moment(self, name: str) -> None:
        z = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
        density = torch.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        moment = torch.trapezoid(getattr(nn.functional, name)(z) ** 2 * density, z)
        program = schedc.compile(f"lr = 0.1\ninit {{ Linear : kaiming_normal nonlinearity={name} }}")
        report = initialize(program, nn.Linear(100, 7, bias=False))
        assert report["weight"].declared_std == pytest.approx(0.1 / math.sqrt(float(moment)), rel=1e-9)

    def test_the_special_ones(self) -> None:
        program = schedc.compile(
            "lr = 0.1\n"
            "init {\n"
            '  "0.weight" : orthogonal gain=2 split=3\n'
            '  "1.weight" : dirac groups=2\n'
            '  "2.weight" : identity\n'
            '  "3.weight" : sparse sparsity=0.9\n'
            '  "*.bias"   : constant 0.5\n'
            "}"
        )
        model = nn.Sequential(nn.Linear(4, 12), nn.Conv1d(4, 8, 3), nn.Linear(3, 3), nn.Linear(10, 10))
        report = initialize(program, model, seed=2)
        assert [w.label for w in report.written[::2]] == [
            "orthogonal gain=2 split=3",
            "dirac groups=2",
            "identity",
            "sparse sparsity=0.9",
        ]
        assert torch.equal(model.get_parameter("1.weight"), nn.init.dirac_(torch.empty(8, 4, 3), 2))
        assert all((model.get_parameter(f"{i}.bias") == 0.5).all() for i in range(4))


class Tied(nn.Module):
    """An embedding whose weight the output layer shares."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 4)
        self.norm = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 10, bias=False)
        self.head.weight = self.embed.weight


class TestTied:
    def test_it_is_written_once_under_its_first_name(self) -> None:
        model = Tied()
        report = initialize(plan(rule("Embedding", "normal"), rule("head.*", "constant", value=1)), model)
        assert model.head.weight is model.embed.weight
        is_drawn(model, "embed.weight", philox.normal(0, 1))
        assert [w.name for w in report.written] == ["embed.weight"]
        assert report["head.weight"].aliases == ("head.weight",)
        assert 'matches "head.weight", which is tied to "embed.weight"' in report.notes[0]

    def test_it_stays_tied_on_leaving_the_meta_device(self) -> None:
        with torch.device("meta"):
            model = Tied()
        initialize(NORMAL, model, device="cpu")
        assert model.head.weight is model.embed.weight
        is_drawn(model, "embed.weight", philox.normal(0, 0.02))


class Rope(nn.Module):
    """A module with a buffer that nobody fills a second time."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("inv_freq", torch.ones(3))


class TestMeta:
    def test_it_is_as_if_built_there(self) -> None:
        with torch.device("meta"):
            model = small()
        real = small()
        initialize(NORMAL, real)
        report = initialize(NORMAL, model, device="cpu")
        assert len(report.written) == 6
        assert all(torch.equal(v, real.state_dict()[n]) for n, v in model.state_dict().items())

    def test_what_is_real_already_is_kept(self) -> None:
        model = small()
        model[2] = nn.Linear(5, 3, device="meta")
        kept = model[0].weight
        before = state(model[:2])
        initialize(plan(rule("2.*", "normal")), model, device="cpu")
        assert model[0].weight is kept
        assert all(torch.equal(v, before[n]) for n, v in model[:2].state_dict().items())

    def test_it_needs_a_device_and_rules_for_all(self) -> None:
        with torch.device("meta"):
            model = small()
        with pytest.raises(InitError, match="pass `device=`"):
            initialize(NORMAL, model)
        with pytest.raises(InitError, match=r'no rule matches "0\.bias", which is on the meta device'):
            initialize(plan(rule("*.weight", "normal")), model, device="cpu")
        assert all(p.is_meta for p in model.parameters())

    def test_a_buffer_without_a_value_is_refused(self) -> None:
        with torch.device("meta"):
            model = nn.Sequential(nn.Linear(2, 2), Rope())
        with pytest.raises(InitError, match=r'the buffer "1\.inv_freq" is on the meta device'):
            initialize(NORMAL, model, device="cpu")

    def test_torchs_generator_is_not_touched(self) -> None:
        with torch.device("meta"):
            model = small()
        before = torch.get_rng_state()
        initialize(NORMAL, model, device="cpu")
        assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture
def four_processes() -> Iterator[Any]:
    """Makes this process one of four, in turn; their messages go nowhere."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    def become(rank: int) -> None:
        if dist.is_initialized():
            dist.destroy_process_group()
        dist.init_process_group("fake", rank=rank, world_size=4, store=FakeStore())

    yield become
    if dist.is_initialized():
        dist.destroy_process_group()


SHARDINGS: list[tuple[tuple[int, ...], list[Any]]] = [
    ((4,), [Shard(0)]),
    ((4,), [Shard(1)]),
    ((4,), [Shard(2)]),
    ((4,), [Replicate()]),
    ((2, 2), [Shard(0), Shard(1)]),
    ((2, 2), [Shard(1), Shard(1)]),
    ((2, 2), [Replicate(), Shard(1)]),
    ((2, 2), [_StridedShard(0, split_factor=2), Shard(0)]),
]
KINDS = [
    rule("w", "normal", std=HE),
    rule("w", "uniform"),
    rule("w", "constant", value=3),
    rule("w", "orthogonal"),
    rule("w", "dirac"),
]


class TestShards:
    @pytest.mark.parametrize(("mesh_shape", "placements"), SHARDINGS)
    @pytest.mark.parametrize("written", KINDS, ids=lambda r: r.kind)
    @pytest.mark.parametrize("shape", [(8, 8, 4), (9, 6, 5), (3, 2, 1)])
    def test_a_shard_has_its_part_of_the_whole(
        self, four_processes: Any, mesh_shape: tuple[int, ...], placements: list[Any], written: InitRule,
        shape: tuple[int, ...],
    ) -> None:  # fmt: skip
        if len(mesh_shape) == 2 and isinstance(placements[0], _StridedShard) and shape[0] % 4:
            pytest.skip("FSDP2 over tensor parallelism shards evenly")
        whole = nn.Module()
        whole.register_parameter("w", nn.Parameter(torch.full(shape, -9.0)))
        initialize(plan(written), whole)
        full = whole.get_parameter("w").detach()
        for rank in range(4):
            four_processes(rank)
            mesh = init_device_mesh("cpu", mesh_shape)
            expected = distribute_tensor(full, mesh, placements, src_data_rank=None).to_local()
            part = distribute_tensor(torch.full(shape, -9.0), mesh, placements, src_data_rank=None)
            model = nn.Module()
            # Not as an nn.Parameter: making one is an operation, whose cached result is of the rank that was first.
            model._parameters["w"] = part  # type: ignore[assignment]
            report = initialize(plan(written), model)
            assert torch.equal(part.to_local(), expected)
            assert report["w"].shape == shape
            if expected.numel():
                assert report["w"].mean == pytest.approx(float(expected.double().mean()), abs=1e-12)

    def test_only_its_own_elements_are_computed(self, four_processes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        counts = []
        words = philox._blocks

        def counted(k: Any, blocks: Any, last: int, stream: int) -> Any:
            counts.append(4 * blocks.size)
            return words(k, blocks, last, stream)

        monkeypatch.setattr(philox, "_blocks", counted)
        four_processes(1)
        mesh = init_device_mesh("cpu", (4,))
        for placement in (Shard(0), Shard(1)):
            model = nn.Module()
            part = distribute_tensor(torch.empty(400, 400), mesh, [placement], src_data_rank=None)
            model.register_parameter("w", nn.Parameter(part))
            counts.clear()
            initialize(NORMAL, model)
            assert sum(counts) == 400 * 100


def _fsdp(rank: int, store: str, out: str) -> None:
    from torch.distributed.fsdp import fully_shard

    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    torch.set_num_threads(1)
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(33, 17), nn.Linear(17, 5))
    mesh = init_device_mesh("cpu", (2,))
    for layer in model:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    report = initialize(plan(rule("*", "normal", std=HE), rule("1.weight", "orthogonal")), model, device="cpu")
    full = {n: p.full_tensor().detach() for n, p in model.named_parameters() if isinstance(p, DTensor)}
    loss = model(torch.ones(4, 33)).sum()
    loss.backward()
    if rank == 0:
        torch.save({"full": full, "loss": loss.detach(), "names": [w.name for w in report.written]}, out)
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.usefixtures("spawnable")
def test_fsdp2_from_the_meta_device_on_two_processes(tmp_path: Path) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    spawn(_fsdp, args=(str(tmp_path / "store"), str(tmp_path / "out")), nprocs=2)  # type: ignore[no-untyped-call]
    found = torch.load(tmp_path / "out")
    single = nn.Sequential(nn.Linear(33, 17), nn.Linear(17, 5))
    initialize(plan(rule("*", "normal", std=HE), rule("1.weight", "orthogonal")), single)
    assert found["names"] == [n for n, _ in single.named_parameters()]
    for name, param in single.named_parameters():
        assert torch.equal(found["full"][name], param)
    assert torch.allclose(found["loss"], single(torch.ones(4, 33)).sum())


def test_a_plan_without_rules_writes_nothing() -> None:
    model = small()
    before = state(model)
    report = initialize(plan(), model)
    assert len(report.unmatched) == 6
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())


def test_a_scalar_is_initialised() -> None:
    model = nn.Module()
    model.register_parameter("scale", nn.Parameter(torch.tensor(0.0)))
    report = initialize(plan(rule("scale", "normal", std=ex.Var("numel"))), model)
    is_drawn(model, "scale", philox.normal(0, 1))
    assert report["scale"].shape == ()


def test_a_copy_of_the_model_gets_the_same() -> None:
    model = small()
    other = copy.deepcopy(model)
    initialize(NORMAL, model)
    initialize(NORMAL, other)
    assert all(torch.equal(v, other.state_dict()[n]) for n, v in model.state_dict().items())


def test_a_partial_sum_is_refused(four_processes: Any) -> None:
    four_processes(0)
    mesh = init_device_mesh("cpu", (4,))
    model = small()
    before = state(model)
    model._parameters["w"] = DTensor.from_local(torch.zeros(4), mesh, [Partial()])  # type: ignore[assignment]
    with pytest.raises(InitError, match="partial sum"):
        initialize(NORMAL, model)
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters() if n in before)
