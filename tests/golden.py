"""Golden cases: programs with what the compiler says of them, written into their own text.

A file in `suite/` holds cases. Each is a name between dashes, then a program; lines that begin with `#~` are not part of it:

    --- a-jump-that-nobody-wrote ---
    #~ at 250: 1/20
    lr = warmup 500 to=0.1
    #~ error[SC401] 6-28: the value jumps from 0.1 to 1 at update 500
    #~ help: …
      -> 2 * exp(-t / 300)

A message stands over the line it speaks of: level, code, columns, title, the words beside the carets, notes and help. Columns count from 1,
the last one included; `6-+1:28` ends on the next line. A program without messages gives none. Further lines are

    #~ at 500: 1/10             the exact value of lr at update 500, by the reference evaluator; ~0.0146 has 12 digits
    #~ at 500 momentum: 0.95    of another name
    #~ -D peak=1e-3             a param set from outside
    #~ base: 0.1                what relative schedules multiply
    #~ context: world_size=8    what is known of the run
    #~ repeated: 10001          the program, so many times over

and `=== common.sched ===` begins another file that the program may use. `pytest --bless` writes what was found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from schedc.backends import reference
from schedc.compiler.diagnostics import Diagnostic, errors
from schedc.compiler.pipeline import Options, compile_source
from schedc.compiler.plan import Plan
from schedc.compiler.source import Source
from schedc.errors import in_order

NOTE = "#~"
MAIN = "main.sched"
ROOT_WORD = "PROJECT"
"""Stands for the folder of a case in messages."""
_HEADING = re.compile(r"--- (\S+) ---")
_FILE = re.compile(r"=== (\S+) ===")
_AT = re.compile(r"at (?P<update>\d+)(?: (?P<name>[^:]+))?(?::(?P<value>.*))?")
_ASKS = re.compile(r"(at \d|-D |base:|context:|repeated:)")


class Malformed(ValueError):
    """A golden file that is not written as golden files are."""


@dataclass(frozen=True)
class Row:
    """One line of a case's program, with its number in the golden file and the notes over it."""

    number: int
    text: str
    asks: tuple[str, ...] = ()
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class Text:
    """One file of a case. Its last row is empty: notes at the very end stand over that."""

    name: str
    rows: tuple[Row, ...]

    @property
    def program(self) -> str:
        return "".join(row.text + "\n" for row in self.rows[:-1])


@dataclass(frozen=True)
class Case:
    """A program, its further files, and what is expected of it."""

    name: str
    path: Path
    number: int
    texts: tuple[Text, ...]

    @property
    def asks(self) -> Iterator[str]:
        for text in self.texts:
            for row in text.rows:
                yield from row.asks

    def options(self, folder: Path) -> Options:
        parameters: dict[str, str | int | float] = {}
        context: dict[str, int | str] = {}
        base: str | None = None
        for ask in self.asks:
            if ask.startswith("-D "):
                name, _, value = ask[3:].partition("=")
                parameters[name.strip()] = value.strip()
            elif ask.startswith("base:"):
                base = ask[5:].strip()
            elif ask.startswith("context:"):
                for pair in ask[8:].split(","):
                    name, _, value = pair.partition("=")
                    context[name.strip()] = value.strip()
        return Options(parameters, context, base, folder)

    def source(self) -> Source:
        times = next((int(ask[9:]) for ask in self.asks if ask.startswith("repeated:")), 1)
        return Source(MAIN, self.texts[0].program * times)


@dataclass
class Outcome:
    """What was found for a case: the notes that belong over each row of each file, and the answers to `at`."""

    case: Case
    plan: Plan | None
    diagnostics: tuple[Diagnostic, ...]
    said: dict[tuple[str, int], list[str]] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """The case as it should be written, below its heading."""
        for number, text in enumerate(self.case.texts):
            if number:
                yield f"=== {text.name} ==="
            for index, row in enumerate(text.rows):
                yield from (f"{NOTE} {self.answers.get(ask, ask)}" for ask in row.asks)
                indent = row.text[: len(row.text) - len(row.text.lstrip())]
                yield from (f"{indent}{NOTE} {note}" for note in self.said.get((text.name, index), ()))
                if index < len(text.rows) - 1:
                    yield row.text

    def faults(self) -> Iterator[str]:
        """Where what was found differs from what the case expects, with lines of its file."""
        for text in self.case.texts:
            for index, row in enumerate(text.rows):
                found = self.said.get((text.name, index), [])
                if list(row.said) != found:
                    yield f"{self.case.path}:{row.number}: {row.text.strip() or 'at the end'}"
                    yield from (f"    expected  {note}" for note in row.said if note not in found)
                    yield from (f"    found     {note}" for note in found if note not in row.said)
                for ask in row.asks:
                    if self.answers.get(ask, ask) != ask:
                        yield f"{self.case.path}:{row.number}: expected {ask}, found {self.answers[ask]}"


