"""A Plan as a `torch.optim.lr_scheduler.LRScheduler` for an optimizer.

It runs the text of `torch_source`: what a compiled file does, this does. It adds what needs the Plan at hand: the Plan
in the state, saved states of another Plan, copies and pickles.
"""

from __future__ import annotations

import linecache
from typing import TYPE_CHECKING, Any, Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from schedc.backends.base import compositions
from schedc.backends.torch_source import emit, plateau_name
from schedc.compiler.plan import Curve, Plan, read

OnChange = Literal["error", "keep", "replace"]

SEARCHED = 200_000
"""How many updates are compared one by one where two formulas may agree for long."""


class ScheduleChanged(ValueError):
    """A saved state belongs to a schedule that goes on differently from this one."""


def scheduler(
    plan: Plan, optimizer: Optimizer, *, last_epoch: int = -1, on_change: OnChange = "error"
) -> PlanScheduler:
    """A scheduler that sets what the plan binds in the optimizer's param groups, for update 0 at once.

    `last_epoch` is the last update that was made, when no state is at hand to load. `on_change` says what
    `load_state_dict` does with the state of a schedule that goes on differently: raise an error that shows where
    the two part, keep the saved schedule, or replace it by this one.
    """
    _check(on_change)
    return _class_of(plan)(optimizer, last_epoch, on_change)


def _check(on_change: str) -> None:
    if on_change not in ("error", "keep", "replace"):
        raise ValueError(f'on_change is "error", "keep" or "replace", not {on_change!r}')


class PlanScheduler(LRScheduler):
    """What all these schedulers have; `scheduler` makes one. Each plan has a class, with its generated methods."""

    plan: Plan
    functions: dict[str, Any]
    """The names of the generated module; the curves among them are pure functions of the update."""

    plateaus: list[Any]
    _kinds: list[Any]
    _used: set[int]
    _step_count: int
    if TYPE_CHECKING:  # These come with the generated class.

        def step(self, epoch: int | None = None, *, metrics: Any = None) -> None: ...
        def _restore(self, state_dict: dict[str, Any]) -> None: ...
        def _values(self, n: int) -> list[tuple[float, ...]]: ...

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1, on_change: OnChange = "error") -> None:
        self.on_change = on_change
        super().__init__(optimizer, last_epoch)

    def observe(self, **metrics: Any) -> None:
        """Report metrics to the plateaus, on every rank. It does not advance."""
        super().observe(**metrics)  # type: ignore[misc]

    def state_dict(self) -> dict[str, Any]:
        """The clock, the plateaus' state and the plan: numbers and strings that load under `weights_only=True`."""
        return {**super().state_dict(), "plan": self.plan.canonical_json()}

    def load_state_dict(self, state_dict: dict[str, Any], on_change: OnChange | None = None) -> None:
        """Go on where the saved scheduler was; the optimizer gets that update's values at once."""
        choice = self.on_change if on_change is None else on_change
        _check(choice)
        if "plan_hash" not in state_dict:
            raise ValueError("this is not the state of a schedc scheduler")
        if state_dict["plan_hash"] == self.plan.hash:
            self._restore(state_dict)
            return
        if "plan" not in state_dict:
            raise ScheduleChanged("the state was saved by a compiled file of another schedule")
        saved = read(state_dict["plan"])
        if choice == "keep":
            self._become(saved)
            self._restore(state_dict)
        elif choice == "replace":
            self._restore(self._translated(state_dict, saved))
        else:
            parting = self._parting(state_dict, saved)
            if parting is not None:
                raise ScheduleChanged(
                    f"the state was saved by another schedule: {parting}; "
                    'on_change="keep" goes on with the saved schedule, on_change="replace" with this one'
                )
            self._restore(self._translated(state_dict, saved))

    def _become(self, plan: Plan) -> None:
        """Follow another plan from now on."""
        other = _class_of(plan)
        if plan.groups != () and [r.selection for r in plan.groups] != [r.selection for r in self.plan.groups]:
            raise ScheduleChanged("the saved schedule has other group rules: build the optimizer with its param groups")
        self.__class__ = other
        self.plateaus = [made() for made in other.functions["plateau_classes"]]
        vars(self).setdefault("_nan_in", set())
        vars(self)["_seen"] = None, 0

    def _translated(self, state_dict: dict[str, Any], saved: Plan) -> dict[str, Any]:
        """The state for this plan: plateaus on the same metric go on, in order; others begin anew."""
        states: dict[str, list[dict[str, Any]]] = {}
        for feedback, state in zip(saved.feedback, state_dict.get("plateaus", []), strict=True):
            states.setdefault(feedback.metric, []).append(state)
        plateaus = []
        for feedback, fresh in zip(self.plan.feedback, self.functions["plateau_classes"], strict=True):
            old = states.get(feedback.metric) or [{}]
            new = dict(vars(fresh()))
            plateaus.append({k: old[0].get(k, v) for k, v in new.items()})
            del old[0]
        return {**state_dict, "plan_hash": self.plan.hash, "plateaus": plateaus}

    def _parting(self, state_dict: dict[str, Any], saved: Plan) -> str | None:
        """Where the saved schedule and this one part, from the saved update on; None where they don't."""
        if _means(saved) == _means(self.plan):
            return None
        if [r.selection for r in saved.groups] != [r.selection for r in self.plan.groups]:
            return "its group rules select other parameters"
        old = _class_of(saved)
        self._values(self.last_epoch)
        here = [p.factor for p in self._with_states(type(self), self._translated(state_dict, saved)["plateaus"])]
        there = [p.factor for p in self._with_states(old, state_dict.get("plateaus", []))]
        used = [self._used] if self.plan.groups else []
        names, others = list(compositions(self.plan)), list(compositions(saved))
        if set(names) != set(others):
            return f"it sets {', '.join(others)}, this one {', '.join(names)}"
        n = int(state_dict["last_epoch"])
        for update in _candidates(n, saved, self.plan):
            before = _outcome(old.functions["hyper_parameters"], update, self._kinds, *used, *there)
            now = _outcome(self.functions["hyper_parameters"], update, self._kinds, *used, *here)
            for name in names:
                a = [v[others.index(name)] for v in before] if isinstance(before, list) else before
                b = [v[names.index(name)] for v in now] if isinstance(now, list) else now
                if a != b:
                    which = next((i for i in range(len(self._kinds)) if a[i] != b[i]), 0)
                    x, y = (v if isinstance(v, str) else f"{v[which]:.10g}" for v in (a, b))
                    return f"from update {update} on, {name} was {x} and is {y}"
        return f"no difference was found from update {n} on, but the two are not written alike"

    @staticmethod
    def _with_states(cls: type[PlanScheduler], states: list[dict[str, Any]]) -> list[Any]:
        plateaus = [made() for made in cls.functions["plateau_classes"]]
        for plateau, state in zip(plateaus, states, strict=True):
            vars(plateau).update(state)
        return plateaus

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (self.plan.canonical_json(), self.optimizer, self.state_dict(), self.on_change)

    def __repr__(self) -> str:
        return f"<schedule {self.plan.name} of {', '.join(compositions(self.plan))} at update {self.last_epoch}>"


