"""Programs for the recorded schedules of Hugging Face transformers."""

from __future__ import annotations

from oracle_programs import Exclusion, Outcome, Program, Record, Refusal, call

TITLE = "Hugging Face transformers"
FRAMEWORKS = ("transformers",)

UNRECORDED = {"hf.constant": "it is `base`"}

MISSING = "SC203"


def label(record: Record) -> str:
    """The name that get_scheduler was called with."""
    return str(record["params"]["name"])


def program(record: Record) -> str | Outcome:
    """The schedule of get_scheduler that the record names, with what it gives."""
    given = dict(record["params"])
    name = given.pop("name")
    extra = given.pop("scheduler_specific_kwargs") or {}
    if name == "greedy":
        return Exclusion(
            "GreedyLR raises the rate on good metrics, averages them and starts afresh: no schedule of progress"
        )
    arguments = {k: v for k, v in given.items() if v is not None}
    arguments |= {k: f'"{v}"' if isinstance(v, str) else v for k, v in extra.items()}
    text = "use hf; lr = " + call(f"hf.{name}", arguments)
    if record.get("raises_at") == -1:
        return Refusal(text, MISSING if not extra else "SC208")
    if name == "reduce_lr_on_plateau":
        return Program(text, metric="eval_loss")
    return text
