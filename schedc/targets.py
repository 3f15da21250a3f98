"""What a plan can be compiled to. An entry imports its backend when it is called."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from schedc.compiler.plan import Plan


def _backend(module: str, function: str, plan: Plan) -> str:
    emit: Any = getattr(import_module(f"schedc.backends.{module}"), function)
    return str(emit(plan))


def _json(plan: Plan) -> str:
    return plan.canonical_json() + "\n"


TARGETS: dict[str, Callable[[Plan], str]] = {
    "torch": partial(_backend, "torch_source", "emit"),
    "json": _json,
    "csv": partial(_backend, "table", "csv_text"),
}
"""Each target's text for a plan."""

SUFFIXES = {".py": "torch", ".json": "json", ".csv": "csv"}
"""The target that a file name asks for."""
