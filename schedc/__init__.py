"""A compiler for learning-rate schedules, batch ramps and initialisation, checked before training starts.

    plan = schedc.compile("warmup 500 linear -> cosine T=10000 | plateau factor=0.2")
    plan["lr"](250)

Importing this module imports neither the compiler nor any of its libraries; the first call does.
"""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` is a slow import, and `schedc check` may need nothing else
if TYPE_CHECKING:
    from typing import Any

    from schedc.config import Schedule
    from schedc.errors import SchedError, SchedWarning
    from schedc.plan import BoundSchedule, Plan, compile, load, read
    from schedc.stored import diff

    __version__: str

__all__ = [
    "BoundSchedule",
    "Plan",
    "SchedError",
    "SchedWarning",
    "Schedule",
    "__version__",
    "compile",
    "diff",
    "load",
    "read",
]

_HOMES = {
    "BoundSchedule": "schedc.plan",
    "Plan": "schedc.plan",
    "SchedError": "schedc.errors",
    "SchedWarning": "schedc.errors",
    "Schedule": "schedc.config",
    "compile": "schedc.plan",
    "diff": "schedc.stored",
    "load": "schedc.plan",
    "read": "schedc.plan",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            value: Any = version("schedc")
        except PackageNotFoundError:
            value = "0+source"
    elif name in _HOMES:
        from importlib import import_module

        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module 'schedc' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
