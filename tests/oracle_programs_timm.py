"""Programs for the recorded schedules of timm."""

from __future__ import annotations

from typing import Any

from oracle_programs import Exclusion, Outcome, Program, Record, Refusal, call

TITLE = "timm"
FRAMEWORKS = ("timm",)


def made(given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The class that create_scheduler_v2 makes, and what it gives it."""
    sched = given["sched"]
    warmup = {"warmup_t": given["warmup_epochs"], "warmup_lr_init": given.get("warmup_lr", 1e-5)}
    length = given["num_epochs"]
    if sched == "multistep":
        return "MultiStepLRScheduler", {
            "decay_t": given["decay_milestones"], "decay_rate": 0.1, **warmup, "warmup_prefix": False,
        }  # fmt: skip
    if sched == "constant":
        return "StepLRScheduler", {"decay_t": length, "decay_rate": 1, **warmup}
    if sched in ("wsd", "rsqrt"):
        t_initial = length - given["warmup_epochs"]
        stable = {"stable_fn": "rsqrt", "decay_fn": "linear"} if sched == "rsqrt" else {}
        return "WSDLRScheduler", {"t_initial": t_initial, "decay_t": int(0.2 * t_initial), **stable, **warmup}
    name = {"cosine": "Cosine", "poly": "Poly", "tanh": "Tanh"}[sched]
    power = {"power": given["decay_rate"]} if sched == "poly" else {}
    return f"{name}LRScheduler", {"t_initial": length, "lr_min": given.get("min_lr", 0.0), **power, **warmup}


def program(record: Record) -> str | Outcome:
    """The scheduler with the recorded arguments, one unit of its time to an update."""
    name, given = record["class"], dict(record["params"])
    if "noise_range_t" in given:
        return Exclusion("random noise is no function of progress")
    if record.get("known_bug"):
        return Exclusion("timm finds the cycle by a logarithm and misses a restart; cycles are counted exactly here")
    if name == "create_scheduler_v2":
        name, given = made(given)
    text = "use timm; lr = " + call(f"timm.{name}", given)
    if record.get("raises_at") == -1:
        return Refusal(text)
    return Program(text, metric="top1") if name == "PlateauLRScheduler" else text
