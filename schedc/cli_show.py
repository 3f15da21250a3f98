"""`schedc show` and `schedc eval`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from schedc.cli_inputs import Request, chosen, programs
from schedc.cli_messages import in_colour

if TYPE_CHECKING:
    from rich.console import Console, Group

    from schedc.compiler.plan import GroupRule
    from schedc.plan import Plan

WIDE = 250
"""Columns of a table that goes into a file or a pipe."""


def console() -> Console:
    """Where tables are printed: as wide as the terminal, or wide enough for all of them."""
    from rich.console import Console

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDE
    return Console(width=width, no_color=not in_colour(), force_terminal=in_colour() or None, highlight=False)


def table(title: str, columns: Iterable[tuple[str, str]], rows: Iterable[Sequence[str]]) -> Group:
    """A table without rules, below its title; a column is its head and `left` or `right`."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head, justify in columns:
        made.add_column(head, justify="right" if justify == "right" else "left", header_style="dim", overflow="fold")
    for row in rows:
        made.add_row(*map(Text, row))
    return Group(Text(title, style="bold"), made) if title else Group(made)


def show_tables(out: Console, tables: Iterable[Group | str]) -> None:
    """Print tables and lines with an empty line between them, and no blanks at the ends of lines."""
    for number, one in enumerate(tables):
        if number:
            click.echo()
        with out.capture() as captured:
            out.print(one, markup=False)
        click.echo("\n".join(line.rstrip() for line in captured.get().rstrip("\n").split("\n")), color=in_colour())


@click.command(
    "show",
    epilog="""\b
Examples:
  schedc show train.sched
  schedc show -e "warmup 500 -> cosine 10k" --base 0.1
  schedc show train.sched --csv > stages.csv
""",
)
@programs
@click.option("--csv", "as_csv", is_flag=True, help="The stages as CSV.")
def show_command(request: Request, as_csv: bool) -> None:
    """Show plans as tables: each stage's updates, values and formula, derived counts, batch, groups and init.

    Values are those of the first and the last update of a stage; `t` in a formula counts from the stage's start.
    Relative schedules are shown as factors, unless --base is given.
    """
    plans = request.plans()
    if as_csv:
        from schedc.backends.table import rows, rows_csv

        table_rows = [r for p in plans for b in (*p.bindings, *p.lets) for r in rows(p, b, p[b.name].base)]
        click.echo(rows_csv(table_rows), nl=False)
        return
    out = console()
    for number, plan in enumerate(plans):
        if number:
            click.echo("\n")
        show_tables(out, _tables(plan))


def _tables(plan: Plan) -> Iterable[Group | str]:
    yield _headline(plan)
    for binding in (*plan.bindings, *plan.lets):
        yield _stages(plan, binding.name)
    if plan.feedback:
        yield table(
            "feedback",
            [
                ("plateau on", "left"),
                ("cut", "right"),
                ("patience", "right"),
                ("cooldown", "right"),
                ("observes", "left"),
            ],
            [
                [
                    f"{f.metric} ({f.mode})",
                    f"× {_number(f.factor)}",
                    _number(f.patience) + (f" {f.patience_clock}" if f.patience_clock else ""),
                    _number(f.cooldown) + (f" {f.cooldown_clock}" if f.cooldown_clock else ""),
                    f"from update {-(-f.start // 1)}" + (f" to {-(-f.end // 1) - 1}" if f.end is not None else ""),
                ]
                for f in plan.feedback
            ],
        )
    if plan.groups:
        columns = [("group", "left"), ("name", "left"), ("own schedule", "left"), ("effective at update 0", "right")]
        yield table("groups", [*columns, ("largest", "right"), ("in the end", "right")], _groups(plan))
    if plan.batch.phases:
        from schedc.backends.table import readings

        phases = plan.batch.phases
        tokens = readings(plan, [p.update for p in phases]).get("tokens")
        yield table(
            "batch",
            [("from update", "right"), ("tokens before", "right"), ("samples", "right"), ("seq_len", "right")],
            [
                [
                    str(p.update),
                    "" if tokens is None else _short(tokens[i]),
                    str(p.global_batch),
                    "" if p.seq_len is None else str(p.seq_len),
                ]
                for i, p in enumerate(phases)
            ],
        )
    settings = [(k, getattr(plan.batch, k)) for k in ("micro", "accumulation", "workers", "pin_memory")]
    if any(v is not None for _, v in settings):
        yield "batch settings: " + ", ".join(f"{k} = {str(v).lower()}" for k, v in settings if v is not None)
    if plan.init:
        rules = [[str(r.selection), r.label or r.kind] for r in plan.init]
        yield table(
            "init (the last rule that matches a parameter wins)", [("parameters", "left"), ("values", "left")], rules
        )
    if plan.derived:
        rows = [[d.what, d.value, d.how] for d in plan.derived]
        yield table("counts", [("count", "left"), ("value", "right"), ("from", "left")], rows)
    if plan.facts:
        rows = [[f.binding, f.claim, f.how, f.detail] for f in plan.facts]
        yield table("checked", [("name", "left"), ("claim", "left"), ("how", "left"), ("", "left")], rows)


def _headline(plan: Plan) -> str:
    parts = [plan.name]
    if plan.run is not None:
        length = f"{_short(plan.run.length)} {plan.run.clock}" if plan.run.clock != "steps" else ""
        parts.append(f"{plan.run.updates} updates" + (f" ({length})" if length else ""))
    given = ", ".join(f"{k} = {v}" for k, v in {**plan.parameters, **plan.context}.items())
    return " · ".join(parts) + (f" · {given}" if given else "")


