"""Every golden case in `suite/`, every drawn message in `rendered/`, and the blesser that writes both.

How a case is written stands at the top of `golden.py`.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from schedc.compiler.codes import CODES
from schedc.compiler.diagnostics import draw
from schedc.compiler.evaluate import binding_values
from schedc.compiler.source import Source
from schedc.grammar.format import format_program, same
from schedc.grammar.parse import parse

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
ROOT = HERE.parent
SUITE = sorted((HERE / "suite").rglob("*.sched"))
CASES = [case for path in SUITE for case in golden.read(path, path.relative_to(ROOT))[1]]
DRAWN = sorted((HERE / "rendered").glob("SC*.txt"))
RULE = "-" * 40
"""Stands between a program and its messages in `rendered/`."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def blessing(request: pytest.FixtureRequest) -> bool:
    """Whether to write what was found. One process at a time may: cases share files."""
    asked = bool(request.config.getoption("--bless"))
    if asked and "PYTEST_XDIST_WORKER" in os.environ:
        pytest.fail("bless in one process: without -n")
    return asked


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: golden.Case, folder: Path, blessing: bool) -> None:
    outcome = golden.run(case, folder)
    if blessing:
        golden.bless(ROOT / case.path, outcome)
        return
    faults = list(outcome.faults())
    if faults:
        drawn = "\n\n".join(map(str, outcome.diagnostics))
        pytest.fail("\n".join([*faults, "", drawn]).rstrip(), pytrace=False)
    _agrees(outcome)


def _agrees(outcome: golden.Outcome) -> None:
    """The fast evaluator gives what the reference gives at every `at`."""
    for answer in outcome.answers.values():
        head, _, value = answer.partition(": ")
        if outcome.plan is None or value == "training stops":
            continue
        _, update, *name = head.split()
        number, _, divisor = value.removeprefix("~").partition("/")
        wanted = float(number) / float(divisor or 1)
        found = float(binding_values(outcome.plan, name[0] if name else "lr", int(update), base=_base(outcome.case)))
        assert found == pytest.approx(wanted, rel=1e-11, abs=1e-300), answer


def _base(case: golden.Case) -> float:
    given = case.options(Path()).base
    return 1.0 if given is None else float(given)


def test_names_of_cases_are_unique() -> None:
    twice = [name for name, count in Counter(case.name for case in CASES).items() if count > 1]
    assert not twice


def test_every_file_of_the_suite_says_what_it_is_about() -> None:
    assert not [path.name for path in SUITE if not golden.read(path)[0][0].startswith("# ")]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_that_parses_can_be_laid_out_anew(case: golden.Case) -> None:
    for text in case.texts:
        tree = parse(Source(text.name, text.program)).value
        if tree is not None:
            laid_out = format_program(tree)
            again = parse(Source(text.name, laid_out)).value
            assert again is not None
            assert same(tree, again)
            assert format_program(again) == laid_out


# The messages as users see them.


@pytest.mark.parametrize("path", DRAWN, ids=lambda path: path.stem)
def test_drawn_message(path: Path, folder: Path, blessing: bool) -> None:
    program, _, expected = path.read_text(encoding="utf-8").partition(f"{RULE}\n")
    outcome = golden.run(golden.one(program), folder)
    said = [d for d in outcome.diagnostics if d.code.number == path.stem]
    found = "\n\n".join(draw(d) for d in said).replace(str(folder), golden.ROOT_WORD) + "\n"
    if blessing:
        path.write_text(f"{program.rstrip()}\n{RULE}\n{found}", encoding="utf-8")
        return
    assert said, f"the program does not give {path.stem}"
    assert found == expected


def test_a_drawn_message_belongs_to_a_code() -> None:
    assert {path.stem for path in DRAWN} <= set(CODES)


# The blesser.

BARE = """\
# About jumps.

--- first ---
#~ at 250
#~ at 500: 7
  #~ help: of nothing
lr = warmup 500 to=0.1
#~ error
  -> 0.1 * exp(-t / 300)

--- second ---
  #~ error
lr = hold


--- third ---
use "other.sched"
lr = other.x
=== other.sched ===
lr = cosin 10
"""


