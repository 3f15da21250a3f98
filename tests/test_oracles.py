"""The dialects against schedules recorded from the libraries: each is reproduced, refused, or excluded with a reason.

A trace is reproduced if every value is the recorded one to 2e-12, or the record's own tolerance, times the largest of
the trace, and 0 where that is 0. A plateau is driven with the recorded metrics, by the exact reference.
"""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from schedc.backends.reference import Group, ReferenceRun
from schedc.compiler import evaluate
from schedc.compiler import library as stdlib
from schedc.compiler.diagnostics import errors
from schedc.compiler.pipeline import Options, compile_source
from schedc.compiler.plan import Plan, ScheduleEnded
from schedc.compiler.source import Source
from schedc.compiler.staged import Staged
from schedc.grammar import syntax
from schedc.grammar.parse import parse

if TYPE_CHECKING:
    import oracle_programs as oracle
_spec = importlib.util.spec_from_file_location("oracle_programs", Path(__file__).with_name("oracle_programs.py"))
assert _spec is not None
assert _spec.loader is not None
if not TYPE_CHECKING:
    oracle = importlib.util.module_from_spec(_spec)
    sys.modules[_spec.name] = oracle
    _spec.loader.exec_module(oracle)

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs" / "dialects.md"
BELOW = "<!-- Below this line all is written by tests/test_oracles.py: run `make bless`. -->\n"
EXACT = 2e-12
COVERED = oracle.covered()


@cache
def compiled(text: str, base: float | None, context: tuple[tuple[str, Any], ...]) -> Staged[Plan]:
    return compile_source(Source("<oracle>", text), Options(base=base, context=dict(context)))


def close(name: str, got: Sequence[float], record: oracle.Record, want: Sequence[float]) -> None:
    """Every value as recorded."""
    expected = np.array(want, dtype=np.float64)
    found = np.array(got, dtype=np.float64)
    assert found.shape == expected.shape
    bound = max(record.get("tol", 0), EXACT) * np.abs(expected).max()
    off = ~(np.abs(found - expected) <= bound) | ((expected == 0) & (found != 0))
    if off.any():
        t = int(np.flatnonzero(off)[0])
        pytest.fail(f"{name} at {t}: {found[t]!r}, recorded {expected[t]!r}; {int(off.sum())} of {len(off)} differ")


def traces(record: oracle.Record, program: oracle.Program) -> Iterator[tuple[str, int, list[float]]]:
    """What was recorded: the binding's name, the param group, the values."""
    for i, lr in enumerate(record.get("lr_groups") or [record["lr"]]):
        yield program.names["lr"], i, lr
    if record.get("momentum"):
        yield program.names["momentum"], 0, record["momentum"]


def driven(run: ReferenceRun, name: str, metric: str, metrics: Sequence[Any], count: int) -> list[float]:
    """The values while metrics are reported: one between an update and the next, or, if there are as many, before each."""
    at_once = len(metrics) == count
    out: list[float] = []
    for i in range(count):
        if i and not at_once and metrics[i - 1] is not None:
            run.observe(**{metric: float(metrics[i - 1])})
        if at_once and metrics[i] is not None:
            run.observe(**{metric: float(metrics[i])})
        out.append(float(run.value(name)))
        run.step()
    return out


def check_program(record: oracle.Record, program: oracle.Program) -> None:
    result = compiled(program.text, record["base_lr"], tuple(program.context.items()))
    assert result.value is not None, "\n".join(map(str, errors(result.said)))
    plan = result.value
    for name, group, want in traces(record, program):
        base = program.bases[group - 1] if group else record["base_lr"]
        rules = (group - 1,) if group and plan.groups else ()
        if plan.feedback and record["metric"]:
            run = ReferenceRun(plan, group=Group(base, rules))
            close(name, driven(run, name, program.metric, record["metric"], len(want)), record, want)
            continue
        n = np.arange(len(want)) if program.at is None else np.array([program.at(i) for i in range(len(want))])
        close(name, evaluate.binding_values(plan, name, n, base=base, group=rules), record, want)
        if record.get("raises_at", -1) >= 0:
            # The call that raised was to set what the update after it uses.
            with pytest.raises(ScheduleEnded, match=f"before update {record['raises_at'] + 1}:"):
                evaluate.binding_values(plan, name, len(want), base=base, group=rules)


def check_refusal(record: oracle.Record, refusal: oracle.Refusal) -> None:
    assert record.get("raises_at") == -1, "only what the library itself refuses may be refused"
    result = compiled(refusal.text, record["base_lr"], ())
    assert [d.code.number for d in errors(result.said)] == [refusal.code], "\n".join(map(str, result.said))


@pytest.mark.parametrize(("library", "record"), COVERED, ids=[r["id"] for _, r in COVERED])
def test_record(library: oracle.Library, record: oracle.Record) -> None:
    outcome = library.outcome(record)
    match outcome:
        case oracle.Program():
            assert record["lr"], "the library refused this: a Refusal is expected"
            check_program(record, outcome)
        case oracle.Refusal():
            check_refusal(record, outcome)
        case oracle.Exclusion(reason):
            assert re.fullmatch(r"\S.*[^.\s]", reason), "a sentence without a full stop"


def test_every_record_has_a_name_of_its_own() -> None:
    assert [i for i, n in Counter(r["id"] for r in oracle.records()).items() if n > 1] == []


