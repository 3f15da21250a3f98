"""A message about a program, as data. `draw` turns it into text; nothing here prints."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from schedc.compiler.codes import Code
from schedc.compiler.source import Source, Span


class Level(StrEnum):
    """How grave a message is. Only errors make a program faulty."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Label:
    """Words beside a place: why the message speaks of it."""

    span: Span
    text: str = ""


@dataclass(frozen=True, slots=True)
class Fix:
    """An edit that puts the program right: replace `span` with `text`.

    It is `certain` where it can only be what was meant. `schedc check --fix` makes certain edits and no others; an
    editor may offer the rest, a guessed name for one.
    """

    span: Span
    text: str
    certain: bool = True


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One message: the fact (`title`), its place (`primary`), the evidence (`labels`, `notes`) and what to write (`help`).

    The title states the fact and never suggests; only `help` suggests. Words of the language stand in backquotes.
    """

    code: Code
    level: Level
    title: str
    primary: Label
    labels: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    help: str | None = None
    fix: Fix | None = None

    @property
    def span(self) -> Span:
        return self.primary.span

    def __str__(self) -> str:
        return draw(self)


def error(code: Code, title: str, span: Span, label: str = "", **more: object) -> Diagnostic:
    """An error at `span`. `more`: labels, notes, help, fix."""
    return _make(code, Level.ERROR, title, span, label, more)


def warning(code: Code, title: str, span: Span, label: str = "", **more: object) -> Diagnostic:
    """A warning at `span`. `more`: labels, notes, help, fix."""
    return _make(code, Level.WARNING, title, span, label, more)


def note(code: Code, title: str, span: Span, label: str = "", **more: object) -> Diagnostic:
    """A note at `span`. `more`: labels, notes, help, fix."""
    return _make(code, Level.NOTE, title, span, label, more)


def _make(code: Code, level: Level, title: str, span: Span, label: str, more: dict[str, object]) -> Diagnostic:
    return Diagnostic(code, level, title, Label(span, label), **more)  # type: ignore[arg-type]


def draw(said: Diagnostic) -> str:
    """The message as plain text: code, place, source lines with carets, notes and help."""
    line, column = said.span.source.place(said.span.start)
    out = [f"{said.level}[{said.code.number}]: {said.title}"]
    blocks = _blocks(said)
    width = max((len(str(n)) for _, rows in blocks for n, _ in rows if n is not None), default=1)
    out.append(f"{' ' * width}--> {said.span.source.name}:{line}:{column}")
    for source, rows in blocks:
        if source is not said.span.source:
            out.append(f"{' ' * width}::: {source.name}")
        out.append(f"{' ' * width} |")
        for number, text in rows:
            if number is None:
                out.append(f"{' ' * width} | {text}" if text is not None else "...")
            else:
                out.append(f"{number:>{width}} | {text}".rstrip())
    tail = [f"note: {n}" for n in said.notes] + ([f"help: {said.help}"] if said.help else [])
    if tail:
        out.append(f"{' ' * width} |")
        for words in tail:
            first, *rest = words.split("\n")
            out.append(f"{' ' * width} = {first}")
            out.extend(f"{' ' * width}         {r}" for r in rest)
    return "\n".join(out)


Row = tuple[int | None, str | None]


def _blocks(said: Diagnostic) -> list[tuple[Source, list[Row]]]:
    """The lines to show, by source, the primary source first. A row without number is drawn under its line."""
    labels = [(said.primary, "^")] + [(label, "-") for label in said.labels]
    sources: list[Source] = []
    for label, _ in labels:
        if all(label.span.source is not s for s in sources):
            sources.append(label.span.source)
    blocks: list[tuple[Source, list[Row]]] = []
    for source in sources:
        by_line: dict[int, list[tuple[Label, str]]] = {}
        for label, mark in labels:
            if label.span.source is source:
                by_line.setdefault(source.line_of(label.span.start), []).append((label, mark))
        rows: list[Row] = []
        before: int | None = None
        for line in sorted(by_line):
            if before is not None and line > before + 1:
                rows.append((None, None))
            text = source.line_text(line)
            rows.append((line + 1 + source.line_offset, text.replace("\t", " ")))
            # Rightmost first, so that no mark's words run into another mark.
            for label, mark in sorted(by_line[line], key=lambda lm: -lm[0].span.start):
                start = source.column_of(label.span.start)
                end = start + max(1, min(label.span.end, source.line_starts[line] + len(text)) - label.span.start)
                rows.append((None, " " * start + mark * (end - start) + (f" {label.text}" if label.text else "")))
            before = line
        blocks.append((source, rows))
    return blocks


def errors(said: Iterable[Diagnostic]) -> list[Diagnostic]:
    """The errors among the messages."""
    return [d for d in said if d.level is Level.ERROR]
