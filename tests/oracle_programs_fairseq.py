"""Programs for the recorded schedules of fairseq."""

from __future__ import annotations

from oracle_programs import Record, call

TITLE = "fairseq"
FRAMEWORKS = ("fairseq",)
NOT_HERE = {"FixedLRSchedule": ("force_anneal", "lr_shrink"), "PolynomialDecayLRSchedule": ("force_anneal",)}
"""What has no effect where force_anneal is not set, as in all records."""


def program(record: Record) -> str:
    """The schedule with the recorded configuration, of the rates the only one."""
    given = {k: v for k, v in record["params"].items() if v is not None and k not in NOT_HERE.get(record["class"], ())}
    (given["lr"],) = given["lr"]
    return "use fairseq; lr = " + call(f"fairseq.{record['class']}", given)
