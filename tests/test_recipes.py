"""The published recipes: each compiles, cites its source, can be used and included, and gives its paper's numbers.

The numbers are those that the papers and released configs give, or that follow from them by arithmetic done here.
`pytest --bless` rewrites docs/recipes.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from schedc.backends import reference
from schedc.compiler import library
from schedc.compiler.diagnostics import Diagnostic, errors
from schedc.compiler.evaluate import binding_values
from schedc.compiler.pipeline import Options, compile_source
from schedc.compiler.plan import Binding, Plan
from schedc.compiler.source import Source
from schedc.compiler.staged import Staged
from schedc.grammar import syntax
from schedc.grammar.parse import parse

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "docs" / "recipes.md"
NAMES = tuple(sorted(p.stem for p in (ROOT / "stdlib" / "recipes").glob("*.sched")))
GRADES = ("Certain", "Second-hand", "Unverified")


@cache
def source(name: str) -> Source:
    found = library.stdlib_source(f"recipes.{name}")
    assert found is not None
    return found


@cache
def tree(name: str) -> syntax.Program:
    program = parse(source(name)).value
    assert program is not None
    return program


@cache
def doc(name: str) -> str:
    return tree(name).doc or ""


def parts(name: str) -> dict[str, str]:
    """The title and the labelled lines of a file's doc comment."""
    out: dict[str, str] = {}
    for line in doc(name).strip().split("\n"):
        label, colon, text = line.strip().partition(": ")
        if not out:
            out["Title"] = line.strip()
        elif colon and label in ("Source", *GRADES):
            assert label not in out
            out[label] = text
    return out


@cache
def compiled(text: Source | str, given: tuple[tuple[str, str], ...] = ()) -> Staged[Plan]:
    text = Source("<recipe>", text) if isinstance(text, str) else text
    return compile_source(text, Options(parameters=dict(given)))


def said(name: str, code: str, text: str | None = None, **given: str) -> Diagnostic:
    """The one message of this code about the recipe."""
    staged = compiled(text or source(name), tuple(given.items()))
    (one,) = (d for d in staged.said if d.code.number == code)
    return one


def quiet(name: str, **given: str) -> bool:
    return not compiled(source(name), tuple(given.items())).said


def plan_of(text: Source | str, **given: str) -> Plan:
    staged = compiled(text, tuple(given.items()))
    assert not errors(staged.said), "\n".join(map(str, staged.said))
    assert staged.value is not None
    return staged.value


def plan(recipe: str, **given: str) -> Plan:
    return plan_of(source(recipe), **given)


def binding(of: Plan, name: str = "lr") -> Binding:
    return next(b for b in (*of.bindings, *of.lets) if b.name == name)


def position(of: Plan, place: str) -> Fraction:
    """Where a place such as `130B tokens` lies, in updates."""
    number, unit = place.split()
    scale = {"k": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}.get(number[-1], 1)
    amount = Fraction(number.rstrip("kMBT").replace("_", "")) * scale
    return reference.position(of.clocks[0], unit, amount)


def value(of: Plan, place: str, name: str = "lr") -> float:
    """The schedule read exactly there, between two updates if need be; once it has ended, what is held."""
    at = position(of, place)
    curve = binding(of, name).curve
    begun = [s for s in curve.segments if s.start <= at]
    ended = begun[-1].end is not None and begun[-1].end <= at
    formula = curve.after if ended else begun[-1].formula
    assert formula is not None
    return float(reference.expression_value(of.clocks, formula, at))


def updates(of: Plan) -> int:
    assert of.run is not None
    return of.run.updates


def tokens(of: Plan, update: int) -> Fraction:
    return reference.reading(of.clocks[0], "tokens", Fraction(update))


def edges(of: Plan, unit: str, name: str = "lr") -> list[Fraction]:
    """Where each stage but the last ends, on a clock."""
    ends = (s.end for s in binding(of, name).curve.segments[:-1])
    return [reference.reading(of.clocks[0], unit, end) for end in ends if end is not None]