def read(path: Path, shown: Path | None = None) -> tuple[list[str], list[Case]]:
    """A golden file: its lines before the first case, and its cases. `shown` is what to call it."""
    lines = path.read_text(encoding="utf-8").split("\n")
    headings = [i for i, line in enumerate(lines) if _HEADING.fullmatch(line)]
    cases = []
    for start, end in zip(headings, [*headings[1:], len(lines)], strict=True):
        match = _HEADING.fullmatch(lines[start])
        assert match is not None
        body = list(enumerate(lines[start + 1 : end], start + 2))
        cases.append(Case(match[1], shown or path, start + 1, tuple(_texts(body))))
    return lines[: headings[0]] if headings else lines, cases


def one(text: str, name: str = "case") -> Case:
    """A case by itself, from the text below its heading."""
    return Case(name, Path(name), 0, tuple(_texts(list(enumerate(text.rstrip("\n").split("\n"), 1)))))


def _texts(lines: Sequence[tuple[int, str]]) -> Iterator[Text]:
    while lines and not lines[-1][1].strip():
        lines = lines[:-1]
    name, rows, asks, said = MAIN, list[Row](), list[str](), list[str]()
    last = lines[-1][0] if lines else 0
    for number, line in lines:
        file = _FILE.fullmatch(line)
        note = line.strip()
        if file:
            yield Text(name, (*rows, Row(number, "", tuple(asks), tuple(said))))
            name, rows, asks, said = file[1], [], [], []
        elif note.startswith(NOTE):
            words = note.removeprefix(NOTE).strip()
            (asks if _ASKS.match(words) else said).append(words)
        else:
            rows.append(Row(number, line, tuple(asks), tuple(said)))
            asks, said = [], []
    yield Text(name, (*rows, Row(last + 1, "", tuple(asks), tuple(said))))


def run(case: Case, folder: Path) -> Outcome:
    """Compile a case in a folder, which should be the current one, and note everything that is said."""
    for text in case.texts[1:]:
        target = folder / text.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text.program, encoding="utf-8")
    source = case.source()
    staged = compile_source(source, case.options(folder))
    said = in_order(staged.said, source)
    outcome = Outcome(case, None if errors(said) else staged.value, said)
    for one in said:
        outcome.said.setdefault(_row(one, case), []).extend(
            note.replace(str(folder), ROOT_WORD) for note in _notes(one, case)
        )
    for ask in case.asks:
        if (at := _AT.fullmatch(ask)) is not None:
            outcome.answers[ask] = _answer(at, outcome.plan, case.options(folder).base)
    return outcome


def _row(said: Diagnostic, case: Case) -> tuple[str, int]:
    """The row that a message belongs over; what speaks of no file of the case stands at the top."""
    line = said.span.source.line_of(said.span.start)
    for text in case.texts:
        if text.name == said.span.source.name:
            return text.name, min(line, len(text.rows) - 1)
    return MAIN, 0


def _notes(said: Diagnostic, case: Case) -> Iterator[str]:
    span = said.span
    source = span.source
    first, last = source.line_of(span.start), source.line_of(max(span.start, span.end - 1))
    begin, end = source.column_of(span.start) + 1, source.column_of(max(span.start, span.end - 1)) + 1
    columns = f"{begin}-+{last - first}:{end}" if last > first else f"{begin}-{end}" if end > begin else f"{begin}"
    rows = next((len(text.rows) for text in case.texts if text.name == source.name), 0)
    if not rows:
        columns = f"{source.name}:{first + 1}:{columns}"
    elif first >= rows:
        columns = f"+{first}:{columns}"
    yield f"{said.level}[{said.code.number}] {columns}: {_flat(said.title)}"
    if said.primary.text:
        yield f"label: {_flat(said.primary.text)}"
    for note in said.notes:
        yield f"note: {_flat(note)}"
    if said.help:
        yield f"help: {_flat(said.help)}"


def _flat(words: str) -> str:
    return words.replace("\n", "\\n")


def _answer(at: re.Match[str], plan: Plan | None, base: float | str | None) -> str:
    """The `at` line with the value that the plan has there."""
    if plan is None:
        return at[0]
    name, update = (at["name"] or "lr").strip(), int(at["update"])
    group = reference.Group(Fraction(1 if base is None else str(base)))
    try:
        value: Any = reference.binding_value(plan, name, Fraction(update), group)
    except reference.Ended:
        value = None
    head = f"at {update}" + (f" {at['name'].strip()}" if at["name"] else "")
    if value is None:
        return f"{head}: training stops"
    if isinstance(value, Fraction):
        return f"{head}: {value}"
    return f"{head}: ~{reference.mp.nstr(value, 12)}"


def bless(path: Path, outcome: Outcome) -> None:
    """Write a case's outcome into its file. The rest of the file stays as it is."""
    header, cases = read(path)
    lines = [*header]
    for case in cases:
        lines.append(f"--- {case.name} ---")
        lines += outcome.lines() if case.name == outcome.case.name else written(case)
        lines.append("")
    path.write_text("\n".join(lines), encoding="utf-8")


def written(case: Case) -> Iterator[str]:
    """A case as it is, below its heading."""
    for number, text in enumerate(case.texts):
        if number:
            yield f"=== {text.name} ==="
        for index, row in enumerate(text.rows):
            yield from (f"{NOTE} {ask}" for ask in row.asks)
            indent = row.text[: len(row.text) - len(row.text.lstrip())]
            yield from (f"{indent}{NOTE} {note}" for note in row.said)
            if index < len(text.rows) - 1:
                yield row.text
