"""Programs for the recorded schedules of DeepSpeed."""

from __future__ import annotations

from oracle_programs import Record, call

TITLE = "DeepSpeed, `deepspeed.runtime.lr_schedules`"
FRAMEWORKS = ("deepspeed",)
UNRECORDED = {"deepspeed.OneCycle_momentum": "the records have no momentum"}


def program(record: Record) -> str:
    """The scheduler with the recorded arguments."""
    text = "use deepspeed; lr = " + call(f"deepspeed.{record['class']}", record["params"])
    if record["class"] == "LRRangeTest":
        # It grows for ever: finite only in a run that ends.
        text += f"; train {{ length = {len(record['lr'])} steps }}"
    return text
