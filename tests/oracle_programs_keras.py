"""Programs for the recorded schedules of Keras."""

from __future__ import annotations

from oracle_programs import Exclusion, Outcome, Program, Record, call

TITLE = "Keras"
FRAMEWORKS = ("keras",)

DRIVEN = {
    "warm_cos": "keras.CosineDecay(0, 90, warmup_target=0.1, warmup_steps=10)",
    "exp": "keras.ExponentialDecay(0.1, 20, 0.5)",
}
"""The recorded schedules of driven_sgd."""
NAN_FIRST = "Keras takes a first metric that is NaN for the best, and nothing is better than that ever after; a NaN counts as bad"
INF_FIRST = "Keras takes a first metric that is infinite for an improvement; it counts as bad"


def program(record: Record) -> str | Outcome:
    """The schedule with the recorded arguments."""
    name, given = record["class"].removeprefix("callbacks."), dict(record["params"])
    if record["id"].endswith("/nan_first"):
        return Exclusion(NAN_FIRST)
    if record["id"].endswith("/inf_first") and given.get("patience", 10) <= 2 and given.get("mode") != "max":
        return Exclusion(INF_FIRST)
    if name == "SGD(schedule)":
        return "use keras; lr = " + DRIVEN[given["schedule"]]
    text = "use keras; lr = " + call(f"keras.{name}", given)
    return Program(text, metric="val_loss") if name == "ReduceLROnPlateau" else text
