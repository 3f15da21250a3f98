"""Which parameters of a model a rule speaks of, and the param groups that follow from a plan's `group` rules.

Selecting needs no PyTorch: a `Parameter` is a name, the class names of the module that owns it, and how many dimensions
it has.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from schedc.backends.base import Curves, after, compositions, glob_pattern, groups_hash
from schedc.compiler import expressions as ex
from schedc.compiler.plan import Binding, Plan, Selection, SelectorModel

if TYPE_CHECKING:
    import torch

COMPARE = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip


class SelectorError(ValueError):
    """A selector that matches no parameter of the model."""


@dataclass(frozen=True)
class Parameter:
    """What selecting knows of a parameter.

    `types` are the owning module's class name and those of its bases that come from `torch.nn`, nearest first.
    """

    name: str
    types: tuple[str, ...] = ()
    ndim: int = 0

    @property
    def leaf(self) -> str:
        """Its name within its module."""
        return self.name.rpartition(".")[2]


Captures = dict[str, int]


def matches(selector: SelectorModel, parameter: Parameter) -> Captures | None:
    """What the selector's `{captures}` matched in the parameter; None where it does not match."""
    if selector.kind == "glob":
        match = re.fullmatch(glob_pattern(selector.text), parameter.name)
        return None if match is None else {name: int(number) for name, number in match.groupdict().items()}
    if selector.kind == "ndim":
        return {} if COMPARE[selector.op](parameter.ndim, selector.number) else None
    kind, _, leaf = selector.text.partition(".")
    return {} if kind in parameter.types and (not leaf or leaf == parameter.leaf) else None


def selects(selection: Selection, parameter: Parameter) -> Captures | None:
    """What the selection's first matching selector captured; None where none matches, or an excepted one does."""
    if any(matches(s, parameter) is not None for s in selection.excepted):
        return None
    return next((found for s in selection.union if (found := matches(s, parameter)) is not None), None)


def rules_of(plan: Plan, parameter: Parameter) -> dict[int, Captures]:
    """The group rules that apply to a parameter, in file order, with what each captured."""
    found = {i: selects(rule.selection, parameter) for i, rule in enumerate(plan.groups)}
    return {i: captures for i, captures in found.items() if captures is not None}


def unmatched(selection: Selection, parameters: Sequence[Parameter]) -> Iterator[SelectorModel]:
    """The selectors of a selection that match no parameter at all."""
    for selector in (*selection.union, *selection.excepted):
        if all(matches(selector, p) is None for p in parameters):
            yield selector


def check_matched(selections: Iterable[Selection], parameters: Sequence[Parameter], what: str = "group") -> None:
    """Every selector matches something, or a SelectorError says which does not, with what comes nearest."""
    wrong = []
    for selection in selections:
        wrong += [
            f"`{selector}` in `{what} {selection}` matches no parameter{_nearest(selector, parameters)}"
            for selector in unmatched(selection, parameters)
        ]
    if wrong:
        raise SelectorError("\n".join(wrong))


def _nearest(selector: SelectorModel, parameters: Sequence[Parameter]) -> str:
    if selector.kind == "ndim":
        sizes = sorted({p.ndim for p in parameters})
        return f": the model's have {', '.join(map(str, sizes))} dimensions"
    if selector.kind == "type":
        types = sorted({p.types[0] for p in parameters if p.types})
        near = get_close_matches(selector.text.partition(".")[0], types, n=3, cutoff=0.5) or types[:8]
        return f": modules with parameters are {', '.join(near)}"
    names = [p.name for p in parameters]
    wanted = re.sub(r"\{\w+\}", "0", selector.text)
    near = get_close_matches(wanted.replace("*", ""), names, n=3, cutoff=0.4)
    words = [w for w in re.split(r"[*.?]+", wanted) if w]
    near = near or get_close_matches(max(words, key=len, default=""), {n.split(".")[0] for n in names}, n=3, cutoff=0.4)
    return f": the nearest names are {', '.join(near or names[:3])}"


def parameters_of(model: torch.nn.Module) -> list[tuple[Parameter, torch.nn.Parameter]]:
    """A model's parameters, each once under its first name, in the order of `named_parameters`."""
    found = []
    for name, parameter in model.named_parameters():
        module = model.get_submodule(name.rpartition(".")[0])
        found.append((Parameter(name, type_names(type(module)), parameter.ndim), parameter))
    return found


def type_names(module: type) -> tuple[str, ...]:
    """A module class's name, and those of its bases that come from `torch.nn`."""
    bases = [c.__name__ for c in module.__mro__[1:] if c.__module__.startswith("torch.nn")]
    return (module.__name__, *bases)


