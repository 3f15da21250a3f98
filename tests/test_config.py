"""Schedules as texts in configurations."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

import schedc
from schedc.config import ConfigError, Schedule, load_yaml, register_jsonargparse, register_omegaconf

TEXT = "warmup 500 linear -> cosine T=10000 | plateau factor=0.2"
FAULTY = "warmup 500 -> cosin 10k"


class Train(BaseModel):
    name: str = "run"
    lr: Schedule


class TestSchedule:
    def test_it_is_its_text_and_its_plan(self) -> None:
        made = Schedule(TEXT)
        assert made == TEXT
        assert made.text == TEXT
        assert hash(made) == hash(TEXT)
        assert made.plan["lr"](250) == 0.5

    def test_a_faulty_text_is_refused_where_it_is_made(self) -> None:
        with pytest.raises(schedc.SchedError, match=r"no stage is called `cosin`") as caught:
            Schedule(FAULTY)
        assert caught.value.diagnostics[0].span.text == "cosin"

    def test_copies_and_pickles(self) -> None:
        made = Schedule("warmup 5 -> cosine 10 epochs", steps_per_epoch=7)
        for again in (pickle.loads(pickle.dumps(made)), copy.copy(made), copy.deepcopy(made)):
            assert isinstance(again, Schedule)
            assert again == made
            assert again.plan["lr"](5) == 1.0

    def test_what_is_known_of_the_run_later(self) -> None:
        assert Schedule("param peak = 2\nlr = peak * (linear 10)").compile(peak=4)["lr"](5) == 2.0


class TestPydantic:
    def test_a_text_becomes_a_schedule(self) -> None:
        train = Train.model_validate({"lr": TEXT})
        assert isinstance(train.lr, Schedule)
        assert json.loads(train.model_dump_json()) == {"name": "run", "lr": TEXT}
        assert Train.model_validate_json(train.model_dump_json()) == train

    def test_the_message_shows_the_caret_under_the_word(self) -> None:
        with pytest.raises(ValidationError) as caught:
            Train(lr=FAULTY)  # type: ignore[arg-type]
        lines = str(caught.value).split("\n")
        shown = next(i for i, line in enumerate(lines) if FAULTY in line)
        assert lines[shown + 1].index("^") == lines[shown].index("cosin")
        assert lines[shown + 1].count("^") == len("cosin")

    def test_the_errors_can_be_sent_as_json(self) -> None:
        with pytest.raises(ValidationError) as caught:
            Train(lr=FAULTY)  # type: ignore[arg-type]
        (error,) = json.loads(caught.value.json())
        assert error["type"] == "schedule"
        assert "no stage is called `cosin`" in error["msg"]

    @pytest.mark.parametrize(("value", "says"), [(3e-4, "write 'lr = 0.0003'"), (None, "a schedule, as a text")])
    def test_other_things_than_texts(self, value: object, says: str) -> None:
        with pytest.raises(ValidationError, match=says):
            Train(lr=value)  # type: ignore[arg-type]

    def test_its_json_schema(self) -> None:
        schema = Train.model_json_schema()["properties"]["lr"]
        assert schema["type"] == "string"
        assert schema["format"] == "sched"

    def test_context_says_what_the_text_does_not(self) -> None:
        data = {"lr": "warmup 1 epoch -> cosine 9 epochs"}
        with pytest.raises(ValidationError):
            Train.model_validate(data)
        train = Train.model_validate(data, context={"steps_per_epoch": 100, "other": 1})
        assert train.lr.plan["lr"](50) == 0.5

    def test_a_frozen_model_with_one_can_be_a_key(self) -> None:
        class Frozen(BaseModel):
            model_config = ConfigDict(frozen=True)
            lr: Schedule

        assert len({Frozen(lr=Schedule(TEXT)), Frozen(lr=Schedule(TEXT))}) == 1


class TestYaml:
    def load(self, folder: Path, text: str) -> Train:
        file = folder / "train.yaml"
        file.write_text(text, encoding="utf-8")
        return load_yaml(file, Train)

    @pytest.mark.parametrize(
        "text",
        [
            f"lr: {TEXT}",
            f"lr: '{TEXT}'",
            f'lr: "{TEXT}"',
            "lr: |\n  warmup 500 linear ->\n    cosine T=10000 | plateau factor=0.2\n",
            "lr: >-\n  warmup 500 linear\n  -> cosine T=10000\n  | plateau factor=0.2\n",
            "lr: warmup 5e2 linear -> cosine T=1e+4\n  | plateau factor=2e-1\n",
        ],
    )
    def test_every_way_to_write_a_text(self, tmp_path: Path, text: str) -> None:
        assert self.load(tmp_path, text).lr.plan["lr"](250) == 0.5

    @pytest.mark.parametrize(
        ("text", "place"),
        [
            (f"name: x\n\nlr: {FAULTY}\n", "3:19"),
            (f"name: x\nlr:   '{FAULTY}'\n", "2:22"),
            (f'lr: "{FAULTY}"', "1:20"),
            ("lr: |\n  # A comment.\n  warmup 500\n  -> cosin 10k\nname: x\n", "4:6"),
            ("lr: >\n  warmup 500\n  -> cosin 10k\n", "3:6"),
            ('lr: "warmup 500 \\\n   -> cosin 10k"\n', "2:7"),
        ],
    )
    def test_a_message_points_at_the_line_of_the_file(self, tmp_path: Path, text: str, place: str) -> None:
        with pytest.raises(ConfigError) as caught:
            self.load(tmp_path, text)
        (said,) = caught.value.diagnostics
        assert said.span.place == f"{tmp_path / 'train.yaml'}:{place}"
        assert said.span.text == "cosin"

    def test_the_drawing_shows_the_line_as_it_stands_in_the_file(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError) as caught:
            self.load(tmp_path, f"name: x\nlr: {FAULTY} # the rate\n")
        lines = str(caught.value).split("\n")
        assert f"2 | lr: {FAULTY} # the rate" in lines
        shown = lines.index(f"2 | lr: {FAULTY} # the rate")
        assert lines[shown + 1].index("^") == lines[shown].index("cosin")

    def test_other_faults_of_the_file_have_a_place_too(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError) as caught:
            self.load(tmp_path, f"lr: {FAULTY}\nname: [1]\n")
        assert "train.yaml:2:7: name: Input should be a valid string" in str(caught.value)
        assert "`cosin`" in str(caught.value)

    def test_what_is_missing(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"train\.yaml:1:1: lr: Field required"):
            self.load(tmp_path, "name: x\n")

    def test_a_key_given_twice(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"train\.yaml:2:1: `lr` is given twice"):
            self.load(tmp_path, "lr: linear 5\nlr: cosine 5\n")

    def test_a_colon_that_yaml_takes(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="stands in quotes"):
            self.load(tmp_path, "lr: init { Linear : ones }\n")

    def test_a_file_with_names_beyond_ascii(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError) as caught:
            self.load(tmp_path, f"name: Größe 🎉\nlr: '{FAULTY}'\n")
        assert caught.value.diagnostics[0].span.text == "cosin"


class TestOtherLoaders:
    def test_omegaconf(self) -> None:
        omegaconf = pytest.importorskip("omegaconf")
        register_omegaconf()
        config = omegaconf.OmegaConf.create({"lr": f"${{sched:'{TEXT}'}}", "bad": f"${{sched:'{FAULTY}'}}"})
        assert isinstance(config.lr, Schedule)
        assert config.lr.plan["lr"](500) == 1.0
        with pytest.raises(Exception, match="no stage is called `cosin`"):
            _ = config.bad

    def test_a_dataclass_with_jsonargparse(self, capsys: pytest.CaptureFixture[str]) -> None:
        jsonargparse = pytest.importorskip("jsonargparse")
        register_jsonargparse()

        @dataclass
        class Settings:
            lr: Schedule
            seed: int = 0

        parser = jsonargparse.ArgumentParser()
        parser.add_class_arguments(Settings, "train")
        settings = parser.instantiate(parser.parse_args(["--train.lr", TEXT])).train
        assert isinstance(settings.lr, Schedule)
        assert settings.lr == TEXT
        with pytest.raises(SystemExit):
            parser.parse_args(["--train.lr", FAULTY])
        assert "no stage is called `cosin`" in capsys.readouterr().err


def test_the_example_runs() -> None:
    file = Path(__file__).parents[1] / "examples" / "config.py"
    env = {**os.environ, "PYTHONPATH": str(Path(schedc.__file__).parents[1])}
    done = subprocess.run([sys.executable, file], capture_output=True, text=True, check=True, env=env)
    assert "lr 0.001" in done.stdout
    assert "no stage is called `cosin`" in done.stdout
