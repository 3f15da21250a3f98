"""The examples, and every block of code in README.md and docs/language.md, do what they say."""

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
DOCUMENTS = [ROOT / "README.md", ROOT / "docs" / "language.md"]


@dataclass(frozen=True)
class Block:
    """A fenced block: what stands behind the fence, its text, and the name of the file that a comment above it gives."""

    document: Path
    line: int
    info: str
    text: str
    file: str | None

    def __str__(self) -> str:
        return f"{self.document.name}:{self.line}"


_FENCE = re.compile(r"^(?:<!-- file: (?P<file>\S+) -->\n)?```(?P<info>\S.*)\n(?P<text>(?:.*\n)*?)```$", re.MULTILINE)


def blocks(document: Path) -> Iterator[Block]:
    text = document.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start("text")) + 1
        yield Block(document, line, match["info"].strip(), match["text"], match["file"])


BLOCKS = [block for document in DOCUMENTS for block in blocks(document)]
PROGRAMS = [block for block in BLOCKS if block.info.split()[0] == "sched"]


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


# The documents.


@pytest.mark.parametrize("block", PROGRAMS, ids=str)
def test_a_program_in_a_document(block: Block) -> None:
    """One that is marked `fails CODE` says so; the others are without errors and warnings."""
    said = compiled(Source(str(block), block.text))
    drawn = "\n\n".join(map(str, said)) or "nothing is said"
    if block.info == "sched":
        assert all(d.level is Level.NOTE for d in said), drawn
    else:
        assert (fails := re.fullmatch(r"sched fails (SC\d+)", block.info)), f"what is `{block.info}`?"
        assert fails[1] in {d.code.number for d in said}, drawn


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_commands_and_python_in_a_document(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of them in order, in one folder that has the examples in it."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "100")
    names: dict[str, object] = {"__name__": "document"}
    for block in blocks(document):
        if block.file:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
        elif block.info == "python":
            exec(compile(block.text, str(block), "exec", dont_inherit=True), names)
        elif block.info == "console":
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
    for document in DOCUMENTS:
        fences = re.findall(r"^```(.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
        assert len(fences) == 2 * len(list(blocks(document)))
        kinds = {block.info.split()[0] for block in blocks(document)}
        assert kinds <= {"sched", "python", "console", "yaml"}


def test_links_lead_somewhere() -> None:
    for document in DOCUMENTS:
        prose = _FENCE.sub("", document.read_text(encoding="utf-8"))
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", prose):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_the_readme_has_every_command() -> None:
    readme = DOCUMENTS[0].read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `schedc (\w+)", readme, re.MULTILINE)) == set(cli.COMMANDS)


def test_the_readme_has_the_stages_of_the_compiler() -> None:
    readme = DOCUMENTS[0].read_text(encoding="utf-8")
    rows = [line for line in (pipeline.__doc__ or "").splitlines() if line.startswith("|")]
    assert "\n".join(rows) in readme


# The demo.


def test_the_compiled_example_needs_no_schedc(tmp_path: Path) -> None:
    target = tmp_path / "digits_schedule.py"
    assert cli.run(["compile", str(ROOT / "examples" / "digits.sched"), "-o", str(target)]) == 0
    program = "import sys; sys.modules['schedc'] = None; import digits_schedule as d; print(d.lr(46, 1.0), d.lr(920, 1.0))"
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
