"""`schedc check`."""

from __future__ import annotations

import click

from schedc.cli_inputs import Request, programs, write_whole
from schedc.cli_messages import as_github, as_json, as_sarif, counted, report, summary
from schedc.compiler.diagnostics import Diagnostic, Fix, Level
from schedc.compiler.source import Source


@click.command(
    "check",
    epilog="""\b
Examples:
  schedc check train.sched                 one file
  schedc check recipes/ more.sched         folders are searched for *.sched
  schedc check -e "warmup 500 -> cosine 10k"
  cat train.sched | schedc check -
  schedc check train.sched -D peak=1e-3 --steps-per-epoch 1252 --world-size 8
  schedc check . --strict --format github  in a workflow

\b
Exit status: 0 when no program has an error, 1 when one has, 2 for wrong usage.
""",
)
@programs
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "github", "sarif"]),
    default="text",
    show_default=True,
    help="How to print the messages.",
)
@click.option("--strict", is_flag=True, help="Warnings count as errors for the exit status.")
@click.option("--fix", is_flag=True, help="Make the edits that certainly put a program right.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only, and no summary.")
def check_command(request: Request, form: str, strict: bool, fix: bool, quiet: bool) -> None:
    """Check programs and print every message of every file in one run.

    A FILE may be a folder, which is searched for *.sched, or `-` for stdin.
    """
    if fix and len(request.paths) < len(request.sources):
        raise click.UsageError("--fix needs files, it cannot edit a string or stdin")
    said: list[Diagnostic] = []
    repaired = 0
    for number, source in enumerate(request.sources):
        of_one = request.compile(source)[1]
        if fix and (text := fixed(source, of_one)) is not None:
            write_whole(request.paths[source.name], text)
            repaired += 1
            request.sources[number] = Source(source.name, text)
            of_one = request.compile(request.sources[number])[1]
        said += of_one
    said = list(dict.fromkeys(said))  # A file that two others use speaks once.
    if quiet:
        said = [d for d in said if d.level is Level.ERROR]
    names = [source.name for source in request.sources]
    if form == "json":
        click.echo(as_json(names, said))
    elif form == "sarif":
        import schedc

        click.echo(as_sarif(said, schedc.__version__))
    elif form == "github":
        if said:
            click.echo(as_github(said))
    else:
        report(said)
        if not quiet:
            what = "file" if request.paths and len(request.paths) == len(names) else "program"
            click.echo(
                (f"{counted(repaired, 'file')} put right; " if repaired else "") + summary(len(names), said, what)
            )
    faulty = any(d.level is Level.ERROR or (strict and d.level is Level.WARNING) for d in said)
    if faulty:
        raise click.exceptions.Exit(1)


def fixed(source: Source, said: tuple[Diagnostic, ...]) -> str | None:
    """The text with the messages' edits made, of two that overlap the first; None if there are none."""
    fixes: list[Fix] = sorted(
        {d.fix for d in said if d.fix is not None and d.fix.span.source is source},
        key=lambda f: (f.span.start, f.span.end),
    )
    out, done = [], 0
    for edit in fixes:
        if edit.span.start >= done:
            out += [source.text[done : edit.span.start], edit.text]
            done = edit.span.end
    return "".join([*out, source.text[done:]]) if fixes else None
