"""The command line, as a user meets it."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import schedc
from schedc.cli import COMMANDS, cli

SPEC = "warmup 500 linear -> cosine T=10000 | plateau factor=0.2"
GOOD = "lr = 3e-4 * (warmup 500 -> cosine 10k)\n"
FAULTY = "lr = 3e-4 * (warmup 500 -> cosin 10k)\n"
TWO_FAULTS = "lr = 3e-4 * (warmup 500 -> cosin 10k)\nmomentun = 0.9\n"
PARAM = "param peak: number > 0 = 3e-4\nlr = peak * (warmup 500 -> cosine 10k)\n"
TOKENS = """\
train { length = 100M tokens; seq_len = 1000 }
batch { global = 10 }
lr = warmup 1000 to=3e-4 -> hold until 60M tokens -> linear to=0
weight_decay = 0.1
group "*.bias" { weight_decay = 0 }
init { Linear : normal std=0.02 }
"""


def run(*arguments: str | Path, input: str | bytes | None = None) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in arguments], input=input, catch_exceptions=False)


def process(
    *arguments: str | Path, env: dict[str, str] | None = None, **more: object
) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, found where this one found it."""
    path = str(Path(schedc.__file__).parents[1])
    command = [sys.executable, "-m", "schedc", *map(str, arguments)]
    everything = {**os.environ, "PYTHONPATH": path, **(env or {})}
    return subprocess.run(command, capture_output=True, text=True, env=everything, check=False, **more)  # type: ignore[call-overload,no-any-return]


@pytest.fixture
def good(tmp_path: Path) -> Path:
    file = tmp_path / "good.sched"
    file.write_text(GOOD)
    return file


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    file = tmp_path / "faulty.sched"
    file.write_text(TWO_FAULTS)
    return file


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    file = tmp_path / "tokens.sched"
    file.write_text(TOKENS)
    return file


class TestUsage:
    @pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
    def test_help_shows_examples(self, command: list[str]) -> None:
        result = run(*command, "--help")
        assert result.exit_code == 0
        assert "Examples:" in result.output
        assert "  schedc " in result.output

    def test_version(self) -> None:
        assert run("--version").output == f"schedc {schedc.__version__}\n"

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["chek"], "there is no command `chek`; did you mean `check`?"),
            (["warmup 5 -> linear 10"], "to check it, write `schedc check` -e"),
            (["check"], "name a file or a folder"),
            (["check", "nowhere.sched"], "there is no file nowhere.sched"),
            (["check", "warmup 500 -> cosine 10k"], "write it behind -e"),
            (["check", "-e", SPEC, "-D", "peak"], "of the form name=value"),
            (["check", "-e", PARAM, "-D", "peek=1"], "did you mean `peak`?"),
            (["check", "-e", SPEC, "--world-size", "many"], "`many` is no number"),
            (["eval", "-e", SPEC, "--at", "soon"], "`soon` is no number"),
            (["eval", "-e", SPEC, "--at", "0:x"], "`x` is no number"),
            (["eval", "-e", SPEC, "--at", "3 epochs"], "epochs need the number of updates in an epoch"),
            (["eval", "-e", SPEC, "--at", "50%"], "`%` needs a run"),
            (["eval", "-e", SPEC, "--at", "0", "--name", "lrr"], "did you mean `lr`?"),
            (["compile", "-e", SPEC, "-o", "x.unknown"], "torch, json, csv"),
            (["compile", "-e", SPEC, "-o", "x", "--to", "cobol"], "'torch', 'json', 'csv'"),
            (["plot", "-e", SPEC, "-o", "x.jpeg"], ".png, .svg, .html"),
            (["explain", "SC999"], "there is no code `SC999`"),
            (["doc", "cosin"], "did you mean `cosine`?"),
        ],
    )
    def test_wrong_usage_is_status_2_and_says_what_to_write(self, arguments: list[str], says: str) -> None:
        result = run(*arguments)
        assert result.exit_code == 2
        assert says in result.output

    def test_a_folder_without_programs(self, tmp_path: Path) -> None:
        result = run("check", tmp_path)
        assert result.exit_code == 2
        assert "no .sched file" in result.output

    def test_a_file_that_is_no_text(self, tmp_path: Path) -> None:
        file = tmp_path / "x.sched"
        file.write_bytes(b"lr = \xff")
        result = run("check", file)
        assert result.exit_code == 2
        assert "not UTF-8 text (byte 5)" in result.output