def param_groups(plan: Plan, model: torch.nn.Module) -> list[dict[str, Any]]:
    """The model's trainable parameters as param groups for an optimizer, each parameter in exactly one.

    Parameters that the same rules match, with the same captures, form a group; the groups come in the order of their
    first parameters. Frozen parameters (`requires_grad=False`) are left out, tied ones stand under their first name.
    A group's "schedc" says which rules apply, for the scheduler; it is plain data and stays in the optimizer's state.
    Where the plan says what lr or weight_decay is at update 0, whatever the group is built with, the group has it.
    """
    described = parameters_of(model)
    trainable = [(p, parameter) for p, parameter in described if parameter.requires_grad]
    if not trainable:
        raise SelectorError("the model has no parameter that requires a gradient")
    check_matched([rule.selection for rule in plan.groups], [p for p, _ in described])
    groups: dict[str, dict[str, Any]] = {}
    for p, parameter in trainable:
        rules = rules_of(plan, p)
        key = repr(rules)
        if key not in groups:
            mark = {
                "groups": groups_hash(plan),
                "name": _name(plan, rules),
                "rules": list(rules),
                "captures": list(rules.values()),
            }
            groups[key] = {"params": [], "schedc": mark, **_initial(plan, rules)}
        groups[key]["params"].append(parameter)
    return list(groups.values())


def _name(plan: Plan, rules: dict[int, Captures]) -> str:
    """What to call a group: its selectors, with the captured numbers in them."""
    texts = []
    for i, captures in rules.items():
        text = str(plan.groups[i].selection)
        for name, number in captures.items():
            text = text.replace(f"{{{name}}}", str(number))
        texts.append(text)
    return "; ".join(texts) or "others"


def _initial(plan: Plan, rules: dict[int, Captures]) -> dict[str, float]:
    """What a group's lr and weight_decay are at update 0, where that does not depend on what it was built with."""
    curves = Curves(plan)
    values: dict[str, float | None] = {}
    for name, chain in compositions(plan).items():
        value: float | None = None
        for rule, binding in chain:
            if rule is None or rule in rules:
                factor = _at_start(curves, binding, rules.get(rule, {}) if rule is not None else {}, values)
                if binding.relative and factor is not None:
                    factor = None if value is None else value * factor
                value = factor
        values[name] = value
    return {name: x for name in ("lr", "weight_decay") if (x := values.get(name)) is not None}


def _at_start(curves: Curves, binding: Binding, captures: Captures, values: dict[str, float | None]) -> float | None:
    """A binding's value at update 0; None where it depends on what only the optimizer knows."""

    def given(e: ex.Expr) -> ex.Expr | None:
        if isinstance(e, ex.Var):
            kind, _, which = e.name.partition(":")
            if kind == "factor":
                return ex.ONE
            return ex.num(captures[which]) if kind == "capture" and which in captures else None
        if isinstance(e, ex.Bound) and e.at in (None, 0):
            value = values.get(e.name)
            return None if value is None else ex.num(Fraction(value))
        return None

    first = next((s for s in binding.curve.segments if s.end is None or s.end > 0), None)
    formula = after(binding.curve) if first is None else first.formula
    try:
        return float(_number(ex.rebuild(curves.folded(curves.at(formula, Fraction(0))), given)))
    except (ArithmeticError, LookupError, ValueError):
        return None


def _number(expr: ex.Expr) -> Fraction | float:
    """The value of a constant expression. Raises LookupError where it is none."""
    match expr:
        case ex.Num(value):
            return value
        case ex.Const(name):
            return {"pi": math.pi, "e": math.e, "inf": math.inf}[name]
        case ex.Op("if", (condition, yes, no)):
            return _number(yes if _number(condition) else no)
        case ex.Op(name, args):
            numbers = [_number(a) for a in args]
            exact = tuple(n for n in numbers if isinstance(n, Fraction))
            folded = ex.fold(name, exact) if len(exact) == len(numbers) else None
            if folded is not None:
                return folded
            x = [float(n) for n in numbers]
            if name in FLOATS:
                return FLOATS[name](*x)
            # The rest of the operators compare, choose or round, and take any numbers.
            return float(ex.fold(name, tuple(map(Fraction, x))) or 0)
        case ex.Piecewise(reading, bounds, values):
            x0 = _number(reading)
            return _number(next((v for b, v in zip(bounds, values, strict=False) if x0 < b), values[-1]))
    raise LookupError(expr)


FLOATS: dict[str, Callable[..., float]] = {
    "exp": math.exp, "log": math.log, "sqrt": math.sqrt, "sin": math.sin, "cos": math.cos, "tan": math.tan,
    "tanh": math.tanh, "pow": math.pow, "add": operator.add, "sub": operator.sub, "mul": operator.mul,
    "div": operator.truediv, "neg": operator.neg,
}  # fmt: skip
