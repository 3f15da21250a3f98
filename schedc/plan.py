"""The Plan as people use it: schedules to call, and what they give to a model and an optimizer."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, overload

from pydantic import BaseModel, PrivateAttr

from schedc.compiler import plan as frozen
from schedc.compiler.diagnostics import Diagnostic, Level, errors
from schedc.compiler.source import Source
from schedc.errors import SchedError, SchedWarning, UnknownNameError, did_you_mean, in_order, listed, needs

if TYPE_CHECKING:
    import numpy as np
    import torch
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from schedc.backends.torch_batch import BatchPlan
    from schedc.backends.torch_init import InitReport
    from schedc.backends.torch_scheduler import PlanScheduler
    from schedc.compiler.pipeline import Options

P = ParamSpec("P")
R = TypeVar("R")


def _with_torch(method: Callable[P, R]) -> Callable[P, R]:
    """The method, with an import error that says what to install."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except ModuleNotFoundError as error:
            raise needs("torch", "torch", f"Plan.{method.__name__}")(error) from None

    return call


class BoundSchedule:
    """One bound name of a plan, as a function of the update.

    A schedule under `*=` multiplies what the param group was built with. That value is `base`: what was given to
    `compile` or `load`, else 1.0, so that the values are factors. Observations of `plateau` are not known here; its
    factor is taken as 1.
    """

    def __init__(self, plan: Plan, binding: frozen.Binding, base: float | None) -> None:
        self.plan = plan
        self.binding = binding
        self.base = 1.0 if base is None else base

    @property
    def name(self) -> str:
        return self.binding.name

    @property
    def relative(self) -> bool:
        """Whether it multiplies the built-in value (`*=`), rather than replacing it (`=`)."""
        return self.binding.relative

    @overload
    def __call__(self, update: int) -> float: ...
    @overload
    def __call__(self, update: torch.Tensor) -> torch.Tensor: ...
    @overload
    def __call__(self, update: NDArray[Any] | list[int] | range) -> NDArray[np.float64]: ...
    def __call__(self, update: Any) -> Any:
        """The value that the `update`-th optimizer update uses, counted from 0.

        Of a list, an array or a tensor, every value, in float64, where it lives.
        """
        from schedc.compiler.evaluate import binding_values

        if isinstance(update, list | tuple | range):
            import numpy as np

            update = np.asarray(update)
        whole = getattr(update, "dtype", None)
        if isinstance(update, float) or (whole is not None and "float" in str(whole) and bool((update % 1 != 0).any())):
            raise TypeError("updates are whole numbers")
        return binding_values(self.plan, self.name, update, base=self.base)

    @property
    def segments(self) -> tuple[frozen.Segment, ...]:
        """Its pieces in order."""
        return self.binding.curve.segments

    @property
    def facts(self) -> tuple[frozen.Fact, ...]:
        """What the checks found out about it."""
        return tuple(f for f in self.plan.facts if f.binding == self.name)

    @property
    def formula(self) -> tuple[Any, ...]:
        """The SymPy expression of each segment, in order, with `t` counted from its start. Imports SymPy."""
        from schedc.compiler.symbolic import to_sympy

        return tuple(to_sympy(s.formula, origin=s.origin, clock=s.clock, table=s.table) for s in self.segments)

    def __repr__(self) -> str:
        return f"<{self.name} {'*=' if self.relative else '='} {len(self.segments)} segments>"


class Batch(frozen.BatchSettings):
    """What `batch { … }` declares; called, the settings it gives a run."""

    _plan: frozen.Plan = PrivateAttr()

    def __call__(
        self, world_size: int | None = None, *, micro: int | None = None, accumulation: int | None = None
    ) -> BatchPlan:
        """Micro batch, accumulation and loader settings, for each phase of a batch ramp."""
        try:
            from schedc.backends.torch_batch import batch
        except ModuleNotFoundError as error:
            raise needs("torch", "torch", "Plan.batch")(error) from None
        return batch(self._plan, world_size, micro=micro, accumulation=accumulation)