@pytest.mark.parametrize("name", NAMES)
def test_it_compiles_and_says_what_its_page_announces(name: str) -> None:
    staged = compiled(source(name))
    assert not errors(staged.said), "\n".join(map(str, staged.said))
    assert bool(staged.said) == ("What the check finds:" in doc(name)), "\n".join(map(str, staged.said))


@pytest.mark.parametrize("name", NAMES)
def test_it_cites_its_source_and_grades_its_numbers(name: str) -> None:
    paragraphs = parts(name)
    assert re.search(r"\b(19|20)\d\d\b|/", paragraphs["Source"]), "a year or a repository"
    assert set(paragraphs) & set(GRADES)
    assert paragraphs["Title"].endswith(".")


def parameters() -> Iterator[tuple[str, str, str]]:
    """(recipe, parameter, twice its default) for all."""
    for name in NAMES:
        for item in tree(name).items:
            if isinstance(item, syntax.Param):
                number, rest = re.fullmatch(r"([\d._]+(?:e-?\d+)?)([kMBT]?.*)", default(item)).groups()  # type: ignore[union-attr]
                yield name, item.name, f"{2 * Decimal(number):f}{rest}"


def default(item: syntax.Param) -> str:
    return item.span.text.split("=")[-1].strip()


PARAMETERS = tuple(parameters())
FIRST = tuple({name: (name, parameter, twice) for name, parameter, twice in reversed(PARAMETERS)}.values())


def test_every_recipe_has_a_parameter() -> None:
    assert {name for name, _, _ in FIRST} == set(NAMES)


@pytest.mark.parametrize(("name", "parameter", "twice"), PARAMETERS)
def test_a_parameter_matters(name: str, parameter: str, twice: str) -> None:
    assert plan(name, **{parameter: twice}).hash != plan(name).hash


@pytest.mark.parametrize(("name", "parameter", "twice"), FIRST)
def test_a_parameter_can_be_given_by_use_and_by_include(name: str, parameter: str, twice: str) -> None:
    changed = plan(name, **{parameter: twice})
    assert plan_of(f"include recipes.{name}({parameter}={twice})").hash == changed.hash
    if any(b.name == "lr" for b in changed.bindings):
        sign = "*=" if binding(changed).relative else "="
        used = plan_of(f"use recipes.{name}({parameter}={twice}) as other\nlr {sign} other.lr")
        some = np.linspace(0, updates(changed) - 1, 50).astype(np.int64)
        np.testing.assert_allclose(
            binding_values(used, "lr", some, base=1.0), binding_values(changed, "lr", some, base=1.0), rtol=1e-12
        )


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_included_and_changed(name: str) -> None:
    mine = plan_of(f"include recipes.{name}\nlr = 1e-5")
    assert [binding(mine).curve.segments[0].formula.value] == [Fraction(1, 10**5)]


# ---- Values.

