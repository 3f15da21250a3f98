"""Programs for the recorded schedules of torchtitan."""

from __future__ import annotations

from oracle_programs import Record, call

TITLE = "torchtitan"
FRAMEWORKS = ("torchtitan",)


def program(record: Record) -> str:
    """The schedule in a run of the recorded length: behind it, torchtitan's values are negative."""
    given = {k: v for k, v in record["params"].items() if v is not None}
    length = given["total_steps"]
    return f"use torchtitan; train {{ length = {length} steps }}; lr = {call('torchtitan.' + record['class'], given)}"
