"""Plans that lie in files and checkpoints, and `schedc.diff`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schedc.errors import needs

if TYPE_CHECKING:
    from schedc.compiler.difference import Comparison
    from schedc.plan import Plan

CHECKPOINTS = frozenset({".pt", ".pth", ".ckpt", ".bin", ".tar"})
"""Suffixes of files that `torch.load` reads."""
MAX_DEPTH = 32
"""Dictionaries and lists in each other, in a checkpoint; what lies deeper is not looked at."""


def diff(
    a: Plan | str | Path | Mapping[str, Any], b: Plan | str | Path | Mapping[str, Any], /, *, from_update: int = 0
) -> Comparison:
    """What two programs do differently, from update `from_update` on: `.equal`, `.bindings`, `.changes`, or as text.

    Each is a Plan; a Path to a `.sched` file, a plan's JSON or a checkpoint; the `state_dict` of a scheduler, or a
    checkpoint that holds one; or, a str, a program.
    """
    from schedc.compiler.difference import compare

    one, other = _plan(a), _plan(b)
    return compare(one, other, first=from_update, bases=(one._base, other._base))


def _plan(given: Any) -> Plan:
    from schedc import plan

    if isinstance(given, plan.Plan):
        return given
    if isinstance(given, str):
        return plan.compile(given)
    if isinstance(given, Mapping):
        return plan.read(plan_in(given))
    path = Path(given)
    if path.suffix in CHECKPOINTS:
        return plan.read(plan_of_checkpoint(path))
    if path.suffix == ".json":
        return plan.read(plan_of_json(path.read_text(encoding="utf-8")))
    return plan.load(path)


def plan_of_json(text: str) -> str:
    """The JSON of the plan in a JSON text: itself, or what the state of a scheduler in it holds."""
    data = json.loads(text)
    if isinstance(data, dict) and "format" in data and "bindings" in data:
        return text
    return plan_in(data)


def plan_of_checkpoint(path: Path) -> str:
    """The JSON of the plan that a checkpoint holds. Nothing of it is executed: only tensors and plain data are read."""
    import pickle

    try:
        import torch
    except ModuleNotFoundError as error:
        raise needs("torch", "torch", f"reading {path.name}")(error) from None
    try:
        try:
            data = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except (RuntimeError, ValueError):  # written in the old format, which can't be mapped
            data = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, KeyError, AttributeError) as error:
        said = " ".join(str(error).split())[:160]
        raise ValueError(f"it is no checkpoint that loads under `weights_only=True` ({said})") from None
    return plan_in(data)


def plan_in(data: Any) -> str:
    """The JSON of the one plan that the states of schedulers in the data hold. Raises ValueError."""
    states = list(_states(data, 0))
    plans: list[str] = list(dict.fromkeys(s["plan"] for s in states if isinstance(s.get("plan"), str)))
    if len(plans) == 1:
        return plans[0]
    if plans:
        raise ValueError(f"it holds the states of {len(plans)} different schedules")
    if states:
        raise ValueError("the scheduler in it was a compiled file, which stores no plan: give its source instead")
    raise ValueError("it holds no plan and no state of a schedc scheduler")


def _states(data: Any, depth: int) -> Iterator[Mapping[str, Any]]:
    if depth > MAX_DEPTH:
        return
    if isinstance(data, Mapping):
        if "plan_hash" in data:
            yield data
            return
        for value in data.values():
            yield from _states(value, depth + 1)
    elif isinstance(data, list | tuple):
        for value in data:
            if isinstance(value, Mapping | list | tuple):
                yield from _states(value, depth + 1)
