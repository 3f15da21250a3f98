"""The standard library: its documentation, its examples, its shapes, and the values of the frameworks and papers it cites."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction as Q
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from schedc import library_docs
from schedc.backends import reference
from schedc.cli import cli
from schedc.compiler import evaluate, library
from schedc.compiler.diagnostics import draw, errors
from schedc.compiler.pipeline import compile_source
from schedc.compiler.plan import Binding, Plan
from schedc.compiler.resolve import FUNCTIONS, HYPERPARAMETERS, RESERVED
from schedc.compiler.source import Source
from schedc.grammar import syntax
from schedc.grammar.format import format_program
from schedc.grammar.parse import parse
from schedc.library_docs import Claim, Entry

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "stdlib"
FILES = sorted(FOLDER.rglob("*.sched"))
SCHEDULES = ("builtin", "curves", "modifiers", "stages")
"""The files at the top that hold schedules: every definition in them has examples."""
OF_THE_LANGUAGE = {"hold", "clamp", "round", "delay", "shift", "scale", "error", "repeat"}
"""What no paper or framework needs to be cited for."""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), catch_exceptions=False)


def named(path: Path) -> str:
    return path.relative_to(FOLDER).with_suffix("").as_posix()


@cache
def program(path: Path) -> syntax.Program:
    parsed = parse(Source(f"stdlib/{path.relative_to(FOLDER)}", path.read_text(encoding="utf-8")))
    assert parsed.value is not None, "\n".join(map(draw, parsed.said))
    return parsed.value


def definitions(path: Path) -> list[syntax.Def]:
    return [item for item in program(path).items if isinstance(item, syntax.Def)]


@cache
def compiled(text: str) -> Plan:
    result = compile_source(Source("<example>", text))
    assert result.value is not None, text + "\n" + "\n".join(map(draw, result.said))
    assert not result.said, text + "\n" + "\n".join(map(draw, result.said))
    return result.value


def bound(plan: Plan, name: str) -> Binding:
    return next(b for b in (*plan.bindings, *plan.lets) if b.name == name)


def value(plan: Plan, name: str, at: Q | int) -> Any:
    return reference.binding_value(plan, name, Q(at), reference.Group(1))


def same(a: Any, b: Any) -> bool:
    """Exactly where both are rational, else to 50 digits."""
    if isinstance(a, Q) and isinstance(b, Q):
        return a == b
    x, y = (reference.mp.mpf(v.numerator) / v.denominator if isinstance(v, Q) else v for v in (a, b))
    return bool(abs(x - y) <= reference.CLOSE * max(1, abs(x), abs(y)))


def entries() -> list[Entry]:
    return [e for _, group in library_docs.contents() for e in group]


DEFINITIONS = [(path, item) for path in FILES for item in definitions(path)]
DEFINED = [pytest.param(path, item, id=f"{named(path)}-{item.kind}-{item.name}") for path, item in DEFINITIONS]


@pytest.mark.parametrize(("path", "item"), DEFINED)
def test_documented_with_typed_parameters(path: Path, item: syntax.Def) -> None:
    untyped = [f.name for f in item.formals[item.kind == "curve" :] if f.type is None]
    assert not untyped
    if not item.name.startswith("_"):
        assert item.doc, f"{item.name_span.place} has no doc comment"


@pytest.mark.parametrize("path", FILES, ids=named)
def test_file_says_what_it_is(path: Path) -> None:
    assert program(path).doc
    for item in program(path).items:
        if isinstance(item, syntax.Param):
            assert item.type is not None, f"{item.name_span.place} has no type"


def test_only_two_files_hold_what_the_language_cannot_say() -> None:
    outside = [
        item.name_span.place
        for path, item in DEFINITIONS
        if isinstance(item.body, syntax.Name) and item.body.text == "external"
        if named(path) not in ("builtin", "initialisers")
    ]
    assert not outside


@pytest.mark.parametrize("name", SCHEDULES)
def test_laid_out_as_fmt_does(name: str) -> None:
    path = FOLDER / f"{name}.sched"
    assert format_program(program(path)) == path.read_text(encoding="utf-8"), f"run `schedc fmt stdlib/{name}.sched`"


class TestNames:
    def test_are_unique_and_no_function_or_variable(self) -> None:
        tops = [(path, item) for path, item in DEFINITIONS if path.parent == FOLDER]
        stages = [item.name for _, item in tops if item.kind in ("def", "curve")]
        modifiers = [item.name for _, item in tops if item.kind == "modifier"]
        assert len(set(stages)) == len(stages)
        assert len(set(modifiers)) == len(modifiers)
        functions = set(FUNCTIONS) | {"choose", "len"}
        assert not set(stages) & functions
        assert set(modifiers) & functions == {"clamp", "round"}, "only where the modifier is the function of its input"
        assert not set(stages + modifiers) & (set(RESERVED) | set(HYPERPARAMETERS))

    def test_functions_and_variables_are_those_of_the_language(self) -> None:
        assert set(library_docs.FUNCTIONS) == set(FUNCTIONS) | {"choose", "len"}
        assert set(library_docs.VARIABLES) == set(RESERVED) - {"for", "until", "true", "false"}


SHOWN = [e for e in entries() if e.kind in ("curve", "stage", "modifier")]
EXAMPLES = [pytest.param(entry, i, id=f"{entry.name}-{i}") for entry in entries() for i in range(len(entry.examples))]


@pytest.mark.parametrize("entry", SHOWN, ids=lambda e: f"{e.kind}-{e.name}")
def test_has_a_source_and_an_example(entry: Entry) -> None:
    assert entry.sources or entry.name in OF_THE_LANGUAGE
    assert entry.examples
    assert any(len(example.claims) > 1 for example in entry.examples)
    assert any(re.search(rf"\b{entry.name}\b", example.program) for example in entry.examples)
    assert entry.summary.endswith(".")


@pytest.mark.parametrize(("entry", "number"), EXAMPLES)
def test_example_is_exact(entry: Entry, number: int) -> None:
    example = entry.examples[number]
    plan = compiled(example.program)
    for claim in example.claims:
        for at in places(plan, claim):
            got = value(plan, claim.name, at)
            assert same(got, value(compiled(f"lr = {claim.value}"), "lr", 0)), f"{claim}, but it is {float(got)}"


def places(plan: Plan, claim: Claim) -> tuple[Q | int, ...]:
    """The update that is claimed, or some behind the end."""
    if claim.at is not None:
        return (claim.at,)
    end = bound(plan, claim.name).curve.end
    assert end is not None, f"{claim}, but there is no end"
    return (end, end + 1, end + 10_000)


CURVES = [e for e in entries() if e.kind == "curve"]
LENGTH = 97
"""A prime, so that no time within is a round one."""


class TestCurves:
    @pytest.mark.parametrize("entry", CURVES, ids=lambda e: e.name)
    def test_from_0_to_1_and_never_back(self, entry: Entry) -> None:
        plan = compiled(f"lr = {entry.name}({LENGTH}, from=0, to=1)")
        shape = [value(plan, "lr", n) for n in range(LENGTH + 1)]
        assert same(shape[0], Q(0))
        assert same(shape[-1], Q(1))
        assert same(value(plan, "lr", LENGTH + 1000), Q(1))
        assert all(float(a) < float(b) for a, b in pairwise(shape))

    @pytest.mark.parametrize("entry", CURVES, ids=lambda e: e.name)
    def test_as_stage_and_as_argument_are_one_shape(self, entry: Entry) -> None:
        shape = compiled(f"lr = {entry.name}({LENGTH}, from=0, to=1)")
        stage = compiled(f"{entry.name} {LENGTH} from=2 to=0.125")
        warm = compiled(f"warmup {LENGTH} {entry.name} from=0.25")
        cool = compiled(f"cooldown {LENGTH} {entry.name} to=10%")
        faded = compiled(f"1 | ramp {LENGTH} shape={entry.name}")
        for n in range(LENGTH + 3):
            c = value(shape, "lr", n)
            assert same(value(stage, "lr", n), 2 - c * 15 / 8)
            assert same(value(warm, "lr", n), Q(1, 4) + c * 3 / 4)
            assert same(value(cool, "lr", n), 1 - c * 9 / 10)
            assert same(value(faded, "lr", n), c)

    @pytest.mark.parametrize("length", ["0", "1"])
    @pytest.mark.parametrize("entry", CURVES, ids=lambda e: e.name)
    def test_shortest(self, entry: Entry, length: str) -> None:
        plan = compiled(f"lr = {entry.name}({length}, from=2, to=1)")
        expected = [1, 1] if length == "0" else [2, 1]
        assert all(same(value(plan, "lr", n), Q(expected[n])) for n in range(2))


def test_wsd_and_trapezoid_are_one() -> None:
    one, other = compiled("wsd 10 60 30 to=5%"), compiled("trapezoid 100 warm=10 decay=30 to=5%")
    assert all(value(one, "lr", n) == value(other, "lr", n) for n in range(120))


REFUSED = [
    "linear (-1)",
    "exponential 0",
    "natural_exp (-1)",
    "inverse_time (-1)",
    "inverse_sqrt 0",
    "polynomial 100 power=0",
    "geometric 100 to=0",
    "geometric(100, from=0, to=1)",
    "step 0",
    "lr = noam(0)",
    "lr = noam(512, warmup=1.5)",
    "exp_curve 100 ratio=1",
    "k_decay 100 k=0",
    "sgdr 0",
    "sgdr 10 growth=0",
    "triangular 0 low=0",
    "slanted_triangular 100 cut_frac=1",
    "slanted_triangular 100 ratio=0.5",
    "trapezoid 100 warm=80 decay=30",
    "inverse_sigmoid 0.5",
    "onecycle(100, peak=0)",
    "onecycle(100, peak=1, pct_start=0)",
    "linear 10 | staircase 0",
    "linear 10 | round 0",
    "linear 10 | delay (-1)",
    "linear 10 | ramp 0",
    "linear 10 | untuned_warmup 1",
    "linear 10 | repeat times=0",
    "linear 10 | plateau factor=1",
]


@pytest.mark.parametrize("text", REFUSED)
def test_bounds_are_kept(text: str) -> None:
    said = errors(compile_source(Source("<string>", text)).said)
    assert said, f"`{text}` was accepted"
    assert all(d.code.number.startswith(("SC2", "SC3")) for d in said), "\n".join(map(draw, said))


RECORDED: dict[str, tuple[str, slice]] = {
    "fastai/lin": ("lr = linear(100, from=0.1, to=0.001)", slice(None)),
    "fastai/cos": ("lr = cosine(100, from=0.1, to=0.001)", slice(None)),
    "fastai/exp": ("lr = geometric(100, from=0.1, to=0.001)", slice(None)),
    "fastai/poly2": ("lr = quadratic(100, from=0.1, to=0.001)", slice(None)),
    "fastai/fit_one_cycle/def": ("onecycle(100, peak=0.1)", slice(None)),
    "fastai/fit_one_cycle/p03": ("onecycle(100, peak=0.1, pct_start=0.3, div=10, div_final=1000)", slice(None)),
    "fairseq/InverseSquareRootSchedule/w40": ("lr = warmup(40, from=1e-7, to=5e-4) -> inverse_sqrt 40", slice(None)),
    "fvcore/Exponential/60": ("lr = geometric(60, from=2, to=0.04)", slice(60)),
    "lrsched/cosine_restarts/2": ("sgdr 10 growth=2 to=1%", slice(None)),
    "lrsched/exp_range": ("lr = exp_range(20, low=0.001, gamma=0.99, high=0.1)", slice(None)),
    "lrsched/exponential": ("exponential 0.95", slice(None)),
    "lrsched/inverse_sqrt": ("warmup 20 -> inverse_sqrt 20", slice(None)),
    "lrsched/multi_step/dup": ("multistep at=[10, 10, 20] gamma=0.5", slice(None)),
    "lrsched/polynomial": ("polynomial 100 power=2 to=1%", slice(None)),
    "lrsched/step_decay": ("step 30 gamma=0.5", slice(None)),
    "lrsched/triangular": ("lr = triangular(20, low=0.001, high=0.1)", slice(None)),
    "lrsched/triangular2": ("lr = triangular2(20, low=0.001, high=0.1)", slice(None)),
    "lrsched/wsd/1-sqrt": (
        "lr = warmup(10, from=1e-4, to=0.1) -> hold 60 -> cooldown 30 one_minus_sqrt to=0.001",
        slice(None),
    ),
    "megatron/OptimizerParamScheduler/WSD_exponential": (
        "warmup 10 -> hold 60 -> exp_curve 30 ratio=0.5 to=10%",
        slice(None),
    ),
    "megatron/OptimizerParamScheduler/WSD_minus_sqrt": (
        "warmup 10 -> hold 60 -> one_minus_sqrt 30 to=10%",
        slice(None),
    ),
    "optax/cosine_decay/alpha": ("lr = 0.1 * cosine(100, to=5%)", slice(None)),
    "optax/exponential_decay/smooth": ("lr = 0.1 * exponential(0.5^(1/20))", slice(None)),
    "optax/piecewise_constant/0": ("lr = 0.1 * multistep(at=[0, 10], gamma=0.5)", slice(None)),
    "paddle/CyclicLR/asym": ("lr = triangular(10, low=0.01, high=0.1, down=30)", slice(None)),
    "paddle/CyclicLR/exp": ("lr = exp_range(20, low=0.001, gamma=0.99, high=0.1)", slice(None)),
    "paddle/CyclicLR/tri2": ("lr = triangular2(20, low=0.001, high=0.1)", slice(None)),
    "paddle/InverseTimeDecay/0.1": ("inverse_time 0.1", slice(None)),
    "paddle/NaturalExpDecay/0.1": ("natural_exp 0.1", slice(None)),
    # Its update 0 has rate 0; from there on it is the paper's step that is counted.
    "paddle/NoamDecay/d512_w4000": ("lr = noam(512) | delay 1", slice(1, None)),
    "paddle/PiecewiseDecay/short": ("lr = piecewise([3, 6, 9], [0.1, 0.2, 0.3, 0.4])", slice(None)),
    "paddle/PolynomialDecay/cycle10_p2": ("polynomial(10, to=0.1, power=2, cycle=true) for 1000", slice(None)),
    "paddle/PolynomialDecay/cycle20": ("polynomial(20, to=0.0002, cycle=true) for 1000", slice(None)),
    "paddle/StepDecay/5": ("step 5 gamma=0.8", slice(None)),
    "pytorch_optimizer/get_wsd_schedule/1-square": ("wsd 10 50 40 shape=quadratic", slice(90)),
    "pytorch_scheduler/KDecayScheduler/k15": ("k_decay 100 k=1.5 to=1%", slice(None)),
    "pytorch_scheduler/RexScheduler/a": ("rex 100", slice(None)),
    "pytorch_scheduler/SlantedTriangularScheduler/a": ("slanted_triangular 100", slice(None)),
    "pytorch_scheduler/TrapezoidalScheduler/a": ("trapezoid 100 warm=10 decay=30 to=1%", slice(None)),
    "pytorch_scheduler/WSDScheduler/cos": ("wsd 10 50 40 shape=cosine to=1%", slice(None)),
    "pytorch_scheduler/WSDScheduler/sqrt": ("wsd 10 50 40 shape=one_minus_sqrt", slice(None)),
    "pytorch_warmup/LinearWarmup/cosine100": ("cosine 100 | ramp(9, from=0.1)", slice(101)),
    # It rounds the periods 2000 and 1000 down, in floating point, to 1999 and 999.
    "pytorch_warmup/UntunedExponentialWarmup/adam": ("1 | untuned_warmup(998/999, way=exponential)", slice(None)),
    "pytorch_warmup/UntunedLinearWarmup/adam": ("1 | untuned_warmup(1997/1999)", slice(None)),
    "timm/CosineLRScheduler/cycles3_decay": ("sgdr 30 decay=0.5 to=1% times=3", slice(None)),
    "timm/CosineLRScheduler/mul15": ("sgdr 10 growth=1.5 times=5", slice(None)),
    "timm/CosineLRScheduler/warm5_prefix": ("warmup 5 from=0.1% -> cosine 100", slice(None)),
    # Its update 0 has the rate the optimizer was built with, and behind the end it drops to the floor.
    "timm/TanhLRScheduler/min": ("tanh_decay 100 low=-7 to=1%", slice(1, 100)),
    "timm/WSDLRScheduler/exp": ("hold 70 -> exp_curve 30 ratio=0.05", slice(None)),
}
"""What a library was recorded to do, the same in the standard library's words, and the updates compared."""


