"""The stages in order, from a text to a checked Plan.

| stage | function | from | to | its messages |
|---|---|---|---|---|
| parse | `grammar.parse.parse` | `Source` | `syntax.Program` | SC1xx |
| resolve | `compiler.modules.resolve` | `syntax.Program` | `resolved.Program` | SC2xx |
| lower | `compiler.lower.lower` | `resolved.Program` | `Timeline` | SC3xx |
| check | `check_values`, `asserts`, `check_batch`, `check_init` | `Timeline` | facts | SC4xx, SC6xx, SC7xx |
| plan | `compiler.planning.to_plan` | `Timeline` | `plan.Plan` | |
| emit | `backends.*` | `plan.Plan` | scheduler, source, table, picture | SC5xx |
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from schedc.compiler import plan
from schedc.compiler.asserts import check_asserts
from schedc.compiler.check_batch import check_batch
from schedc.compiler.check_init import check_init
from schedc.compiler.check_values import check_values
from schedc.compiler.diagnostics import Diagnostic, errors
from schedc.compiler.lower import lower
from schedc.compiler.modules import CONTEXT_KEYS, resolve
from schedc.compiler.planning import to_plan
from schedc.compiler.silence import Silence
from schedc.compiler.source import Source
from schedc.compiler.staged import Staged
from schedc.compiler.timeline import Timeline
from schedc.grammar.parse import parse


@dataclass(frozen=True)
class Options:
    """What is given from outside: values of params, context (settings of `train` and `batch`), and `base` for relative schedules.

    `ignore` and `select` are codes of messages, or starts of codes; what can't be ignored is said nevertheless.
    """

    parameters: Mapping[str, str | int | float] = field(default_factory=dict)
    context: Mapping[str, int | str] = field(default_factory=dict)
    base: float | str | None = None
    root: Path | None = None
    ignore: Collection[str] = ()
    select: Collection[str] = ()

    @property
    def exact_base(self) -> Fraction | None:
        """`base` as it is written. Raises ValueError for what is no finite number."""
        if self.base is None:
            return None
        try:
            value = Fraction(str(self.base))
            float(value)
        except (ValueError, OverflowError):
            raise ValueError(f"base must be a finite number, and is {self.base}") from None
        return value


def compile_source(source: Source, options: Options | None = None) -> Staged[plan.Plan]:
    """All stages. The Plan is there if no error was said; warnings and notes come with it."""
    last: Staged[plan.Plan] = Staged(None)
    said: tuple[Diagnostic, ...] = ()
    for name, value, new in stages(source, options):
        said += new
        last = Staged(value if name == "plan" and isinstance(value, plan.Plan) else None, said)
    return last


def stages(source: Source, options: Options | None = None) -> Iterator[tuple[str, object, tuple[Diagnostic, ...]]]:
    """Each stage's result as it is reached: its name, its value (None if it failed, and then no more follow), what it said."""
    options = options or Options()
    tree = parse(source)
    yield "tree", tree.value, tree.said
    if tree.value is None or errors(tree.said):
        return
    quiet = Silence(tree.value, options.ignore, options.select)
    program = resolve(tree.value, options.parameters, options.context, options.root)
    said = quiet.keep(program.said)
    yield "resolved", program.value, said if program.value is not None else said + quiet.rest(complete=False)
    if program.value is None:
        return
    line = lower(program.value, options.exact_base)
    said = quiet.keep(line.said)
    yield "timeline", line.value, said if line.value is not None else said + quiet.rest(complete=False)
    if line.value is None:
        return
    checked = check(line.value, options, quiet)
    yield "plan", checked.value, checked.said + quiet.rest(complete=checked.value is not None)


def check(line: Timeline, options: Options, quiet: Silence | None = None) -> Staged[plan.Plan]:
    """All checks of a laid-out program; its Plan, with the facts shown, if none fails.

    An error that a comment ignores is none.
    """
    quiet = quiet or Silence(line.program.main.tree, options.ignore, options.select)
    base = None if options.exact_base is None else float(options.exact_base)
    draft = to_plan(line, _version())
    values = check_values(line, draft, base)
    said = [*quiet.keep(values.said)]
    if not errors(said):
        said += quiet.keep(check_asserts(line, draft, base))
    said += quiet.keep((*check_batch(line, draft), *check_init(line, draft)))
    if errors(said):
        return Staged(None, tuple(said))
    return Staged(draft.model_copy(update={"facts": values.facts}), tuple(said))


def _version() -> str:
    try:
        return version("schedc")
    except PackageNotFoundError:
        return "0+unknown"


__all__ = ["CONTEXT_KEYS", "Options", "check", "compile_source", "stages"]
