"""Who may import whom. The imports are read from the text, so those inside functions count too."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("grammar", "compiler", "backends", "stdlib")

# Modules of the compiler that import nothing of ours but each other, and that every layer may import.
LEAVES = {f"schedc.compiler.{name}" for name in ("source", "diagnostics", "codes", "staged")}
# What the grammar may know of the compiler.
BELOW_GRAMMAR = LEAVES | {"schedc.compiler.messages_syntax"}
# The backends that build on another one: (who, on whom).
BACKEND_ON_BACKEND = {
    ("torch_scheduler", "torch_source"),
    ("torch_device", "torch_source"),
    ("torch_device", "torch_scheduler"),
    ("torch_source", "torch_template"),
    ("torch_init", "philox"),
    ("torch_init", "selectors"),
    ("torch_batch", "philox"),
}
# The one module that computes with SymPy, and those that may name its types.
COMPUTES_WITH_SYMPY = {"schedc.compiler.symbolic"}
NAMES_SYMPY_TYPES = COMPUTES_WITH_SYMPY | {"schedc.compiler.timeline"}


@dataclass(frozen=True)
class Import:
    """One imported module, and where. `for_types` is an import under `if TYPE_CHECKING:`."""

    importer: str
    imported: str
    line: int
    for_types: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"

    def is_of(self, module: str) -> bool:
        return self.imported == module or self.imported.startswith(module + ".")


def modules() -> dict[str, Path]:
    """Every module of ours by name; links are not followed, so each file comes once."""
    found = {}
    for folder, package in [("schedc", "schedc"), *((layer, f"schedc.{layer}") for layer in LAYERS)]:
        for path in sorted((ROOT / folder).glob("*.py")):
            found[package if path.stem == "__init__" else f"{package}.{path.stem}"] = path
    return found


MODULES = modules()


def imports(module: str) -> list[Import]:
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    return list(_imports(module, tree, for_types=False))


def _imports(module: str, node: ast.AST, for_types: bool) -> Iterator[Import]:
    match node:
        case ast.Import(names=names):
            for alias in names:
                yield Import(module, alias.name, node.lineno, for_types)
        case ast.ImportFrom(module=None) | ast.ImportFrom(level=1 | 2 | 3 | 4):
            yield Import(module, "." * node.level + (node.module or ""), node.lineno, for_types)
        case ast.ImportFrom(module=str(origin), names=names):
            for alias in names:
                # Of `from schedc.compiler import codes` a module is meant, of `… .codes import CODES` a value in one.
                inner = f"{origin}.{alias.name}"
                yield Import(module, inner if inner in MODULES else origin, node.lineno, for_types)
        case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
            for statement in node.body:
                yield from _imports(module, statement, for_types=True)
            for statement in node.orelse:
                yield from _imports(module, statement, for_types)
        case _:
            for child in ast.iter_child_nodes(node):
                yield from _imports(module, child, for_types)


ALL = [found for module in MODULES for found in imports(module)]


def layer_of(module: str) -> str:
    """`grammar`, `compiler`, `backends`, `stdlib`, or `schedc` for the face."""
    part = module.split(".")[1:2]
    return part[0] if part and part[0] in LAYERS else "schedc"


def ours(layer: str) -> list[Import]:
    """What a layer imports of ours from outside itself."""
    return [i for i in ALL if layer_of(i.importer) == layer and i.is_of("schedc") and layer_of(i.imported) != layer]


def refuse(wrong: list[Import]) -> None:
    assert not wrong, "\n".join(map(str, wrong))


def test_no_import_is_relative() -> None:
    refuse([i for i in ALL if i.imported.startswith(".")])


def test_no_folder_is_imported_under_its_own_name() -> None:
    refuse([i for i in ALL if any(i.is_of(layer) for layer in LAYERS)])


def test_the_leaves_import_only_each_other() -> None:
    refuse([i for i in ALL if i.importer in LEAVES and i.is_of("schedc") and i.imported not in LEAVES])


def test_the_syntax_messages_import_only_leaves() -> None:
    below = BELOW_GRAMMAR - LEAVES
    refuse([i for i in ALL if i.importer in below and i.is_of("schedc") and i.imported not in LEAVES])


def test_grammar_imports_little_of_the_compiler() -> None:
    refuse([i for i in ours("grammar") if i.imported not in BELOW_GRAMMAR])


def test_compiler_imports_only_grammar_and_stdlib() -> None:
    refuse([i for i in ours("compiler") if layer_of(i.imported) not in {"grammar", "stdlib"}])


def test_backends_import_only_what_lies_below() -> None:
    refuse([i for i in ours("backends") if layer_of(i.imported) not in {"grammar", "compiler"}])


def test_backends_know_nothing_of_each_other() -> None:
    within = [i for i in ALL if layer_of(i.importer) == layer_of(i.imported) == "backends" and i.is_of("schedc")]
    refuse(
        [
            i
            for i in within
            if i.imported not in {"schedc.backends", "schedc.backends.base"}
            and (i.importer.rpartition(".")[2], i.imported.rpartition(".")[2]) not in BACKEND_ON_BACKEND
        ]
    )


def test_the_standard_library_imports_nothing_of_ours() -> None:
    refuse(ours("stdlib"))


def test_packages_re_export_nothing() -> None:
    refuse([i for i in ALL if i.importer in {f"schedc.{layer}" for layer in LAYERS}])


def test_only_symbolic_computes_with_sympy() -> None:
    refuse(
        [
            i
            for i in ALL
            if i.is_of("sympy")
            and i.importer not in COMPUTES_WITH_SYMPY
            and not (i.for_types and i.importer in NAMES_SYMPY_TYPES)
        ]
    )


def test_only_backends_and_adapters_import_torch() -> None:
    refuse([i for i in ALL if i.is_of("torch") and layer_of(i.importer) not in {"backends", "schedc"}])


@pytest.mark.parametrize("module", ["schedc", "schedc.cli"])
def test_importing_the_face_loads_no_framework(module: str, tmp_path: Path) -> None:
    heavy = {"torch", "matplotlib", "sklearn", "scipy"}
    program = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
