"""The compiled file: it needs only PyTorch, is what the scheduler runs, and reads as if written by hand."""

from __future__ import annotations

import ast
import json
import math
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch

import schedc
from schedc.backends import reference
from schedc.backends.base import compositions
from schedc.backends.selectors import param_groups
from schedc.backends.torch_scheduler import scheduler
from schedc.backends.torch_source import emit
from schedc.compiler import expressions as ex
from schedc.compiler.plan import Binding, ClockPiece, Clocks, Curve, Plan, ScheduleEnded, Segment, UnknownClock

N = ex.num
STEPS = Clocks(pieces=(ClockPiece(update=0),))

PROGRAMS = {
    "plateau": "warmup 500 linear -> cosine T=10000 | plateau factor=0.2",
    "groups": """
        train { length = 90 epochs; steps_per_epoch = 1252 }
        lr = 3e-4 * (warmup 500 -> cosine)
        weight_decay = lr^2
        betas[1] = 0.95
        group "0.*" { lr *= 0.1 }
        group "{i}.*" { lr *= 0.75^(2 - i) }
        group ndim < 2, Linear.bias except "2.bias" { weight_decay = 0 }
        group "2.*" { lr *= 0 for 5 epochs -> 1 }
    """,
    "ramp": """
        train { length = 100M tokens; seq_len = 100 }
        batch { global = linear from=100 to=1000 for 40M tokens | staircase 4M tokens | round 8 }
        lr = warmup 20 to=1e-3 -> cosine to=10% until 80M tokens -> linear to=0
    """,
    "stairs": "lr = 0.1 * (hold 30 -> 0.1 for 30 -> 0.01) | staircase 7",
}
MAIN = """
import sys, warnings
class Blocked:  # SymPy is not among them: torch itself imports it.
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("schedc", "lark", "pydantic"):
            raise ImportError(f"{name} is not to be needed")
sys.meta_path.insert(0, Blocked())
warnings.simplefilter("ignore")
import json, torch, compiled
model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.LayerNorm(3), torch.nn.Linear(3, 2))
groups = compiled.param_groups(model) if hasattr(compiled, "param_groups") else model.parameters()
optimizer = torch.optim.AdamW(groups, lr=0.5)
schedule = compiled.Schedule(optimizer)
seen = []
for n in range(int(sys.argv[1])):
    if n % 40 == 0 and hasattr(compiled, "METRICS"):
        schedule.observe(loss=1.0)
    seen.append([[g["lr"], g["weight_decay"], *g["betas"]] for g in optimizer.param_groups])
    optimizer.step()
    schedule.step()
state = json.loads(json.dumps(schedule.state_dict()).replace("Infinity", "1e999"))
groups = compiled.param_groups(model) if hasattr(compiled, "param_groups") else model.parameters()
again = compiled.Schedule(torch.optim.AdamW(groups, lr=0.5))
again.load_state_dict(state)
assert again.get_last_lr() == schedule.get_last_lr()
print(json.dumps(seen))
"""


def program(name: str) -> Plan:
    return schedc.compile(PROGRAMS[name])


def model() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.LayerNorm(3), torch.nn.Linear(3, 2))


