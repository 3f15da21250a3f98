"""Plans as rows and as CSV."""

from __future__ import annotations

import csv
import io

import pytest

import schedc
from schedc.backends import table

SPEC = "warmup 500 linear -> cosine T=10000 | plateau factor=0.2"
TOKENS = """
train { length = 100M tokens; seq_len = 1000 }
batch { global = 10 }
lr = warmup 1000 to=3e-4 -> hold until 60M tokens -> linear to=0
weight_decay = 0.1
"""


def rows(text: str, name: str = "lr") -> list[table.Row]:
    plan = schedc.compile(text)
    return table.rows(plan, plan[name].binding)


def test_a_row_for_each_stage_and_one_for_what_is_held_after() -> None:
    warmup, cosine, held = rows(SPEC)
    assert (warmup.first, warmup.last, warmup.first_value, warmup.last_value) == (0, 499, 0.0, 0.998)
    assert (cosine.first, cosine.last, cosine.first_value) == (500, 10499, 1.0)
    assert (held.first, held.last, held.first_value) == (10500, None, 0.0)


def test_rows_end_with_the_run() -> None:
    found = rows(TOKENS)
    assert [(r.first, r.last) for r in found] == [(0, 999), (1000, 5999), (6000, 9999)]
    assert [r.clock for r in found][-1] == "tokens"


def test_formulas_count_from_the_start_of_their_stage() -> None:
    assert "10500" not in rows("warmup 500 -> cosine 10000")[1].formula
    assert "t" in rows("warmup 500 -> cosine 10000")[1].formula


def test_a_stage_that_stops_training_has_no_values() -> None:
    found = rows("linear 10 -> error")
    assert found[-1].error is not None
    assert found[-1].first_value is None


@pytest.mark.parametrize(
    ("value", "largest", "text"),
    [
        (0.5, 1, "0.5"),
        (0.49999999999999994, 1, "0.5"),
        (1.0, 1, "1"),
        (1e-17, 1, "0"),
        (1e-17, 1e-16, "1e-17"),
        (-0.0, 1, "0"),
        (3e-4, 1, "0.0003"),
        (7.3e-6, 1, "7.3e-6"),
        (1e22, 1e22, "1e22"),
        (float("inf"), 1, "inf"),
        (None, 1, ""),
    ],
)
def test_numbers_as_one_would_write_them(value: float | None, largest: float, text: str) -> None:
    assert table.number(value, largest) == text


@pytest.mark.parametrize(
    ("value", "text"), [(14_800_000_000_000, "14.8T"), (10_000, "10k"), (1252, "1252"), (12_345, "12345"), (0, "0")]
)
def test_amounts(value: int, text: str) -> None:
    assert table.amount(value) == text


def test_a_csv_has_every_update_every_clock_and_every_name() -> None:
    lines = list(csv.DictReader(io.StringIO(table.csv_text(schedc.compile(TOKENS)))))
    assert len(lines) == 10_000
    assert list(lines[0]) == ["update", "samples", "tokens", "lr", "weight_decay"]
    assert lines[1000] == {
        "update": "1000",
        "samples": "10000",
        "tokens": "10000000",
        "lr": "0.0003",
        "weight_decay": "0.1",
    }


def test_a_csv_of_a_schedule_without_end_is_refused() -> None:
    with pytest.raises(table.EndlessError, match="give the run's length"):
        table.csv_text(schedc.compile("lr = 0.1 * 0.99^n"))
