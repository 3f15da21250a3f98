"""Programs for the recorded schedules of optax."""

from __future__ import annotations

from oracle_programs import Exclusion, Outcome, Program, Record, Refusal, call

TITLE = "optax"
FRAMEWORKS = ("optax",)

PATIENCE_0 = "with patience=0 optax cuts whenever the metric improves and never otherwise; here the entry refuses patience below 1"
JOINED = {
    "constant(0.3)": "optax.constant_schedule(0.3)",
    "constant(0.2)": "optax.constant_schedule(0.2)",
    "constant(0.1)": "optax.constant_schedule(0.1)",
    "linear(0,0.1,10)": "optax.linear_schedule(0, 0.1, 10)",
    "linear(0,0.1,20)": "optax.linear_schedule(0, 0.1, 20)",
    "cosine(0.1,90)": "optax.cosine_decay_schedule(0.1, 90)",
    "cosine(0.1,50)": "optax.cosine_decay_schedule(0.1, 50)",
}
"""The recorded parts of join_schedules."""
DRIVEN = {
    "warmup_cosine": "optax.warmup_cosine_decay_schedule(0, 0.1, 10, 100, 0.001)",
    "linear": "optax.linear_schedule(0.1, 0, 50)",
}
"""The recorded schedules of driven_sgd."""


def program(record: Record) -> str | Outcome:
    """The schedule with the recorded arguments, a dictionary as two lists."""
    name, given = record["class"], dict(record["params"])
    if name == "contrib.reduce_on_plateau":
        if given.get("patience") == 0:
            return Exclusion(PATIENCE_0)
        return Program(f"use optax; lr = {record['base_lr']} * {call('optax.reduce_on_plateau', given)}")
    if name == "join_schedules":
        return joined(record)
    if name == "sgdr_schedule":
        cycles = [call("optax.warmup_cosine_decay_schedule", k) for k in given["cosine_kwargs"]]
        return "use optax; lr = " + " -> ".join(cycles)
    if name == "sgd(schedule)":
        return "use optax; lr = " + DRIVEN[given["schedule"]]
    if table := given.pop("boundaries_and_scales", None):
        given |= {"boundaries": [int(k) for k in table], "scales": list(table.values())}
    text = "use optax; lr = " + call(f"optax.{name}", given)
    return Refusal(text) if record.get("raises_at") == -1 else text


def joined(record: Record) -> str | Outcome:
    """join_schedules as a chain; parts that optax never reaches are left out."""
    parts, boundaries = record["params"]["schedules"], record["params"]["boundaries"]
    if boundaries != sorted(boundaries):
        return Exclusion(
            "optax does not look at the order of the boundaries, and the last one passed wins; a chain can't"
        )
    stages = [f"{JOINED[p]} until {b}" for p, b in zip(parts, boundaries, strict=False)]
    return "use optax; lr = " + " -> ".join([*stages, JOINED[parts[len(boundaries)]]])