VALUES = {
    # The paper's step counts from 1.
    "transformer": {
        "0 steps": 1.7469e-07,
        "99 steps": 1.7469e-05,
        "3999 steps": 6.9877e-04,
        "15_999 steps": 3.4939e-04,
        "99_999 steps": 1.3975e-04,
    },
    "gpt3": {
        "187.5M tokens": 3.0e-05,
        "375M tokens": 6.0e-05,
        "130B tokens": 3.3061e-05,
        "260B tokens": 6.0e-06,
        "300B tokens": 6.0e-06,
    },
    "gpt2_124m": {"1000 steps": 3e-4, "2000 steps": 6e-4, "301k steps": 3.3e-4, "600k steps": 6e-5},
    "palm_540b": {"0 steps": 1e-2, "10k steps": 1e-2, "40k steps": 5e-3, "250k steps": 2e-3},
    "t5": {"0 steps": 1e-2, "10k steps": 1e-2, "90k steps": 3.3333e-3, "524_288 steps": 1.3811e-3},
    "bert_base": {"5k steps": 5e-05, "10k steps": 1e-04, "505k steps": 5e-05, "1M steps": 0},
    "roberta_base": {"24k steps": 6e-4, "262k steps": 3e-4, "500k steps": 0},
    "opt_175b": {"1000 steps": 6e-5, "2000 steps": 1.2e-4, "300B tokens": 1.2e-5},
    "bloom": {"183_105 samples": 6e-5, "200M samples": 6e-6, "220M samples": 6e-6},
    "pythia_6_9b": {"715 steps": 6e-5, "1430 steps": 1.2e-4, "72_215 steps": 6.6e-5, "143k steps": 1.2e-5},
    "deepseek_llm": {"1T tokens": 4.2e-4, "1.7T tokens": 1.3272e-4, "1.9T tokens": 4.2e-5},
    "deepseek_v2": {"1T tokens": 2.4e-4, "5T tokens": 7.584e-5, "8T tokens": 2.3965e-5},
    "deepseek_v2_lite": {"4T tokens": 4.2e-4, "5T tokens": 1.3272e-4, "5.5T tokens": 4.1940e-5},
    "deepseek_v3": {
        "5T tokens": 2.2e-04,
        "12.15T tokens": 1.21e-04,
        "14.3T tokens": 2.2e-05,
        "14.5T tokens": 2.2e-05,
        "14.7T tokens": 7.3e-06,
    },
    "olmo2_7b_stage1": {"2000 steps": 3e-4, "928_000 steps": 6.1499e-5},
    "olmo2_7b_stage2": {"928_646 steps": 6.1499e-5, "3_945_023_632_384 tokens": 0},
    "olmo2_13b_stage2": {"2000 steps": 9e-4, "5T tokens": 9e-5, "5.05T tokens": 4.5e-5},
    "kimi_k2": {"500 steps": 2e-4, "12.75T tokens": 1.1e-4, "15.5T tokens": 2e-5, "15.96T tokens": 7e-6},
    "smollm3_3b": {"2000 steps": 2e-4, "4_198_001 steps": 2e-4, "4_459_001 steps": 1e-4},
    "resnet50_goyal": {
        "0 epochs": 0.1,
        "2.5 epochs": 1.65,
        "5 epochs": 3.2,
        "30 epochs": 0.32,
        "60 epochs": 0.032,
        "80 epochs": 0.0032,
    },
    "vit_s16_i1k": {"10k steps": 1e-3, "114_151_950 samples": 0},
    "deit_small": {"0 epochs": 1e-6, "5 epochs": 1e-3, "300 epochs": 1e-5},
    "convnext_tiny": {"20 epochs": 4e-3, "160 epochs": 2e-3, "300 epochs": 0},
    "fastai_one_cycle": {"0 steps": 4e-5, "2500 steps": 1e-3, "10k steps": 1e-8},
    "ulmfit": {"0 steps": 3.125e-4, "100 steps": 0.01, "1000 steps": 3.125e-4},
    "mask_rcnn_1x": {"0 steps": 2e-5, "1000 steps": 0.02, "60k steps": 2e-3, "80k steps": 2e-4},
    "alphafold2": {"1000 steps": 1e-3, "49_999 steps": 1e-3, "50k steps": 9.5e-4},
}


@pytest.mark.parametrize(("name", "place"), [(name, place) for name, places in VALUES.items() for place in places])
def test_a_value_is_the_published_one_to_five_digits(name: str, place: str) -> None:
    assert f"{value(plan(name), place):.4e}" == f"{VALUES[name][place]:.4e}"


@pytest.mark.parametrize(("name", "place"), [(name, place) for name, places in VALUES.items() for place in places])
def test_the_update_in_progress_uses_that_value(name: str, place: str) -> None:
    of = plan(name)
    update = min(position(of, place).__floor__(), updates(of) - 1)
    lowest, highest = sorted((value(of, f"{update} steps"), value(of, place)))
    used = float(binding_values(of, "lr", update))
    assert lowest * (1 - 1e-9) <= used <= highest * (1 + 1e-9)


