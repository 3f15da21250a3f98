"""The laws of the language's semantics, against a loop that knows only the past, over random programs and clocks."""

from __future__ import annotations

import importlib.util
import sys
from fractions import Fraction as Q
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schedc.backends import reference
from schedc.compiler.lower import lower
from schedc.compiler.modules import resolve
from schedc.compiler.plan import Plan
from schedc.compiler.planning import to_plan
from schedc.compiler.source import Source
from schedc.grammar.parse import parse

_spec = importlib.util.spec_from_file_location("schedc_tests_brute", Path(__file__).with_name("brute.py"))
assert _spec is not None
assert _spec.loader is not None
brute = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = brute
_spec.loader.exec_module(brute)

UPDATES = 40
EASY = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


def numbers(low: int, high: int) -> st.SearchStrategy[Q]:
    return st.builds(Q, st.integers(low, high), st.sampled_from([1, 2, 3, 5]))


@st.composite
def stages(draw: st.DrawFn, units: list[str]) -> Any:
    unit = draw(st.sampled_from(units))
    scale = {"steps": 1, "samples": 4, "tokens": 12}[unit]
    kind = draw(st.sampled_from(["linear", "square", "hold", "inverse", "constant"]))
    whole = draw(st.integers(1, 12)) * scale + draw(st.integers(0, scale - 1))
    begin = draw(st.none() | numbers(0, 9))
    return brute.Stage(kind, Q(whole), unit, draw(numbers(0, 9)), begin)


