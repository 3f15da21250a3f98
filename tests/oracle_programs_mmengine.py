"""Programs for the recorded schedules of MMEngine."""

from __future__ import annotations

from oracle_programs import Program, Record, call

TITLE = "MMEngine"
FRAMEWORKS = ("mmengine",)

LISTS = {
    "linear_then_cosine": "mmengine.LinearLR(0.1, end=10) until 10 -> mmengine.CosineAnnealingLR(T_max=90, end=90)",
    "linear_then_multistep": "mmengine.LinearLR(0.001, end=500) * mmengine.MultiStepLR([800, 1100]) / base",
    "linear_then_poly": "mmengine.LinearLR(1e-6, end=20) until 20 -> mmengine.PolyLR(power=1, end=100)",
}
"""The recorded lists of schedulers."""


def program(record: Record) -> Program:
    """The scheduler with the recorded arguments."""
    if record["class"] == "param_scheduler list":
        return Program("use mmengine; lr = " + LISTS[record["id"].rpartition("/")[2]])
    return Program("use mmengine; lr = " + call(f"mmengine.{record['class']}", record["params"]))
