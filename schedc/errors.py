"""What is raised when a schedule cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches

from schedc.compiler.diagnostics import Diagnostic, draw, errors
from schedc.compiler.source import Source


class SchedError(ValueError):
    """A program that says something faulty. `diagnostics` holds every message; as text they are drawn, errors only."""

    def __init__(self, diagnostics: Iterable[Diagnostic] = (), words: str = "") -> None:
        self.diagnostics = tuple(diagnostics)
        self.words = words
        super().__init__(self.diagnostics, words)

    def __str__(self) -> str:
        drawn = [draw(d) for d in errors(self.diagnostics)]
        return "\n\n".join(([self.words] if self.words else []) + drawn)


class SchedWarning(UserWarning):
    """A program that means something, but perhaps not what was meant."""


class UnknownNameError(SchedError, TypeError, KeyError):
    """A keyword that is neither a param of the program nor context, or a name that it does not bind."""


class MissingDependencyError(ImportError):
    """An optional dependency that is not installed."""


def in_order(said: Iterable[Diagnostic], source: Source) -> tuple[Diagnostic, ...]:
    """The messages about the source from its top to its end, then those about other files."""
    return tuple(
        sorted(said, key=lambda d: (d.span.source is not source, d.span.start if d.span.source is source else 0))
    )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`, did you mean …?` where a known name is close, else nothing."""
    near = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean `{near[0]}`?" if near else ""


def listed(words: Sequence[str], empty: str = "none") -> str:
    """The words, in backquotes and with commas."""
    return ", ".join(f"`{w}`" for w in words) if words else empty


def needs(package: str, extra: str, what: str) -> Callable[[ModuleNotFoundError], ImportError]:
    """Turns the import error of an optional package into one that says what to install; leaves other ones alone."""

    def explain(error: ModuleNotFoundError) -> ImportError:
        if (error.name or "").partition(".")[0] != package:
            return error
        return MissingDependencyError(f"{what} needs {package}: pip install 'schedc[{extra}]'", name=package)

    return explain
