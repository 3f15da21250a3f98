"""`schedc compile`, `schedc fmt` and `schedc dump`."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

import click

from schedc.cli_inputs import Request, one, programs, write_whole
from schedc.cli_messages import counted, in_colour, report
from schedc.compiler.diagnostics import errors
from schedc.compiler.source import Source
from schedc.targets import SUFFIXES, TARGETS

STAGES = ("tree", "resolved", "timeline", "plan")


@click.command(
    "compile",
    epilog="""\b
Examples:
  schedc compile train.sched -o schedule.py             code that needs only torch
  schedc compile train.sched -o plan.json               the plan, for schedc.load
  schedc compile train.sched -o values.csv              the value of every update
  schedc compile -e "warmup 500 -> cosine 10k" -o - --to torch
""",
)
@programs
@click.option("-o", "--output", required=True, metavar="OUT", help="The file to write, or `-` for stdout.")
@click.option(
    "--to",
    "target",
    type=click.Choice(list(TARGETS)),
    help="What to write; by default what OUT's name says: " + ", ".join(f"{s} {t}" for s, t in SUFFIXES.items()) + ".",
)
def compile_command(request: Request, output: str, target: str | None) -> None:
    """Write a program in another form.

    The file is written whole or not at all.
    """
    target = target or SUFFIXES.get(Path(output).suffix)
    if target is None:
        raise click.UsageError(f"say with --to what to write: {', '.join(TARGETS)}")
    plan = one(request.plans(), "compile")
    try:
        text = TARGETS[target](plan)
    except ValueError as error:
        # A backend says what of the plan it has no words for.
        click.echo(f"{plan.name}: {error}", err=True)
        raise click.exceptions.Exit(1) from None
    if output == "-":
        click.echo(text, nl=False)
    else:
        write_whole(Path(output), text)


@click.command(
    "fmt",
    epilog="""\b
Examples:
  schedc fmt train.sched recipes/     rewrites the files that need it
  schedc fmt --check .                says which files would change; status 1 if any
  schedc fmt --diff train.sched       shows the changes and writes nothing
  schedc fmt - < train.sched          from stdin to stdout
""",
)
@programs
@click.option(
    "--check", is_flag=True, help="Write nothing; end with status 1 if a file is not in the canonical layout."
)
@click.option("--diff", is_flag=True, help="Write nothing; show what would change.")
def fmt_command(request: Request, check: bool, diff: bool) -> None:
    """Lay programs out in the one canonical way. Comments are kept.

    A faulty program is left alone and reported.
    """
    from schedc.grammar.format import format_program
    from schedc.grammar.parse import parse

    changed, faulty = 0, 0
    for source in request.sources:
        parsed = parse(source)
        if parsed.value is None:
            report(parsed.said, err=True)
            faulty += 1
            continue
        text = format_program(parsed.value)
        path = request.paths.get(source.name)
        if not (check or diff) and path is None:
            click.echo(text, nl=False)
            continue
        if text == source.text:
            continue
        changed += 1
        if diff:
            click.echo(_difference(source, text), nl=False, color=in_colour())
        if check:
            click.echo(f"would change {source.name}", err=True)
        elif not diff and path is not None:
            write_whole(path, text)
            click.echo(f"changed {source.name}", err=True)
    if request.paths:
        kept = len(request.sources) - changed - faulty
        words = [f"{counted(changed, 'file')} {'would change' if check or diff else 'changed'}"] if changed else []
        words += [f"{counted(kept, 'file')} left as {'it is' if kept == 1 else 'they are'}"] if kept else []
        words += [f"{counted(faulty, 'file')} with errors"] if faulty else []
        click.echo(", ".join(words), err=True)
    if faulty or (check and changed):
        raise click.exceptions.Exit(1)


def _difference(source: Source, text: str) -> str:
    lines = list(
        difflib.unified_diff(
            source.text.splitlines(keepends=True),
            text.splitlines(keepends=True),
            source.name,
            f"{source.name} (formatted)",
        )
    )
    if in_colour():
        colours = {"+": "green", "-": "red", "@": "cyan"}
        lines = [click.style(line, fg=colours[line[0]]) if line[0] in colours else line for line in lines]
    return "".join(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in lines)


@click.command(
    "dump",
    epilog="""\b
Examples:
  schedc dump --stage tree -e "warmup 500 -> cosine 10k"
  schedc dump --stage plan train.sched | jq .bindings
""",
)
@programs
@click.option("--stage", type=click.Choice(STAGES), required=True, help="Whose result to print.")
def dump_command(request: Request, stage: str) -> None:
    """Print what a stage of the compiler makes of a program: the plan as JSON, the others as an outline."""
    from schedc.compiler.pipeline import stages
    from schedc.outline import outline

    source = one(request.sources, "dump")
    for name, value, said in stages(source, request.options(source)):
        faults: Any = errors(said)
        if faults:
            report(faults, err=True)
            raise click.exceptions.Exit(1)
        if name == stage:
            _print_stage(name, value, outline)
            return
    raise RuntimeError(f"the compiler has no stage {stage}")


def _print_stage(name: str, value: Any, outline: Any) -> None:
    if name == "plan":
        click.echo(json.dumps(json.loads(value.canonical_json()), indent=2, ensure_ascii=False))
        return
    for line in outline(value):
        click.echo(line)
