"""`[tool.schedc]` in pyproject.toml, the options that come before it, and `--fix`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from schedc.cli import cli
from schedc.cli_check import certain, edited
from schedc.cli_messages import as_github, as_sarif
from schedc.compiler import codes
from schedc.compiler.diagnostics import Fix, Label, error
from schedc.compiler.source import Source

FROM = "lr = warmup 500 to=0.1 -> cosine 10k from=0.05\n"
NEAR = "lr = warmup 500 to=0.1 -> cosine 10k from=0.099\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.sched").write_text(FROM)
    (tmp_path / "b.sched").write_text(NEAR)
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in arguments], catch_exceptions=False)


def configure(folder: Path, text: str) -> None:
    (folder / "pyproject.toml").write_text(f"[tool.schedc]\n{text}\n")


class TestTable:
    def test_ignore_and_select(self, folder: Path) -> None:
        assert "1 note" in run("check", "a.sched").output
        configure(folder, 'ignore = ["SC403"]')
        assert run("check", "a.sched").output == "1 file, no errors\n"
        configure(folder, 'select = ["SC6"]')
        assert run("check", "a.sched").output == "1 file, no errors\n"
        assert "1 note" in run("check", "a.sched", "--select", "SC4").output
        assert "1 note" in run("check", "a.sched", "--no-config").output

    def test_strict(self, folder: Path) -> None:
        assert run("check", "b.sched").exit_code == 0
        configure(folder, "strict = true")
        assert run("check", "b.sched").exit_code == 1
        assert run("check", "a.sched").exit_code == 0
        assert run("check", "b.sched", "--no-strict").exit_code == 0

    @pytest.mark.parametrize("value", ["true", '["SC403"]', '["SC4"]'])
    def test_warnings_as_errors(self, folder: Path, value: str) -> None:
        configure(folder, f"warn-as-error = {value}")
        result = run("check", "b.sched")
        assert result.exit_code == 1
        assert "error[SC403]" in result.output
        assert run("check", "a.sched").exit_code == 0

    def test_for_some_files(self, folder: Path) -> None:
        inner = folder / "old"
        inner.mkdir()
        (inner / "c.sched").write_text(NEAR)
        configure(folder, 'strict = true\n[tool.schedc.per-file."old/*"]\nstrict = false\n'
                          '[tool.schedc.per-file."a.*"]\nignore = ["SC403"]')  # fmt: skip
        assert run("check", "b.sched").exit_code == 1
        assert run("check", "old/c.sched").exit_code == 0
        assert run("check", "a.sched").output == "1 file, no errors\n"
        assert run("check", ".").output.endswith("3 files, no errors, 2 warnings\n")

    def test_the_nearest_file_with_the_table_holds(self, folder: Path) -> None:
        inner = folder / "x" / "y"
        inner.mkdir(parents=True)
        (inner / "b.sched").write_text(NEAR)
        (folder / "x" / "pyproject.toml").write_text("[project]\nname = 'x'\n")
        configure(folder, "strict = true")
        assert run("check", "x/y/b.sched").exit_code == 1
        configure(folder / "x", "strict = false")
        assert run("check", "x/y/b.sched").exit_code == 0

    def test_context_fills_in_what_a_program_leaves_open(self, folder: Path) -> None:
        configure(folder, "context = { steps_per_epoch = 100, world_size = 8 }")
        text = "train { length = 3 epochs }\nlr = 0.1 * (warmup 1 epoch -> cosine)\n"
        assert "300 updates" in run("show", "-e", text).stdout
        assert "600 updates" in run("show", "-e", text, "--steps-per-epoch", "200").stdout
        own = text.replace("epochs }", "epochs; steps_per_epoch = 50 }")
        assert "150 updates" in run("show", "-e", own).stdout
        assert run("check", "--no-config", "-e", text).exit_code == 1

    def test_root(self, folder: Path) -> None:
        (folder / "sub").mkdir()
        (folder / "sub" / "d.sched").write_text('use "../a.sched" as a\nlr = a.lr\n')
        assert run("check", "sub/d.sched").exit_code == 0
        configure(folder, 'root = "sub"')
        assert "SC216" in run("check", "sub/d.sched").output
        assert run("check", "sub/d.sched", "--root", ".").exit_code == 0

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("strikt = true", "there is no key `strikt`; did you mean `strict`?"),
            ("warn_as_error = true", "did you mean `warn-as-error`?"),
            ("ignore = 'SC403'", "`ignore` is a list of codes"),
            ("ignore = ['SC999']", "no message has the code `SC999`"),
            ("ignore = ['jump']", "did you mean `SC401`?"),
            ("strict = 1", "`strict` is true or false"),
            ("root = 'nowhere'", "there is no folder"),
            ("context = { world_sise = 8 }", "nothing of a run is called `world_sise`; did you mean `world_size`?"),
            ("context = { world_size = true }", "`context.world_size` is a whole number"),
            ("[tool.schedc.per-file.'*.sched']\nroot = 'x'", "there is no key `root`"),
            ("ignore = [", "is no TOML"),
        ],
    )
    def test_a_faulty_one_is_wrong_usage(self, folder: Path, text: str, says: str) -> None:
        configure(folder, text)
        result = run("check", "a.sched")
        assert result.exit_code == 2
        assert says in result.output
        assert "pyproject.toml" in result.output

    def test_faults_of_a_file_that_does_not_speak_to_us(self, folder: Path) -> None:
        (folder / "pyproject.toml").write_text("[tool\n")
        assert run("check", "a.sched").exit_code == 0

    def test_codes_on_the_command_line(self, folder: Path) -> None:
        assert run("check", "a.sched", "--ignore", "SC403,SC403").output == "1 file, no errors\n"
        result = run("check", "a.sched", "--ignore", "SC999")
        assert result.exit_code == 2
        assert "--ignore: no message has the code `SC999`" in result.output


class TestFix:
    def test_certain_edits_and_no_others(self) -> None:
        source = Source("x", "abc")
        code = codes.CODES["SC101"]

        def said(start: int, end: int, text: str, certain: bool = True) -> object:
            span = source.span(start, end)
            return error(code, "", span, fix=Fix(span, text, certain))

        found = certain(source, [said(1, 2, "X"), said(1, 3, "Y"), said(0, 1, "Z", False), said(2, 3, "W")])  # type: ignore[list-item]
        assert edited(source.text, found) == "aXW"

    def test_a_guessed_name_stays(self, folder: Path) -> None:
        (folder / "a.sched").write_text("lr = warmup 5 -> cosin 10\n")
        assert run("check", "--fix", "a.sched").exit_code == 1
        assert (folder / "a.sched").read_text() == "lr = warmup 5 -> cosin 10\n"

    def test_round_after_round(self, folder: Path) -> None:
        (folder / "a.sched").write_text("lr = 3e-4 * cosine 10k  # schedc: ignore SC403 -- old\nmomentum = 2 ** 3\n")
        result = run("check", "--fix", "a.sched")
        assert result.output.startswith("1 file put right; 1 file, no errors")
        assert (folder / "a.sched").read_text().startswith("lr = 3e-4 * cosine(10k)\n")

    def test_line_ends_and_mark_stay(self, folder: Path) -> None:
        (folder / "a.sched").write_bytes("\ufeff# α\r\nlr = 3e-4 * cosine 10k\r\nmomentum = 0.9\n".encode())
        assert "1 file put right" in run("check", "--fix", "a.sched").output
        wanted = "\ufeff# α\r\nlr = 3e-4 * cosine(10k)\r\nmomentum = 0.9\n"
        assert (folder / "a.sched").read_bytes() == wanted.encode()


class TestFormats:
    SOURCE = Source("my file%,:.sched", "lr = cosin 5\nmomentum = 0.9\n")

    def test_github_escapes(self) -> None:
        span = self.SOURCE.span(5, 10)
        said = error(codes.CODES["SC201"], "100 % of\r\nit: a, b", span, help="write `a,b`")
        assert as_github([said]) == (
            "::error file=my file%25%2C%3A.sched,line=1,endLine=1,col=6,endColumn=10,title=SC201 unknown-name"
            "::100 %25 of%0D%0Ait: a, b%0Ahelp: write `a,b`"
        )

    def test_sarif(self) -> None:
        span = self.SOURCE.span(5, 10)
        label = Label(self.SOURCE.span(13, 21), "")
        said = error(codes.CODES["SC201"], "no", span, labels=(label,), help="so", fix=Fix(span, "cosine"))
        log = json.loads(as_sarif([said, said], "1.0"))
        assert log["version"] == "2.1.0"
        (found,) = log["runs"]
        (rule,) = found["tool"]["driver"]["rules"]
        assert rule["id"] == "SC201"
        assert rule["help"]["markdown"].startswith("# SC201: unknown-name")
        assert "```" not in rule["help"]["text"]
        result = found["results"][0]
        assert result["ruleIndex"] == 0
        assert result["message"]["text"] == "no\nhelp: so"
        place = result["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"] == "my%20file%25%2C%3A.sched"
        region = {"startLine": 1, "startColumn": 6, "endLine": 1, "endColumn": 11}
        assert place["region"] == region
        assert result["relatedLocations"][0]["message"]["text"] == "here"
        (change,) = result["fixes"][0]["artifactChanges"]
        assert change["replacements"] == [{"deletedRegion": region, "insertedContent": {"text": "cosine"}}]

    def test_help_tells_of_the_configuration(self) -> None:
        out = run("check", "--help").output
        for words in ("[tool.schedc]", "warn-as-error", "# schedc: ignore SC403", "SCHEDC_CACHE=off", "--no-config"):
            assert words in out
