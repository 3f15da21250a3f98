"""Programs of the schedule language for the recorded schedules in `oracles/`, and the registry of who writes them.

A file `oracle_programs_<name>.py` beside this one covers one library. It has

    TITLE       what it covers, in words, for docs/dialects.md
    FRAMEWORKS  the records it answers for, by their "framework"
    program     record -> a Program (or its text), a Refusal, or an Exclusion

and perhaps

    label       record -> the row of the table in docs/dialects.md it counts in; its class otherwise
    UNRECORDED  entries of the dialect that no record tries, each with the reason

`test_oracles.py` finds the file by its name, runs every program against its record, and counts the outcomes in
docs/dialects.md. This file is loaded under its own name before those, so that they import it as any other module.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).parent
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Program:
    """A text whose values are the record's.

    `names` says which binding each recorded trace is (`lr`, `momentum`). Where the record has param groups, group 0 is
    matched by no rule, and group k by the k-th `group` block, if there is one; `bases` are what those from 1 on were
    built with. `at` gives the update of each entry of a trace, where they are not 0, 1, 2 …; what is known of the run
    is given by `context`. `metric` is the plateau's.
    """

    text: str
    names: Mapping[str, str] = field(default_factory=lambda: {"lr": "lr"})
    bases: tuple[float, ...] = ()
    context: Mapping[str, Any] = field(default_factory=dict)
    metric: str = "loss"
    at: Callable[[int], int] | None = None


@dataclass(frozen=True)
class Refusal:
    """A text that the compiler refuses, as the library refused to construct the schedule: with this code."""

    text: str
    code: str = "SC208"


@dataclass(frozen=True)
class Exclusion:
    """A record that is not reproduced, and why: a sentence without a full stop."""

    reason: str


Outcome = Program | Refusal | Exclusion


@dataclass(frozen=True)
class Library:
    """The records of one library, with the programs for them."""

    title: str
    frameworks: tuple[str, ...]
    program: Callable[[Record], str | Outcome]
    label: Callable[[Record], str]
    unrecorded: Mapping[str, str]

    def outcome(self, record: Record) -> Outcome:
        found = self.program(record)
        return Program(found) if isinstance(found, str) else found


def load(path: Path) -> ModuleType:
    """A module of this folder, loaded by its path; under pytest's importlib mode the folder is on no path."""
    if path.stem in sys.modules:
        return sys.modules[path.stem]
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@cache
def libraries() -> tuple[Library, ...]:
    """Every library that has a file here."""
    modules = [load(p) for p in sorted(HERE.glob("oracle_programs_*.py"))]
    return tuple(
        Library(m.TITLE, tuple(m.FRAMEWORKS), m.program, getattr(m, "label", _class), getattr(m, "UNRECORDED", {}))
        for m in modules
    )


def _class(record: Record) -> str:
    return str(record["class"])


@cache
def records() -> tuple[Record, ...]:
    """Every record, by file and place in it."""
    found = [json.loads(p.read_text(encoding="utf-8")) for p in sorted((HERE / "oracles").glob("*.json"))]
    return tuple(r for file in found for r in file)


@cache
def covered() -> tuple[tuple[Library, Record], ...]:
    """The records that some library here answers for."""
    by_framework = {f: library for library in libraries() for f in library.frameworks}
    return tuple((by_framework[r["framework"]], r) for r in records() if r["framework"] in by_framework)


# -- writing programs


def literal(value: Any) -> str:
    """A recorded parameter in the language: a number, flag, word or list of such."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(literal, value)) + "]"
    return repr(value) if isinstance(value, int | float) else str(value)


def call(name: str, parameters: Mapping[str, Any], leave_out: Iterable[str] = ()) -> str:
    """`name(a=1, b=2)`, the parameters under their recorded names; text is written as it stands."""
    left = {"class", *leave_out}
    return f"{name}({', '.join(f'{k}={literal(v)}' for k, v in parameters.items() if k not in left)})"
