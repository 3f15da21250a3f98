"""What the wheel holds, and that the configuration speaks of what is there."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
CONFIG: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = CONFIG["tool"]["setuptools"]
FOLDERS: dict[str, str] = SETUPTOOLS["package-dir"]
LINKED = sorted(set(FOLDERS) - {"schedc"})


def files_of(package: str) -> list[Path]:
    """The files in a package's folder, relative to it; not those behind the links, nor caches."""
    folder = ROOT / FOLDERS[package]
    links = {name.removeprefix("schedc.") for name in LINKED} if package == "schedc" else set()
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in found if "__pycache__" not in path.parts and path.parts[0] not in links)


def test_every_package_has_a_folder() -> None:
    assert sorted(SETUPTOOLS["packages"]) == sorted(FOLDERS)
    for folder in FOLDERS.values():
        assert (ROOT / folder / "__init__.py").is_file(), f"{folder}/__init__.py is missing"


@pytest.mark.parametrize("package", FOLDERS)
def test_code_lies_flat_in_its_package(package: str) -> None:
    deeper = [str(path) for path in files_of(package) if path.suffix == ".py" and len(path.parts) > 1]
    assert not deeper, "a subpackage that pyproject.toml does not list is missing from the wheel"


@pytest.mark.parametrize("package", FOLDERS)
def test_data_files_and_globs_agree(package: str) -> None:
    folder = ROOT / FOLDERS[package]
    globs = SETUPTOOLS["package-data"].get(package, [])
    data = {path for path in files_of(package) if path.suffix != ".py"}
    taken = set()
    for glob in globs:
        found = {path.relative_to(folder) for path in folder.glob(glob)}
        assert found, f"no file of {package} matches {glob}"
        taken |= found
    assert data <= taken, f"no glob in package-data takes {sorted(map(str, data - taken))}"


@pytest.mark.parametrize("package", LINKED)
def test_the_link_points_at_the_folder(package: str) -> None:
    link = ROOT / "schedc" / package.removeprefix("schedc.")
    if not link.is_symlink():
        pytest.skip("a checkout without symbolic links")
    assert link.readlink() == Path("..", FOLDERS[package])


def test_nothing_imports_under_its_folder_name(tmp_path: Path) -> None:
    bare = [FOLDERS[package] for package in LINKED]
    program = f"from importlib.util import find_spec; print([name for name in {bare} if find_spec(name)])"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_every_package_imports_from_elsewhere(tmp_path: Path) -> None:
    program = "".join(f"import {package}\n" for package in FOLDERS)
    subprocess.run([sys.executable, "-P", "-c", program], cwd=tmp_path, check=True)


def test_configured_paths_exist() -> None:
    tool = CONFIG["tool"]
    paths = [
        CONFIG["project"]["readme"],
        *CONFIG["project"]["license-files"],
        *FOLDERS.values(),
        *tool["pytest"]["ini_options"]["testpaths"],
        *tool["mypy"]["files"],
        *tool["pyright"]["include"],
        *tool["coverage"]["run"]["source"],
    ]
    assert not [path for path in paths if not (ROOT / path).exists()]
    globs = tool["ruff"]["lint"]["per-file-ignores"]
    assert not [glob for glob in globs if not any(ROOT.glob(glob))]


def test_the_installed_version_is_the_one_in_the_configuration() -> None:
    assert version("schedc") == CONFIG["project"]["version"], "run make: the installed metadata is old"


def test_every_dependency_has_an_exact_version_for_the_tests() -> None:
    def name(requirement: str) -> str:
        end = next((i for i, c in enumerate(requirement) if not (c.isalnum() or c in "-_.")), len(requirement))
        return requirement[:end].lower().replace("_", "-")

    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {name(line) for line in lines if "==" in line and not line.startswith("#")}
    extras = CONFIG["project"]["optional-dependencies"]
    needed = {name(r) for r in [*CONFIG["project"]["dependencies"], *(r for extra in extras.values() for r in extra)]}
    assert needed - {"schedc"} <= pinned