class TestCheck:
    def test_a_good_file(self, good: Path) -> None:
        result = run("check", good)
        assert result.exit_code == 0
        assert result.output == "1 file, no errors\n"

    def test_every_error_of_every_file_in_one_run(self, faulty: Path, good: Path) -> None:
        result = run("check", good, faulty)
        assert result.exit_code == 1
        assert "no stage is called `cosin`" in result.output
        assert "`momentun`" in result.output
        assert result.output.endswith("2 files, 2 errors\n")

    def test_a_folder_is_searched(self, tmp_path: Path, faulty: Path, good: Path) -> None:
        inner = tmp_path / "inner"
        inner.mkdir()
        good.rename(inner / "good.sched")
        hidden = tmp_path / ".hidden"
        hidden.mkdir()
        (hidden / "no.sched").write_text("->")
        assert run("check", tmp_path).output.endswith("2 files, 2 errors\n")

    def test_strings_and_stdin(self) -> None:
        assert run("check", "-e", SPEC).exit_code == 0
        result = run("check", "-", input=FAULTY)
        assert result.exit_code == 1
        assert "<stdin>:1:28" in result.output

    def test_parameters_and_context(self) -> None:
        program = "param peak = 1\nlr = peak * (warmup 1 epoch -> cosine)"
        result = run("check", "-e", program, "-D", "peak=3e-4", "--length", "90 epochs", "--steps-per-epoch", "1_252")
        assert result.exit_code == 0, result.output

    def test_a_param_out_of_bounds(self) -> None:
        result = run("check", "-e", PARAM, "-D", "peak=-1")
        assert result.exit_code == 1

    def test_strict_makes_warnings_count(self) -> None:
        forgotten = "warmup 500 to=3e-4 -> cosine 10k"
        mild, strict = run("check", "-e", forgotten), run("check", "--strict", "-e", forgotten)
        assert "1 warning" in mild.output
        assert (mild.exit_code, strict.exit_code) == (0, 1)

    def test_json(self, faulty: Path) -> None:
        result = run("check", "--format", "json", faulty)
        data = json.loads(result.stdout)
        assert result.exit_code == 1
        assert data["summary"]["errors"] == 2
        first = data["diagnostics"][0]
        assert (first["code"], first["file"]) == ("SC201", str(faulty))
        assert (first["line"], first["column"], first["end_column"]) == (1, 28, 33)

    def test_github(self, faulty: Path) -> None:
        lines = run("check", "--format", "github", faulty).stdout.splitlines()
        assert lines[0].startswith(f"::error file={faulty},line=1,endLine=1,col=28,endColumn=32,title=SC201 ")
        assert "%0Ahelp: did you mean" in lines[0]

    def test_sarif(self, faulty: Path) -> None:
        log = json.loads(run("check", "--format", "sarif", faulty).stdout)
        (found,) = log["runs"]
        assert log["version"] == "2.1.0"
        assert {r["ruleId"] for r in found["results"]} == {r["id"] for r in found["tool"]["driver"]["rules"]}
        assert found["results"][0]["locations"][0]["physicalLocation"]["region"]["startColumn"] == 28

    def test_colours_only_where_asked(self, faulty: Path) -> None:
        assert "\033" not in process("check", faulty).stdout
        assert "\033[31m" in process("check", faulty, env={"FORCE_COLOR": "1"}).stdout
        assert "\033" not in process("check", faulty, env={"FORCE_COLOR": "1", "NO_COLOR": "1"}).stdout


