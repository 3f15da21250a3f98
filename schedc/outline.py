"""What a stage of the compiler hands on, as text to read."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from enum import Enum
from fractions import Fraction
from typing import Any

from schedc.compiler import expressions as ex
from schedc.compiler.source import Source, Span

HIDDEN = ("span", "name_span", "word_span", "unit_span", "tree", "program", "placed", "study")
"""Fields that say only where something was written, or repeat what an earlier stage handed on."""
MAX_LINES = 200_000
"""A longer outline is cut, and says so."""


def outline(value: Any) -> Iterator[str]:
    """The value as indented lines: a record is its kind and its fields. What has been shown is only named again."""
    seen: dict[int, Any] = {}
    for number, line in enumerate(_lines(value, "", "", seen)):
        if number >= MAX_LINES:
            yield "…"
            return
        yield line


def _flat(value: Any) -> str | None:
    """The value on one line, if it has no parts worth a line."""
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if isinstance(value, Enum):
        return repr(value.value)
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, Span):
        return value.place
    if isinstance(value, Source):
        return value.name
    if isinstance(value, tuple | list | Mapping | set | frozenset) and not value:
        return "none"
    if isinstance(value, ex.Expr):
        return json.dumps(ex.to_json(value), ensure_ascii=False)
    if getattr(getattr(value, "module", value), "is_library", False) is True and hasattr(value, "name"):
        return f"{type(value).__name__} {value.name} of the standard library"
    if isinstance(value, tuple | list):
        parts = [_flat(v) for v in value]
        short = ", ".join(p for p in parts if p is not None)
        return f"[{short}]" if None not in parts and len(short) < 80 else None
    return None


def _fields(value: Any) -> list[tuple[str, Any]] | None:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [
            (f.name, getattr(value, f.name))
            for f in dataclasses.fields(value)
            if _is_shown(f.name, getattr(value, f.name))
        ]
    if hasattr(type(value), "model_fields"):
        return [(name, getattr(value, name)) for name in type(value).model_fields]
    return None


def _is_shown(field: str, value: Any) -> bool:
    return field not in HIDDEN and not callable(value)


def _lines(value: Any, lead: str, indent: str, seen: dict[int, Any]) -> Iterator[str]:
    flat = _flat(value)
    if flat is not None:
        yield f"{indent}{lead}{flat}"
        return
    fields = _fields(value)
    if fields is not None:
        kind = type(value).__name__
        name = getattr(value, "name", None)
        if id(value) in seen and any(_flat(v) is None for _, v in fields):
            yield f"{indent}{lead}{kind}{f' {name}' if isinstance(name, str) else ''} (see above)"
            return
        seen[id(value)] = value
        short = [(n, _flat(v)) for n, v in fields]
        here = " ".join(f"{n}={f}" for n, f in short if f is not None and f != "none" and len(f) < 60)
        yield f"{indent}{lead}{kind}{' ' + here if here else ''}"
        for (field, inner), (_, text) in zip(fields, short, strict=True):
            if text is None or len(text) >= 60:
                yield from _lines(inner, f"{field}: ", indent + "  ", seen)
        return
    if isinstance(value, Mapping):
        yield f"{indent}{lead}".rstrip()
        for key, inner in value.items():
            yield from _lines(inner, f"{key}: ", indent + "  ", seen)
        return
    if isinstance(value, tuple | list | set | frozenset):
        yield f"{indent}{lead}".rstrip()
        for inner in value:
            yield from _lines(inner, "- ", indent + "  ", seen)
        return
    yield f"{indent}{lead}{type(value).__name__}"