def test_other_schedules_run_beside_the_learning_rate() -> None:
    v3 = plan("deepseek_v3")
    assert [value(v3, place, "mtp_weight") for place in ("9.99T tokens", "10T tokens")] == [0.3, 0.1]
    assert [value(v3, place, "bias_speed") for place in ("14.2T tokens", "14.3T tokens")] == [0.001, 0]
    palm = plan("palm_540b")
    assert value(palm, "9_999 steps", "betas[1]") == pytest.approx(1 - 10_000**-0.8, rel=1e-12)
    assert float(binding_values(palm, "weight_decay", 40_000)) == pytest.approx(2.5e-5, rel=1e-12)
    dino = plan("dino")
    assert value(dino, "0 epochs", "weight_decay") == pytest.approx(0.04)
    assert value(dino, "100 epochs", "weight_decay") == pytest.approx(0.4)
    assert value(dino, "15 epochs", "teacher_temperature") == pytest.approx(0.055)
    assert value(dino, "50 epochs", "teacher_momentum") == pytest.approx(0.998)
    assert value(plan("modded_nanogpt"), "150 steps", "momentum") == pytest.approx(0.9)
    assert value(plan("fastai_one_cycle"), "2500 steps", "momentum") == pytest.approx(0.85)


def test_minicpm_halves_every_5000_steps() -> None:
    of = plan("minicpm_2_4b")
    start = binding(of).curve.segments[-1].start
    assert reference.reading(of.clocks[0], "tokens", start) == 10**12
    exact = [
        float(reference.expression_value(of.clocks, binding(of).curve.segments[-1].formula, start + 5000 * k))
        for k in range(4)
    ]
    assert exact == pytest.approx([0.01, 0.005, 0.0025, 0.00125], rel=1e-12)


def test_yolov5_warms_the_bias_down_and_the_rest_up() -> None:
    of = plan("yolov5")
    assert value(of, "3 epochs") == pytest.approx(0.01 * (1 - 0.99 * 3 / 300), rel=1e-12)
    assert value(of, "1.5 epochs") == pytest.approx(0.01 * (1 - 0.99 * 1 / 300) / 2, rel=1e-12)
    assert value(of, "299.5 epochs") == pytest.approx(0.01 * (1 - 0.99 * 299 / 300), rel=1e-12)
    (bias,) = (rule for rule in of.groups if str(rule.selection) == '"*.bias"')
    first = bias.bindings[0].curve.segments[0]
    assert float(reference.expression_value(of.clocks, first.formula, Fraction(0))) == pytest.approx(0.1)


def test_wsds_starts_each_cycle_at_the_peak() -> None:
    of = plan("olmo_wsds")
    found = [value(of, f"{n} steps") for n in (2000, 82_000, 92_000, 102_000, 192_000, 202_000)]
    assert found == pytest.approx([3e-4, 3e-4, 1.5e-4, 3e-4, 1.5e-4, 3e-4], rel=1e-12)


def test_sgdr_restarts_at_10_30_70_150_and_310_epochs() -> None:
    of = plan_of(source("sgdr").text.replace("200 epochs\n", "400 epochs\n"))
    for epochs in (10, 30, 70, 150, 310):
        assert value(of, f"{epochs} epochs") == pytest.approx(0.05, rel=1e-12)
        assert value(of, f"{epochs - 0.01} epochs") < 1e-6


