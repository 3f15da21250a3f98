"""The dialects against recorded schedules of the frameworks themselves: every record is reproduced, refused, or excluded with a reason.

A trace is reproduced if every value is the recorded one to the record's tolerance, or 2e-12, times the trace's largest value, and 0
where that is 0. A plateau is driven with the recorded metrics, by the exact reference.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from schedc.backends.reference import Group, ReferenceRun
from schedc.compiler import evaluate
from schedc.compiler.diagnostics import errors
from schedc.compiler.pipeline import Options, compile_source
from schedc.compiler.plan import Plan
from schedc.compiler.source import Source
from schedc.compiler.staged import Staged

if TYPE_CHECKING:
    import oracle_programs as oracle
_spec = importlib.util.spec_from_file_location("oracle_programs", Path(__file__).with_name("oracle_programs.py"))
assert _spec is not None
assert _spec.loader is not None
if not TYPE_CHECKING:
    oracle = importlib.util.module_from_spec(_spec)
    sys.modules[_spec.name] = oracle
    _spec.loader.exec_module(oracle)

DOCS = Path(__file__).parent.parent / "docs" / "dialects.md"
EXACT = 2e-12
COVERED = oracle.covered()


@cache
def compiled(text: str, base: float | None, context: tuple[tuple[str, Any], ...]) -> Staged[Plan]:
    return compile_source(Source("<oracle>", text), Options(base=base, context=dict(context)))


def number(x: Any) -> float:
    return float(x)


def close(name: str, got: Sequence[float], record: Any, want: Sequence[float]) -> None:
    """Every value as recorded."""
    expected = np.array(want, dtype=np.float64)
    found = np.array(got, dtype=np.float64)
    assert found.shape == expected.shape
    bound = max(record.get("tol", 0), EXACT) * np.abs(expected).max()
    off = ~(np.abs(found - expected) <= bound) | ((expected == 0) & (found != 0))
    if off.any():
        t = int(np.flatnonzero(off)[0])
        pytest.fail(f"{name} at {t}: {found[t]!r}, recorded {expected[t]!r}; {int(off.sum())} of {len(off)} differ")


def traces(record: Any, program: Any) -> Iterator[tuple[str, int, list[float]]]:
    """What was recorded: the binding's name, the param group, the values."""
    for i, lr in enumerate(record.get("lr_groups") or [record["lr"]]):
        yield program.names["lr"], i, lr
    if record.get("momentum"):
        yield program.names["momentum"], 0, record["momentum"]


def matched(plan: Plan, group: int) -> tuple[int, ...]:
    """The group rules that the param group is matched by."""
    return (group - 1,) if group and plan.groups else ()


def observed(record: Any, program: Any, plan: Plan, name: str, group: int, base: float | None, n: int) -> list[float]:
    """The values while the recorded metrics are reported, one between an update and the next; before the update where the record
    has one for each.
    """
    run = ReferenceRun(plan, group=Group(base, matched(plan, group)))
    metrics = record["metric"]
    at_once = len(metrics) == n
    out: list[float] = []
    for i in range(n):
        if at_once and metrics[i] is not None:
            run.observe(**{program.metric: number(metrics[i])})
        out.append(float(run.value(name)))
        run.step()
        if not at_once and i < len(metrics) and metrics[i] is not None:
            run.observe(**{program.metric: number(metrics[i])})
    return out


def check_program(record: Any, program: Any) -> None:
    base = record["base_lr"]
    result = compiled(program.text, base, tuple(program.context.items()))
    assert result.value is not None, "\n".join(map(str, errors(result.said)))
    plan = result.value
    for name, group, want in traces(record, program):
        own = program.bases[group - 1] if group else base
        rules = matched(plan, group)
        if plan.feedback and record["metric"]:
            close(name, observed(record, program, plan, name, group, own, len(want)), record, want)
            continue
        n = np.arange(len(want)) if program.at is None else np.array([program.at(i) for i in range(len(want))])
        got = evaluate.binding_values(plan, name, n, base=own, group=rules)
        close(name, got, record, want)
        if record.get("raises_at", -1) >= 0:
            with pytest.raises(evaluate.ScheduleEnded) as ended:
                evaluate.binding_values(plan, name, len(want), base=own, group=rules)
            assert ended.value.update == record["raises_at"] + 1


def check_refusal(record: Any, refusal: Any) -> None:
    assert record.get("raises_at") == -1, "only what the library itself refuses may be refused"
    result = compiled(refusal.text, record["base_lr"], ())
    assert [d.code.number for d in errors(result.said)] == [refusal.code], "\n".join(map(str, result.said))


@pytest.mark.parametrize(("library", "record"), COVERED, ids=[r["id"] for _, r in COVERED])
def test_record(library: Any, record: Any) -> None:
    outcome = library.outcome(record)
    match outcome:
        case oracle.Program():
            assert record["lr"], "the library refused this: a Refusal is expected"
            check_program(record, outcome)
        case oracle.Refusal():
            check_refusal(record, outcome)
        case oracle.Exclusion(reason):
            assert re.fullmatch(r"\S.*[^.\s]", reason), "a sentence without a full stop"
