"""The standard library's documentation: what `schedc doc` prints, read from the `.sched` files themselves.

A doc comment may have lines `Source: …` and ``Example: `program` at 0: 1, at 500: 1/2, after: 0``. The claims of an
example are exact, written in the language, and run by the tests; `after` is the value held behind the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property

from schedc.compiler import library
from schedc.grammar import syntax
from schedc.grammar.parse import parse

INITIALISERS = ".initialisers"
"""The file whose definitions are initialisers, not stages."""

FUNCTIONS = {
    "exp": ("exp(x)", "e to the power x."),
    "log": ("log(x)", "The natural logarithm of x > 0."),
    "sqrt": ("sqrt(x)", "The square root of x >= 0."),
    "sin": ("sin(x)", "The sine of an angle in radians."),
    "cos": ("cos(x)", "The cosine of an angle in radians."),
    "tan": ("tan(x)", "The tangent of an angle in radians."),
    "tanh": ("tanh(x)", "The hyperbolic tangent."),
    "abs": ("abs(x)", "The size of x, without its sign."),
    "floor": ("floor(x)", "The largest whole number that is not above x."),
    "ceil": ("ceil(x)", "The smallest whole number that is not below x."),
    "round": ("round(x)", "The nearest whole number, a half rounded up."),
    "min": ("min(x, y, …)", "The smallest of its arguments."),
    "max": ("max(x, y, …)", "The largest of its arguments."),
    "mod": ("mod(x, y)", "What is left of x after whole multiples of y, with the sign of y."),
    "clamp": ("clamp(x, low, high)", "The nearest number to x between low and high."),
    "if": (
        "if(c, a, b)",
        "The first value where the condition holds, else the second; only the chosen one must be defined.",
    ),
    "choose": ("choose(word, a = …, b = …)", "The value that stands behind the word given."),
    "passed": ("passed(list, t)", "How many times of the list are at t or before it."),
    "pick": ("pick(list, i)", "The entry number i of the list, counted from 0; the first or last one beyond its ends."),
    "product": ("product(list, i)", "The product of the first i entries of the list."),
    "len": ("len(list)", "How many entries the list has."),
}
"""The functions of the language: how each is called, and what it is."""

VARIABLES = {
    "t": "The time since the stage began, in the unit of its own duration.",
    "T": "The stage's horizon: its first duration, or how long it lasts.",
    "p": "The share of the horizon that has passed: t / T, never above 1.",
    "n": "The update, counted from 0.",
    "start": "The value with which the stage is entered.",
    "base": "The value that the optimizer was built with.",
    "total": "The length of the run.",
    "batch": "The global batch at this update.",
    "input": "In a modifier, the schedule before the `|`; `input(x)` is that schedule at the local time x.",
    "pi": "The number π.",
    "e": "The base of the natural logarithm.",
    "inf": "Infinity: no bound.",
    "none": "No value: an argument left out.",
}
"""The names that a formula may read."""

_LABEL = re.compile(r"([A-Z]\w+):[ ]")
_EXAMPLE = re.compile(r"`([^`]+)`\s+(.+)", re.DOTALL)
_BETWEEN = re.compile(r",\s+(?=(?:[\w\[\]]+ )?(?:at \d+|after): )")
_CLAIM = re.compile(r"(?:([\w\[\]]+) )?(?:at (\d+)|after): (.+)", re.DOTALL)


@dataclass(frozen=True)
class Claim:
    """A binding's value at an update, or, where `at` is None, held behind its end."""

    name: str
    at: int | None
    value: str

    def __str__(self) -> str:
        place = "after" if self.at is None else f"at {self.at}"
        return f"{'' if self.name == 'lr' else self.name + ' '}{place}: {self.value}"


@dataclass(frozen=True)
class Example:
    """A one-line program and what it is claimed to give."""

    program: str
    claims: tuple[Claim, ...]


@dataclass(frozen=True)
class Entry:
    """A definition, a function of the language, or a file (`inner` has its definitions).

    `doc` is the comment as written, `text` the definition as written; `stage` is how a curve is called as a stage.
    """

    name: str
    kind: str
    doc: str
    text: str
    place: str
    inner: tuple[Entry, ...] = ()
    stage: str = ""

    @property
    def summary(self) -> str:
        """The first sentence of its documentation."""
        paragraph = " ".join(self.prose.strip().split("\n\n")[0].split())
        sentence = re.match(r".+?\.(?=\s+[A-Z`]|$)", paragraph)
        return sentence[0] if sentence else paragraph

    @cached_property
    def prose(self) -> str:
        """The documentation without what stands in the lines for sources and examples."""
        return "\n".join(line for label, lines in self._parts if not label for line in lines).strip()

    @cached_property
    def sources(self) -> tuple[str, ...]:
        return tuple(" ".join(" ".join(lines).split()) for label, lines in self._parts if label == "Source")

    @cached_property
    def examples(self) -> tuple[Example, ...]:
        """The examples. Raises ValueError where one is not written as it should be."""
        return tuple(_example(" ".join(lines), self.place) for label, lines in self._parts if label == "Example")

    @property
    def _parts(self) -> list[tuple[str, list[str]]]:
        """The lines, by what they belong to: a source and an example go on until a blank line or another label."""
        parts: list[tuple[str, list[str]]] = [("", [])]
        for line in self.doc.split("\n"):
            found = _LABEL.match(line)
            if found and found[1] in ("Source", "Example"):
                parts.append((found[1], [line[found.end() :]]))
                continue
            if parts[-1][0] and (found or not line.strip()):
                parts.append(("", []))
            parts[-1][1].append(line)
        return parts


