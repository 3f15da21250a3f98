"""Random programs, and random damage to texts that are right.

A program over the whole of the standard library is compiled. It gives a Plan or messages, never an exception; what the
Plan claims about a range or a direction agrees with every update, as `evaluate` and, independently, the reference
backend have it; and a value refuted at an update is what the message says there. A damaged text gives a Plan or
messages too, and soon.
"""

from __future__ import annotations

import importlib.util
import math
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mpmath
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, target
from hypothesis import strategies as st

from schedc.backends import reference
from schedc.compiler import evaluate
from schedc.compiler.diagnostics import Diagnostic
from schedc.compiler.pipeline import Options, stages
from schedc.compiler.plan import Plan, ScheduleEnded
from schedc.compiler.planning import to_plan
from schedc.compiler.source import Source
from schedc.compiler.timeline import Timeline

if TYPE_CHECKING:
    import fuzz_sandbox
else:
    _spec = importlib.util.spec_from_file_location("fuzz_sandbox", Path(__file__).with_name("fuzz_sandbox.py"))
    assert _spec is not None
    assert _spec.loader is not None
    fuzz_sandbox = importlib.util.module_from_spec(_spec)
    sys.modules["fuzz_sandbox"] = fuzz_sandbox
    _spec.loader.exec_module(fuzz_sandbox)

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
EASY = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
)
MOST_UPDATES = 150
"""Runs are short, so that every update can be computed slowly."""
FACTORS = (1.0, 0.5, 1e-3)
"""What feedback may have left: a range is claimed for every value in (0, 1]."""


# -- programs

Draw = Callable[[st.SearchStrategy[Any]], Any]