def test_an_epoch_is_a_unit_of_every_time() -> None:
    """A scheduler that PyTorch steps once an epoch: the same values, each for a whole epoch."""
    record = next(r for r in oracle.records() if r["id"] == "torch/compose/SequentialLR/lin_multistep")
    text = """
        use torch
        train { steps_per_epoch = 3; tick = epoch }
        lr = torch.LinearLR(start_factor=0.1, total_iters=10 epochs)
          -> torch.MultiStepLR(milestones=[20, 40] epochs, gamma=0.1)
    """
    plan = compiled(text, record["base_lr"], ()).value
    assert plan is not None
    want = np.repeat(record["lr"], 3)
    close("lr", evaluate.binding_values(plan, "lr", np.arange(len(want)), base=record["base_lr"]), record, list(want))


# -- entries


DIALECTS = tuple(name for name in stdlib.stdlib_names() if not name.startswith("recipes."))


@cache
def used() -> frozenset[str]:
    """`torch.StepLR` and the like, of all programs."""
    texts = [o.text for library, r in COVERED if isinstance(o := library.outcome(r), oracle.Program)]
    return frozenset(name for text in texts for name in re.findall(r"\b\w+\.[A-Za-z_]\w*", text))


@pytest.mark.parametrize("name", DIALECTS)
def test_every_entry_is_explained_and_tried(name: str) -> None:
    source = stdlib.stdlib_source(name)
    assert source is not None
    tree = parse(source).value
    assert tree is not None
    entries = [i for i in tree.items if isinstance(i, syntax.Def)]
    assert [e.name for e in entries if not e.doc and not e.name.startswith("_")] == [], "no doc comment"
    reasons = {k: v for library in oracle.libraries() for k, v in library.unrecorded.items()}
    missing = {f"{name}.{e.name}" for e in entries if not e.name.startswith("_")} - used() - set(reasons)
    assert not missing, "no record tries it"


TAKEN_CARE_OF = {"optimizer", "last_epoch", "cycle_momentum", "base_momentum", "max_momentum"}
"""Parameters of PyTorch's classes that an entry does not have: the momentum is an entry of its own."""


def plain(text: str) -> object:
    """A default as written in the library, as Python has it."""
    if text in ("none", "true", "false"):
        return {"none": None, "true": True, "false": False}[text]
    return float(Fraction(text)) if text[0].isdigit() else text


def test_parameters_are_those_of_torch() -> None:
    """Names, order and defaults, as the installed PyTorch has them."""
    from torch.optim import lr_scheduler, swa_utils

    source = stdlib.stdlib_source("torch")
    assert source is not None
    tree = parse(source).value
    assert tree is not None
    entries = [i for i in tree.items if isinstance(i, syntax.Def) and not i.name.startswith("_")]
    for entry in entries:
        if entry.name.endswith("_momentum"):
            continue
        found = getattr(lr_scheduler, entry.name, None) or getattr(swa_utils, entry.name)
        theirs = [p for p in inspect.signature(found).parameters.values() if p.name not in TAKEN_CARE_OF]
        ours = [f for f in entry.formals if f.name != "metric"]
        assert [f.name for f in ours] == [p.name for p in theirs], entry.name
        for f, p in zip(ours, theirs, strict=True):
            default = inspect.Parameter.empty if f.default is None else plain(f.default.span.text)
            # CyclicLR says None where it takes the value of another parameter.
            assert default == p.default or (f.name, default) == ("step_size_down", "step_size_up"), (entry.name, f.name)


# -- the table


def kind(outcome: oracle.Outcome) -> str:
    return {oracle.Program: "reproduced", oracle.Refusal: "refused", oracle.Exclusion: "excluded"}[type(outcome)]


KINDS = ("reproduced", "refused", "excluded")


def row(name: str, outcomes: Sequence[oracle.Outcome]) -> str:
    counts = Counter(map(kind, outcomes))
    return f"| {name} | {len(outcomes)} | " + " | ".join(str(counts[k] or "") for k in KINDS) + " |\n"


def table(first: str, rows: dict[str, list[oracle.Outcome]]) -> str:
    head = f"| {first} | records | {' | '.join(KINDS)} |\n| --- | --: | --: | --: | --: |\n"
    return head + "".join(row(name, outcomes) for name, outcomes in rows.items())


def document() -> str:
    """What was recorded and what became of it, as Markdown."""
    libraries: dict[str, list[oracle.Outcome]] = {}
    classes: dict[str, dict[str, list[oracle.Outcome]]] = {}
    reasons: dict[str, dict[str, list[str]]] = {}
    for library, record in COVERED:
        outcome = library.outcome(record)
        libraries.setdefault(library.title, []).append(outcome)
        classes.setdefault(library.title, {}).setdefault(f"`{library.label(record)}`", []).append(outcome)
        if isinstance(outcome, oracle.Exclusion):
            reasons.setdefault(library.title, {}).setdefault(outcome.reason, []).append(f"`{record['id']}`")
    parts = [table("library", libraries)]
    for title in libraries:
        parts.append(f"## {title}\n\n" + table("class", classes[title]))
        if title in reasons:
            listed = [f"* {reason}: {', '.join(ids)}.\n" for reason, ids in reasons[title].items()]
            parts.append("Excluded:\n\n" + "".join(listed))
    return "\n".join(parts)


def test_the_documentation_is_current(request: pytest.FixtureRequest) -> None:
    head, below, _ = DOCS.read_text(encoding="utf-8").partition(BELOW)
    assert below, "the line that the table stands below is missing"
    text = head + BELOW + "\n" + document()
    if request.config.getoption("--bless"):
        DOCS.write_text(text, encoding="utf-8", newline="\n")
    assert DOCS.read_text(encoding="utf-8") == text, "run `make bless`"