def _short(value: Any) -> str:
    from schedc.backends.table import amount

    return amount(value)


def _number(value: Any) -> str:
    from schedc.backends.table import number

    return number(float(value))


def _stages(plan: Plan, name: str) -> Group:
    from schedc.backends.table import number, rows

    bound = plan[name]
    found = rows(plan, bound.binding, bound.base)
    largest = max((abs(v) for r in found for v in (r.first_value, r.last_value) if v is not None), default=0.0)
    own = {r.clock for r in found} - {"steps"}
    lines = []
    for row in found:
        span = f"{row.first} –" if row.last is None else f"{row.first} – {row.last}"
        formula = f"stops training: {row.error}" if row.error else row.formula
        unit = f"t in {row.clock}" if own and "t" in _words(formula) else ""
        last = number(row.last_value, largest, 6) if row.last is not None else ""
        lines.append([row.stage or "(held)", span, number(row.first_value, largest, 6), last, formula, unit])
    known = plan._base is not None
    relation = f" × base {number(bound.base)}" if known else " × what the optimizer was built with"
    title = name + (relation if bound.relative else "")
    columns = [("stage", "left"), ("updates", "right"), ("first", "right"), ("last", "right"), ("formula", "left")]
    return table(title, [*columns, ("", "left")], lines)


def _words(formula: str) -> set[str]:
    import re

    return set(re.findall(r"[A-Za-z_]+", formula))


def _groups(plan: Plan) -> Iterable[list[str]]:
    """One row for each name that a group rule sets: its own schedule, and what comes out with the rules around it."""
    import numpy as np

    from schedc.backends.table import horizon, number
    from schedc.compiler.evaluate import binding_values

    count = horizon(plan) or 1
    at = np.unique(np.linspace(0, count - 1, min(count, 10_001)).astype(np.int64))
    for index, rule in enumerate(plan.groups):
        for binding in rule.bindings:
            own = f"{'*=' if binding.relative else '='} " + " -> ".join(
                s.label for s in binding.curve.segments if s.label
            )
            name = f"{rule.selection}"
            if _captures(rule):
                yield [name, binding.name, own, "", "", f"depends on {', '.join(_captures(rule))}"]
                continue
            base = 1.0 if plan._base is None else plan._base
            got = np.asarray(binding_values(plan, binding.name, at, base=base, group=[index]), dtype=float)
            peak = float(np.max(np.abs(got)))
            yield [name, binding.name, own, *(number(float(v), peak, 6) for v in (got[0], got.max(), got[-1]))]


def _captures(rule: GroupRule) -> list[str]:
    import re

    texts = [s.text for s in rule.selection.union if s.kind == "glob"]
    return list(dict.fromkeys(word for text in texts for word in re.findall(r"\{\w+\}", text)))


@click.command(
    "eval",
    epilog="""\b
Examples:
  schedc eval -e "warmup 500 linear -> cosine T=10000" --at 0,250,500,5500,10500
  schedc eval train.sched --at 0:100k:10k --csv > values.csv
  schedc eval train.sched --at "10T tokens" --name lr
  schedc eval train.sched --at "3 epochs,50%" --steps-per-epoch 1252 --base 0.1
""",
)
@programs
@click.option(
    "--at",
    "at",
    multiple=True,
    required=True,
    metavar="PLACES",
    help="Updates: `0,250,10k`, a range `0:1000:100`, or places on a clock: `5T tokens`, `3 epochs`, `50%`.",
)
@click.option("--name", "names", multiple=True, metavar="NAME", help="Only this bound name; may be repeated.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV with all digits, and every clock that is known.")
def eval_command(request: Request, at: tuple[str, ...], names: tuple[str, ...], as_csv: bool) -> None:
    """Print what the bound names are at some updates, counted from 0.

    Update n is the one after n updates have been made. Relative schedules are factors, unless --base is given.
    No observation of `plateau` is assumed.
    """
    from schedc.compiler.plan import ScheduleEnded, UnknownClock
    from schedc.quantities import places

    out = console()
    for number, plan in enumerate(request.plans()):
        try:
            updates = [n for part in at for n in places(part, plan)]
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        bound = list(chosen(plan.names, names))
        if number:
            click.echo()
        try:
            _print_values(out, plan, updates, bound, as_csv)
        except (ScheduleEnded, UnknownClock) as error:
            click.echo(f"{plan.name}: {error}", err=True)
            raise click.exceptions.Exit(1) from None


def _print_values(out: Console, plan: Plan, updates: list[int], bound: list[str], as_csv: bool) -> None:
    import numpy as np

    from schedc.backends import table as rows

    base = 1.0 if plan._base is None else plan._base
    if as_csv:
        for line in rows.csv_lines(plan, updates, base, bound):
            click.echo(line, nl=False)
        return
    columns = [("update", "right")]
    cells: list[list[str]] = [[str(n) for n in updates]]
    if plan.run is not None and plan.run.clock != "steps":
        clock = plan.run.clock
        if clock in (shown := rows.readings(plan, updates)):
            columns.append((clock, "right"))
            cells.append([f"{_short(v)}" for v in shown[clock]])
    for name in bound:
        got = rows.values(plan, name, updates, base)
        # What counts as noise is measured against the whole schedule, not against the places asked for.
        ends = [
            u for s in plan[name].segments if not s.error for u in (s.first, s.last) if u is not None and u >= s.first
        ]
        around = np.abs(rows.values(plan, name, [*ends, *updates], base))
        largest = float(around[np.isfinite(around)].max(initial=0.0))
        columns.append((name, "left"))
        cells.append([rows.number(float(v), largest) for v in got])
    show_tables(out, [table("", columns, list(zip(*cells, strict=True)))])
