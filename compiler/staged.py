"""What a stage hands on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from schedc.compiler.diagnostics import Diagnostic

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Staged(Generic[T]):
    """What a stage hands on: its value, unless it failed, and all it had to say."""

    value: T | None
    said: tuple[Diagnostic, ...] = ()

    def then(self, stage: Callable[[T], Staged[U]]) -> Staged[U]:
        """Go on with the next stage, keeping what was said. A failed value stays failed."""
        if self.value is None:
            return Staged(None, self.said)
        after = stage(self.value)
        return Staged(after.value, self.said + after.said)
