"""Programs for the recorded schedules of PyTorch-Ignite."""

from __future__ import annotations

from typing import Any

from oracle_programs import Exclusion, Outcome, Record, call

TITLE = "PyTorch-Ignite"
FRAMEWORKS = ("pytorch-ignite",)

TORCH = {
    "exp": "torch.ExponentialLR(gamma=0.95)",
    "cos": "torch.CosineAnnealingLR(T_max=50)",
    "step": "torch.StepLR(step_size=20, gamma=0.5)",
    "restarts": "torch.CosineAnnealingWarmRestarts(T_0=10, T_mult=2)",
}
"""The recorded PyTorch schedulers."""
INNER = {"CosineAnnealingScheduler(0.1,0.001,50)": "ignite.CosineAnnealingScheduler(0.1, 0.001, 50)"}
PARTS = {
    "LinearCyclical(0.1,0.5,60)": "ignite.LinearCyclicalScheduler(0.1, 0.5, 60)",
    "CosineAnnealing(0.5,0.01,60)": "ignite.CosineAnnealingScheduler(0.5, 0.01, 60)",
}
"""The recorded parts of ConcatScheduler."""


def program(record: Record) -> str | Outcome:
    """The scheduler with the recorded arguments."""
    name, given = record["class"], dict(record["params"])
    if record.get("known_bug"):
        return Exclusion("ignite 0.5.5 with PyTorch 2.15 asks the wrapped scheduler for its first step twice or never")
    if name == "LRScheduler":
        return f"use torch; lr = {TORCH[given['torch']]}"
    if name == "create_lr_scheduler_with_warmup":
        torch, inner = given.pop("torch", None), given.pop("inner", None)
        schedule = TORCH[torch] if torch else INNER[inner]
        return f"use ignite; use torch; lr = {call('ignite.' + name, {'lr_scheduler': schedule, **given})}"
    if name == "ConcatScheduler":
        first, second = (PARTS[s] for s in given["schedulers"])
        return f"use ignite; lr = {first} for {given['durations'][0]} -> {second}"
    if name == "PiecewiseLinear":
        milestones, values = zip(*given.pop("milestones_values"), strict=True)
        given |= {"milestones": milestones, "values": values}
    if given.get("cycle_mult", 1) % 1:
        return "use ignite; lr = " + " -> ".join(cycles(name, given, len(record["lr"])))
    text = "use ignite; lr = " + call(f"ignite.{name}", given)
    if given.get("end_value_mult", 1) > 1:
        # It grows for ever: finite only in a run that ends.
        text += f"; train {{ length = {len(record['lr'])} steps }}"
    return text


def cycles(name: str, given: dict[str, Any], updates: int) -> list[str]:
    """Cycle by cycle, each length rounded down, as ignite does."""
    given = dict(given)
    growth = given.pop("cycle_mult")
    stages, done = [], 0
    while done < updates:
        length = given["cycle_size"] + given.get("warmup_duration", 0)
        stages.append(f"{call('ignite.' + name, given)} for {length}")
        done += length
        for key in ("cycle_size", "warmup_duration"):
            given[key] = int(given.get(key, 0) * growth)
        given["start_value"] *= given.get("start_value_mult", 1)
        given["end_value"] *= given.get("end_value_mult", 1)
    return stages
