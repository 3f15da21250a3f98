"""Plans as pictures."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from itertools import pairwise

import numpy as np
import pytest

import schedc
from schedc.backends import plot

SPEC = "warmup 500 linear -> cosine T=10000 | plateau factor=0.2"
RAMP = """
train { length = 100M tokens; seq_len = 1000 }
batch { global = 10 until 50M tokens -> 20 }
lr = warmup 1000 to=3e-4 -> linear to=0
weight_decay = 0.1
"""


def test_a_panel_for_each_name_and_one_for_a_batch_that_changes() -> None:
    plan = schedc.compile(RAMP)
    drawn = plot.panels([plan], plot.shown_updates([plan]))
    assert [p.name for p in drawn] == ["lr", "weight_decay", "batch"]
    assert drawn[2].lines[0].values.tolist() == [10, 10, 20, 20]


def test_stages_are_marked_where_they_begin() -> None:
    (panel,) = plot.panels([schedc.compile(SPEC)], 11_000)
    assert [first for first, _ in panel.stages] == [0, 500, 10_500]
    assert panel.stages[0][1] == "warmup 500 linear"


def test_a_long_run_is_sampled_with_both_sides_of_every_edge() -> None:
    plan = schedc.compile("train { length = 10M steps }\nlr = 1 for 1234567 steps -> 0.5")
    (line,) = plot.panels([plan], 10_000_000)[0].lines
    assert len(line.updates) <= plot.SAMPLES + 10
    assert {1_234_566, 1_234_567} <= set(line.updates.tolist())


def test_the_value_beyond_error_is_not_drawn() -> None:
    (panel,) = plot.panels([schedc.compile("linear 10 -> error")], 20)
    assert panel.lines[0].updates.max() == 9


@pytest.mark.parametrize("last", [1, 7, 99, 10_500, 14.8e12, 0.003])
def test_ticks_are_few_round_and_in_range(last: float) -> None:
    ticks = plot.nice_ticks(last)
    assert ticks[0] == 0
    assert 2 <= len(ticks) <= 8
    assert ticks[-1] <= last * (1 + 1e-9)
    assert len({round(b - a, 12) for a, b in pairwise(ticks)}) == 1 or last > 1e6


@pytest.mark.parametrize(("value", "text"), [(0.5, "0.5"), (3e-4, "3e-4"), (0, "0"), (15_000, "15k"), (-0.25, "-0.25")])
def test_levels(value: float, text: str) -> None:
    assert plot.level(value) == text


class TestFigure:
    def test_it_holds_the_values(self) -> None:
        figure = schedc.compile(SPEC).plot()
        xs, ys = figure.axes[0].lines[0].get_data()
        assert np.asarray(ys)[list(np.asarray(xs)).index(500)] == 1.0

    def test_it_shows_the_clock_of_the_run(self) -> None:
        figure = schedc.compile(RAMP).plot()
        top = figure.axes[0].child_axes[0]
        assert top.get_xlabel() == "tokens"
        # The batch doubles halfway through the tokens, so that lies at two thirds of the updates.
        halfway = [t.get_text() for t in top.get_xticklabels()].index("40M")
        assert top.get_xticks()[halfway] == pytest.approx(4000, abs=5)

    def test_several_plans_lie_over_each_other_with_a_legend(self) -> None:
        figure = schedc.compile(SPEC).plot(schedc.compile("linear 5000"))
        assert len(figure.axes[0].lines) == 2
        assert [t.get_text() for t in figure.legends[0].get_texts()] == [SPEC, "linear 5000"]

    @pytest.mark.parametrize("form", ["svg", "png", "pdf"])
    def test_the_same_plan_gives_the_same_file(self, form: str) -> None:
        plan = schedc.compile("linear 100")
        assert plot.image(plan.plot(), form) == plot.image(plan.plot(), form)

    def test_a_page_needs_nothing_else_and_shows_the_program(self) -> None:
        plan = schedc.compile("lr = if(t < 5, 1, 0.5) for 10 steps")
        page = plot.page([plan], plan.plot()).decode()
        assert "if(t &lt; 5, 1, 0.5)" in page
        assert "src=" not in page
        assert "<link" not in page
        ET.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])


class TestTerminal:
    def test_lines_are_no_wider_than_asked(self) -> None:
        text = plot.terminal([schedc.compile(RAMP)], 60, 10, colour=False)
        assert max(map(len, text.split("\n"))) <= 60 or "->" in max(text.split("\n"), key=len)
        assert "\033" not in text

    def test_it_shows_names_axes_and_clock(self) -> None:
        text = plot.terminal([schedc.compile(RAMP)], 80, 10, colour=False)
        for word in ("lr", "weight_decay", "batch", "tokens", "3e-4", "6k"):
            assert word in text

    def test_colours_only_when_asked(self) -> None:
        assert "\033[" in plot.terminal([schedc.compile(SPEC)], 60, 10, colour=True)