def alone(text: str, updates: int, folder: Path) -> Any:
    """What a compiled file does in a process that can't import schedc or what it stands on."""
    (folder / "compiled.py").write_text(text, encoding="utf-8")
    (folder / "main.py").write_text(MAIN, encoding="utf-8")
    command = [sys.executable, str(folder / "main.py"), str(updates)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.filterwarnings("ignore::schedc.SchedWarning")
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_file_needs_only_pytorch_and_equals_the_scheduler(name: str, tmp_path: Path) -> None:
    plan, updates = program(name), 700
    seen = alone(emit(plan), updates, tmp_path)
    net = model()
    optimizer = torch.optim.AdamW(param_groups(plan, net) if plan.groups else net.parameters(), lr=0.5)
    sched = scheduler(plan, optimizer)
    for n in range(updates):
        if n % 40 == 0 and plan.feedback:
            sched.observe(loss=1.0)
        assert [[g["lr"], g["weight_decay"], *g["betas"]] for g in optimizer.param_groups] == seen[n]
        optimizer.step()
        sched.step()


@pytest.mark.filterwarnings("ignore::schedc.SchedWarning")
@pytest.mark.parametrize("name", PROGRAMS)
def test_it_imports_torch_and_pythons_own(name: str) -> None:
    tree = ast.parse(emit(program(name)))
    found = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    found |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert found <= {"torch", "torch.optim.lr_scheduler", "math", "bisect", "fractions", "re", "warnings", "weakref"}


class Kind:
    """What the generated composition needs of a kind of param group."""

    def __init__(self, plan: Plan, rules: dict[int, dict[str, int]]) -> None:
        self.initial = dict.fromkeys(compositions(plan), 0.5)
        self.rules = rules


@pytest.mark.filterwarnings("ignore::schedc.SchedWarning")
@pytest.mark.parametrize("name", PROGRAMS)
def test_values_are_those_of_the_reference(name: str) -> None:
    plan = program(name)
    functions = scheduler(plan, _optimizer(plan)).functions
    used: list[set[int]] = [set()] if plan.groups else []
    marks = {n + d for b in plan.bindings for s in b.curve.segments for n in (s.first, s.last or 0) for d in (-1, 0, 1)}
    for n in sorted(marks | set(range(0, 300, 7))):
        if n < 0:
            continue
        values = functions["hyper_parameters"](n, [Kind(plan, {})], *used, *[1.0] * len(plan.feedback))[0]
        for bound, value in zip(compositions(plan), values, strict=True):
            if any(b.name == bound for b in plan.bindings):
                expected = float(reference.binding_value(plan, bound, Fraction(n), reference.Group(0.5)))
                assert value == pytest.approx(expected, rel=1e-14, abs=1e-16), (bound, n)


def _optimizer(plan: Plan) -> torch.optim.Optimizer:
    net = model()
    return torch.optim.AdamW(param_groups(plan, net) if plan.groups else net.parameters(), lr=0.5)


def hand_built(*segments: Segment, clocks: Clocks = STEPS, after: ex.Expr | None = None, **more: Any) -> Plan:
    binding = Binding(name="lr", relative=False, curve=Curve(segments=segments, after=after))
    more = {"source": "…", "clocks": (clocks,), **more}
    return Plan(version="0.1.0", name="x.sched", bindings=(binding,), **more)


def piece(start: int, end: int | None, formula: ex.Expr, **more: Any) -> Segment:
    return Segment(
        start=Fraction(start), end=None if end is None else Fraction(end), formula=formula, begins=formula,
        ends=None if end is None else formula, **more,
    )  # fmt: skip


def lr_of(plan: Plan) -> Any:
    return scheduler(plan, torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])).functions["lr"]


