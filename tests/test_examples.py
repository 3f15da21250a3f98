"""The examples, and every block of code in README.md, do what they say."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from schedc import cli
from schedc.compiler import pipeline
from schedc.compiler.diagnostics import Diagnostic, Level
from schedc.compiler.source import Source
from schedc.grammar.format import format_program
from schedc.grammar.parse import parse

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.sched"))
README = ROOT / "README.md"


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the name of the file that a comment above it gives."""

    line: int
    language: str
    text: str
    file: str | None

    def __str__(self) -> str:
        return f"README.md:{self.line}"


_FENCE = re.compile(r"^(?:<!-- file: (\S+) -->\n)?```(\S+)\n((?:.*\n)*?)```$", re.MULTILINE)
_TEXT = README.read_text(encoding="utf-8")
BLOCKS = [Block(_TEXT.count("\n", 0, m.start(3)) + 1, m[2], m[3], m[1]) for m in _FENCE.finditer(_TEXT)]


def compiled(source: Source) -> tuple[Diagnostic, ...]:
    return pipeline.compile_source(source, pipeline.Options(root=ROOT)).said


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_gives_no_message(path: Path) -> None:
    said = compiled(Source(f"examples/{path.name}", path.read_text(encoding="utf-8")))
    assert not said, "\n\n".join(map(str, said))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_in_the_canonical_layout(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = parse(Source(path.name, text)).value
    assert tree is not None
    assert format_program(tree) == text


# The README.


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "sched"], ids=str)
def test_a_program_of_the_readme(block: Block) -> None:
    said = compiled(Source(str(block), block.text))
    assert all(d.level is Level.NOTE for d in said), "\n\n".join(map(str, said))


def test_commands_and_python_of_the_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of them in order, in one folder that has the examples in it."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    names: dict[str, object] = {"__name__": "readme"}
    for block in BLOCKS:
        if block.file:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            exec(compile(block.text, str(block), "exec", dont_inherit=True), names)
        elif block.language == "console":
            for command, output in commands(block):
                cli.run(shlex.split(command)[1:])
                printed = capsys.readouterr()
                assert (printed.out + printed.err).rstrip() == output, f"{block}: {command}"


def commands(block: Block) -> Iterator[tuple[str, str]]:
    """The schedc commands of a block, each with what it prints."""
    parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    assert parts[0] == "", f"{block} does not begin with a command"
    for part in parts[1:]:
        command, _, output = part.partition("\n")
        if command.startswith("schedc "):
            yield command, output.rstrip()


def test_every_block_says_what_it_is() -> None:
    assert len(re.findall(r"^```", _TEXT, re.MULTILINE)) == 2 * len(BLOCKS)
    assert {block.language for block in BLOCKS} <= {"sched", "python", "console", "yaml"}


def test_links_lead_somewhere() -> None:
    prose = re.sub(r"`[^`\n]+`", "", _FENCE.sub("", _TEXT))
    targets = re.findall(r"\]\(([^)#:]+)\)", prose)
    assert len(targets) > 10
    assert not [target for target in targets if not (ROOT / target).exists()]


def test_the_readme_has_every_command() -> None:
    assert set(re.findall(r"^\| `schedc (\w+)", _TEXT, re.MULTILINE)) == set(cli.COMMANDS)


def test_the_readme_has_the_stages_of_the_compiler() -> None:
    rows = [line for line in (pipeline.__doc__ or "").splitlines() if line.startswith("|")]
    assert "\n".join(rows) in _TEXT


# The demo.


def test_the_compiled_example_needs_no_schedc(tmp_path: Path) -> None:
    target = tmp_path / "digits_schedule.py"
    assert cli.run(["compile", str(ROOT / "examples" / "digits.sched"), "-o", str(target)]) == 0
    program = "import sys; sys.modules['schedc'] = None; import digits_schedule as d; print(d.lr(46, 1), d.lr(920, 1))"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0.1", "0.0"]


@pytest.mark.slow
def test_the_demo_trains_a_network(tmp_path: Path) -> None:
    demo = ROOT / "examples" / "demo.py"
    done = subprocess.run(
        [sys.executable, str(demo), "--device", "cpu", "--out", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    right, cuts = re.findall(r"([\d.]+)% of 180 test images right; plateau cut (\d+) times?", done.stdout)[0]
    assert float(right) >= 96
    assert int(cuts) >= 1
    assert (tmp_path / "demo.png").stat().st_size > 10_000
    assert (tmp_path / "digits_schedule.py").is_file()