def blessed(path: Path, folder: Path) -> str:
    for case in golden.read(path)[1]:
        golden.bless(path, golden.run(case, folder))
    return path.read_text(encoding="utf-8")


def test_the_blesser_fills_in_drops_and_leaves_alone(folder: Path) -> None:
    path = folder / "golden.sched"
    path.write_text(BARE, encoding="utf-8")
    assert blessed(path, folder).split("\n")[:13] == [
        "# About jumps.",
        "",
        "--- first ---",
        "#~ at 250: 1/20",
        "#~ at 500: 1/10",
        "lr = warmup 500 to=0.1",
        "  -> 0.1 * exp(-t / 300)",
        "",
        "--- second ---",
        "#~ error[SC308] 6-9: `hold` starts from the entering value, and nothing comes before it",
        "#~ label: the first stage of an absolute binding",
        "#~ help: write `from=…` or `to=…`, multiply (`3e-4 * (…)`), or bind with `*=`",
        "lr = hold",
    ]


def test_blessing_twice_changes_nothing(folder: Path) -> None:
    path = folder / "golden.sched"
    path.write_text(BARE, encoding="utf-8")
    once = blessed(path, folder)
    assert once != BARE
    assert blessed(path, folder) == once


def test_what_was_blessed_is_expected(folder: Path) -> None:
    path = folder / "golden.sched"
    path.write_text(BARE, encoding="utf-8")
    blessed(path, folder)
    assert [list(golden.run(case, folder).faults()) for case in golden.read(path)[1]] == [[], [], []]


def test_a_blessed_suite_is_what_is_there() -> None:
    for path in SUITE:
        header, cases = golden.read(path)
        lines = [*header]
        for case in cases:
            lines += [f"--- {case.name} ---", *golden.written(case), ""]
        assert "\n".join(lines) == path.read_text(encoding="utf-8"), f"{path.name} is not laid out as the blesser does"


def faults(text: str, folder: Path) -> list[str]:
    path = folder / "golden.sched"
    path.write_text(text, encoding="utf-8")
    (case,) = golden.read(path, Path("golden.sched"))[1]
    return list(golden.run(case, folder).faults())


def test_a_message_that_nobody_expects_is_a_fault(folder: Path) -> None:
    assert faults("# X\n\n--- x ---\nlr = 3e-4\nlr = cosin 10\n", folder) == [
        "golden.sched:5: lr = cosin 10",
        "    found     error[SC206] 1-2: the binding `lr` stands here twice",
        "    found     label: again here",
        "    found     help: keep one of the two, or put the second into a `group`",
    ]


def test_a_message_that_does_not_come_is_a_fault(folder: Path) -> None:
    assert faults("# X\n\n--- x ---\n#~ error[SC201] 6: no\nlr = 3e-4\n", folder) == [
        "golden.sched:5: lr = 3e-4",
        "    expected  error[SC201] 6: no",
    ]


def test_a_message_in_other_columns_is_a_fault(folder: Path) -> None:
    found = faults(
        "# X\n\n--- x ---\n\n#~ error[SC305] 13-16: 2.5 is no whole number of steps\nlr = hold for 2.5\n", folder
    )
    assert "    expected  error[SC305] 13-16: 2.5 is no whole number of steps" in found


def test_another_value_is_a_fault(folder: Path) -> None:
    assert faults("# X\n\n--- x ---\n#~ at 3: 1/2\nlr = 1/4\n", folder) == [
        "golden.sched:5: expected at 3: 1/2, found at 3: 1/4"
    ]


def test_a_message_of_another_file_stands_in_that_file(folder: Path) -> None:
    text = '# X\n\n--- x ---\nuse "a.sched"\nlr = a.lr\n=== a.sched ===\nlr = = 3\n'
    assert any(line.startswith("golden.sched:7: lr = = 3") for line in faults(text, folder))


def test_a_message_at_the_very_end_stands_there(folder: Path) -> None:
    path = folder / "golden.sched"
    path.write_text("# X\n\n--- x ---\nlr = warmup 500 ->\n", encoding="utf-8")
    assert "expected a stage after `->`" in blessed(path, folder)
    (case,) = golden.read(path)[1]
    assert list(golden.run(case, folder).faults()) == []