class Plan(frozen.Plan):
    """A checked program, as `compile`, `load` and `read` give it. `plan["lr"](1000)` is a value of it."""

    batch: Batch
    _base: float | None = PrivateAttr(default=None)
    _said: tuple[Diagnostic, ...] = PrivateAttr(default=())

    @classmethod
    def of(cls, plan: frozen.Plan, base: float | None = None, said: tuple[Diagnostic, ...] = ()) -> Plan:
        """The same plan with this face; `base` is the value that relative schedules multiply, `said` the messages."""
        batch = Batch.model_construct(plan.batch.model_fields_set, **_fields(plan.batch))
        batch._plan = plan
        made = cls.model_construct(plan.model_fields_set | {"batch"}, **{**_fields(plan), "batch": batch})
        made._base = base
        made._said = said
        return made

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """The warnings and notes of the compiler; empty for a plan read from JSON."""
        return self._said

    def __getitem__(self, name: str) -> BoundSchedule:
        for binding in (*self.bindings, *self.lets):
            if binding.name == name:
                return BoundSchedule(self, binding, self._base)
        names = self.names
        raise UnknownNameError(words=f"this plan binds no `{name}`{did_you_mean(name, names)} (bound: {listed(names)})")

    def __contains__(self, name: object) -> bool:
        return name in self.names

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that can be read: what is bound for all groups, then the `let` schedules."""
        return tuple(b.name for b in (*self.bindings, *self.lets))

    @_with_torch
    def scheduler(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        last_epoch: int = -1,
        on_change: Literal["error", "keep", "replace"] = "error",
    ) -> PlanScheduler:
        """A `torch.optim.lr_scheduler.LRScheduler` that sets all that the plan binds; call `step()` after each update.

        `on_change` says what `load_state_dict` does with the state of a schedule that goes on differently.
        """
        from schedc.backends.torch_scheduler import scheduler

        return scheduler(self, optimizer, last_epoch=last_epoch, on_change=on_change)

    @_with_torch
    def param_groups(self, model: torch.nn.Module) -> list[dict[str, Any]]:
        """The model's parameters as param groups for an optimizer, each parameter in exactly one."""
        from schedc.backends.selectors import param_groups

        return param_groups(self, model)

    @_with_torch
    def initialize(
        self, model: torch.nn.Module, seed: int = 0, *, device: torch.device | str | None = None, measure: bool = True
    ) -> InitReport:
        """Write the model's parameters as the `init` rules say; the report tells what wrote which."""
        from schedc.backends.torch_init import initialize

        return initialize(self, model, seed, device=device, measure=measure)

    def emit(self, target: str) -> str:
        """The plan in another language: the text of `schedc compile --to target`."""
        from schedc.targets import TARGETS

        if target not in TARGETS:
            near = did_you_mean(target, TARGETS)
            raise UnknownNameError(words=f"there is no target `{target}`{near} (targets: {listed(tuple(TARGETS))})")
        return TARGETS[target](self)

    def plot(self, *others: frozen.Plan) -> Figure:
        """A picture of every bound name, with other plans over it. Needs matplotlib."""
        try:
            from schedc.backends.plot import figure
        except ModuleNotFoundError as error:
            raise needs("matplotlib", "plot", "Plan.plot")(error) from None
        return figure([self, *others], base=self._base)

    def __eq__(self, other: object) -> bool:
        # What the compiler said is no part of what the plan is.
        return isinstance(other, Plan) and self.__dict__ == other.__dict__ and self._base == other._base

    def __repr__(self) -> str:
        run = f", {self.run.updates} updates" if self.run else ""
        return f"<Plan {self.name}: {', '.join(self.names) or 'nothing bound'}{run}>"

    __str__ = __repr__


def _fields(model: BaseModel) -> dict[str, Any]:
    return {name: getattr(model, name) for name in type(model).model_fields}