class TestEval:
    def test_the_first_example_exactly(self) -> None:
        result = run("eval", "-e", SPEC, "--at", "0,250,500,5500,10500")
        assert [line.split() for line in result.stdout.splitlines()] == [
            ["update", "lr"], ["0", "0"], ["250", "0.5"], ["500", "1"], ["5500", "0.5"], ["10500", "0"],
        ]  # fmt: skip

    def test_base(self) -> None:
        assert run("eval", "-e", SPEC, "--at", "250", "--base", "0.1").stdout.split()[-1] == "0.05"

    def test_ranges_and_suffixes(self) -> None:
        updates = [line.split()[0] for line in run("eval", "-e", SPEC, "--at", "0:1k:500,10k").stdout.splitlines()[1:]]
        assert updates == ["0", "500", "1000", "10000"]

    def test_places_on_the_clocks_of_the_run(self, tokens: Path) -> None:
        lines = run("eval", tokens, "--at", "60M tokens,50%").stdout.splitlines()
        assert lines[0].split() == ["update", "tokens", "lr", "weight_decay"]
        assert lines[1].split() == ["6000", "60M", "0.0003", "0.1"]
        assert lines[2].split()[0] == "5000"

    def test_csv(self, tokens: Path) -> None:
        lines = run("eval", tokens, "--at", "1000", "--csv", "--name", "lr").stdout.splitlines()
        assert lines == ["update,samples,tokens,lr", "1000,10000,10000000,0.0003"]

    def test_a_schedule_that_has_ended(self) -> None:
        result = run("eval", "-e", "linear 10 -> error", "--at", "20")
        assert result.exit_code == 1
        assert "ends before update" in result.output

    def test_a_faulty_program(self) -> None:
        result = run("eval", "-e", FAULTY, "--at", "0")
        assert result.exit_code == 1
        assert result.stdout == ""
        assert "no stage is called `cosin`" in result.stderr


class TestShow:
    def test_stages_counts_batch_groups_and_init(self, tokens: Path) -> None:
        out = run("show", tokens).stdout
        for words in (
            "10000 updates (100M tokens)",
            "0 – 999",
            "1000 – 5999",
            "6000 – 9999",
            '"*.bias"',
            "normal std=0.02",
        ):
            assert words in out
        assert all(line == line.rstrip() for line in out.splitlines())

    def test_values_with_a_base(self) -> None:
        assert "0.1" in run("show", "-e", SPEC, "--base", "0.1").stdout

    def test_csv(self, tokens: Path) -> None:
        lines = run("show", "--csv", tokens).stdout.splitlines()
        assert lines[0] == "name,stage,first,last,first_value,last_value,formula,clock"
        assert lines[1].startswith("lr,warmup 1000 to=3e-4,0,999,0.0,")

    def test_layer_wise_decay_depends_on_the_capture(self) -> None:
        out = run("show", "-e", 'lr = 0.1\ngroup "blocks.{i}.*" { lr *= 0.75^(12 - i) }').stdout
        assert "depends on {i}" in out


class TestPlot:
    def test_in_the_terminal(self, tokens: Path) -> None:
        out = run("plot", tokens, "--width", "70").stdout
        assert "weight_decay" in out
        assert "\033" not in out

    @pytest.mark.parametrize(
        ("name", "start"), [("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.html", b"<!doctype html>")]
    )
    def test_into_a_file(self, tmp_path: Path, tokens: Path, name: str, start: bytes) -> None:
        assert run("plot", tokens, "-o", tmp_path / name).exit_code == 0
        assert (tmp_path / name).read_bytes().startswith(start)

    def test_several(self, tokens: Path, good: Path) -> None:
        out = run("plot", tokens, good, "--name", "lr").stdout
        assert "tokens.sched" in out
        assert "good.sched" in out


