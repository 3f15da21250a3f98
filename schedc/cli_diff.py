"""`schedc diff`."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import click

from schedc.cli_inputs import Number, Request, programs
from schedc.cli_messages import in_colour

if TYPE_CHECKING:
    from schedc.compiler.difference import Comparison, Point, Side

_COLOURS = {"equal": "green", "different": "red", "undecided": "yellow"}


class InOrder(click.Command):
    """A command that remembers its arguments as they were given: A comes before B, whether file or -e."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta["schedc.arguments"] = list(args)
        return super().parse_args(ctx, args)


@click.command(
    "diff",
    cls=InOrder,
    epilog="""\b
Examples:
  schedc diff old.sched new.sched
  schedc diff train.sched plan.json                   a plan written by `schedc compile`
  schedc diff checkpoint.pt train.sched               the schedule that a checkpoint was trained with
  schedc diff train.sched -e "warmup 500 -> cosine 10k"
  schedc diff checkpoint.pt train.sched --from-update 20k

\b
Exit status: 0 when they are shown to be equal, 1 when they are not or a program has an error, 2 for wrong usage.
""",
)
@programs
@click.option(
    "--from-update", type=Number(), default="0", metavar="N", help="Compare from this update on, as when resuming."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print what was found.",
)
def diff_command(request: Request, from_update: int, form: str) -> None:
    """Compare two programs, name by name: proved equal, or from which update on they part, and by how much.

    A and B are files, programs given with -e, plans as JSON, or checkpoints that hold the state of a schedc scheduler.
    What is given from outside (-D, --world-size …) holds for both. Relative schedules are compared as factors, unless
    --base is given.

    "Proved" is said where the formulas are the same or SymPy shows that they are; "certified" where every update of
    the run was evaluated and none differs by more than 1e-12 of the peak.
    """
    from dataclasses import replace

    from schedc.compiler.difference import compare

    if len(request.sources) == 1 and _given().count(request.sources[0].name) == 2:
        request.sources *= 2  # One file, named twice.
    if len(request.sources) != 2:
        raise click.UsageError(f"diff takes two programs, and {len(request.sources)} are given")
    _in_order(request)
    if from_update < 0:
        raise click.UsageError("updates are counted from 0")
    # Without `request.plans`, whose messages would hide what was asked for.
    a, b = request.plans(warn=False)
    found = compare(a, b, first=from_update, bases=(a._base, b._base))
    found = replace(found, a=request.sources[0].name, b=request.sources[1].name)
    click.echo(as_json(found) if form == "json" else painted(found), color=in_colour())
    if not found.equal:
        raise click.exceptions.Exit(1)


def _given() -> list[str]:
    found: list[str] = click.get_current_context().meta["schedc.arguments"]
    return found


def _in_order(request: Request) -> None:
    """The sources in the order of the command line: they were read with those of -e first."""
    given = _given()
    files = [s.name for s in request.sources if s.name in request.paths or s.name == "<stdin>"]
    if len(files) != 1:
        return
    name = "-" if files[0] == "<stdin>" else files[0]
    file_at = next((i for i, g in enumerate(given) if g == name), len(given))
    text_at = next((i for i, g in enumerate(given) if g.startswith("-e")), 0)
    if file_at < text_at:
        request.sources.reverse()


def painted(found: Comparison) -> str:
    """The report, with colours."""
    from schedc.compiler.difference import rows

    lines = []
    for style, text in rows(found):
        if style == "heading":
            text = click.style(text, bold=True)
        elif style in _COLOURS:
            name, gap, rest = text.partition("  ")
            text = name + gap + click.style(rest, fg=_COLOURS[style])
        lines.append(text)
    return "\n".join(lines)


def as_json(found: Comparison) -> str:
    """The report as data."""
    data = {
        "a": found.a,
        "b": found.b,
        "from_update": found.first,
        "equal": found.equal,
        "parts": found.parts,
        "bindings": [
            {
                "name": one.name,
                "group": one.group,
                "verdict": one.how,
                "detail": one.detail,
                "updates": one.updates,
                "parts": _point(one.parts),
                "largest": _point(one.largest),
                "share_of_peak": one.share,
            }
            for one in found.bindings
        ],
        "changes": [{"what": c.what, "a": c.a, "b": c.b} for c in found.changes],
    }
    return json.dumps(data, indent=2, ensure_ascii=False)


def _point(point: Point | None) -> dict[str, Any] | None:
    if point is None:
        return None
    amount = point.amount if math.isfinite(point.amount) else None
    return {"update": point.update, "difference": amount, "a": _side(point.a), "b": _side(point.b)}


def _side(side: Side) -> dict[str, Any]:
    value = side.value if side.value is not None and math.isfinite(side.value) else None
    return {"stage": side.label, "formula": side.formula, "value": value, "stops": side.stops}