def compile(
    text: str,
    /,
    *,
    name: str = "<string>",
    base: float | None = None,
    length: int | str | None = None,
    dataset: int | None = None,
    classes: int | None = None,
    seq_len: int | None = None,
    drop_last: bool | None = None,
    world_size: int | None = None,
    steps_per_epoch: int | None = None,
    tick: str | None = None,
    global_batch: int | str | None = None,
    micro: int | None = None,
    root: str | Path | None = None,
    **parameters: str | float,
) -> Plan:
    """The checked plan of a program, or SchedError with every message.

    `parameters` are values for the program's `param`s; a text is read as a number of the language, so `"10k"` is one.
    The keywords from `length` to `micro` say what the file does not about the run. `base` is what
    relative schedules (`*=`) multiply, where it is known. `name` stands in messages; `root` is the folder
    that `use "…"` may read below.
    """
    given = from_keywords(
        {
            **parameters,
            "base": base,
            "root": root,
            "length": length,
            "dataset": dataset,
            "classes": classes,
            "seq_len": seq_len,
            "drop_last": drop_last,
            "world_size": world_size,
            "steps_per_epoch": steps_per_epoch,
            "tick": tick,
            "global_batch": global_batch,
            "micro": micro,
        }
    )
    return compile_source(Source(name, text), given)


CONTEXT = (
    "length",
    "dataset",
    "classes",
    "seq_len",
    "drop_last",
    "world_size",
    "steps_per_epoch",
    "tick",
    "global_batch",
    "micro",
)
"""The keywords of `compile` that say something about the run."""
KEYWORDS = ("base", "root", *CONTEXT)
"""All keywords of `compile` that are not params, but for `name`."""


def from_keywords(given: Mapping[str, Any]) -> Options:
    """The keywords of `compile` in the compiler's words."""
    context = {k.removesuffix("_batch"): given[k] for k in CONTEXT if given.get(k) is not None}
    parameters = {k: v for k, v in given.items() if k not in KEYWORDS}
    return options(parameters, context, given.get("base"), given.get("root"))


def options(
    parameters: Mapping[str, Any], context: Mapping[str, Any], base: float | str | None, root: str | Path | None
) -> Options:
    """What is given from outside, in the compiler's words."""
    from schedc.compiler.pipeline import Options

    written = {k: str(v).lower() if isinstance(v, bool) else v for k, v in parameters.items()}
    return Options(parameters=written, context=context, base=base, root=None if root is None else Path(root))


def compile_source(source: Source, given: Options, stacklevel: int = 3) -> Plan:
    """The plan of a source, or SchedError. Warnings of the compiler become Python's `SchedWarning`s."""
    from schedc.compiler.pipeline import compile_source

    staged = compile_source(source, given)
    said = in_order(staged.said, source)
    if staged.value is None or errors(said):
        wrong = unknown_parameter(said, given.parameters)
        if wrong:
            raise UnknownNameError(said, wrong)
        raise SchedError(said)
    for one in said:
        if one.level is Level.WARNING:
            warnings.warn("\n" + str(one), SchedWarning, stacklevel=stacklevel)
    base = None if given.base is None else float(Fraction(str(given.base)))
    return Plan.of(staged.value, base, said)


def unknown_parameter(
    said: Iterable[Diagnostic], given: Iterable[str], context: Mapping[str, str] | None = None
) -> str | None:
    """What is wrong with a name given from outside, if that is among the messages.

    `context` is how what is said of the run is spelled where it is given, by keyword.
    """
    from schedc.compiler.messages_names import UNKNOWN_PARAMETER

    context = {name: name for name in CONTEXT} if context is None else context
    for one in said:
        if one.code is UNKNOWN_PARAMETER:
            name = next((n for n in given if one.title.endswith(f"`param {n}`")), "")
            near = get_close_matches(name, context, n=1, cutoff=0.6)
            help_ = one.help
            if near and not (help_ or "").startswith("did you mean"):
                help_ = f"did you mean `{context[near[0]]}`?"
            return f"{one.title}: {help_} (of the run: {', '.join(f'`{c}`' for c in context.values())})"
    return None


def project_root(path: Path) -> Path:
    """The folder that a file may read others below: the current one if it lies there, else its own."""
    here = Path.cwd()
    return here if path.resolve().is_relative_to(here) else path.parent


def load(path: str | Path, /, *, root: str | Path | None = None, **keywords: Any) -> Plan:
    """The checked plan of a `.sched` file, with the keywords of `compile`; or a plan saved as JSON."""
    file = Path(path)
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".json":
        return read(text, **keywords)
    return compile(text, name=str(path), root=project_root(file) if root is None else root, **keywords)


def read(text: str, /, *, base: float | None = None) -> Plan:
    """The plan from its JSON, as `plan.canonical_json()` writes it. Neither Lark nor SymPy is needed for that."""
    return Plan.of(frozen.read(text), base)