def programs(units: tuple[str, ...] = ("steps", "samples", "tokens")) -> st.SearchStrategy[Any]:
    def grow(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.one_of(
            st.builds(lambda a: brute.Chain(tuple(a)), st.lists(children, min_size=2, max_size=3)),
            st.builds(brute.Affine, numbers(1, 5), numbers(0, 3), children),
            st.builds(brute.Least, children, children),
            st.builds(lambda b, a, u: brute.Cut(b, Q(a), u), children, st.integers(1, 30), st.sampled_from(units)),
        )

    return st.recursive(stages(list(units)), grow, max_leaves=5)


@st.composite
def clocks(draw: st.DrawFn, ramp: bool = True) -> tuple[str, Any]:
    """Batch and sequence length as phases by samples or tokens consumed; the program text that declares them, and the function."""
    seq = draw(st.integers(1, 5))
    first = draw(st.integers(1, 6))
    if not ramp or draw(st.booleans()):
        return f"train {{ seq_len = {seq} }}\nbatch {{ global = {first} }}\n", lambda n, s, k: (first, seq)
    unit = draw(st.sampled_from(["steps", "samples", "tokens"]))
    at, second = draw(st.integers(1, 40)), draw(st.integers(1, 9))
    which = ["steps", "samples", "tokens"].index(unit)
    if draw(st.booleans()):
        text = f"train {{ seq_len = {seq} }}\nbatch {{ global = {first} until {at} {unit} -> {second} }}\n"
        return text, lambda n, s, k: (first if (n, s, k)[which] < at else second, seq)
    text = f"train {{ seq_len = {seq} }}\nbatch {{ global = linear from={first} to={first + 8} for {at} {unit} | round 1 }}\n"

    def linear(n: int, s: Q, k: Q) -> tuple[int, int]:
        x = min(Q((n, s, k)[which]), Q(at))
        return int(first + 8 * x / at + Q(1, 2)), seq

    return text, linear


def compiled(text: str) -> Plan:
    """The Plan, unchecked: random programs are full of jumps, which the checks would refuse."""
    staged = parse(Source("<law>", text)).then(resolve).then(lower)
    assert staged.value is not None, text + "\n" + "\n".join(map(str, staged.said))
    return to_plan(staged.value, "0")


def values(text: str, updates: int = UPDATES) -> list[Any]:
    plan = compiled(text)
    group = reference.Group(base={"lr": Q(1)})
    return [reference.binding_value(plan, "lr", Q(n), group) for n in range(updates)]


def exact(found: list[Any], expected: list[Any], text: str) -> None:
    for n, (a, b) in enumerate(zip(found, expected, strict=True)):
        assert a == b, f"update {n}: {a} and {b}\n{text}"


def program_text(head: str, body: str) -> str:
    return f"{head}lr *= {body}\n"


@EASY
@given(clocks(), programs())
def test_random_access_equals_stepping_with_the_past_alone(clock: Any, program: Any) -> None:
    head, sizes = clock
    text = program_text(head, program.text())
    exact(values(text), brute.run(program, brute.Clock(sizes), UPDATES), text)


@EASY
@given(st.integers(1, 5), st.integers(7, 40), st.booleans(), programs(("steps", "samples")))
def test_clocks_follow_a_dataset_with_short_last_batches(
    batch: Any, dataset: Any, drop_last: Any, program: Any
) -> None:
    head = f"train {{ dataset = {dataset}; drop_last = {'true' if drop_last else 'false'} }}\nbatch {{ global = {batch} }}\n"
    text = program_text(head, program.text())
    exact(values(text), brute.run(program, brute.Clock(lambda n, s, k: (batch, 1), dataset, drop_last), UPDATES), text)


@EASY
@given(clocks(), programs(), programs(), programs())
def test_then_associates(clock: Any, a: Any, b: Any, c: Any) -> None:
    head, _ = clock
    left = program_text(head, f"({a.text()} -> {b.text()}) -> {c.text()}")
    right = program_text(head, f"{a.text()} -> ({b.text()} -> {c.text()})")
    exact(values(left), values(right), left + right)


@EASY
@given(clocks(), programs(), programs(), numbers(1, 7))
def test_scaling_distributes_over_then(clock: Any, a: Any, b: Any, k: Any) -> None:
    head, _ = clock
    left = f"{head}lr = ({k}) * (hold 2 -> {a.text()} -> {b.text()})\n"
    right = f"{head}lr = ({k}) * hold(2) -> ({k}) * {a.text()} -> ({k}) * {b.text()}\n"
    exact(values(left), values(right), left + right)


@EASY
@given(
    clocks(), st.lists(stages(["samples"]), min_size=1, max_size=2), st.integers(1, 4), numbers(1, 3),
    st.sampled_from([Q(1), Q(2), Q(3, 2), Q(1, 2)])
)  # fmt: skip
def test_repeat_equals_the_loop(clock: Any, parts: Any, times: Any, decay: Any, growth: Any) -> None:
    head, sizes = clock
    body = parts[0] if len(parts) == 1 else brute.Chain(tuple(parts))
    program = brute.Repeat(body, times, decay, growth, "samples")
    text = program_text(head, program.text())
    exact(values(text), brute.run(program, brute.Clock(sizes), UPDATES), text)


@EASY
@given(stages(["steps"]), st.integers(2, 5))
def test_repeat_equals_unrolled(stage: Any, times: Any) -> None:
    """A cycle that begins at a level of its own is the same written out; `start` would go on from the cycle before."""
    body = brute.Stage("linear", stage.amount, stage.unit, stage.to, Q(3)).text()
    left = program_text("", f"({body} | repeat times={times})")
    right = program_text("", " -> ".join([body] * times))
    exact(values(left), values(right), left + right)


@EASY
@given(clocks(), programs(("samples",)), st.integers(1, 30))
def test_staircase_equals_the_loop(clock: Any, program: Any, every: Any) -> None:
    head, sizes = clock
    program = brute.Stairs(program, Q(every), "samples")
    text = program_text(head, program.text())
    exact(values(text), brute.run(program, brute.Clock(sizes), UPDATES), text)


@EASY
@given(st.integers(1, 6), st.integers(1, 5), programs(("steps",)))
def test_units_agree_under_a_constant_batch(batch: Any, seq_len: Any, program: Any) -> None:
    head = f"train {{ seq_len = {seq_len} }}\nbatch {{ global = {batch} }}\n"

    def in_units(p: Any, unit: str, rate: int) -> Any:
        match p:
            case brute.Stage(kind, amount, _, to, begin) if kind != "inverse":
                return brute.Stage(kind, amount * rate, unit, to, begin)
            case brute.Stage(_, amount, _, to, begin):
                return brute.Stage("linear", amount * rate, unit, to, begin)
            case brute.Chain(parts):
                return brute.Chain(tuple(in_units(x, unit, rate) for x in parts))
            case brute.Affine(k, c, body):
                return brute.Affine(k, c, in_units(body, unit, rate))
            case brute.Least(a, b):
                return brute.Least(in_units(a, unit, rate), in_units(b, unit, rate))
            case brute.Cut(body, amount, _):
                return brute.Cut(in_units(body, unit, rate), amount * rate, unit)
        raise AssertionError(p)

    steps = values(program_text(head, in_units(program, "steps", 1).text()))
    exact(values(program_text(head, in_units(program, "samples", batch).text())), steps, program.text())
    exact(values(program_text(head, in_units(program, "tokens", batch * seq_len).text())), steps, program.text())


def test_a_batch_ramp_in_samples_with_the_lr_in_tokens_and_a_warmup_in_steps_lands_every_boundary_on_its_update() -> (
    None
):
    head = (
        "train { length = 4000 tokens; seq_len = 4 }\n"
        "batch { global = linear from=2 to=10 for 300 samples | staircase 30 samples | round 2 }\n"
    )
    plan = compiled(head + "lr = warmup 7 to=1 -> hold until 1000 tokens -> linear to=0 until 3000 tokens -> hold\n")

    def sizes(n: int, s: Q, k: Q) -> tuple[int, int]:
        stairs = s // 30 * 30
        return int((2 + 8 * min(stairs, 300) / Q(300)) / 2 + Q(1, 2)) * 2, 4

    clock = brute.Clock(sizes)
    while clock.read["tokens"][-1] < 4000:
        clock.advance()
    tokens = clock.read["tokens"]
    segments = plan.bindings[0].curve.segments
    assert [s.first for s in segments] == [
        0,
        7,
        *(next(n for n, k in enumerate(tokens) if k >= x) for x in (1000, 3000)),
    ]
    assert plan.run is not None
    assert plan.run.updates == next(n for n, k in enumerate(tokens) if k >= 4000)
