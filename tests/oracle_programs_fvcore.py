"""Programs for the recorded schedules of fvcore."""

from __future__ import annotations

from oracle_programs import Record, call

TITLE = "fvcore, `fvcore.common.param_scheduler`"
FRAMEWORKS = ("fvcore",)

PARTS = {
    "Linear(0.001,0.1)": "fvcore.LinearParamScheduler(0.001, 0.1)",
    "Cosine(0.1,0.0)": "fvcore.CosineParamScheduler(0.1, 0)",
}
"""The recorded parts of CompositeParamScheduler."""


def program(record: Record) -> str:
    """The scheduler over a run of the recorded length."""
    given = dict(record["params"])
    if record["class"] == "CompositeParamScheduler":
        first, second = given.pop("schedulers")
        given |= {"first": PARTS[first], "second": PARTS[second]}
        given["interval_scaling"], _ = given["interval_scaling"]
    return f"use fvcore; train {{ length = {record['total']} steps }}; lr = {call('fvcore.' + record['class'], given)}"
