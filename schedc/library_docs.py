"""The standard library's documentation: what `schedc doc` prints, read from the `.sched` files themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from schedc.compiler import library
from schedc.grammar import syntax
from schedc.grammar.parse import parse

KINDS = {"def": "stage", "curve": "curve", "modifier": "modifier"}


@dataclass(frozen=True)
class Entry:
    """A definition, or a file (`inner` has its definitions)."""

    name: str
    kind: str
    doc: str
    text: str
    place: str
    inner: tuple[Entry, ...] = ()

    @property
    def summary(self) -> str:
        """The first sentence of its documentation."""
        paragraph = " ".join(self.doc.strip().split("\n\n")[0].split())
        sentence = re.match(r".+?[.:](?= [A-Z]|$)", paragraph)
        return (sentence[0] if sentence else paragraph).rstrip(":")


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
        if isinstance(item, syntax.Def):
            entries.append(
                Entry(prefix + item.name, KINDS[item.kind], item.doc or "", _text(item.span.text), item.span.place)
            )
        elif isinstance(item, syntax.Param):
            entries.append(Entry(prefix + item.name, "param", item.doc or "", _text(item.span.text), item.span.place))
    text = "" if entries and not name.startswith("recipes.") else source.text.strip()
    return Entry(name.removeprefix("."), "file", program.doc or "", text, source.name, tuple(entries))


def _text(text: str) -> str:
    """The definition without its doc comment."""
    return "\n".join(line for line in text.split("\n") if not line.lstrip().startswith("##")).strip()


@cache
def contents() -> tuple[tuple[str, tuple[Entry, ...]], ...]:
    """Everything, under headings: each file at the top with its definitions, then the dialects and the recipes."""
    tops = dict.fromkeys(library.prelude_index().values())
    found = [(entry.summary or entry.name, entry.inner) for top in tops if (entry := _file(top)) is not None]
    others = [entry for name in library.stdlib_names() if (entry := _file(name)) is not None]
    dialects = tuple(e for e in others if not e.name.startswith("recipes."))
    recipes = tuple(e for e in others if e.name.startswith("recipes."))
    return tuple(
        (heading, entries)
        for heading, entries in (
            *found,
            ("Dialects (`use torch`)", dialects),
            ("Recipes (`use recipes.gpt3`)", recipes),
        )
        if entries
    )


def _all() -> Iterable[Entry]:
    for _, entries in contents():
        for entry in entries:
            yield entry
            yield from entry.inner


def names() -> list[str]:
    """Every name that `find` knows."""
    return list(dict.fromkeys(entry.name for entry in _all()))


def find(name: str) -> list[Entry]:
    """The entries of that name, for a stage and a modifier may share one; else those with it as their last part."""
    exact = [entry for entry in _all() if entry.name == name]
    return exact or [entry for entry in _all() if entry.name.rpartition(".")[2] == name]