def test_bloom_ramps_as_megatron_does() -> None:
    of = plan("bloom")
    assert edges(of, "tokens")[0] == 374_999_040
    assert edges(of, "tokens")[1] == 409_600_000_000
    assert of.run is not None
    assert of.run.length * 2048 == 450_560_000_000
    phases = [(phase.update, phase.global_batch) for phase in of.batch.phases]
    expected, consumed, update, each = [(0, 192)], 0, 0, Fraction(9_765_625, 116)
    assert f"{float(each):.1f}" == "84186.4"
    assert each * 116 * 2048 == 20_000_000_000
    while expected[-1][1] < 2048:
        size = 192 + int(consumed / each) * 16
        if size != expected[-1][1]:
            expected.append((update, size))
        consumed, update = consumed + size, update + 1
    assert phases == expected
    assert len(phases) == 1 + 116


def test_pythia_sums() -> None:
    of = plan("pythia_6_9b")
    assert edges(of, "steps") == [1430]
    assert of.clocks[0].pieces[0].tokens_per_update == 2_097_152
    assert tokens(of, updates(of)) == 299_892_736_000


def test_deepseek_edges() -> None:
    assert edges(plan("deepseek_v2"), "tokens")[1:] == [4_860_000_000_000, 7_290_000_000_000]
    v3 = plan("deepseek_v3")
    assert edges(v3, "tokens")[1:] == [10_000_000_000_000, 14_300_000_000_000, 14_633_000_000_000]
    assert v3.run is not None
    assert v3.run.length == 14_800_000_000_000
    assert binding(v3).curve.end in (None, v3.run.end)
    assert quiet("deepseek_v3")
    for name, first, last in (("deepseek_v2", 2304, 9216), ("deepseek_v3", 3072, 15360)):
        sizes = [phase.global_batch for phase in plan(name).batch.phases]
        assert sizes == list(range(first, last + 64, 64))


SUMS = {
    "gpt2_124m": 294_912_000_000,
    "palm_540b": 775_946_240_000,
    "t5": 2**35,
    "smollm3_3b": 4_720_000 * 2_359_296,
    "olmo2_7b_stage1": 928_646 * 2**22,
}


@pytest.mark.parametrize("name", SUMS)
def test_a_run_in_steps_consumes_the_tokens_that_the_source_rounds(name: str) -> None:
    of = plan(name)
    assert tokens(of, updates(of)) == SUMS[name]