@cache
def records() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in sorted((ROOT / "tests" / "oracles").glob("*.json")):
        found.update({r["id"]: r for r in json.loads(path.read_text(encoding="utf-8"))})
    return found


@pytest.mark.parametrize("name", RECORDED)
def test_as_recorded(name: str) -> None:
    text, where = RECORDED[name]
    record = records()[name]
    expected = np.array(record["lr"], dtype=np.float64)
    base = record["base_lr"] or 1.0
    got = np.asarray(evaluate.binding_values(compiled(text), "lr", np.arange(len(expected)), base=base))
    tolerance = record.get("tol") or 2e-12
    np.testing.assert_allclose(got[where], expected[where], rtol=0, atol=tolerance * np.abs(expected).max())


class TestDoc:
    def test_lists_everything_under_headings(self) -> None:
        listed = run("doc").stdout
        for heading in ("Curves", "Stages", "Modifiers", "Initialisers", "Functions", "Variables", "Dialects"):
            assert re.search(rf"(?m)^{heading}", listed)
        for entry in entries():
            assert re.search(rf"(?m)^  {re.escape(entry.name)}\b", listed)
        assert not re.search(r"(?m)^  _", listed)

    def test_page_of_a_curve(self) -> None:
        page = run("doc", "cosine").stdout
        line = (FOLDER / "curves.sched").read_text(encoding="utf-8").split("curve cosine")[0].count("\n") + 1
        assert page.startswith(f"curve cosine    stdlib/curves.sched:{line}\n")
        assert "curve cosine(p) = (1 - cos(pi * p)) / 2" in page
        assert "cosine(T: duration >= 0, from: level = start, to: level = 0)" in page
        assert "Source: Loshchilov" in page
        assert "at 500: 1/2" in page
        assert "cos(pi*t/1000)" in page
        assert "┤" in page

    def test_page_of_a_modifier_and_a_function_of_one_name(self) -> None:
        page = run("doc", "clamp").stdout
        assert "modifier clamp" in page
        assert "function clamp" in page

    def test_page_of_a_dialect_and_of_its_entry(self) -> None:
        page = run("doc", "torch").stdout
        assert page.startswith("dialect torch    stdlib/dialects/torch.sched:1\n")
        assert re.search(r"(?m)^  torch.StepLR +\S", page)
        assert "torch._" not in page
        page = run("doc", "torch.StepLR").stdout
        assert "def StepLR(step_size: duration > 0, gamma: number = 0.1)" in page
        assert run("doc", "StepLR").stdout

    @pytest.mark.parametrize("entry", [e for e in entries() if e.kind == "recipe"][:1], ids=lambda e: e.name)
    def test_page_of_a_recipe(self, entry: Entry) -> None:
        page = run("doc", entry.name).stdout
        assert page.startswith(f"recipe {entry.name}    stdlib/recipes/")
        assert "\n    lr = " in page
        assert "┤" in page

    @pytest.mark.parametrize(
        ("asked", "near"),
        [
            ("cosin", "did you mean `cosine`?"),
            ("COSINE", "did you mean `cosine`?"),
            ("torch.StepLr", "did you mean `torch.StepLR`?"),
            ("qqqq", "`schedc doc` lists it"),
        ],
    )
    def test_unknown_name(self, asked: str, near: str) -> None:
        result = run("doc", asked)
        assert result.exit_code == 2
        assert near in result.stderr

    def test_every_name_has_a_page(self) -> None:
        for name in {e.name for e in SHOWN} | set(library_docs.FUNCTIONS) | set(library_docs.VARIABLES):
            result = run("doc", name)
            assert result.exit_code == 0
            assert name in result.stdout

    def test_what_is_no_example_is_said_to_be_none(self) -> None:
        entry = Entry("x", "stage", "Something.\n\nExample: `linear 10` is 1 at 0", "", "stdlib/x.sched:1:1")
        with pytest.raises(ValueError, match=re.escape("stdlib/x.sched:1:1: not an example")):
            entry.examples  # noqa: B018, the property parses