def _rebuilt(plan: str, optimizer: Optimizer, state: dict[str, Any], on_change: OnChange) -> PlanScheduler:
    made = scheduler(read(plan), optimizer, on_change=on_change)
    made.load_state_dict(state)
    return made


def _means(plan: Plan) -> Any:
    """What of a plan a scheduler depends on."""
    data = plan.model_dump(mode="json", include={"clocks", "bindings", "lets", "groups", "feedback", "batch", "run"})

    def bare(x: Any) -> Any:
        if isinstance(x, dict):
            return {k: bare(v) for k, v in x.items() if k not in ("place", "label")}
        return [bare(v) for v in x] if isinstance(x, list) else x

    return bare(data)


def _outcome(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except (RuntimeError, ArithmeticError, ValueError) as error:
        return str(error)


def _candidates(first: int, *plans: Plan) -> list[int]:
    """The updates to compare: every one for a while, then around all boundaries."""
    found = set(range(first, first + SEARCHED))
    for plan in plans:
        for chain in compositions(plan).values():
            for _, binding in chain:
                for bound in _boundaries(binding.curve):
                    found |= {n for n in range(bound - 1, bound + 2) if n >= first}
    return sorted(found)


def _boundaries(curve: Curve) -> set[int]:
    found = set()
    for s in curve.segments:
        found |= {s.first} | ({s.last + 1} if s.last is not None else set())
        if s.last is not None:
            found |= {s.first + (s.last - s.first) * k // 64 for k in range(64)}
    return found


_CLASSES: dict[str, type[PlanScheduler]] = {}


def _class_of(plan: Plan) -> type[PlanScheduler]:
    """The scheduler class of a plan; plans with the same JSON share it."""
    key = plan.canonical_json()
    if key not in _CLASSES:
        module = _run(emit(plan, standalone=False), plan.hash)
        module["plateau_classes"] = [module[plateau_name(f, plan)] for f in plan.feedback]
        made = type("PlanScheduler", (PlanScheduler, module["Schedule"]), {"plan": plan, "functions": module})
        _CLASSES[key] = made
    return _CLASSES[key]


def _run(text: str, digest: str) -> dict[str, Any]:
    """The names that a generated module defines.

    This is the one place where text is executed. It was written by `torch_source.emit` from a checked Plan, in
    which every word of the source program that is not a number or a known operator is quoted or made an identifier.
    """
    file = f"<schedc plan {digest[:12]}>"
    # So that tracebacks and debuggers show the generated lines.
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    module: dict[str, Any] = {"__name__": f"schedc.plan_{digest[:12]}", "__file__": file}
    exec(compile(text, file, "exec"), module)
    return module
