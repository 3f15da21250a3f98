"""A plan as rows: what every segment does, and the value of every update.

`plateau` decides while training runs; here its factor is 1, as before any cut.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schedc.compiler.evaluate import binding_values
from schedc.compiler.plan import Binding, Curve, Plan, Segment, UnknownClock
from schedc.compiler.readings import readings_at
from schedc.compiler.symbolic import text

CLOCKS = ("epochs", "samples", "tokens")
CHUNK = 1 << 16
"""Updates evaluated at once for a CSV table."""
NOISE = 1e-15
"""Values below this share of the largest one are rounding, and shown as 0."""


class EndlessError(ValueError):
    """A table of every update is asked for, and nothing says how many there are."""


@dataclass(frozen=True)
class Row:
    """One segment of one bound name. `last` is None for a segment without end; the values are those of its updates."""

    name: str
    stage: str
    first: int
    last: int | None
    first_value: float | None
    last_value: float | None
    formula: str
    clock: str
    error: str | None = None


def number(value: float | None, largest: float = 0.0, digits: int = 12) -> str:
    """The value as one would write it: to so many significant digits, noise beside the `largest` value dropped."""
    if value is None:
        return ""
    if not math.isfinite(value):
        return str(value)
    if abs(value) <= NOISE * abs(largest):
        return "0"
    rounded = float(f"{value:.{digits}g}")
    if rounded == int(rounded) and abs(rounded) < 1e15:
        return str(int(rounded))
    mantissa, e, exponent = repr(rounded).partition("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}" if e else mantissa


def horizon(plan: Plan) -> int | None:
    """How many updates there are to show: the run's, or until the last schedule ends; None if all go on for ever."""
    if plan.run is not None:
        return plan.run.updates
    ends = [b.curve.end for b in (*plan.bindings, *plan.lets)]
    known = [math.ceil(end) for end in ends if end]
    return max(known) if known else None


def values(plan: Plan, name: str, updates: Sequence[int] | NDArray[Any], base: float = 1.0) -> NDArray[np.float64]:
    """The values of a bound name at the updates."""
    return np.asarray(binding_values(plan, name, np.asarray(updates, dtype=np.int64), base=base), dtype=np.float64)


def rows(plan: Plan, binding: Binding, base: float = 1.0) -> list[Row]:
    """The segments of a bound name that own an update of the run, and what follows them."""
    end = None if plan.run is None else plan.run.updates - 1
    return [row for row in _rows(plan, binding, base) if end is None or row.first <= end]


def _formula(segment: Segment) -> str:
    """The segment's formula, with `t` counted from its start."""
    return text(segment.formula, origin=segment.origin, clock=segment.clock, table=segment.table)


def _rows(plan: Plan, binding: Binding, base: float) -> Iterator[Row]:
    curve: Curve = binding.curve
    for segment in curve.segments:
        first, last = segment.first, segment.last
        if last is not None and last < first:
            continue
        at = [first] if last is None else [first, last]
        got = [None, None] if segment.error else [float(v) for v in values(plan, binding.name, at, base)]
        yield Row(
            binding.name,
            segment.label,
            first,
            last,
            got[0],
            got[1] if last is not None else None,
            "" if segment.error else _formula(segment),
            segment.clock,
            segment.error,
        )
    if curve.end is not None and curve.after is not None:
        first = math.ceil(curve.end)
        value = float(values(plan, binding.name, [first], base)[0])
        yield Row(binding.name, "", first, None, value, value, text(curve.after), "steps")


def readings(plan: Plan, updates: Sequence[int] | NDArray[Any]) -> Mapping[str, NDArray[np.float64]]:
    """What each clock shows before the updates; only the clocks that the plan knows."""
    out: dict[str, NDArray[np.float64]] = {}
    for clock in CLOCKS if plan.clocks else ():
        try:
            out[clock] = np.asarray(readings_at(plan.clocks[0], clock, np.asarray(updates, dtype=np.int64)))
        except UnknownClock:
            continue
    return out


def csv_lines(plan: Plan, updates: Sequence[int], base: float = 1.0, names: Sequence[str] = ()) -> Iterator[str]:
    """The values at the updates as lines of CSV: the update, the known clocks, every bound name."""
    names = names or [b.name for b in (*plan.bindings, *plan.lets)]
    clocks = list(readings(plan, [0]))
    yield _line(["update", *clocks, *names])
    for start in range(0, len(updates), CHUNK):
        part = np.asarray(updates[start : start + CHUNK], dtype=np.int64)
        shown = readings(plan, part)
        columns = [part.tolist(), *([number(v) for v in shown[c]] for c in clocks)]
        columns += [[repr(float(v)) for v in values(plan, name, part, base)] for name in names]
        yield "".join(_line(list(cells)) for cells in zip(*columns, strict=True))


def _line(cells: Sequence[object]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()


def csv_text(plan: Plan) -> str:
    """Every update's values as CSV."""
    count = horizon(plan)
    if count is None:
        raise EndlessError("the schedule goes on for ever: give the run's length")
    return "".join(csv_lines(plan, range(count)))


def rows_csv(table: Sequence[Row]) -> str:
    """The rows as CSV."""
    head = ["name", "stage", "first", "last", "first_value", "last_value", "formula", "clock"]
    lines = [_line(head)]
    for row in table:
        last = "" if row.last is None else row.last
        lines.append(
            _line(
                [
                    row.name,
                    row.stage,
                    row.first,
                    last,
                    *map(_csv_value, (row.first_value, row.last_value)),
                    row.formula,
                    row.clock,
                ]
            )
        )
    return "".join(lines)


def _csv_value(value: float | None) -> str:
    return "" if value is None else repr(value)


def amount(value: Fraction | float) -> str:
    """A count as one would write it: `300B`, `14.8T`, `10k`, `1252`."""
    size = abs(float(value))
    for suffix, scale in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if size >= scale:
            # 1252 is clearer than 1.252k; a reading in the billions is not.
            return number(float(value)) if scale == 1e3 and value % 100 else f"{float(value) / scale:.4g}{suffix}"
    return number(float(value))