def test_library_page(request: pytest.FixtureRequest) -> None:
    page = ROOT / "docs" / "stdlib.md"
    written = library_docs.markdown()
    if request.config.getoption("--bless"):
        page.write_text(written, encoding="utf-8")
    assert page.read_text(encoding="utf-8") == written, (
        "docs/stdlib.md is stale: run `make bless ARGS='-k library_page'`"
    )


def test_files_are_found_by_name() -> None:
    for name in library.stdlib_names():
        assert library.stdlib_source(name) is not None


class TestContributing:
    """What CONTRIBUTING.md says of adding a decay, done to a copy of the sources exactly as it says."""

    def section(self) -> str:
        """The section; a doc comment in a block is no heading."""
        found: list[str] = []
        inside = fenced = False
        for line in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines(keepends=True):
            fenced ^= line.startswith("```")
            if line.startswith("## ") and not fenced:
                inside = line == "## Adding a decay\n"
            found += [line] if inside else []
        return "".join(found)

    def fenced(self, kind: str) -> list[str]:
        return re.findall(rf"(?ms)^```{kind}\n(.*?)^```$", self.section())

    def commands(self) -> Iterator[tuple[str, str]]:
        for block in self.fenced("console"):
            for command in re.split(r"(?m)^\$ ", block)[1:]:
                line, _, output = command.partition("\n")
                yield line, output

    def test_done_as_the_page_says(self, tmp_path: Path) -> None:
        for folder in ("grammar", "compiler", "backends", "stdlib", "schedc", "docs"):
            shutil.copytree(
                ROOT / folder, tmp_path / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
            )
        (tmp_path / "tests").mkdir()
        for file in ("pyproject.toml", "tests/test_stdlib.py", "tests/conftest.py", "CONTRIBUTING.md"):
            shutil.copy(ROOT / file, tmp_path / file)
        (block,) = self.fenced("sched")
        (file,) = re.findall(r"to the end of `(stdlib/\w+\.sched)`", self.section())
        with (tmp_path / file).open("a", encoding="utf-8") as out:
            out.write("\n" + block)
        done = [self.process(tmp_path, line, output) for line, output in self.commands()]
        assert {"schedc check", "schedc eval", "schedc doc", "make test", "make bless"} <= set(done)
        assert "### half_life" in (tmp_path / "docs" / "stdlib.md").read_text(encoding="utf-8")

    def process(self, copy: Path, line: str, output: str) -> str:
        """Run the command in the copy; its first two words."""
        words = shlex.split(line)
        command = words[1:] if words[0] == "schedc" else []
        if words[0] == "make":
            (given,) = [w.removeprefix("ARGS=") for w in words if w.startswith("ARGS=")] or [""]
            bless = ["--bless"] if words[1] == "bless" else []
            command = ["-q", "-p", "no:cacheprovider", "tests/test_stdlib.py", *bless, *shlex.split(given)]
        module = {"schedc": "schedc", "make": "pytest"}[words[0]]
        # A pytest inside one of xdist's workers would take itself for another.
        env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
        ran = subprocess.run(
            [sys.executable, "-m", module, *command],
            cwd=copy,
            env={**env, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, f"{line}\n{ran.stdout}{ran.stderr}"
        if output:
            assert ran.stdout.strip() == output.strip(), line
        return " ".join(words[:2])
