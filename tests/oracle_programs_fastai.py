"""Programs for the recorded schedules of fastai."""

from __future__ import annotations

from oracle_programs import Record, call

TITLE = "fastai"
FRAMEWORKS = ("fastai",)
UNRECORDED = {
    "fastai.combined_cos": "fit_one_cycle and fit_flat_cos are built on it",
    "fastai.fit_one_cycle_moms": "the records have no momentum",
}
ENTRIES = {
    "sched_lin": "SchedLin",
    "sched_cos": "SchedCos",
    "sched_exp": "SchedExp",
    "sched_poly2": "SchedPoly",
    "combined_cos": "fit_one_cycle",
    "fit_flat_cos": "fit_flat_cos",
}
"""The recorded names, as fastai's own."""


def program(record: Record) -> str:
    """The schedule over a run of the recorded length."""
    given = {("begin" if k == "start" else k): v for k, v in record["params"].items()}
    length = given.pop("total")
    if record["class"] == "sched_poly2":
        given["power"] = 2
    entry = call("fastai." + ENTRIES[record["class"]], given)
    return f"use fastai; train {{ length = {length} steps }}; lr = {entry}"
