"""Numbers and places on the command line, in the language's own spelling: `10k`, `5T tokens`, `0:1000:100`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction

from schedc.compiler.plan import Plan

UNITS = ("steps", "epochs", "samples", "tokens")
LAST = 2**62
"""Updates beyond it are refused: 64 bits do not hold what is computed of them."""
MAX_PLACES = 1_000_000
"""More places at once are refused: the table would not be read."""

_SUFFIXES = {"": 1, "k": 10**3, "M": 10**6, "B": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_NUMBER = r"\d[\d_]*(?:\.\d[\d_]*)?(?:[eE][+-]?\d{1,3})?"
_QUANTITY = re.compile(rf"\s*([+-]?{_NUMBER})(Ki|Mi|Gi|[kMBT])?\s*(steps?|epochs?|samples?|tokens?|%)?\s*")


LARGEST = 1 << 1023
"""Numbers from here on have no float."""


@dataclass(frozen=True)
class Quantity:
    """A number with its unit, if any."""

    value: Fraction
    unit: str | None


def quantity(text: str) -> Quantity:
    """The number or quantity that the text is. Raises ValueError."""
    found = _QUANTITY.fullmatch(text)
    if not found:
        raise ValueError(f"`{text}` is no number, as in `500`, `10k`, `5T tokens` or `3 epochs`")
    number, suffix, unit = found.groups()
    if unit and unit != "%" and not unit.endswith("s"):
        unit += "s"
    value = Fraction(number.replace("_", "")) * _SUFFIXES[suffix or ""]
    if abs(value) >= LARGEST:
        raise ValueError(f"`{text}` is too large")
    return Quantity(value, unit)


def whole(text: str) -> int:
    """The whole number that the text is. Raises ValueError."""
    got = quantity(text)
    if got.unit or got.value.denominator != 1:
        raise ValueError(f"`{text}` is no whole number, as in `1252` or `10k`")
    return int(got.value)


def places(text: str, plan: Plan) -> list[int]:
    """The updates that `0,250,10k`, `0:1000:100` or `5T tokens` name in a plan. Raises ValueError."""
    found: list[int] = []
    for part in text.split(","):
        ends = part.split(":")
        if len(ends) == 1:
            found.append(update_at(quantity(part), plan))
            continue
        if len(ends) > 3:
            raise ValueError(f"`{part}` is no range; write `first:last` or `first:last:step`, as in `0:1000:100`")
        first, last = (update_at(quantity(end), plan) for end in ends[:2])
        step = whole(ends[2]) if len(ends) == 3 else max(1, (last - first) // 20)
        if step < 1:
            raise ValueError(f"the step of `{part}` is not positive")
        if len(found) + (last - first) // step > MAX_PLACES:
            raise ValueError(f"`{part}` names more than {MAX_PLACES} updates")
        found.extend(range(first, last + 1, step))
    return found


def update_at(place: Quantity, plan: Plan) -> int:
    """The update in progress at a place of the run. Raises ValueError where the plan does not tell."""
    found = _update_at(place, plan)
    if found > LAST:
        raise ValueError(f"updates are counted up to {LAST}")
    return found


def _update_at(place: Quantity, plan: Plan) -> int:
    if place.value < 0:
        raise ValueError("updates are counted from 0")
    if place.unit == "%":
        if plan.run is None:
            raise ValueError("`%` needs a run: give its length, as in --length '90 epochs'")
        return _update_at(Quantity(place.value * plan.run.length / 100, plan.run.clock), plan)
    if place.unit in (None, "steps"):
        if place.unit is None and place.value.denominator != 1:
            raise ValueError(f"{float(place.value)} is no update; updates are whole numbers")
        return math.floor(place.value)
    from schedc.compiler.plan import UnknownClock
    from schedc.compiler.readings import position

    try:
        if not plan.clocks:
            raise UnknownClock(place.unit)
        return math.floor(position(plan.clocks[0], place.unit, place.value))
    except UnknownClock:
        raise ValueError(f"{place.unit} need {_NEEDS[place.unit]}, and this plan has none") from None


_NEEDS = {
    "tokens": "a batch size and a seq_len",
    "samples": "a batch size",
    "epochs": "the number of updates in an epoch",
}
