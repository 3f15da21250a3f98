"""Every code has a page whose programs do what it says, a golden case and a drawn message; every page has a code."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import schedc.compiler.pipeline  # noqa: F401, for the codes that the stages declare
from schedc.compiler.codes import CODES

if TYPE_CHECKING:
    import golden
else:
    _spec = importlib.util.spec_from_file_location("golden", Path(__file__).with_name("golden.py"))
    assert _spec is not None
    assert _spec.loader is not None
    golden = importlib.util.module_from_spec(_spec)
    sys.modules["golden"] = golden
    _spec.loader.exec_module(golden)

HERE = Path(__file__).resolve().parent
PAGES = {path.stem: path for path in sorted((HERE.parent / "compiler" / "explain").glob("*.md"))}
SUITE = "\n".join(path.read_text(encoding="utf-8") for path in (HERE / "suite").rglob("*.sched"))
DRAWN = {path.stem for path in (HERE / "rendered").glob("SC*.txt")}

_BLOCK = re.compile(r"^```sched (fails|passes)(.*)\n((?:.*\n)*?)```$", re.MULTILINE)


def program(code: str, kind: str) -> golden.Case:
    """The program of a page that fails or passes, with what its fence says is given from outside."""
    found = [b for b in _BLOCK.findall(PAGES[code].read_text(encoding="utf-8")) if b[0] == kind]
    assert len(found) == 1, f"{code}.md has {len(found)} programs that {kind.removesuffix('s')}"
    _, given, text = found[0]
    asks = []
    words = given.split()
    while words:
        word = words.pop(0)
        if word == "-D":
            asks.append(f"-D {words.pop(0)}")
        else:
            name, _, value = word.partition("=")
            asks.append(f"{name}: {value}" if name in ("base", "repeated") else f"context: {word}")
    return golden.one("".join(f"{golden.NOTE} {ask}\n" for ask in asks) + text, code)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_code_has_a_page_and_every_page_a_code() -> None:
    assert set(PAGES) == set(CODES)


def test_every_code_has_a_golden_case() -> None:
    assert set(CODES) - set(re.findall(r"\[(SC\d+)\]", SUITE)) == set()


def test_every_code_has_a_drawn_message() -> None:
    assert set(CODES) - DRAWN == set()


@pytest.mark.parametrize("code", PAGES)
def test_a_page_is_laid_out_as_all_pages_are(code: str) -> None:
    text = PAGES[code].read_text(encoding="utf-8")
    headings = re.findall(r"^#+ .*$", re.sub(r"(?s)```.*?```", "", text), re.MULTILINE)
    assert headings == [f"# {code}: {CODES[code].name}", "## Why it matters", "## Example", "## Put right"]


@pytest.mark.parametrize("code", sorted(PAGES))
def test_the_example_gives_the_code(code: str, folder: Path) -> None:
    said = golden.run(program(code, "fails"), folder).diagnostics
    assert code in {d.code.number for d in said}, "\n\n".join(map(str, said)) or "nothing is said"


@pytest.mark.parametrize("code", PAGES)
def test_the_program_put_right_gives_nothing(code: str, folder: Path) -> None:
    said = golden.run(program(code, "passes"), folder).diagnostics
    assert not said, "\n\n".join(map(str, said))
