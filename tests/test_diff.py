"""`schedc diff` and `schedc.diff`: what is proved, what is certified, and where two schedules part."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import schedc
from schedc.cli import cli
from schedc.compiler.difference import Comparison, compare, first_difference

SPEC = "lr = 3e-4 * (warmup 500 -> cosine 10k)"
RUN = """\
train { length = 100M tokens; seq_len = 1000 }
batch { global = 10 }
lr = warmup 1000 to=3e-4 -> hold until 60M tokens -> linear to=0
weight_decay = lr^2
let kl = 0.5
group "*.bias" { weight_decay = 0 }
init { Linear : normal std=0.02 }
"""


def diff(a: str, b: str, **more: int) -> Comparison:
    return schedc.diff(a, b, **more)


def verdicts(found: Comparison) -> dict[str, str]:
    return {c.name + (f" of {c.group}" if c.group else ""): c.how for c in found.bindings}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["diff", *map(str, arguments)], catch_exceptions=False)


class TestEqual:
    @pytest.mark.parametrize(
        "other",
        [
            SPEC,
            "lr = warmup 500 to=3e-4 -> cosine 10k",
            "lr = warmup 500 to=3e-4 -> 3e-4 * cos(pi * t / 20000)^2 for 10k -> 0",
            "lr = 3e-4 * n / 500 for 500 -> 1.5e-4 * (1 + cos(pi * t / 10k)) for 10k -> 0",
        ],
    )
    def test_proved(self, other: str) -> None:
        found = diff(SPEC, other)
        assert verdicts(found) == {"lr": "proved"}
        assert found.equal
        assert "proved equal" in str(found)

    @pytest.mark.parametrize(
        "other",
        [
            "lr = min(3e-4 * n / 500, 3e-4) for 500 -> cosine 10k",
            "lr = if(n < 500, 3e-4 * n / 500, if(n < 10500, 1.5e-4 * (1 + cos(pi * (n - 500) / 10k)), 0))",
        ],
    )
    def test_certified_at_every_update(self, other: str) -> None:
        found = diff("train { length = 20k }\n" + SPEC, "train { length = 20k }\n" + other)
        assert verdicts(found) == {"lr": "certified"}
        assert "certified equal over 20000 updates" in str(found)

    def test_without_a_run_what_never_ends_stays_undecided(self) -> None:
        found = diff("lr = 0.1 / (1 + t)", "lr = min(0.1, 0.1 / (1 + t))")
        assert verdicts(found) == {"lr": "undecided"}
        assert not found.equal
        assert found.parts is None
        assert "give the run's length" in str(found)

    def test_a_long_run_is_narrowed_down(self) -> None:
        a = "train { length = 300M }\nlr = 3e-4 * (warmup 500 -> cosine)"
        found = diff(a, a.replace("cosine", "max(cosine, 0)"))
        assert verdicts(found) == {"lr": "certified"}

    def test_a_name_that_reads_another_one_is_equal_only_if_that_is(self) -> None:
        found = diff(RUN, RUN.replace("60M", "61M"))
        assert verdicts(found) == {
            "lr": "different", "weight_decay": "different", "kl": "proved", 'weight_decay of "*.bias"': "proved",
        }  # fmt: skip
        assert verdicts(diff(RUN, RUN))["weight_decay"] == "proved"

    def test_feedback_with_other_settings_is_no_proof(self) -> None:
        a = "warmup 5 -> cosine 10 | plateau factor=0.2"
        found = diff(a, a.replace("0.2", "0.3"))
        assert not found.equal
        assert [(c.what, c.a, c.b) for c in found.changes] == [("plateau on loss: factor", "0.2", "0.3")]
        assert "with no cut by plateau" in str(found)

    def test_clocks_that_differ_are_no_proof(self) -> None:
        found = diff(RUN, RUN.replace("global = 10 ", "global = 20 "))
        assert verdicts(found)["lr"] == "different"
        changed = {c.what: (c.a, c.b) for c in found.changes}
        assert changed["global batch from update 0 on"] == ("10 × 1000 tokens", "20 × 1000 tokens")
        assert changed["samples before update 1"] == ("10", "20")
        assert changed["run"][1].startswith("5000 updates")


class TestDifferent:
    def test_where_they_part_and_where_they_are_farthest_apart(self) -> None:
        found = diff(SPEC, SPEC.replace("cosine", "linear"))
        (one,) = found.bindings
        a, b = (schedc.compile(t)["lr"](range(11_000)) for t in (SPEC, SPEC.replace("cosine", "linear")))
        apart = np.abs(a - b)
        assert one.parts is not None
        assert one.largest is not None
        assert one.parts.update == int(np.flatnonzero(apart > 1e-12 * a.max())[0])
        assert one.largest.update == int(apart.argmax())
        assert one.largest.amount == pytest.approx(apart.max())
        assert one.share == pytest.approx(apart.max() / a.max())
        assert (one.parts.a.label, one.parts.b.label) == ("cosine 10k", "linear 10k")
        assert one.parts.b.formula == "0.0003 - 3e-8*t"

    def test_a_long_run(self) -> None:
        a = "train { length = 300M }\nlr = 3e-4 * (warmup 500 -> hold 100M -> cosine)"
        (one,) = diff(a, a.replace("100M", "150M")).bindings
        assert one.parts is not None
        assert one.largest is not None
        assert 100_000_500 < one.parts.update < 100_001_500
        plans = schedc.compile(a), schedc.compile(a.replace("100M", "150M"))

        def apart(update: int) -> float:
            return abs(plans[0]["lr"](update) - plans[1]["lr"](update))

        assert apart(one.parts.update - 1) <= 1e-12 * 3e-4 < apart(one.parts.update)
        assert one.largest.amount == pytest.approx(max(map(apart, range(0, 300_000_000, 100_003))), rel=1e-6)

    def test_a_difference_of_one_update_in_a_long_run_is_found(self) -> None:
        a = "train { length = 50M }\nlr = 0.1"
        (one,) = diff(a, a + " for 31_234_567 -> 0.2 for 1 -> 0.1").bindings
        assert one.parts is not None
        assert one.parts.update == 31_234_567

    def test_from_an_update_on(self) -> None:
        a, b = "lr = 0.1 for 10 -> 0.2", "lr = 0.3 for 10 -> 0.2"
        assert diff(a, b).parts == 0
        assert diff(a, b, from_update=9).parts == 9
        assert diff(a, b, from_update=10).equal

    def test_names_and_signs(self) -> None:
        found = diff("lr = 0.1", "lr *= 0.1\nmomentum = 0.9")
        assert [c.detail for c in found.bindings] == ["`lr = …` against `lr *= …`", "bound only in the second"]

    def test_relative_against_absolute_with_base(self) -> None:
        plans = schedc.compile("lr = 0.1 for 5 -> 0.05", base=0.2), schedc.compile("lr *= 0.5 for 5 -> 0.25", base=0.2)
        assert compare(*plans, bases=(0.2, 0.2)).equal

    def test_a_schedule_that_stops(self) -> None:
        (one,) = diff("lr = linear 10 from=1 -> 0", "lr = linear 10 from=1 -> error").bindings
        assert one.parts is not None
        assert one.parts.update == 10
        assert one.parts.b.stops is not None
        assert math.isinf(one.parts.amount)
        assert "stops" in str(diff("lr = linear 10 from=1 -> 0", "lr = linear 10 from=1 -> error"))

    def test_groups_init_and_settings(self) -> None:
        b = RUN.replace('"*.bias"', '"*norm*"').replace("std=0.02", "std=0.01").replace("global", "micro = 5; global")
        changed = {c.what: (c.a, c.b) for c in diff(RUN, b).changes}
        assert changed['group "*.bias"'] == ("there", "not there")
        assert changed['group "*norm*"'] == ("not there", "there")
        assert changed["batch.micro"] == ("not given", "5")
        assert "std=0.01" in changed["init Linear"][1]

    def test_initialisation_is_behind_us_when_resuming(self) -> None:
        assert diff(RUN, RUN.replace("0.02", "0.01"), from_update=1).equal

    def test_it_has_no_truth(self) -> None:
        with pytest.raises(TypeError, match="equal"):
            bool(diff(SPEC, SPEC))


def test_first_difference_of_functions() -> None:
    assert first_difference(lambda n: n * 1.0, lambda n: np.minimum(n, 700_000) * 1.0, 5, 10**6) == 700_001
    assert first_difference(lambda n: n * np.nan, lambda n: n * np.nan, 0, 10) is None


class TestCommand:
    def test_status_and_order(self, tmp_path: Path) -> None:
        file = tmp_path / "a.sched"
        file.write_text(SPEC)
        assert run(file, "-e", SPEC).exit_code == 0
        assert run(file, file).exit_code == 0
        different = run(file, "-e", "lr = 0.1")
        assert different.exit_code == 1
        assert different.stdout.startswith(f"{file} and <string>: different")
        assert run("-e", "lr = 0.1", file).stdout.startswith(f"<string> and {file}: different")
        assert run(file).exit_code == 2
        assert "takes two programs, and 1 are given" in run(file).output
        assert run(file, "-e", "lr = cosin 3").exit_code == 1

    def test_json(self) -> None:
        data = json.loads(run("-e", SPEC, "-e", "lr = 0.1 for 5 -> error", "--format", "json").stdout)
        assert data["equal"] is False
        assert data["parts"] == 0
        (one,) = data["bindings"]
        assert one["parts"]["a"]["value"] == 0.0
        assert one["parts"]["b"]["formula"] == "0.1"

    def test_columns_are_aligned_and_plain(self) -> None:
        out = run("-e", RUN, "-e", RUN.replace("60M", "61M")).stdout
        assert "\033" not in out
        lines = [line for line in out.splitlines() if line.lstrip().startswith(("a  ", "b  "))]
        assert lines[0].index("0.0003 - ") == lines[1].rindex("0.0003")

    def test_from_update(self) -> None:
        assert run("-e", "0.1 for 1k -> 0.2", "-e", "0.3 for 1k -> 0.2", "--from-update", "1k").exit_code == 0

    def test_plans_and_states_as_json(self, tmp_path: Path) -> None:
        plan = schedc.compile(SPEC)
        (tmp_path / "plan.json").write_text(plan.canonical_json())
        state = {"last_epoch": 3, "plan_hash": plan.hash, "plan": plan.canonical_json()}
        (tmp_path / "state.json").write_text(json.dumps({"schedulers": [state]}))
        assert run(tmp_path / "plan.json", tmp_path / "state.json").exit_code == 0
        (tmp_path / "none.json").write_text('{"a": 1}')
        nothing = run(tmp_path / "none.json", "-e", SPEC)
        assert nothing.exit_code == 2
        assert "holds no plan" in nothing.output
        assert schedc.diff({"scheduler": state}, tmp_path / "plan.json").equal

    def test_a_compiled_file_stores_no_plan(self) -> None:
        with pytest.raises(ValueError, match="give its source"):
            schedc.diff({"plan_hash": "x"}, SPEC)


class TestCheckpoint:
    def test_the_plan_in_a_checkpoint(self, tmp_path: Path) -> None:
        torch = pytest.importorskip("torch")
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(2))], lr=0.1)
        scheduler = schedc.compile(SPEC).scheduler(optimizer)
        file = tmp_path / "last.pt"
        torch.save({"model": {"w": torch.ones(3)}, "sched": scheduler.state_dict()}, file)
        assert run(file, "-e", SPEC).exit_code == 0
        torch.save({"sched": scheduler.state_dict()}, file, _use_new_zipfile_serialization=False)
        assert schedc.diff(file, SPEC).equal

    def test_nothing_in_it_is_executed(self, tmp_path: Path) -> None:
        torch = pytest.importorskip("torch")
        file = tmp_path / "bad.pt"
        torch.save({"a": Path("x")}, file)
        result = run(file, "-e", SPEC)
        assert result.exit_code == 2
        assert "weights_only=True" in result.output
        (tmp_path / "junk.pt").write_bytes(b"nothing")
        assert run(tmp_path / "junk.pt", "-e", SPEC).exit_code == 2