UPDATES = {
    "gpt2_124m": 600_000,
    "opt_175b": -(-300 * 10**9 // (1024 * 2048)),
    "llama2": -(-2 * 10**12 // 2**22),
    "deepseek_v2_lite": -(-57 * 10**11 // (4608 * 4096)),
    "minicpm_2_4b": -(-11 * 10**11 // (960 * 4096)),
    "olmo2_7b_stage2": 928_646 + 11_921,
    "vit_s16_i1k": 111_477,
    "deit_small": 300 * 1252,
    "convnext_tiny": 300 * 313,
    "clip": 32 * 12_208,
    "yolov5": 300 * 1849,
    "alphafold2": 78_125,
    "megatron_batch_steps": 79_473 + 39_737 + 19_869 + 9934,
}


@pytest.mark.parametrize("name", UPDATES)
def test_the_number_of_updates_is_counted_by_hand(name: str) -> None:
    assert abs(updates(plan(name)) - UPDATES[name]) <= (3 if name == "megatron_batch_steps" else 0)


def test_an_epoch_of_goyal_has_156_39_batches() -> None:
    of = plan("resnet50_goyal")
    (derived,) = (d for d in of.derived if d.what == "updates per epoch")
    assert "156.39" in derived.how
    assert updates(of) == 90 * 157
    dropped = plan_of(source("resnet50_goyal").text.replace("classes = 1000", "drop_last = true"))
    assert updates(dropped) == 90 * 156


def test_alphafold_drops_at_step_50_000() -> None:
    assert edges(plan("alphafold2"), "steps")[-1] == 50_000
    assert edges(plan("alphafold2", drop="10k steps"), "samples")[-1] == 1_280_000


def test_the_stages_of_stable_diffusion_sum() -> None:
    assert updates(plan("stable_diffusion_v1")) == 237_000 + 194_000
    assert updates(plan("stable_diffusion_v1", run="1_141k steps")) == 237_000 + 194_000 + 515_000 + 195_000


def test_the_warmup_of_olmo_is_2000_steps_of_one_batch_and_1000_of_the_other() -> None:
    assert edges(plan("olmo2_7b_stage1"), "steps")[0] == 2000
    assert edges(plan("olmo2_13b_stage1", peak="3e-4", warm="8_388_608_000 tokens"), "steps")[0] == 1000


# ---- Inconsistencies of famous recipes, found from the text alone.

EXACT = {"million": "1_000_000", "context": "4000"}


def test_the_cosine_of_llama_3_is_cut_short() -> None:
    of = plan("llama3_405b", **EXACT)
    assert updates(of) == 1_154_407
    assert [phase.update for phase in of.batch.phases] == [0, 63, 358_782]
    # The doubling falls into the warmup of 8000 steps.
    assert of.batch.phases[1].update < edges(of, "steps")[0] == 8000
    cut = said("llama3_405b", "SC321", **EXACT)
    assert cut.title == "the run ends at update 1_154_407, before this stage of `lr` does at update 1_200_000"
    assert cut.primary.text == "cut at 1.08556e-06, on the way to 8e-07"
    assert value(of, "15.6T tokens") == pytest.approx(1.0856e-06, rel=5e-5)
    assert float(tokens(of, 1_200_000)) == pytest.approx(16.33e12, rel=1e-4)
    # With 2^20 tokens to the million the end differs.
    assert said("llama3_405b", "SC321").primary.text == "cut at 2.14227e-06, on the way to 8e-07"
    assert said("llama3_405b", "SC321").title.startswith("the run ends at update 1_100_929,")


def test_the_annealing_of_llama_3_ends_at_0() -> None:
    of = plan("llama3_405b_annealed", **EXACT)
    assert (
        reference.reading(of.clocks[0], "tokens", binding(of).curve.segments[-1].start)
        == 15_600_000_000_000 - 40_000_000
    )
    assert value(of, "15.6T tokens") == 0


def test_the_stages_of_kimi_k2_do_not_sum_to_the_published_length() -> None:
    assert quiet("kimi_k2")
    late = said("kimi_k2", "SC321", run="15.5T tokens")
    assert late.primary.text == "never reached"
    assert late.span.text.startswith("linear to=35%")
    assert f"update {updates(plan('kimi_k2', run='15.5T tokens')):_}" in late.title
    assert said("kimi_k2", "SC321", run="15.7T tokens").primary.text.startswith("cut at 1.")


def test_a_run_longer_than_its_stages_is_noticed() -> None:
    text = source("deepseek_v3").text.replace("14.8T", "15T")
    longer = said("deepseek_v3", "SC320", text)
    assert "7.3e-06" in str(longer) or "7.3e-6" in str(longer)
    assert f"{updates(plan_of(text)):_}" in longer.title


def test_the_cosine_of_olmo_2_was_planned_for_more_tokens() -> None:
    small = said("olmo2_7b_stage1", "SC321")
    assert small.title == "the run ends at update 928_646, before this stage of `lr` does at update 1_192_093"
    assert small.primary.text == "cut at 6.13511e-05, on the way to 3e-05"
    assert said("olmo2_32b_stage1", "SC321").primary.text == "cut at 6.61138e-05, on the way to 6e-05"
    assert quiet("olmo2_13b_stage1")


def test_stage_2_of_olmo_2_7b_starts_where_another_step_ended() -> None:
    jump = said("olmo2_7b_stage2", "SC403")
    assert jump.title == "`from` makes the value jump from 6.13511e-05 to 6.1499e-05 at update 928_646"
    assert "0.241 %" in jump.primary.text
    going_on = compiled(source("olmo2_7b_stage2").text.replace("linear from=peak for", "linear for"))
    assert not any(d.code.number == "SC403" for d in going_on.said)


def test_the_released_peak_of_olmo_2_13b_does_not_fit_its_stage_2() -> None:
    assert quiet("olmo2_13b_stage2")
    jump = said("olmo2_13b_stage2", "SC403", stage1_peak="3e-4")
    assert "from 3e-05 to 9e-05" in jump.title
    assert "3 times" in jump.primary.text


def test_smollm3_decays_for_one_step_more_than_it_has() -> None:
    one = said("smollm3_3b", "SC321")
    assert one.title == "the run ends at update 4_720_000, before this stage of `lr` does at update 4_720_001"


def test_the_last_cycle_of_sgdr_is_cut() -> None:
    assert said("sgdr", "SC321").primary.text == "cut at 0.0388893, on the way to 0"


def one_line(name: str) -> str:
    """The schedule as written; the batch's where there is no other."""
    items = tree(name).items
    for item in items:
        if isinstance(item, syntax.Bind) and item.span.text.startswith("lr"):
            return " ".join(item.span.text.split()).removeprefix("lr = ")
    for item in items:
        if isinstance(item, syntax.Bare):
            return " ".join(item.span.text.split())
    return "batch: " + " ".join(
        next(i for i in items if isinstance(i, syntax.Settings) and i.kind == "batch").span.text[7:-1].split()
    )


def peak(name: str) -> str:
    of = plan(name)
    if not any(b.name == "lr" for b in of.bindings):
        return "–"
    highest = binding_values(of, "lr", np.arange(updates(of)), base=1.0).max()
    return ("×" if binding(of).relative else "") + f"{highest:.3g}"


def length(name: str) -> str:
    run = plan(name).run
    assert run is not None
    steps = f"{run.updates:,} steps"
    if run.clock == "steps":
        return steps
    amount = float(run.length)
    for size, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if amount >= size:
            return f"{amount / size:.4g}{suffix} {run.clock} ({steps})"
    return f"{amount:g} {run.clock} ({steps})"


def certainty(name: str) -> str:
    grades = [grade.lower() for grade in GRADES if grade in parts(name)]
    return grades[0] + (", partly " + " and ".join(grades[1:]) if grades[1:] else "")


def page() -> str:
    rows = [
        (
            f"`{name}`",
            parts(name)["Title"].rstrip("."),
            peak(name),
            f"`{one_line(name)}`".replace("|", "\\|"),
            length(name),
            parts(name)["Source"].rstrip("."),
            certainty(name),
        )
        for name in NAMES
    ]
    head = ("name", "what", "peak", "schedule", "length", "source", "certainty")
    table = [head, tuple("---" for _ in head), *rows]
    doubts = [
        f"* `{name}`: " + " ".join(f"*{grade}:* {parts(name)[grade]}" for grade in GRADES[1:] if grade in parts(name))
        for name in NAMES
        if set(GRADES[1:]) & set(parts(name))
    ]
    return "\n".join(
        [
            "# Published recipes",
            "",
            "<!-- Generated from stdlib/recipes by tests/test_recipes.py; `pytest --bless` rewrites it. -->",
            "",
            "`use recipes.gpt3(peak=1e-4) as gpt3` gives `gpt3.lr`; `include recipes.gpt3(peak=1e-4)` takes the file whole,",
            "with its run, batch, groups and initialisation. `schedc doc recipes.gpt3` prints one with its sources.",
            "A number is *certain* if it was seen in a released config or in the paper's own sentence, *second-hand* if a",
            "text that quotes it was seen, *unverified* otherwise. The peak is the largest value that an update uses.",
            "",
            *("| " + " | ".join(row) + " |" for row in table),
            "",
            "## What is not certain",
            "",
            *doubts,
            "",
        ]
    )


def test_the_table_is_not_stale(request: pytest.FixtureRequest) -> None:
    found = page()
    if request.config.getoption("--bless"):
        TABLE.write_text(found, encoding="utf-8")
    assert TABLE.read_text(encoding="utf-8") == found, "run `pytest --bless tests/test_recipes.py`"