class TestCompile:
    def test_json_is_read_back_as_the_same_plan(self, tmp_path: Path, tokens: Path) -> None:
        assert run("compile", tokens, "-o", tmp_path / "plan.json").exit_code == 0
        plan = schedc.load(tmp_path / "plan.json")
        assert plan.hash == schedc.load(tokens).hash
        assert run("eval", tmp_path / "plan.json", "--at", "1000", "--name", "lr").stdout.split()[-1] == "0.0003"

    def test_csv_of_every_update(self, tmp_path: Path, tokens: Path) -> None:
        assert run("compile", tokens, "-o", tmp_path / "values.csv").exit_code == 0
        assert len((tmp_path / "values.csv").read_text().splitlines()) == 10_001

    def test_csv_without_an_end(self, tmp_path: Path) -> None:
        result = run("compile", "-e", "lr = 0.1", "-o", tmp_path / "values.csv")
        assert result.exit_code == 1
        assert "give the run's length" in result.output
        assert not list(tmp_path.iterdir())

    def test_code_to_stdout(self) -> None:
        result = run("compile", "-e", SPEC, "-o", "-", "--to", "torch")
        assert result.exit_code == 0
        compile(result.stdout, "schedule.py", "exec")

    def test_a_faulty_program_leaves_the_file_as_it_was(self, tmp_path: Path, faulty: Path) -> None:
        out = tmp_path / "plan.json"
        out.write_text("before")
        assert run("compile", faulty, "-o", out).exit_code == 1
        assert out.read_text() == "before"

    def test_a_folder_that_is_not_there(self, tmp_path: Path, good: Path) -> None:
        result = run("compile", good, "-o", tmp_path / "none" / "plan.json")
        assert result.exit_code == 2
        assert "cannot write" in result.output


class TestFmt:
    MESSY = "lr=3e-4*(warmup 500->cosine 10k)  # why\n"

    def test_it_rewrites_what_needs_it(self, tmp_path: Path) -> None:
        file = tmp_path / "a.sched"
        file.write_text(self.MESSY)
        result = run("fmt", file)
        assert result.exit_code == 0
        assert "1 file changed" in result.stderr
        once = file.read_text()
        assert "lr = 3e-4 * (warmup 500 -> cosine 10k)" in once
        assert "# why" in once
        assert "1 file left as it is" in run("fmt", file).stderr
        assert file.read_text() == once

    def test_check_and_diff_write_nothing(self, tmp_path: Path) -> None:
        file = tmp_path / "a.sched"
        file.write_text(self.MESSY)
        check, diff = run("fmt", "--check", file), run("fmt", "--diff", file)
        assert (check.exit_code, diff.exit_code) == (1, 0)
        assert f"-{self.MESSY}" in diff.stdout
        assert file.read_text() == self.MESSY

    def test_stdin(self) -> None:
        assert run("fmt", "-", input="lr=0.1").stdout == "lr = 0.1\n"

    def test_a_faulty_file_is_left_alone(self, tmp_path: Path) -> None:
        file = tmp_path / "a.sched"
        file.write_text("lr = ->\n")
        result = run("fmt", file)
        assert result.exit_code == 1
        assert "1 file with errors" in result.stderr
        assert file.read_text() == "lr = ->\n"


class TestPages:
    @pytest.mark.parametrize("stage", ["tree", "resolved", "timeline", "plan"])
    def test_every_stage_can_be_printed(self, stage: str, tokens: Path) -> None:
        result = run("dump", "--stage", stage, tokens)
        assert result.exit_code == 0
        assert "lr" in result.stdout
        if stage == "plan":
            assert json.loads(result.stdout)["bindings"][0]["name"] == "lr"

    def test_a_stage_that_the_program_does_not_reach(self) -> None:
        result = run("dump", "--stage", "plan", "-e", FAULTY)
        assert result.exit_code == 1
        assert "no stage is called `cosin`" in result.stderr

    def test_explain_lists_the_codes_and_takes_number_or_name(self) -> None:
        assert "SC201" in run("explain").stdout
        for asked in ("SC201", "sc201", "201", "unknown-name"):
            result = run("explain", asked)
            assert result.exit_code == 0
            assert "SC201" in result.stdout

    def test_doc(self) -> None:
        everything = run("doc").stdout
        assert "cosine" in everything
        assert "warmup" in everything
        one = run("doc", "warmup").stdout
        assert "def warmup(" in one
        assert "stdlib/stages.sched:" in one