class Writer:
    """Writes one random program."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.units = ["", " steps"]
        self.lets: list[str] = []
        self.calls: list[str] = []
        self.base = False

    def one(self, *choices: str) -> str:
        return str(self.draw(st.sampled_from(choices)))

    def maybe(self, share: float = 0.5) -> bool:
        return bool(self.draw(st.integers(0, 99)) >= 100 - share * 100)

    def number(self, low: int = 0, high: int = 8) -> str:
        whole = self.draw(st.integers(low, high))
        return self.one(str(whole), f"{whole}.25", f"0.{whole + 1}", f"{whole + 1}e-2")

    def duration(self) -> str:
        """An atom: it fits where a short application takes an argument."""
        unit = self.one(*self.units)
        scale = {"": 1, " steps": 1, " epochs": 1, " samples": 12, " tokens": 40, "%": 5}[unit]
        count = self.draw(st.integers(0 if self.maybe(0.1) else 1, 12)) * scale
        half = unit in (" epochs", "%") and self.maybe(0.2)
        return f"{count}{'.5' if half else ''}{unit}"

    def level(self) -> str:
        return self.one(self.number(), f"{self.draw(st.integers(1, 150))}%")

    def formula(self) -> str:
        k = self.number(1, 9)
        return self.one(
            f"start * 0.{k[0]}^t", f"{k} / (1 + t)", f"sqrt(t + {k})", f"max(1 - t / {k}, 0.1)", f"{k} + n / 100",
            f"start * (1 - p / {int(float(k)) + 2})", f"start + {k} * p^2", f"(1 + cos(pi * p)) / {k}", f"{k} * exp(-t / 9)",
            f"start * if(t > {k}, 0.5, 1)", f"{k} + sin(t / 5)", f"clamp(t / {k}, 0, 1)", f"{k} * tanh(t / 20)",
            f"{k} / (t - 3)", f"0.5 - t / {k}", f"log(t + {k})", "log(t)", f"abs(t - {k})", f"mod(t, {k})",
            f"floor(t / {k}) + 1", f"round(t / {k})", f"passed([{k}, 12], t)", f"pick([3, {k}, 1], t / 9)",
            f"product([0.5, {k}, 2], t / 4)", f"min(start, {k})", f"{k}",
            *(["batch / 8", "sqrt(batch)"] if " samples" in self.units else []),
            *(["base", "max(base, 0.1)"] if self.base else []),
        )  # fmt: skip

    def stage(self, deep: int, last: bool = False) -> str:
        """A stage of a chain; only the last may do without a length."""
        kind = self.draw(st.integers(0, 11))
        d = self.duration()
        if kind <= 3:
            name = self.one(
                "linear", "cosine", "quadratic", "one_minus_sqrt", "exp_curve", "rex", "k_decay", "polynomial"
            )
            begin = f" from={self.level()}" if self.maybe(0.15) else ""
            length = "" if last and self.maybe(0.3) else f" {d}"
            return f"{name}{length} to={self.level()}{begin}"
        if kind == 4:
            return self.one(f"warmup {d} to={self.level()}", f"warmup {d} cosine to={self.level()}", f"hold {d}")
        if kind == 5:
            tail = "" if last and self.maybe(0.4) else f" for {d}"
            return (
                self.one(
                    "exponential gamma=0.95", "natural_exp gamma=0.1", "inverse_time gamma=0.2",
                    f"inverse_sqrt timescale={self.duration()}", f"step every={self.duration()} gamma=0.5",
                    f"multistep at=[2, {self.draw(st.integers(3, 30))}]", "noam d_model=64 warmup=7",
                    f"piecewise at=[2, 9] values=[{self.number()}, 2, {self.number()}]", "inverse_sigmoid k=4",
                )
                + tail
            )  # fmt: skip
        if kind == 6 and self.lets:
            return self.one(*self.lets) + ("" if last else f" for {d}")
        if kind == 7 and self.calls:
            return self.one(*self.calls).replace("#", d).replace("@", self.number(1, 5))
        if kind == 8 and deep:
            return f"({self.schedule(deep - 1)}) {self.one('for', 'until')} {d}"
        if kind == 9 and deep:
            a, b = self.schedule(deep - 1), self.schedule(deep - 1)
            k = self.number(1, 5)
            return self.one(
                f"{k} * ({a})", f"({a}) + {k}", f"({a}) / {k}", f"min(({a}), ({b}))", f"max(({a}), ({b}))",
                f"({a}) * ({b})", f"if(t > {k}, ({a}), ({b}))", f"sqrt(abs({a}))", f"clamp(({a}), 0.1, {k})",
            ) + (f" for {d}" if not last else "")  # fmt: skip
        if kind == 10:
            return self.one(
                f"wsd 3 4 {self.draw(st.integers(1, 9))}", f"geometric {d} to={self.number(1, 5)}", f"cooldown {d}",
                f"tanh_decay {d}", f"slanted_triangular {self.draw(st.integers(1, 20))}",
                f"(triangular 3 low={self.number()}) for {d}", f"(sgdr cycle=5 growth=1.5) for {d}", f"polynomial {d} power=2",
            )  # fmt: skip
        return self.formula() + ("" if last and self.maybe(0.3) else f" for {d}")

    def chain(self, deep: int) -> str:
        count = self.draw(st.integers(1, 4))
        return " -> ".join(self.stage(deep, i == count - 1) for i in range(count))

    def schedule(self, deep: int) -> str:
        out = self.chain(deep)
        while self.maybe(0.25):
            d = self.duration()
            out = f"({out}) | " + self.one(
                f"clamp {self.number(0, 2)} high={self.number(3, 9)}", f"staircase {d}", f"delay {d}", f"shift {d}",
                f"round {self.number(1, 3)}", f"ramp {d}", f"scale {self.number(1, 3)}", "untuned_warmup beta2=0.9",
                f"plateau factor=0.5 patience={self.draw(st.integers(0, 3))} min={self.number(0, 1)}",
                f"repeat times={self.draw(st.integers(1, 5))} decay=0.{self.draw(st.integers(1, 9))}", "repeat",
                f"repeat times={self.draw(st.integers(1, 4))} growth={self.one('2', '1.5', '0.5')}",
            )  # fmt: skip
        return out

    def program(self) -> str:
        out: list[str] = []
        train = [f"length = {self.draw(st.integers(1, 60))} steps"]
        self.units.append("%")
        if self.maybe(0.5):
            self.units.append(" samples")
            size = self.draw(st.integers(1, 16))
            out.append(
                "batch { global = "
                + self.one(
                    f"{size}", f"{size} until {self.draw(st.integers(1, 30))} steps -> {size + 4}",
                    f"linear from={size} to={size + 16} for 20 steps | round 1",
                    f"linear from={size} to={size + 16} for 200 samples | round 2 way=up",
                )
                + " }"
            )  # fmt: skip
            if self.maybe():
                self.units.append(" tokens")
                train.append(f"seq_len = {self.draw(st.integers(1, 9))}")
            if self.maybe():
                self.units.append(" epochs")
                train += [f"dataset = {self.draw(st.integers(16, 90))}", f"drop_last = {self.one('true', 'false')}"]
        elif self.maybe(0.4):
            self.units.append(" epochs")
            train.append(f"steps_per_epoch = {self.draw(st.integers(1, 9))}")
        if " epochs" in self.units and self.maybe(0.15):
            train.append("tick = epoch")
        out.insert(0, "train { " + "; ".join(train) + " }")
        if self.maybe(0.3):
            out.append(f"param peak: number > 0 = {self.number(1, 5)}")
        if self.maybe(0.4):
            out.append(f"let a = {self.schedule(0)}")
            self.lets.append("a")
        if self.maybe(0.4):
            out.append("def f(T: duration, k: number >= 0 = 2) = start * k * (1 - p) + t / (T + 1 steps)")
            out.append("def g(s: schedule, d: duration) = s for d -> hold d")
            self.calls += ["f(#)", "f(#, k=@)", "g(linear(9, to=@), #)", "g(@, #)"]
        if self.maybe(0.2):
            out.append("curve c(p) = p * (2 - p)")
            self.calls += ["c(#, to=@)", "warmup(#, shape=c, to=@)"]
        if self.maybe(0.2):
            out.append("modifier twice(k: number) = input * k")
            self.calls.append("(hold(#) | twice @)")
        way = self.one("=", "=", "=", "*=")
        self.base = way == "=" and self.maybe(0.15)
        begin = f"warmup 3 to={self.one('1', '0.5')} -> " if way == "=" and self.maybe(0.8) else ""
        out.append(f"lr {way} {begin}{self.schedule(2)}")
        self.base = False
        if self.maybe(0.3):
            out.append(f"weight_decay = {self.one('0.1', 'lr^2', 'lr / 10', '1 for 9 -> 0.5', 'linear(from=1)')}")
        if self.maybe(0.2):
            out.append(f"momentum = {self.one('0.9', '1 - lr / 100', 'cosine(20, from=0.95, to=0.85)')}")
        if self.maybe(0.3):
            out.append(f'group "*.bias" {{ lr *= {self.one("0", "0.5", "(linear 9)")} }}')
        if self.maybe(0.2):
            out.append(
                self.one(
                    "assert max(lr) <= 3", "assert lr(5) >= 0", "assert continuous(lr)", "assert decreasing(lr, 9)"
                )
            )
        return "\n".join(out) + "\n"


@st.composite
def programs(draw: Draw) -> str:
    """A program that is right as far as its form goes; what it means may still be refused."""
    return Writer(draw).program()


# -- what must hold

REFUTED = re.compile(r"`([^`]+)` is (?:not finite|negative: (\S+)) at update ([\d_]+)")
RANGE = re.compile(r"from (\S+) to (\S+?)( · base)?$")
WAY = re.compile(r"(falls|rises|stays) over updates ([\d_]+) to ([\d_]+)")
seen: Counter[str] = Counter()


def whole(text: str) -> int:
    return int(text.replace("_", ""))


def slowly(plan: Plan, name: str, n: int, base: float, factor: float) -> float:
    """The value by the reference backend; nan where it has none."""
    factors = {f.index: Fraction(factor) for f in plan.feedback}
    try:
        value = reference.binding_value(plan, name, Fraction(n), reference.Group(base=base), factors)
    except (reference.Undefined, ArithmeticError):
        return math.nan
    return float(value if isinstance(value, Fraction) else mpmath.mpf(value))


def every_update(plan: Plan, name: str, updates: int, base: float, factor: float) -> np.ndarray[Any, Any]:
    factors = {f.index: factor for f in plan.feedback}
    return np.asarray(
        evaluate.binding_values(plan, name, np.arange(updates), base=base, factors=factors), dtype=np.float64
    ) + np.zeros(updates)


def hold(text: str) -> None:
    """Compile the text, and hold what is claimed against every update."""
    line: Timeline | None = None
    plan: Plan | None = None
    said: list[Diagnostic] = []
    for name, value, new in stages(Source("<random>", text), Options()):
        said += new
        if isinstance(value, Timeline):
            line = value
        if name == "plan" and isinstance(value, Plan):
            plan = value
    errors = [d for d in said if d.level == "error"]
    assert (plan is None) == bool(errors), text
    seen["plan" if plan else errors[0].code.number] += 1
    if line is None:
        return
    draft = to_plan(line, "0")
    for d in errors:
        found = REFUTED.match(d.title)
        if (
            found
            and d.code.number in ("SC404", "SC405")
            and not any(b.name == found[1] for g in draft.groups for b in g.bindings)
        ):
            value = slowly(draft, found[1], whole(found[3]), 1.0, 1.0)
            wrong = value < 0 if found[2] else not math.isfinite(value)
            assert wrong, f"{d.title}\nbut it is {value}\n{text}"
    if plan is not None:
        agree(plan, text)


def agree(plan: Plan, text: str) -> None:
    """Every range and direction that the Plan claims, at every update; and fast values as slow ones."""
    assert plan.run is not None
    updates = min(plan.run.updates, MOST_UPDATES)
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    for binding in plan.bindings:
        for factor in FACTORS if plan.feedback else (1.0,):
            try:
                values = every_update(plan, binding.name, updates, 1.0, factor)
            except ScheduleEnded:
                continue
            scale = max(float(np.abs(values[np.isfinite(values)]).max(initial=0)), 1e-300)
            for n in range(0, updates, 1 if factor == 1 else 7):
                slow = slowly(plan, binding.name, n, 1.0, factor)
                same = math.isnan(slow) and not math.isfinite(values[n])
                assert same or abs(slow - values[n]) <= 1e-9 * scale, (
                    f"{binding.name} at {n}: {slow} {values[n]}\n{text}"
                )
            for fact in plan.facts:
                if fact.binding == binding.name and fact.how in ("proved", "certified"):
                    against(fact.claim, fact.detail, values, scale, factor, f"{fact}\nF = {factor}\n{text}")


def against(claim: str, detail: str, values: np.ndarray[Any, Any], scale: float, factor: float, why: str) -> None:
    seen[claim] += 1
    if claim == "finite":
        assert np.isfinite(values).all(), why
    elif claim == "range":
        found = RANGE.match(detail)
        assert found, why
        low, high = float(found[1]), float(found[2])
        slack = 1e-5 * max(abs(low), abs(high)) + 1e-12 * scale  # The words show six digits.
        assert low - slack <= values.min(), why
        assert values.max() <= high + slack, why
    elif claim == "direction":
        for way, a, b in WAY.findall(detail):
            steps = np.diff(values[whole(a) : whole(b) + 1])
            slack = 1e-12 * scale
            assert way == "rises" or (steps <= slack).all(), why
            assert way == "falls" or (steps >= -slack).all(), why


@settings(EASY, max_examples=60)
@given(programs())
def test_what_is_claimed_of_a_random_program_holds_at_every_update(text: str) -> None:
    hold(text)


@pytest.mark.slow
def test_what_is_claimed_of_a_thousand_random_valid_programs_holds_at_every_update() -> None:
    seen.clear()

    @settings(EASY, max_examples=4000, database=None)
    @given(programs())
    def many(text: str) -> None:
        if seen["plan"] < 1000:
            hold(text)

    many()
    assert seen["plan"] >= 1000, seen


# -- damage


def texts() -> list[str]:
    """Texts of the language that are right: examples, standard library, golden cases, and what the documentation shows."""
    found = [p.read_text(encoding="utf-8") for f in ("examples", "stdlib") for p in sorted((ROOT / f).rglob("*.sched"))]
    for page in [*sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "compiler" / "explain").glob("*.md"))]:
        found += re.findall(r"(?ms)^```sched[^\n]*\n(.*?)^```", page.read_text(encoding="utf-8"))
    for page in sorted((HERE / "suite").rglob("*.sched")):
        found += [case.partition("\n")[2] for case in re.split(r"(?m)^--- ", page.read_text(encoding="utf-8"))[1:]]
    return found


TOKEN = re.compile(r"\s+|#[^\n]*|\"[^\"\n]*\"|[A-Za-z_][\w.]*|[\d._]+(?:e[+-]?\d+)?[kMBT%]?|->|[<>=!*]=|.", re.DOTALL)
ODD = [
    "(", ")", "[", "]", "{", "}", "->", "|", "=", "*=", ",", ":", ";", "\n", '"', "#", "-", "^", "9", "0", "inf", "none", "start",
    "for", "until", "t", "p", "T", "lr", "1e400", "%", " epochs", " tokens", "\0", "\u202e", "é", ".", "_", "of", "if(", "1/0",
]  # fmt: skip


def damaged(text: str, chance: random.Random) -> str:
    """The text after one to four deletions, swaps, insertions or doublings, of characters or of words."""
    for _ in range(chance.randint(1, 4)):
        parts = TOKEN.findall(text) if chance.random() < 0.7 else list(text)
        if not parts:
            return text
        i, j = (chance.randrange(len(parts)) for _ in range(2))
        match chance.randrange(5):
            case 0:
                del parts[i : i + chance.choice((1, 1, 1, 2, 5))]
            case 1:
                parts[i], parts[j] = parts[j], parts[i]
            case 2:
                parts.insert(i, chance.choice(ODD))
            case 3:
                parts[i:i] = parts[i : i + chance.choice((1, 3, 10))]
            case _:
                parts[i] = parts[j]
        text = "".join(parts)
    return text


@pytest.fixture(scope="module")
def box() -> Iterator[fuzz_sandbox.Sandbox]:
    """A compiler in a box."""
    with fuzz_sandbox.Sandbox() as found:
        yield found


def survive(count: int, seed: int, box: fuzz_sandbox.Sandbox) -> None:
    chance = random.Random(seed)
    whole_ = texts()
    for i in range(count):
        text = damaged(chance.choice(whole_), chance)
        found = box.compile(text, seconds=3 * fuzz_sandbox.SECONDS)
        bad = f"text {i} of seed {seed}: {found.ended} after {found.seconds:.1f} s\n{found.trace}\n{text!r}"
        assert found.ended in ("plan", "refused"), bad
        assert found.seconds < fuzz_sandbox.SECONDS * fuzz_sandbox.SLOW, bad
        assert found.mebibytes < fuzz_sandbox.MEBIBYTES, bad


def test_a_damaged_text_gives_a_plan_or_messages(box: fuzz_sandbox.Sandbox) -> None:
    survive(60, 1, box)


@pytest.mark.slow
def test_a_thousand_damaged_texts_give_a_plan_or_messages(box: fuzz_sandbox.Sandbox) -> None:
    survive(1000, 2, box)


# -- text made for coverage

FUZZED_SECONDS = 60


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="needs atheris: pip install atheris")
def test_a_coverage_guided_fuzzer_finds_no_exception_and_no_hang(tmp_path: Path) -> None:
    fuzzer = [sys.executable, str(HERE / "fuzz_text.py"), str(FUZZED_SECONDS), f"-artifact_prefix={tmp_path}/"]
    done = subprocess.run(fuzzer, capture_output=True, text=True, errors="replace", check=False)
    found = [p.read_bytes() for p in sorted(tmp_path.iterdir())]
    assert done.returncode == 0, f"{found}\n{done.stderr[-4000:]}"


WORDS = [t for text in texts() for t in TOKEN.findall(text) if not t.startswith("#")]


@pytest.mark.slow
def test_texts_driven_to_reach_far_give_a_plan_or_messages() -> None:
    # No coverage guides it: the target is how far the compiler came, and how much it then had to say.
    far = {"tree": 0, "resolved": 1, "timeline": 2, "plan": 3}

    @settings(EASY, max_examples=1500, database=None)
    @given(st.lists(st.sampled_from(sorted(set(WORDS)) + ODD), max_size=60).map("".join))
    def driven(text: str) -> None:
        reached, codes = 0, set()
        for name, value, said in stages(Source("<driven>", text), Options()):
            reached = max(reached, far.get(name, 0) + (value is not None))
            codes |= {d.code.number for d in said}
        target(float(reached), label="stages reached")
        target(float(len(codes)), label="kinds of messages")

    driven()
