"""Where imported texts come from: the standard library in package resources, and files below the project root."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from schedc.compiler.source import Source

MAX_FILE_BYTES = 1 << 20
"""A larger file is not read."""

_DEFINITION = re.compile(r"^(def|curve|modifier)\s+([A-Za-z_][A-Za-z0-9_]*)", re.MULTILINE)


@cache
def _stdlib() -> Traversable:
    return resources.files("schedc.stdlib")


@cache
def stdlib_names() -> tuple[str, ...]:
    """What `use` can name: `torch`, `recipes.gpt3` … The files at the top are always there and need no `use`."""
    names = [p.name.removesuffix(".sched") for p in _folder("dialects")]
    return tuple(sorted(names + ["recipes." + p.name.removesuffix(".sched") for p in _folder("recipes")]))


def _folder(name: str) -> list[Traversable]:
    folder = _stdlib() / name if name else _stdlib()
    return (
        sorted((p for p in folder.iterdir() if p.name.endswith(".sched")), key=lambda p: p.name)
        if folder.is_dir()
        else []
    )


@cache
def stdlib_source(name: str) -> Source | None:
    """The text of `torch`, `recipes.gpt3`, or, with a leading dot, of a file at the top (`.stages`)."""
    folder, _, stem = name.rpartition(".") if name.startswith(("recipes.", ".")) else ("dialects", "", name)
    path = (_stdlib() / folder / f"{stem}.sched") if folder else (_stdlib() / f"{stem}.sched")
    if not path.is_file():
        return None
    return Source("stdlib/" + (f"{folder}/" if folder else "") + f"{stem}.sched", path.read_text(encoding="utf-8"))


@cache
def prelude_index() -> dict[tuple[str, str], str]:
    """Which file at the top defines what: (`def` | `curve` | `modifier`, name) -> file, read without parsing."""
    index: dict[tuple[str, str], str] = {}
    for path in _folder(""):
        for kind, name in _DEFINITION.findall(path.read_text(encoding="utf-8")):
            index[kind, name] = "." + path.name.removesuffix(".sched")
    return index


@dataclass
class Files:
    """Reads files for `use "…"`, below `root` only. `read` raises OSError or ValueError with a reason to show."""

    root: Path | None = None
    read_files: list[Path] = field(default_factory=list)

    def find(self, base: Source, path: str) -> Path:
        """The file that `path`, relative to the file `base`, means. Raises PermissionError if it leaves the root."""
        start = Path(base.name).parent if base.name and not base.name.startswith("<") else Path()
        root = (self.root or start).resolve()
        found = (start / path).resolve()
        if not found.is_relative_to(root):
            raise PermissionError(str(root))
        return found

    def read(self, path: Path) -> Source:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError(f"it is larger than {MAX_FILE_BYTES} bytes")
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "Is a directory")
        if not path.is_file():
            raise ValueError("it is no ordinary file")
        self.read_files.append(path)
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise ValueError("it is not UTF-8 text") from None
        here = Path.cwd()
        return Source(str(path.relative_to(here)) if path.is_relative_to(here) else str(path), text)