class TestProcess:
    @pytest.mark.parametrize(("program", "status"), [(GOOD, 0), (FAULTY, 1)])
    def test_exit_status(self, program: str, status: int) -> None:
        done = process("check", "-e", program)
        assert done.returncode == status
        assert "Traceback" not in done.stderr + done.stdout

    def test_wrong_usage(self) -> None:
        done = process("check", "--no-such-option")
        assert done.returncode == 2
        assert "No such option" in done.stderr

    def test_a_bug_is_said_to_be_one(self, good: Path) -> None:
        broken = "import schedc.cli_check as c, schedc.cli as m\nc.summary = None\nm.main()"
        path = str(Path(schedc.__file__).parents[1])
        for debug in ("", "1"):
            env = {**os.environ, "PYTHONPATH": path, "SCHEDC_DEBUG": debug}
            done = subprocess.run(
                [sys.executable, "-c", broken, "check", good], capture_output=True, text=True, env=env, check=False
            )
            assert done.returncode == 70
            assert "this is a bug in schedc" in done.stderr
            assert ("Traceback" in done.stderr) == bool(debug)

    def test_a_reader_that_stops_early(self, tokens: Path) -> None:
        path = str(Path(schedc.__file__).parents[1])
        command = f'"{sys.executable}" -m schedc eval "{tokens}" --at 0:9999:1 --csv | head -n 1'
        env = {**os.environ, "PYTHONPATH": path}
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=env, check=False)
        assert done.stdout.startswith("update")
        assert done.stderr == ""


class TestImports:
    def loaded(self, code: str) -> set[str]:
        path = str(Path(schedc.__file__).parents[1])
        code += "\nimport sys; print('\\n'.join(sys.modules))"
        env = {**os.environ, "PYTHONPATH": path}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
        return {name.partition(".")[0] for name in done.stdout.splitlines() if name}

    def test_importing_schedc_imports_nothing_else(self) -> None:
        heavy = {"lark", "sympy", "numpy", "pydantic", "torch", "click", "rich", "matplotlib", "plotext"}
        assert not self.loaded("import schedc") & heavy

    def test_check_imports_neither_torch_nor_pictures(self) -> None:
        code = f"import schedc.cli as m\nassert m.run(['check', '-e', {SPEC!r}]) == 0"
        assert not self.loaded(code) & {"torch", "matplotlib", "plotext", "rich", "yaml"}

    def test_a_plan_is_read_without_lark_and_sympy(self, tmp_path: Path, tokens: Path) -> None:
        (tmp_path / "plan.json").write_text(schedc.load(tokens).canonical_json())
        code = f"import schedc\nassert schedc.load({str(tmp_path / 'plan.json')!r})['lr'](1000) == 3e-4"
        assert not self.loaded(code) & {"lark", "sympy", "torch", "click"}