def test_it_reads_as_if_written_by_hand() -> None:
    t = ex.local_time("steps", Fraction(500))
    wave = ex.op("cos", ex.mul(ex.Const("pi"), ex.div(t, N(10000))))
    plan = hand_built(
        piece(0, 500, ex.mul(N(Fraction("3e-4")), ex.div(ex.STEPS, N(500))), horizon=Fraction(500), label="warmup 500"),
        piece(
            500, 10500, ex.mul(N(Fraction("1.5e-4")), ex.add(N(1), wave)), origin=Fraction(500), label="cosine T=10000"
        ),
        after=N(0),
        source="lr = warmup 500 to=3e-4\n  -> cosine T=10000",
        parameters={"peak": "3e-4"},
    )
    text = emit(plan)
    assert text.startswith(
        f"""# Generated by schedc 0.1.0 from x.sched: edit that, and compile it again.
# plan {plan.hash}
#
#     lr = warmup 500 to=3e-4
#       -> cosine T=10000
#
# with peak = 3e-4

import math
import warnings
import weakref

from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler
"""
    )
    assert (
        '''
def lr(n):
    """lr at update n."""
    if n < 500:  # warmup 500
        return 3e-4 * n / 500
    if n < 10500:  # cosine T=10000
        t = n - 500
        return 1.5e-4 * (1 + math.cos(math.pi * t / 10000))
    return 0.0
'''
        in text
    )
    assert "@" not in text
    assert "#:" not in text


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("count", [3, 8, 9, 64, 500])
def test_any_number_of_segments(count: int, constant: bool) -> None:
    wave = ZERO if constant else ex.op("sin", ex.STEPS)
    pieces = [piece(3 * i, 3 * i + 3, ex.add(N(i), wave)) for i in range(count)]
    lr = lr_of(hand_built(*pieces, after=N(-1)))
    for n in range(3 * count):
        assert lr(n) == pytest.approx(n // 3 + (0 if constant else math.sin(n)), abs=1e-14)
    assert lr(3 * count) == -1


ZERO = N(0)


def test_boundaries_between_updates_belong_to_the_next_update() -> None:
    half = [Fraction(5, 2), Fraction(11, 4), Fraction(3)]
    pieces = [
        Segment(start=a, end=b, formula=N(i), begins=N(i), ends=N(i))
        for i, (a, b) in enumerate(zip([Fraction(0), *half], half, strict=False))
    ]
    assert [lr_of(hand_built(*pieces, after=N(9)))(n) for n in range(5)] == [0, 0, 0, 9, 9]


def test_conversions_between_clocks() -> None:
    rows = [(0, 0, 10), (10, 100, 30)]
    pieces = tuple(
        ClockPiece(update=u, samples=Fraction(s), samples_per_update=Fraction(r), tokens=Fraction(7 * s),
                   tokens_per_update=Fraction(7 * r), epochs=Fraction(s, 90), epochs_per_update=Fraction(r, 90))
        for u, s, r in rows
    )  # fmt: skip
    every = ex.mul(N(75), ex.op("floor", ex.div(ex.Reading("samples"), N(75))))
    for target, expected in [
        ("steps", [0, 7.5, 10 + 50 / 30]),
        ("tokens", [0, 525, 1050]),
        ("epochs", [0, 75 / 90, 150 / 90]),
    ]:
        plan = hand_built(piece(0, None, ex.Convert(every, "samples", target)), clocks=Clocks(pieces=pieces))
        assert [lr_of(plan)(n) for n in (0, 9, 13)] == pytest.approx(expected, rel=1e-15)
        values = [reference.binding_value(plan, "lr", Fraction(n), reference.Group()) for n in range(20)]
        assert [lr_of(plan)(n) for n in range(20)] == pytest.approx([float(v) for v in values], rel=1e-15)
    stairs = ex.op("floor", ex.mul(N(3), ex.Reading("epochs")))
    plan = hand_built(piece(0, None, stairs), clocks=Clocks(pieces=pieces))
    assert [lr_of(plan)(n) for n in range(12)] == [n * 30 // 90 for n in range(10)] + [3, 4]
    periodic = Clocks(pieces=pieces, period_start=5, period=8)
    for target in ("steps", "tokens", "epochs"):
        plan = hand_built(piece(0, None, ex.Convert(every, "samples", target)), clocks=periodic)
        values = [reference.binding_value(plan, "lr", Fraction(n), reference.Group()) for n in range(40)]
        assert [lr_of(plan)(n) for n in range(40)] == pytest.approx([float(v) for v in values], rel=1e-15)


def test_a_clock_that_the_run_says_nothing_of() -> None:
    with pytest.raises(UnknownClock, match="how many tokens"):
        emit(hand_built(piece(0, None, ex.Reading("tokens"))))
    with pytest.raises(UnknownClock, match="how many samples"):
        emit(hand_built(piece(0, None, ex.Var("batch"))))


def test_words_of_the_program_are_never_code() -> None:
    nasty = '"""\nimport os; os.system("false")\r\x0cimport this\\'
    plan = hand_built(
        piece(0, 2, N(1), label=nasty),
        piece(2, None, N(1), error=nasty + "{n}{1/0}"),
        source=nasty,
        parameters={"p": nasty},
    ).model_copy(update={"name": nasty})
    odd = Binding(name='my "key"\n', relative=False, curve=Curve(segments=(piece(0, None, N(1)),)))
    plan = plan.model_copy(update={"lets": (odd, odd.model_copy(update={"name": "def"}))})
    text = emit(plan)
    compile(text, "compiled.py", "exec")
    assert "\nimport os" not in text
    assert "\nimport this" not in text
    with pytest.raises(ScheduleEnded, match="before update 2"):
        lr_of(plan)(2)


def test_names_do_not_clash() -> None:
    names = ["math", "lr", "class", "Schedule", "n", "hyper_parameters", "tokens"]
    lets = tuple(
        Binding(name=name, relative=False, curve=Curve(segments=(piece(0, None, N(i)),)))
        for i, name in enumerate(names)
    )
    plan = hand_built(piece(0, None, ex.add(ex.Bound("class"), ex.Bound("n")))).model_copy(update={"lets": lets})
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])
    assert scheduler(plan, optimizer).get_last_lr() == [6.0]
