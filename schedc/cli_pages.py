"""`schedc explain` and `schedc doc`."""

from __future__ import annotations

import re
import sys
from importlib import resources

import click

from schedc.cli_messages import in_colour
from schedc.errors import did_you_mean


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
    """Print the documentation of the standard library: stages, curves, modifiers, dialects and recipes."""
    from schedc import library_docs

    if name is None:
        for heading, entries in library_docs.contents():
            click.echo(click.style(heading, bold=in_colour()), color=in_colour())
            for entry in entries:
                click.echo(f"  {entry.name:<28} {entry.summary}".rstrip())
            click.echo()
        return
    found = library_docs.find(name)
    if not found:
        known = library_docs.names()
        near = did_you_mean(name, known) or did_you_mean(name.lower(), [n.lower() for n in known])
        raise click.UsageError(f"the standard library has no `{name}`{near or '; `schedc doc` lists it'}")
    for number, entry in enumerate(found):
        if number:
            click.echo()
        click.echo(
            click.style(f"{entry.kind} {entry.name}", bold=in_colour()) + f"    {entry.place}", color=in_colour()
        )
        if entry.doc:
            click.echo("\n" + re.sub(r"(?m)^", "  ", entry.doc).rstrip())
        if entry.text:
            click.echo("\n" + re.sub(r"(?m)^", "    ", entry.text))
        for inner in entry.inner:
            click.echo(f"  {inner.name:<28} {inner.summary}".rstrip())
