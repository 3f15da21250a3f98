"""`schedc check`."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from schedc import verdicts
from schedc.cli_inputs import Request, programs, write_whole
from schedc.cli_messages import as_github, as_json, as_sarif, counted, drawn, in_colour, summary
from schedc.compiler.diagnostics import Diagnostic, Fix, Level, errors
from schedc.compiler.source import Source

if TYPE_CHECKING:
    from schedc.compiler.configuration import Settings

ROUNDS = 10
"""So many times a file is put right and read again: an edit may bring to light what it hid."""


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
Messages that are meant to be there are ignored with a comment that says why, behind the line or above the item:
  lr = warmup 500 -> cosine 10k from=0.05  # schedc: ignore SC403 -- restarted by hand

\b
Defaults are read from the nearest pyproject.toml that has them; what is given here comes first:
  [tool.schedc]
  ignore = ["SC403"]              codes, or starts of codes: "SC4"
  select = ["SC4", "SC6"]         besides errors, only these
  warn-as-error = ["SC402"]       or true, for every warning
  strict = true                   as --strict
  root = "schedules"              as --root
  context = { world_size = 8 }    what programs leave open about their run
  [tool.schedc.per-file."experiments/*.sched"]
  ignore = ["SC408"]

\b
--fix makes the edits that can only be what was meant: a sign or a bracket of the language in place of another one,
an ignore comment that ignores nothing. It never guesses a name. `schedc check --fix` prints what is left.

\b
A run that would say the same again is answered from $XDG_CACHE_HOME/schedc (SCHEDC_CACHE=off keeps none).

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
@click.option("--strict/--no-strict", default=None, help="Warnings count as errors for the exit status.")
@click.option("--ignore", metavar="CODES", multiple=True, help="Leave these messages out, as in SC403,SC6.")
@click.option("--select", metavar="CODES", multiple=True, help="Besides errors, show these messages only.")
@click.option("--fix", is_flag=True, help="Make the edits that certainly put a program right.")
@click.option("--no-cache", is_flag=True, help="Check again, even if nothing has changed.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only, and no summary.")
def check_command(
    request: Request,
    form: str,
    strict: bool | None,
    ignore: tuple[str, ...],
    select: tuple[str, ...],
    fix: bool,
    no_cache: bool,
    quiet: bool,
) -> None:
    """Check programs and print every message of every file in one run.

    A FILE may be a folder, which is searched for *.sched, or `-` for stdin.
    """
    if fix and len(request.paths) < len(request.sources):
        raise click.UsageError("--fix needs files, it cannot edit a string or stdin")
    given = _codes(ignore, "--ignore"), _codes(select, "--select")
    entry = None if fix or no_cache else click.get_current_context().find_root().obj
    before = dependencies(request) if isinstance(entry, str) else None
    said: list[Diagnostic] = []
    repaired, faulty = 0, False
    for number, source in enumerate(request.sources):
        settings = _settings(request.settings(source), strict, *given)
        of_one = _check(request, source, settings)
        for _ in range(ROUNDS if fix else 0):
            edits = certain(source, of_one)
            if not edits:
                break
            mended = Source(source.name, edited(source.text, edits))
            after = _check(request, mended, settings)
            if len(errors(after)) > len(errors(of_one)):
                break
            write_whole(request.paths[source.name], _as_it_was(request.paths[source.name], source.text, edits))
            repaired += source is request.sources[number]  # counted once, however many rounds it takes
            source, of_one = mended, after
        request.sources[number] = source
        faulty |= any(d.level is Level.ERROR or (settings.strict and d.level is Level.WARNING) for d in of_one)
        said += of_one
    said = list(dict.fromkeys(said))  # A file that two others use speaks once.
    if quiet:
        said = errors(said)
    text = _text(request, said, form, repaired, quiet)
    click.echo(text, nl=False, color=in_colour())
    if before is not None and isinstance(entry, str) and _is_as_read(request) and dependencies(request) == before:
        verdicts.keep(entry, int(faulty), text, before)
    if faulty:
        raise click.exceptions.Exit(1)


def _check(request: Request, source: Source, settings: Settings) -> tuple[Diagnostic, ...]:
    return settings.graded(request.compile(source, settings)[1])


def _codes(given: Sequence[str], option: str) -> tuple[str, ...]:
    from schedc.compiler.configuration import ConfigurationError, codes

    words = [w for text in given for w in re.split(r"[\s,]+", text) if w]
    try:
        return tuple(codes(words, option)) if words else ()
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from None


def _settings(configured: Settings, strict: bool | None, ignore: tuple[str, ...], select: tuple[str, ...]) -> Settings:
    """What is configured, with what the command line says over it."""
    return replace(
        configured,
        ignore=(*configured.ignore, *ignore),
        select=select or configured.select,
        strict=configured.strict if strict is None else strict,
    )


def _text(request: Request, said: list[Diagnostic], form: str, repaired: int, quiet: bool) -> str:
    """All that is printed."""
    names = [source.name for source in request.sources]
    if form == "json":
        return as_json(names, said) + "\n"
    if form == "sarif":
        import schedc

        return as_sarif(said, schedc.__version__) + "\n"
    if form == "github":
        return as_github(said) + "\n" if said else ""
    text = drawn(said, in_colour())
    if not quiet:
        what = "file" if request.paths and len(request.paths) == len(names) else "program"
        text += (
            (f"{counted(repaired, 'file')} put right; " if repaired else "") + summary(len(names), said, what) + "\n"
        )
    return text


# -- --fix


def certain(source: Source, said: Sequence[Diagnostic]) -> list[Fix]:
    """The edits of a text that are certain, in order; of two that touch the same place, the first."""
    fixes = {d.fix for d in said if d.fix is not None and d.fix.certain and d.fix.span.source is source}
    out: list[Fix] = []
    for edit in sorted(fixes, key=lambda f: (f.span.start, f.span.end)):
        if not out or (edit.span.start >= out[-1].span.end and edit.span.start > out[-1].span.start):
            out.append(edit)
    return out


def edited(text: str, edits: Sequence[Fix]) -> str:
    """The text with the edits made."""
    out, done = [], 0
    for edit in edits:
        out += [text[done : edit.span.start], edit.text]
        done = edit.span.end
    return "".join([*out, text[done:]])


def _as_it_was(path: Path, text: str, edits: Sequence[Fix]) -> bytes:
    """The file with the edits of its text made, and everything else untouched: line ends, a byte order mark."""
    data = path.read_bytes()
    raw = data.decode("utf-8-sig")
    if raw.replace("\r\n", "\n") != text:
        raise click.UsageError(f"{path} was changed by someone else meanwhile")
    # Where the text has one character for two of the file.
    shorter = [m.start() - k for k, m in enumerate(re.finditer("\r\n", raw))]
    out, done = [], 0
    for edit in edits:
        start, end = (at + bisect_left(shorter, at) for at in (edit.span.start, edit.span.end))
        out += [raw[done:start], edit.text.replace("\n", "\r\n") if shorter else edit.text]
        done = end
    mark = b"\xef\xbb\xbf" if data.startswith(b"\xef\xbb\xbf") else b""
    return mark + "".join([*out, raw[done:]]).encode("utf-8")


# -- what a verdict depends on


def dependencies(request: Request) -> list[verdicts.Dependency] | None:
    """All that the messages depend on besides the command line; None where a run can't be told from another one."""
    from schedc.compiler.configuration import places, read
    from schedc.stored import CHECKPOINTS

    found: dict[tuple[str, str], None] = {}
    for source in request.sources:
        path = request.paths.get(source.name)
        if source.name == "<stdin>" or (path is not None and path.suffix in CHECKPOINTS):
            return None
        if path is not None:
            found[verdicts.FILE, str(path)] = None
        for imported in imports(source, set()):
            found[verdicts.FILE, imported] = None
        if request.is_configured:
            for place in places(request.home(source)):
                found[verdicts.FILE, str(place)] = None
                if read(place) is not None:
                    break
            if (root := request.settings(source).root) is not None:
                found[verdicts.PLACE, str(root)] = None
    for folder in request.folders:
        found[verdicts.FOLDER, str(folder)] = None
    if request.root is not None:
        found[verdicts.PLACE, str(request.root)] = None
    return [(kind, path, verdicts.current(kind, path)) for kind, path in found]


def imports(source: Source, seen: set[Path]) -> Iterator[str]:
    """Every file that a program may read by `use` and `include`, whether it is there or not."""
    if not re.search(r"\b(use|include)\b", source.text):
        return
    from schedc.grammar import syntax
    from schedc.grammar.parse import parse

    tree = parse(source).value
    folder = Path() if source.name.startswith("<") else Path(source.name).parent
    for item in tree.items if tree is not None else ():
        if not (isinstance(item, syntax.Use) and isinstance(item.path, syntax.Text)):
            continue
        path = folder / item.path.value
        yield str(path)
        try:
            real = path.resolve()
            if real in seen:
                continue
            seen.add(real)
            inner = Source(str(real), real.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        yield from imports(inner, seen)


def _is_as_read(request: Request) -> bool:
    """Whether the programs still are what was checked."""
    try:
        return all(
            path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n") == source.text
            for source in request.sources
            if (path := request.paths.get(source.name)) is not None
        )
    except (OSError, ValueError):
        return False
