"""The language reference, docs/language.md: every example is compiled, every value and limit in it is compared.

A fenced block ```` ```sched ```` compiles without errors and warnings; ```` ```sched error SC401 ```` gives exactly
these errors, and `warning` or `note` in place of `error` a program that compiles and says this; as readers don't see
these words, the block begins with them as a comment. A block with
`file=name.sched` behind `sched` is a file that the blocks behind it may use. Comments in a block are tried too:

    #~ at 500: 1/2              the value of lr at update 500, written in the language
    #~ at 500 momentum: 0.95    of another name
    #~ at 500: training stops
    #~ base: 0.1                what relative schedules multiply; 1 where it does not stand
    #~ losses 1, 2, 2: 0.05     the value after these observations of `loss`, one before each update
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from schedc.backends import reference
from schedc.compiler.codes import CODES
from schedc.compiler.diagnostics import Level, errors
from schedc.compiler.pipeline import Options, compile_source
from schedc.compiler.plan import Plan
from schedc.compiler.source import Source

PAGE = Path(__file__).parent.parent / "docs" / "language.md"
TEXT = PAGE.read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\S*)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
AT = re.compile(r"#~ at (?P<update>\d+)(?: (?P<name>\S+))?: (?P<value>.+)")
BASE = re.compile(r"#~ base: (\S+)")
LOSSES = re.compile(r"#~ losses (?P<losses>[^:]+): (?P<value>.+)")
FILE = re.compile(r"file=(\S+)")
LIMIT = re.compile(r"^\|[^|]*\| ([0-9_]+)[^|]*\| `(\w+)` in `(\w+)/(\w+)\.py` \|", re.MULTILINE)
CLOSE = 1e-12


@dataclass(frozen=True)
class Block:
    """A fenced block of the language: its line in the page, the words behind `sched`, and its text."""

    line: int
    words: str
    text: str

    @property
    def base(self) -> str | None:
        found = BASE.search(self.text)
        return None if found is None else found[1]


BLOCKS = [
    Block(TEXT.count("\n", 0, m.start()) + 1, m[2].strip(), m[3]) for m in FENCE.finditer(TEXT) if m[1] == "sched"
]


def value_of(written: str) -> Any:
    """A constant expression of the language, exactly."""
    staged = compile_source(Source("<value>", f"let value = {written}\n"))
    assert staged.value is not None, f"`{written}` is no value:\n" + "\n".join(map(str, staged.said))
    return reference.binding_value(staged.value, "value", Fraction(0), reference.Group())


def same(found: Any, written: str) -> None:
    wanted = value_of(written)
    assert abs(found - wanted) <= CLOSE * abs(wanted), f"expected {written}, found {reference.mp.nstr(found, 15)}"


def try_values(plan: Plan, block: Block) -> None:
    group = reference.Group(Fraction(block.base or 1))
    for match in AT.finditer(block.text):
        name, update, wanted = match["name"] or "lr", Fraction(match["update"]), match["value"].strip()
        if wanted == "training stops":
            with pytest.raises(reference.Ended):
                reference.binding_value(plan, name, update, group)
        else:
            same(reference.binding_value(plan, name, update, group) * Fraction(1), wanted)
    for match in LOSSES.finditer(block.text):
        run = reference.ReferenceRun(plan, group=group)
        for loss in match["losses"].split(","):
            run.observe(loss=float(loss))
            run.step()
        same(run.value() * Fraction(1), match["value"].strip())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that blocks may use; it is the current one."""
    for block in BLOCKS:
        if file := FILE.search(block.words):
            (tmp_path / file[1]).write_text(block.text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"line {block.line}")
def test_block(block: Block, folder: Path) -> None:
    staged = compile_source(Source("main.sched", block.text), Options(base=block.base, root=folder))
    told = "\n\n".join(map(str, staged.said))
    words = FILE.sub("", block.words).split()
    if words[:1] == ["error"]:
        assert {d.code.number for d in errors(staged.said)} == set(words[1:]), told
        return
    assert not errors(staged.said), told
    loud = {d.code.number for d in staged.said if d.level is Level.WARNING}
    assert loud == (set(words[1:]) if words[:1] == ["warning"] else set()), told
    if words[:1] == ["note"]:
        assert set(words[1:]) <= {d.code.number for d in staged.said if d.level is Level.NOTE}, told
    assert staged.value is not None
    try_values(staged.value, block)


def test_every_block_says_what_it_is() -> None:
    kinds = Counter(m[1] for m in FENCE.finditer(TEXT))
    assert set(kinds) <= {"sched", "console", "text"}
    assert len(BLOCKS) > 50
    wrong = [b.line for b in BLOCKS if not re.fullmatch(r"(file=\S+)?|(error|warning|note)( SC\d+)+", b.words)]
    assert not wrong
    assert not [b.line for b in BLOCKS if "SC" in b.words and not b.text.startswith(f"# {b.words}\n")]


def test_every_note_in_a_block_is_understood() -> None:
    lines = [line.strip() for block in BLOCKS for line in block.text.splitlines() if line.strip().startswith("#~")]
    assert not [line for line in lines if not any(p.fullmatch(line) for p in (AT, BASE, LOSSES))]


def test_codes_exist() -> None:
    assert set(re.findall(r"SC\d{3}", TEXT)) <= set(CODES)


def test_links_lead_somewhere() -> None:
    prose = FENCE.sub("", TEXT)
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", prose)):
        path, _, anchor = target.partition("#")
        assert not path or (PAGE.parent / path).exists(), target
        assert path or anchor in anchors, target


@pytest.mark.parametrize(("value", "name", "package", "module"), LIMIT.findall(TEXT))
def test_limit(value: str, name: str, package: str, module: str) -> None:
    assert getattr(import_module(f"schedc.{package}.{module}"), name) == int(value)


def test_limits_are_told() -> None:
    assert len(LIMIT.findall(TEXT)) > 10