def _example(text: str, place: str) -> Example:
    found = _EXAMPLE.fullmatch(text.strip())
    claims = [_CLAIM.fullmatch(c.strip()) for c in _BETWEEN.split(found[2])] if found else []
    if found is None or not all(claims):
        raise ValueError(f"{place}: not an example: {text.strip()}")
    parts = [(c[1] or "lr", None if c[2] is None else int(c[2]), c[3]) for c in claims if c]
    return Example(found[1], tuple(Claim(*part) for part in parts))


@cache
def _file(name: str) -> Entry | None:
    source = library.stdlib_source(name)
    if source is None:
        return None
    program = parse(source).value
    if program is None:
        raise RuntimeError(f"{source.name} does not parse")
    prefix = "" if name.startswith(".") else name + "."
    entries: list[Entry] = []
    for item in program.items:
        if isinstance(item, syntax.Param) or (isinstance(item, syntax.Def) and not item.name.startswith("_")):
            kind, stage = _kind(item, name)
            text = _text(item.span.text)
            entries.append(Entry(prefix + item.name, kind, item.doc or "", text, item.span.place, stage=stage))
    kind = "recipe" if name.startswith("recipes.") else "file" if name.startswith(".") else "dialect"
    if kind == "recipe":
        text = re.sub(r"\A(##.*\n)+\s*", "", source.text).strip()
        return Entry(name, kind, program.doc or "", text, f"{source.name}:1:1")
    return Entry(name.removeprefix("."), kind, program.doc or "", "", f"{source.name}:1:1", tuple(entries))


def _kind(item: syntax.Def | syntax.Param, file: str) -> tuple[str, str]:
    """The item's kind, and for a curve the signature of its stage."""
    if isinstance(item, syntax.Param):
        return "param", ""
    if item.kind == "curve":
        more = "".join(f", {' '.join(f.span.text.split())}" for f in item.formals[1:])
        return "curve", f"{item.name}(T: duration >= 0, from: level = start, to: level = 0{more})"
    return ("initialiser" if file == INITIALISERS else {"def": "stage"}.get(item.kind, item.kind)), ""


def _text(text: str) -> str:
    """The definition without its doc comment."""
    return "\n".join(line for line in text.split("\n") if not line.lstrip().startswith("##")).strip()


@cache
def contents() -> tuple[tuple[str, tuple[Entry, ...]], ...]:
    """Everything, under headings."""
    tops = [entry for top in dict.fromkeys(library.prelude_index().values()) if (entry := _file(top)) is not None]
    inner = [entry for top in tops for entry in top.inner]
    others = [entry for name in library.stdlib_names() if (entry := _file(name)) is not None]
    functions = [Entry(name, "function", doc, text, "") for name, (text, doc) in FUNCTIONS.items()]
    variables = [Entry(name, "variable", doc, "", "") for name, doc in VARIABLES.items()]
    found = [*inner, *functions, *variables, *others]
    headings = {
        "curve": "Curves, each also the stage of its name",
        "stage": "Stages",
        "modifier": "Modifiers, right of `|`",
        "initialiser": "Initialisers, in `init { … }`",
        "function": "Functions",
        "variable": "Variables",
        "dialect": "Dialects: `use torch`, then `torch.StepLR(30)`",
        "recipe": "Recipes: `use recipes.gpt3`, then `gpt3.lr`, or `include recipes.gpt3`",
    }
    grouped = ((heading, tuple(e for e in found if e.kind == kind)) for kind, heading in headings.items())
    return tuple((heading, entries) for heading, entries in grouped if entries)


def introduction(file: str) -> str:
    """What the library's file of that name, without a dot, says of itself."""
    entry = _file("." + file)
    return entry.doc if entry else ""


def _all() -> Iterable[Entry]:
    for _, entries in contents():
        for entry in entries:
            yield entry
            yield from entry.inner


def names() -> list[str]:
    """Every name that `find` knows."""
    return list(dict.fromkeys(entry.name for entry in _all()))


def find(name: str) -> list[Entry]:
    """The entries of that name, for a modifier and a function may share one; else those with it as their last part."""
    exact = [entry for entry in _all() if entry.name == name]
    return exact or [entry for entry in _all() if entry.name.rpartition(".")[2] == name]


ABOUT = """# The standard library

<!-- Written by `make bless` from the doc comments of stdlib/*.sched: edit those. -->

The same pages in a terminal, with formula and picture: `schedc doc`, `schedc doc cosine`. Every example is run by the tests.
"""


def markdown() -> str:
    """The page `docs/stdlib.md`."""
    out = [ABOUT]
    for heading, entries in contents():
        out.append(f"## {heading}\n")
        kind = entries[0].kind
        if kind in ("curve", "stage", "modifier", "initialiser"):
            about = introduction(kind + "s").partition("\n\n")[2]
            out += [about + "\n"] if about else []
            out += [_section(entry) for entry in entries]
        elif kind in ("function", "variable"):
            out.append("".join(f"- `{entry.text or entry.name}`: {entry.summary}\n" for entry in entries))
        else:
            out.append("".join(f"- [`{e.name}`](../{e.place.split(':')[0]}): {e.summary}\n" for e in entries))
    return "\n".join(out)


def _section(entry: Entry) -> str:
    out = [f"### {entry.name}\n", entry.prose + "\n", f"```sched\n{entry.text}\n```\n"]
    out += [f"As a stage: `{entry.stage}`\n"] if entry.stage else []
    out += [f"Source: {text}\n" for text in entry.sources]
    if entry.examples:
        lines = (f"- `{e.program}`: {', '.join(map(_in_words, e.claims))}\n" for e in entry.examples)
        out.append("".join(lines))
    return "\n".join(out)


def _in_words(claim: Claim) -> str:
    place = "after the end" if claim.at is None else f"at {claim.at}"
    return f"{'' if claim.name == 'lr' else f'`{claim.name}` is '}`{claim.value}` {place}"
