"""Programs for the recorded schedules of Composer."""

from __future__ import annotations

from typing import Any

from oracle_programs import Outcome, Record, Refusal, call

TITLE = "MosaicML Composer"
FRAMEWORKS = ("mosaicml",)
TIMES = ("t_max", "t_warmup", "t_0", "step_size", "decay_period", "milestones")


def duration(text: Any, ratio: float) -> Any:
    """A time string as a duration, scaled."""
    if isinstance(text, list):
        return [duration(t, ratio) for t in text]
    for unit, name in (("ba", " steps"), ("ep", " epochs")):
        if text.endswith(unit):
            return f"{float(text.removesuffix(unit)) * ratio:g}{name}"
    return f"{float(text.removesuffix('dur')) * 100:g}%"


def program(record: Record) -> str | Outcome:
    """The scheduler in a run as long as the recorded one, its times scaled by the recorded ratio, the warmup not."""
    given = dict(record["params"])
    ratio = given.pop("ssr")
    length, epoch = duration(given.pop("max_duration"), 1), given.pop("dataloader_len")
    given |= {k: duration(given[k], 1 if k == "t_warmup" else ratio) for k in TIMES if k in given}
    text = f"""
        use composer
        train {{ length = {length}; steps_per_epoch = {epoch} }}
        lr = {call("composer." + record["class"], given)}
    """
    return Refusal(text) if record.get("raises_at") == -1 else text
