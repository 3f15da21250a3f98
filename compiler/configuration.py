"""`[tool.schedc]` in the nearest `pyproject.toml`: which messages are shown, what counts as an error, and what is known of the run.

    [tool.schedc]
    ignore = ["SC403"]            # codes, or starts of codes: "SC4" is all SC4xx
    select = ["SC4", "SC6"]       # besides errors, only these
    warn-as-error = ["SC402"]     # or true, for every warning
    strict = true                 # warnings count for the exit status
    root = "schedules"            # the folder that `use "…"` may read below

    [tool.schedc.context]         # what files leave open about their run
    world_size = 8

    [tool.schedc.per-file."experiments/*.sched"]
    ignore = ["SC408"]

A file without the table is passed over. What is written on the command line comes before what is written here.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from schedc.compiler.diagnostics import Diagnostic, Level
from schedc.compiler.silence import names
from schedc.compiler.source import Source

FILE = "pyproject.toml"
CONTEXT = (
    "length", "dataset", "classes", "seq_len", "drop_last", "world_size", "steps_per_epoch", "tick", "global", "micro",
)  # fmt: skip
EVERY = ("SC",)
"""The start of all codes."""

_KEYS = ("ignore", "select", "warn-as-error", "strict", "root", "context", "per-file")
_OF_A_FILE = ("ignore", "select", "warn-as-error", "strict", "context")


class ConfigurationError(ValueError):
    """A configuration that can't be used, in words for the one who wrote it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is configured for one program."""

    ignore: tuple[str, ...] = ()
    select: tuple[str, ...] = ()
    warn_as_error: tuple[str, ...] = ()
    strict: bool = False
    root: Path | None = None
    context: Mapping[str, int | str | bool] = field(default_factory=dict)

    def graded(self, said: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
        """The messages, those warnings that count as errors as such."""
        return tuple(
            replace(d, level=Level.ERROR)
            if d.level is Level.WARNING and names(d.code.number, self.warn_as_error)
            else d
            for d in said
        )

    def context_for(self, source: Source) -> dict[str, int | str | bool]:
        """What is known of the run and the program does not say itself."""
        if not self.context:
            return {}
        from schedc.grammar import syntax
        from schedc.grammar.parse import parse

        tree = parse(source).value
        items = tree.items if tree is not None else ()
        own = {bind.target.text for item in items if isinstance(item, syntax.Settings) for bind in item.binds}
        return {k: v for k, v in self.context.items() if k not in own}


@dataclass(frozen=True, slots=True)
class Configuration:
    """A table `[tool.schedc]`, read and checked; `path` is its file."""

    path: Path
    settings: Settings
    per_file: tuple[tuple[str, Mapping[str, Any]], ...] = ()

    def settings_for(self, file: Path | None) -> Settings:
        """The settings of a file: the table's, with those for its name over them. Lists add up."""
        settings = self.settings
        if file is None:
            return settings
        full, folder = file.resolve(), self.path.parent.resolve()
        inside = full.relative_to(folder).as_posix() if full.is_relative_to(folder) else full.as_posix()
        for pattern, table in self.per_file:
            if fnmatch(inside, pattern) or ("/" not in pattern and fnmatch(full.name, pattern)):
                settings = _over(settings, table)
        return settings


def places(start: Path) -> list[Path]:
    """Where a configuration is looked for, from a folder upward."""
    folder = start.resolve()
    return [f / FILE for f in (folder, *folder.parents)]


def find(start: Path) -> Configuration | None:
    """The configuration for what lies in a folder: the nearest file upward that has the table."""
    for path in places(start):
        found = read(path)
        if found is not None:
            return found
    return None


def read(path: Path) -> Configuration | None:
    """The configuration in a file; None if there is no such file, or it says nothing to us."""
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError, PermissionError, IsADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from None
    if "schedc" not in text:
        return None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is no TOML: {error}") from None
    tool = data.get("tool")
    if not isinstance(tool, dict) or "schedc" not in tool:
        return None
    table = tool["schedc"]
    if not isinstance(table, dict):
        raise ConfigurationError(f"{path}: `tool.schedc` is a table")
    return _checked(path, table)


def _checked(path: Path, table: dict[str, Any]) -> Configuration:
    where = f"{path}: [tool.schedc]"
    _known(table, _KEYS, where)
    per_file = table.get("per-file", {})
    if not isinstance(per_file, dict):
        raise ConfigurationError(f'{where}: `per-file` is a table of tables, as in [tool.schedc.per-file."*.sched"]')
    overrides = []
    for pattern, inner in per_file.items():
        at = f'{path}: [tool.schedc.per-file."{pattern}"]'
        if not isinstance(inner, dict):
            raise ConfigurationError(f"{at} is a table")
        _known(inner, _OF_A_FILE, at)
        overrides.append((pattern, _typed(inner, at)))
    settings = _over(Settings(), _typed(table, where))
    if "root" in table:
        if not isinstance(table["root"], str):
            raise ConfigurationError(f"{where}: `root` is a text, the path of a folder")
        root = path.parent / table["root"]
        if not root.is_dir():
            raise ConfigurationError(f"{where}: there is no folder {root}")
        settings = replace(settings, root=root)
    return Configuration(path, settings, tuple(overrides))


def _known(table: Mapping[str, Any], keys: Iterable[str], where: str) -> None:
    known = list(keys)
    for key in table:
        if key not in known:
            near = get_close_matches(key.replace("_", "-"), known, n=1, cutoff=0.6)
            hint = f"; did you mean `{near[0]}`?" if near else f" (keys: {', '.join(known)})"
            raise ConfigurationError(f"{where}: there is no key `{key}`{hint}")


def _typed(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The values, each of its own type."""
    out: dict[str, Any] = {}
    for key in ("ignore", "select", "warn-as-error"):
        if key in table:
            value = table[key]
            if key == "warn-as-error" and isinstance(value, bool):
                out[key] = EVERY if value else ()
            elif isinstance(value, list) and all(isinstance(v, str) for v in value):
                out[key] = tuple(codes(value, f"{where}: `{key}`"))
            else:
                also = ", or true" if key == "warn-as-error" else ""
                raise ConfigurationError(f'{where}: `{key}` is a list of codes, as in ["SC403"]{also}')
    if "strict" in table:
        if not isinstance(table["strict"], bool):
            raise ConfigurationError(f"{where}: `strict` is true or false")
        out["strict"] = table["strict"]
    if "context" in table:
        context = table["context"]
        if not isinstance(context, dict):
            raise ConfigurationError(f"{where}: `context` is a table, as in context = {{ world_size = 8 }}")
        named = {("global" if k == "global_batch" else k): v for k, v in context.items()}
        _known_context(named, where)
        out["context"] = named
    return out


def _known_context(context: Mapping[str, Any], where: str) -> None:
    for key, value in context.items():
        if key not in CONTEXT:
            near = get_close_matches(key.replace("-", "_"), CONTEXT, n=1, cutoff=0.6)
            hint = f"; did you mean `{near[0]}`?" if near else f" (keys: {', '.join(CONTEXT)})"
            raise ConfigurationError(f"{where}: nothing of a run is called `{key}`{hint}")
        fits = isinstance(value, bool) if key == "drop_last" else isinstance(value, str | int) and value is not True
        if not fits or (value is False and key != "drop_last"):
            kind = "true or false" if key == "drop_last" else 'a whole number, or a text such as "90 epochs"'
            raise ConfigurationError(f"{where}: `context.{key}` is {kind}")


def codes(given: Iterable[str], where: str) -> list[str]:
    """The codes, or starts of codes. Raises ConfigurationError for what no code begins with."""
    import schedc.compiler.pipeline  # noqa: F401, for the codes that the stages declare
    from schedc.compiler.codes import CODES

    found = []
    for one in given:
        if not re.fullmatch(r"SC\d{0,3}", one) or not any(number.startswith(one) for number in CODES):
            near = get_close_matches(one.upper(), list(CODES), n=1, cutoff=0.6)
            by_name = next((n for n, c in CODES.items() if c.name == one.lower()), None)
            hint = by_name or (near[0] if near else None)
            raise ConfigurationError(
                f"{where}: no message has the code `{one}`" + (f"; did you mean `{hint}`?" if hint else "")
            )
        found.append(one)
    return found


def _over(settings: Settings, table: Mapping[str, Any]) -> Settings:
    return replace(
        settings,
        ignore=(*settings.ignore, *table.get("ignore", ())),
        select=(*settings.select, *table.get("select", ())),
        warn_as_error=(*settings.warn_as_error, *table["warn-as-error"]) if table.get("warn-as-error") else
        () if "warn-as-error" in table else settings.warn_as_error,
        strict=table.get("strict", settings.strict),
        context={**settings.context, **table.get("context", {})},
    )  # fmt: skip
