"""What selectors match, and the param groups that follow."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from schedc.backends.selectors import (
    Parameter,
    SelectorError,
    check_matched,
    matches,
    param_groups,
    rules_of,
    selects,
    type_names,
)
from schedc.compiler import expressions as ex
from schedc.compiler.plan import Binding, ClockPiece, Clocks, Curve, GroupRule, Plan, Segment, Selection, SelectorModel


def glob(text: str) -> SelectorModel:
    return SelectorModel(kind="glob", text=text)


def of_type(text: str) -> SelectorModel:
    return SelectorModel(kind="type", text=text)


def ndim(op: str, number: int) -> SelectorModel:
    return SelectorModel(kind="ndim", op=op, number=number)


def union(*selectors: SelectorModel, less: tuple[SelectorModel, ...] = ()) -> Selection:
    return Selection(union=selectors, excepted=less)


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("*", "a.b.c", {}),
        ("*.bias", "blocks.0.fc.bias", {}),
        ("*.bias", "bias", None),
        ("backbone.*", "backbone.conv1.weight", {}),
        ("backbone", "backbone.conv1.weight", None),
        ("blocks.{i}.*", "blocks.11.attn.weight", {"i": 11}),
        ("blocks.{i}.*", "blocks.a.attn.weight", None),
        ("blocks.{i}.*", "xblocks.1.w", None),
        ("*.{i}.{j}.w", "a.1.2.w", {"i": 1, "j": 2}),
        ("{i}.{i}.w", "3.3.w", {"i": 3}),
        ("{i}.{i}.w", "3.4.w", None),
        ("a.b", "aXb", None),
        ("*norm*", "layers.0.input_layernorm.weight", {}),
        ("w[0]", "w[0]", {}),
    ],
)
def test_globs_match_the_whole_name(pattern: str, name: str, expected: dict[str, int] | None) -> None:
    assert matches(glob(pattern), Parameter(name)) == expected


@given(st.from_regex(r"[a-z0-9_.]{0,12}", fullmatch=True), st.from_regex(r"[a-z0-9_.*]{0,6}", fullmatch=True))
def test_globs_are_as_fnmatch(name: str, pattern: str) -> None:
    from fnmatch import fnmatchcase

    assert (matches(glob(pattern), Parameter(name)) is not None) == fnmatchcase(name, pattern)


def test_types_and_dimensions() -> None:
    weight = Parameter("head.weight", ("Head", "Linear", "Module"), 2)
    assert matches(of_type("Linear"), weight) == {}
    assert matches(of_type("Head"), weight) == {}
    assert matches(of_type("Linear.weight"), weight) == {}
    assert matches(of_type("Linear.bias"), weight) is None
    assert matches(of_type("Conv2d"), weight) is None
    assert matches(ndim("<", 2), weight) is None
    assert matches(ndim(">=", 2), weight) == {}
    assert matches(ndim("==", 2), weight) == {}
    assert matches(ndim("!=", 2), weight) is None


def test_unions_and_exceptions() -> None:
    selection = union(ndim("<", 2), glob("embed.{i}*"), less=(glob("pos_embed"),))
    assert selects(selection, Parameter("embed.3.weight", (), 2)) == {"i": 3}
    assert selects(selection, Parameter("embed.3.bias", (), 1)) == {}
    assert selects(selection, Parameter("pos_embed", (), 1)) is None
    assert selects(selection, Parameter("fc.weight", (), 2)) is None


def test_bases_count_where_they_are_torchs() -> None:
    class Mine(torch.nn.Linear):
        pass

    class Yours(Mine):
        pass

    assert type_names(Yours) == ("Yours", "Linear", "Module")


def constant(name: str, value: str | ex.Expr, relative: bool = False) -> Binding:
    formula = ex.num(Fraction(value)) if isinstance(value, str) else value
    segment = Segment(start=Fraction(0), end=None, formula=formula, begins=formula, ends=None)
    return Binding(name=name, relative=relative, curve=Curve(segments=(segment,)))


def plan(*rules: GroupRule, bindings: tuple[Binding, ...] = ()) -> Plan:
    clocks = (Clocks(pieces=(ClockPiece(update=0),)),)
    return Plan(version="0.1.0", name="x.sched", source="", clocks=clocks, bindings=bindings, groups=rules)


def rule(selection: Selection, *bindings: Binding) -> GroupRule:
    return GroupRule(selection=selection, bindings=bindings)


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(5, 4)
        self.blocks = torch.nn.ModuleList(torch.nn.Linear(4, 4) for _ in range(3))
        self.norm = torch.nn.LayerNorm(4)
        self.head = torch.nn.Linear(4, 5, bias=False)
        self.head.weight = self.embed.weight


LAYERS = union(glob("blocks.{i}.*"))
FLAT = union(ndim("<", 2))


def names(model: torch.nn.Module, groups: list[dict[str, Any]]) -> list[list[str]]:
    known = {id(p): n for n, p in model.named_parameters()}
    return [[known[id(p)] for p in g["params"]] for g in groups]


def test_a_group_is_what_the_same_rules_match_with_the_same_captures() -> None:
    model = Net()
    made = param_groups(plan(rule(LAYERS), rule(FLAT)), model)
    assert names(model, made) == [
        ["embed.weight"],
        *[[f"blocks.{i}.{leaf}"] for i in range(3) for leaf in ("weight", "bias")],
        ["norm.weight", "norm.bias"],
    ]
    assert [g["schedc"]["name"] for g in made[:3]] == ["others", '"blocks.0.*"', '"blocks.0.*"; ndim < 2']
    assert [(g["schedc"]["rules"], g["schedc"]["captures"]) for g in made[1:4]] == [
        ([0], [{"i": 0}]),
        ([0, 1], [{"i": 0}, {}]),
        ([0], [{"i": 1}]),
    ]
    assert len({g["schedc"]["groups"] for g in made}) == 1


def test_every_trainable_parameter_once() -> None:
    model = Net()
    model.norm.weight.requires_grad_(False)
    made = param_groups(plan(rule(LAYERS), rule(FLAT), rule(union(glob("norm.*")))), model)
    found = [n for group in names(model, made) for n in group]
    assert sorted(found) == sorted(n for n, p in model.named_parameters() if p.requires_grad)
    torch.optim.AdamW(made)


def test_without_rules_there_is_one_group() -> None:
    made = param_groups(plan(bindings=(constant("lr", "0.1"),)), Net())
    assert len(made) == 1
    assert made[0]["lr"] == 0.1
    with pytest.raises(SelectorError, match="no parameter that requires a gradient"):
        param_groups(plan(), torch.nn.Identity())


def test_a_selector_that_matches_nothing_is_reported_with_what_is_near() -> None:
    with pytest.raises(SelectorError) as said:
        param_groups(
            plan(
                rule(union(glob("block.{i}.*"))),
                rule(union(of_type("Liner"), less=(glob("norms.*"),))),
                rule(union(ndim(">", 3))),
            ),
            Net(),
        )
    assert str(said.value).splitlines() == [
        '`"block.{i}.*"` in `group "block.{i}.*"` matches no parameter: the nearest names are '
        "blocks.0.bias, blocks.0.weight, blocks.2.bias",
        '`Liner` in `group Liner except "norms.*"` matches no parameter: modules with parameters are Linear',
        '`"norms.*"` in `group Liner except "norms.*"` matches no parameter: the nearest names are '
        "norm.bias, norm.weight",
        "`ndim > 3` in `group ndim > 3` matches no parameter: the model's have 1, 2 dimensions",
    ]
    with pytest.raises(SelectorError, match="in `init Linear`"):
        check_matched([union(of_type("Linear"))], [Parameter("a", ("Conv2d",), 4)], "init")


def test_values_at_update_0_where_nothing_else_decides_them() -> None:
    by_layer = ex.op("pow", ex.num(Fraction(1, 2)), ex.sub(ex.num(3), ex.Var("capture:i")))
    p = plan(
        rule(LAYERS, constant("lr", by_layer, relative=True)),
        rule(FLAT, constant("weight_decay", "0")),
        bindings=(constant("lr", "0.1"), constant("weight_decay", ex.op("sqrt", ex.Bound("lr")), relative=False)),
    )
    made = param_groups(p, Net())
    assert [g["lr"] for g in made] == [0.1, 0.0125, 0.0125, 0.025, 0.025, 0.05, 0.05, 0.1]
    assert made[0]["weight_decay"] == pytest.approx(0.1**0.5)
    assert made[-1]["weight_decay"] == 0.0
    relative = plan(rule(FLAT, constant("lr", "0.5")), bindings=(constant("lr", "0.1", relative=True),))
    assert ["lr" in g for g in param_groups(relative, Net())] == [False, True]


def test_captures_belong_to_their_rule() -> None:
    p = plan(rule(union(glob("blocks.{i}.*"))), rule(union(glob("*.{i}.bias"))))
    assert rules_of(p, Parameter("blocks.2.bias")) == {0: {"i": 2}, 1: {"i": 2}}
    assert rules_of(p, Parameter("blocks.2.weight")) == {0: {"i": 2}}


def test_selecting_needs_no_torch() -> None:
    program = "import sys, schedc.backends.selectors; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
