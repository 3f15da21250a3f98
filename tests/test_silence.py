"""`# schedc: ignore` comments, beyond the golden cases in `suite/syntax/ignores.sched`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from schedc.compiler.diagnostics import Diagnostic
from schedc.compiler.pipeline import Options, compile_source
from schedc.compiler.source import Source

JUMP = "lr = warmup 500 to=0.1\n  -> 2 * exp(-t / 300)"
FROM = "lr = warmup 500 to=0.1 -> cosine 10k from=0.05"
WHY = "-- because"


def said(text: str, **more: Any) -> tuple[Diagnostic, ...]:
    return compile_source(Source("x.sched", text), Options(**more)).said


def numbers(text: str, **more: Any) -> list[str]:
    return [d.code.number for d in said(text, **more)]


def test_an_ignored_error_leaves_a_plan() -> None:
    staged = compile_source(Source("x.sched", f"{JUMP}  # schedc: ignore SC401 {WHY}"))
    assert staged.value is not None
    assert staged.said == ()


@pytest.mark.parametrize(
    "text",
    [
        f"{FROM}  # schedc: ignore SC403 {WHY}",
        f"{FROM}  #schedc:ignore SC403 {WHY}",
        f"# schedc: ignore SC403 {WHY}\n# about the rate\n\n{FROM}",
        f"# schedc: ignore SC403 {WHY}\n## A doc comment.\n{FROM}",
        f"# schedc: ignore SC999\n{FROM}",
        f'group "a" {{\n  # schedc: ignore SC403 {WHY}\n  {FROM}\n}}\nlr = 0.1',
        f'group "a" {{  # schedc: ignore SC403 {WHY}\n  {FROM}\n}}\nlr = 0.1',
        f"lr = warmup 500 to=0.1\n  # schedc: ignore SC403 {WHY}\n\n  # and so on\n  -> cosine 10k from=0.05",
    ],
)
def test_where_a_comment_applies(text: str) -> None:
    assert "SC403" not in numbers(text) or "SC132" in numbers(text)


@pytest.mark.parametrize(
    "text",
    [
        f"momentum = 0.9  # schedc: ignore SC403 {WHY}\n{FROM}",
        f"# schedc: ignore SC403 {WHY}\nmomentum = 0.9\n{FROM}",
        f"{FROM}\n# schedc: ignore SC403 {WHY}",
        f"## schedc: ignore SC403 {WHY}\n{FROM}",
    ],
)
def test_where_it_does_not(text: str) -> None:
    assert "SC403" in numbers(text)


def test_unused_ones_are_said_only_when_all_checks_have_run() -> None:
    text = f"lr = 0.1  # schedc: ignore SC403 {WHY}\n"
    assert numbers(text) == ["SC130"]
    assert "SC130" not in numbers(text + "momentum = cosin 10")
    assert "SC130" not in numbers(text + "momentum = warmup 5 to=0.1 -> 2 * exp(-t)")


def test_several_codes_each_for_itself() -> None:
    found = said(f"{FROM}  # schedc: ignore SC403,SC408 {WHY}")
    assert [(d.code.number, d.span.text) for d in found] == [("SC130", "SC408")]
    assert found[0].fix is None


@pytest.mark.parametrize("alone", [True, False])
def test_the_fix_removes_the_comment(alone: bool) -> None:
    comment = f"# schedc: ignore SC403 {WHY}"
    text = f"{comment}\nlr = 0.1\n" if alone else f"lr = 0.1  {comment}\n"
    (found,) = said(text)
    assert found.fix is not None
    assert text[: found.fix.span.start] + text[found.fix.span.end :] == "lr = 0.1\n"


def test_comments_of_an_imported_file_speak_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    main = 'use "old.sched" as old\nlr = old.lr'
    (tmp_path / "old.sched").write_text(JUMP + "\n")
    assert "SC401" in numbers(main, root=tmp_path)
    (tmp_path / "old.sched").write_text(
        f"{JUMP}  # schedc: ignore SC401 {WHY}\nmomentum = 0.9 # schedc: ignore SC405\n"
    )
    assert numbers(main, root=tmp_path) == []


def test_the_configuration_ignores_by_the_start_of_a_code() -> None:
    assert numbers(FROM) == ["SC403"]
    assert numbers(FROM, ignore=("SC4",)) == []
    assert numbers(FROM, select=("SC6",)) == []
    assert numbers(FROM, select=("SC40",)) == ["SC403"]
    assert numbers("lr = cosin 5", ignore=("SC2",), select=("SC6",)) == ["SC201"]
    assert numbers(JUMP, ignore=("SC401",)) == []


def test_messages_about_comments_can_be_ignored_by_the_configuration() -> None:
    text = f"{FROM}  # schedc: ignore SC403"
    assert numbers(text) == ["SC131"]
    assert numbers(text, ignore=("SC131",)) == []
