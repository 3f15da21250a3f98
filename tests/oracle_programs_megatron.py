"""Programs for the recorded schedules of Megatron-LM."""

from __future__ import annotations

from oracle_programs import Program, Record, call

TITLE = "Megatron-LM, `OptimizerParamScheduler`"
FRAMEWORKS = ("megatron-core",)
TIMES = ("lr_warmup_steps", "lr_decay_steps", "wsd_decay_steps", "wd_incr_steps")


def program(record: Record) -> Program:
    """The scheduler with the recorded arguments, its times in samples; the batch size is the recorded increment."""
    decay = record["class"].endswith("get_wd")
    given = {k: f"{v} samples" if k in TIMES else v for k, v in record["params"].items()}
    batch = given.pop("increment", 1)
    if not decay:
        given = {k: v for k, v in given.items() if not k.startswith(("start_wd", "end_wd", "wd_"))}
        given["lr_decay_style"] = f'"{given["lr_decay_style"]}"'
    name, entry = ("weight_decay", "get_wd") if decay else ("lr", "OptimizerParamScheduler")
    return Program(
        f"use megatron; batch {{ global = {batch} }}; {name} = {call('megatron.' + entry, given)}", names={"lr": name}
    )
