"""`schedc explain` and `schedc doc`."""

from __future__ import annotations

import math
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator
from importlib import resources
from typing import TYPE_CHECKING

import click

from schedc.cli_messages import in_colour
from schedc.errors import did_you_mean

if TYPE_CHECKING:
    from schedc.compiler.plan import Plan
    from schedc.library_docs import Entry, Example

MAX_STAGES = 8
"""Rows of formulas shown of one example."""


def _page(text: str) -> None:
    """Print Markdown: laid out on a terminal, as it is elsewhere."""
    if not (sys.stdout.isatty() and in_colour()):
        click.echo(text.rstrip("\n"))
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console(highlight=False).print(Markdown(text))


@click.command(
    "explain",
    epilog="""\b
Examples:
  schedc explain SC401
  schedc explain jump        by its short name
  schedc explain             every code
""",
)
@click.argument("code", required=False)
def explain_command(code: str | None) -> None:
    """Print the page behind a message: what it says, why it matters, and an example of it put right."""
    folder = resources.files("schedc.compiler") / "explain"
    pages = (
        {p.name.removesuffix(".md"): p for p in folder.iterdir() if p.name.endswith(".md")} if folder.is_dir() else {}
    )
    codes = _codes()
    if code is None:
        for number in sorted({*codes, *pages}):
            name, meaning = codes.get(number, ("", ""))
            click.echo(f"{number}  {name:<24} {meaning}".rstrip())
        return
    number = code.upper() if code.upper().startswith("SC") else f"SC{code}" if code.isdigit() else code
    number = next((n for n, (name, _) in codes.items() if name == code.lower()), number)
    if number in pages:
        _page(pages[number].read_text(encoding="utf-8"))
    elif number in codes:
        name, meaning = codes[number]
        click.echo(f"{number} {name}: {meaning}")
    else:
        near = did_you_mean(number, [*codes, *pages, *(name for name, _ in codes.values())])
        raise click.UsageError(f"there is no code `{code}`{near or '; `schedc explain` lists them'}")


def _codes() -> dict[str, tuple[str, str]]:
    """Every declared code: its short name and its meaning."""
    import schedc.compiler.pipeline  # noqa: F401, for the codes that the stages declare
    from schedc.compiler.codes import CODES

    return {number: (code.name, code.meaning) for number, code in CODES.items()}


@click.command(
    "doc",
    epilog="""\b
Examples:
  schedc doc                          everything, one line each
  schedc doc cosine
  schedc doc torch                    a dialect or a recipe: its file
  schedc doc torch.CosineAnnealingLR
""",
)
@click.argument("name", required=False)
def doc_command(name: str | None) -> None:
    """Print the documentation of the standard library: curves, stages, modifiers, initialisers, dialects, recipes."""
    from schedc import library_docs

    if name is None:
        for number, (heading, entries) in enumerate(library_docs.contents()):
            _say(("\n" if number else "") + _bold(heading))
            _list(entries)
        return
    found = library_docs.find(name)
    if not found:
        known = library_docs.names()
        near = did_you_mean(name, known) or did_you_mean(name.lower(), [n.lower() for n in known])
        raise click.UsageError(f"the standard library has no `{name}`{near or '; `schedc doc` lists it'}")
    for number, entry in enumerate(found):
        _say(("\n" if number else "") + "\n".join(_entry(entry)))
        if entry.inner:
            _say()
            _list(entry.inner)


def _say(text: str = "") -> None:
    click.echo(text, color=in_colour())


def _bold(text: str) -> str:
    return click.style(text, bold=in_colour())


def _columns() -> int:
    return max(60, min(shutil.get_terminal_size((120, 24)).columns, 160))


def _list(entries: Iterable[Entry]) -> None:
    entries = list(entries)
    wide = min(32, max((len(entry.name) for entry in entries), default=0))
    for entry in entries:
        gap = "" if len(entry.name) <= wide else "\n" + " " * (wide + 2)
        lines = textwrap.wrap(entry.summary, _columns() - wide - 4) or [""]
        text = ("\n" + " " * (wide + 4)).join(lines)
        _say(f"  {entry.name:<{wide}}{gap}  {text}".rstrip())


def _entry(entry: Entry) -> Iterator[str]:
    yield _bold(f"{entry.kind} {entry.name}") + (f"    {entry.place.rpartition(':')[0]}" if entry.place else "")
    if entry.prose:
        yield "\n" + _paragraphs(entry.prose)
    if entry.text:
        yield "\n" + textwrap.indent(entry.text, "    ")
    if entry.stage:
        yield "    # as a stage: " + entry.stage
    if entry.sources:
        yield "\n" + "\n".join(_paragraphs("Source: " + source) for source in entry.sources)
    for number, example in enumerate(entry.examples):
        yield f"\n  Example: {example.program}\n    {', '.join(map(str, example.claims))}"
        plan = _compiled(example.program)
        if plan is not None:
            yield from _formulas(plan)
            if number == 0:
                yield from _picture(plan, example)
    if entry.kind == "recipe":
        plan = _compiled(f"include {entry.name}")
        if plan is not None:
            yield from _picture(plan, None)


def _paragraphs(text: str) -> str:
    """The text in lines that fit; indented lines are left as they are."""
    out = []
    # `Unverified: …` begins a line of its own.
    for paragraph in re.split(r"\n\n|\n(?=[A-Z]\w+: )", text):
        as_written = any(line.startswith("  ") for line in paragraph.split("\n"))
        fitted = paragraph if as_written else textwrap.fill(" ".join(paragraph.split()), _columns() - 2)
        out.append(textwrap.indent(fitted, "  "))
    return "\n\n".join(out)


def _compiled(program: str) -> Plan | None:
    from schedc.compiler.pipeline import compile_source
    from schedc.compiler.source import Source

    return compile_source(Source("<example>", program)).value


def _formulas(plan: Plan) -> Iterator[str]:
    from schedc.backends.table import rows

    for binding in (*plan.bindings, *plan.lets):
        found = rows(plan, binding)
        places = [f"{row.first} …" if row.last is None else f"{row.first} … {row.last}" for row in found]
        name = "" if binding.name == "lr" else binding.name + " "
        for row, place in list(zip(found, places, strict=True))[:MAX_STAGES]:
            unit = f"    (t in {row.clock})" if row.clock != "steps" else ""
            formula = "stops training" if row.error else row.formula + unit
            yield f"    {name}{place:<{max(map(len, places[:MAX_STAGES]))}}  {formula}"
        if len(found) > MAX_STAGES:
            yield "    and so on"


def _picture(plan: Plan, example: Example | None) -> Iterator[str]:
    from schedc.backends import plot

    endless = [b for b in (*plan.bindings, *plan.lets) if b.curve.end is None]
    updates = None
    if example is not None and endless and plan.run is None:
        # As far as the claims go, and a little more.
        updates = max(20, math.ceil(max(claim.at or 0 for claim in example.claims) * 5 / 4))
    names = () if example is not None else ("lr", "batch")
    drawn = plot.terminal([plan], min(_columns(), 80), 10, in_colour(), updates, names=names)
    yield "\n" + textwrap.indent(drawn, "  ")