class TestPython:
    """The same, from Python."""

    def test_values_at_one_update_at_many_and_of_a_tensor(self) -> None:
        lr = schedc.compile(SPEC)["lr"]
        assert lr(250) == 0.5
        assert lr([0, 500, 10_500]).tolist() == [0.0, 1.0, 0.0]
        torch = pytest.importorskip("torch")
        assert lr(torch.tensor([[250], [5500]])).tolist() == [[0.5], [pytest.approx(0.5)]]

    @pytest.mark.parametrize(("update", "error"), [(0.5, TypeError), (-1, ValueError), ([0.5], TypeError)])
    def test_what_is_no_update(self, update: object, error: type[Exception]) -> None:
        with pytest.raises(error, match="updates are"):
            schedc.compile(SPEC)["lr"](update)  # type: ignore[call-overload]

    def test_base_is_what_a_relative_schedule_multiplies(self) -> None:
        assert schedc.compile(SPEC, base=0.1)["lr"](250) == 0.05
        assert schedc.compile("lr = 0.5 * (linear 10)", base=0.1)["lr"](0) == 0.5

    def test_every_message_is_in_the_error_and_drawn(self) -> None:
        with pytest.raises(schedc.SchedError) as caught:
            schedc.compile(TWO_FAULTS, name="train.sched")
        assert [d.span.text for d in caught.value.diagnostics] == ["cosin", "momentun"]
        assert " --> train.sched:1:28\n" in str(caught.value)

    @pytest.mark.parametrize(("keyword", "near"), [("peek", "`peak`"), ("step_per_epoch", "`steps_per_epoch`")])
    def test_a_wrong_keyword(self, keyword: str, near: str) -> None:
        with pytest.raises(schedc.SchedError, match=f"did you mean {near}") as caught:
            schedc.compile(PARAM, **{keyword: 4})  # type: ignore[arg-type]
        assert isinstance(caught.value, TypeError)

    def test_a_name_that_is_not_bound(self) -> None:
        with pytest.raises(KeyError, match="did you mean `lr`"):
            schedc.compile(SPEC)["lrr"]

    def test_warnings_of_the_compiler_are_warnings(self) -> None:
        with pytest.warns(schedc.SchedWarning, match="it multiplies `base`"):
            plan = schedc.compile("warmup 500 to=3e-4 -> cosine 10k")
        assert [d.level.value for d in plan.diagnostics] == ["warning"]

    def test_parameters_and_context(self, tmp_path: Path) -> None:
        file = tmp_path / "train.sched"
        file.write_text("param peak = 1\nlr = peak * (warmup 1 epoch -> cosine)\n")
        plan = schedc.load(file, peak="0.5", length="3 epochs", steps_per_epoch=100)
        assert plan["lr"](100) == 0.5
        assert plan.run is not None
        assert plan.run.updates == 300

    def test_a_file_may_use_its_neighbour(self, tmp_path: Path) -> None:
        (tmp_path / "common.sched").write_text("let peak = 0.5\n")
        (tmp_path / "train.sched").write_text('use "common.sched"\nlr = common.peak * (linear 10)\n')
        assert schedc.load(tmp_path / "train.sched")["lr"](0) == 0.5

    def test_a_plan_survives_its_json_and_a_pickle(self) -> None:
        plan = schedc.compile(TOKENS)
        again = schedc.read(plan.canonical_json())
        assert again.hash == plan.hash
        assert pickle.loads(pickle.dumps(plan)) == plan
        assert again["lr"](1000) == 3e-4

    def test_batch_is_both_the_declaration_and_its_settings(self) -> None:
        plan = schedc.compile("train { length = 100 steps }\nbatch { global = 64; micro = 8 }\nlr = 0.1")
        assert plan.batch.micro == 8
        pytest.importorskip("torch")
        assert "accumulation 4" in str(plan.batch(world_size=2))

    def test_a_target_that_there_is_not(self) -> None:
        with pytest.raises(schedc.SchedError, match=r"no target `torhc`; did you mean `torch`"):
            schedc.compile(SPEC).emit("torhc")

    def test_facts_and_segments_of_one_name(self) -> None:
        bound = schedc.compile(SPEC)["lr"]
        assert [s.first for s in bound.segments] == [0, 500]
        assert all(f.binding == "lr" for f in bound.facts)

    def test_formulas_are_sympys_in_local_time(self) -> None:
        sympy = pytest.importorskip("sympy")
        warmup, cosine = schedc.compile("warmup 500 -> cosine 10k")["lr"].formula
        (t,) = cosine.free_symbols
        assert warmup.subs(*warmup.free_symbols, 250) == sympy.Rational(1, 2)
        assert [cosine.subs(t, at) for at in (0, 5000, 10_000)] == [1, sympy.Rational(1, 2), 0]

    def test_without_torch_it_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        plan = schedc.compile(SPEC)
        for name in [n for n in sys.modules if n.startswith("schedc.backends.torch_")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "torch", None)
        with pytest.raises(ImportError, match=r"pip install 'schedc\[torch\]'"):
            plan.scheduler(None)  # type: ignore[arg-type]
