"""The sizes of a batch and the counts of a run, in exact integers, each with the rule by which it was rounded.

One update of the optimizer takes `global` samples: `micro` samples at a time on each of `world` processes,
`accumulation` times. Wherever a count is not whole, the function's answer says which way it went.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, isqrt


class BatchError(ValueError):
    """Sizes that can't be a batch."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes that agree: micro × accumulation × world = global."""

    micro: int
    accumulation: int
    world: int

    @property
    def global_batch(self) -> int:
        return self.micro * self.accumulation * self.world

    def __str__(self) -> str:
        factors = f"micro {self.micro} × accumulation {self.accumulation} × world {self.world}"
        return f"{factors} = global {self.global_batch}"


@dataclass(frozen=True, slots=True)
class Settlement:
    """What the declared sizes come to.

    `sizes` is None if they don't agree; then `why` says so, and `nearest` has sizes that do: with another global batch
    (below, above), then, where the processes divide the global batch, with another micro-batch or accumulation.
    `how` says what was given and what follows.
    """

    sizes: Sizes | None
    how: str = ""
    why: str = ""
    nearest: tuple[Sizes, ...] = ()


def settle(global_batch: int | None, micro: int | None, accumulation: int | None, world_size: int = 1) -> Settlement:
    """The sizes that the given ones leave no choice about; undeclared accumulation is 1 where nothing else decides it.

    Raises BatchError for a size below 1, and where neither global nor micro is given.
    """
    names = ("global batch", "micro-batch", "accumulation", "world size")
    for name, size in zip(names, (global_batch, micro, accumulation, world_size), strict=True):
        if size is not None and size < 1:
            raise BatchError(f"the {name} is {size}; the smallest is 1")
    if global_batch is None:
        if micro is None:
            raise BatchError("neither the global batch nor the micro-batch is given")
        steps = accumulation or 1
        return Settlement(Sizes(micro, steps, world_size), f"global = {micro} × {steps} × {world_size}")
    sizes: Sizes | None
    if micro is not None and accumulation is not None:
        unit, how = micro * accumulation * world_size, "all given"
        product = f"micro {micro} × accumulation {accumulation} × world {world_size}"
        sizes = Sizes(micro, accumulation, world_size) if unit == global_batch else None
        why = f"{product} is {unit}, not the global batch {global_batch}"
    elif micro is not None:
        unit, how = micro * world_size, f"accumulation = {global_batch} / ({micro} × {world_size})"
        sizes = Sizes(micro, global_batch // unit, world_size) if global_batch % unit == 0 else None
        why = f"the global batch {global_batch} is not a multiple of micro {micro} × world {world_size} = {unit}"
    else:
        steps = accumulation or 1
        unit, how = steps * world_size, f"micro = {global_batch} / ({steps} × {world_size})"
        sizes = Sizes(global_batch // unit, steps, world_size) if global_batch % unit == 0 else None
        product = f"accumulation {accumulation} × world {world_size} = {unit}" if accumulation else f"world {unit}"
        why = f"the global batch {global_batch} is not a multiple of {product}"
    if sizes is not None:
        return Settlement(sizes, how)
    return Settlement(None, how, why, tuple(_nearest(global_batch, micro, accumulation, world_size)))


def _nearest(global_batch: int, micro: int | None, accumulation: int | None, world: int) -> Iterator[Sizes]:
    """Agreeing sizes: those of another global batch, then those that change micro or accumulation. None twice."""
    seen: set[Sizes] = set()
    found: list[Sizes] = []
    if micro is not None and accumulation is not None:
        found.append(Sizes(micro, accumulation, world))
    elif micro is not None:
        found += [Sizes(micro, g // (micro * world), world) for g in nearest_multiples(global_batch, micro * world)]
    else:
        steps = accumulation or 1
        found += [Sizes(g // (steps * world), steps, world) for g in nearest_multiples(global_batch, steps * world)]
    if global_batch % world == 0:
        share = global_batch // world
        if micro is not None:
            found += [Sizes(m, share // m, world) for m in nearest_divisors(share, micro)]
        if accumulation is not None:
            found += [Sizes(share // a, a, world) for a in nearest_divisors(share, accumulation)]
    for sizes in found:
        if sizes not in seen:
            seen.add(sizes)
            yield sizes


def nearest_multiples(n: int, unit: int) -> tuple[int, ...]:
    """The nearest multiples of `unit` below and above n, or n itself if it is one; none is 0."""
    below = n // unit * unit
    if below == n:
        return (n,)
    return (below, below + unit) if below else (below + unit,)


def nearest_divisors(n: int, wanted: int) -> tuple[int, ...]:
    """The nearest divisors of n below and above `wanted`, or `wanted` itself if it is one."""
    all_ = divisors(n)
    below = max((d for d in all_ if d <= wanted), default=None)
    above = min((d for d in all_ if d >= wanted), default=None)
    return tuple(dict.fromkeys(d for d in (below, above) if d is not None))


def divisors(n: int) -> tuple[int, ...]:
    """All divisors of n, ascending."""
    small = [d for d in range(1, isqrt(n) + 1) if n % d == 0]
    return tuple(dict.fromkeys(small + [n // d for d in reversed(small)]))


def common_micro(batches: Sequence[int], world_size: int, largest: int) -> int | None:
    """The largest micro-batch up to `largest` that every batch of a ramp allows on those processes, if one does."""
    share, rest = divmod(gcd(*batches), world_size)
    return None if rest else max((m for m in divisors(share) if m <= largest), default=None)


@dataclass(frozen=True, slots=True)
class Count:
    """A count, how it came about, and which way it was rounded: "exact", "up" or "down"."""

    value: int
    how: str
    rounding: str


def _divided(a: int | Fraction, b: int | Fraction, up: bool, reason: str, what: str) -> Count:
    share = Fraction(a) / Fraction(b)
    if share.denominator == 1:
        return Count(int(share), what, "exact")
    value = -(-share.numerator // share.denominator) if up else share.numerator // share.denominator
    return Count(value, f"{what}, rounded {'up' if up else 'down'}: {reason}", "up" if up else "down")


def updates_per_epoch(dataset: int, global_batch: int, drop_last: bool = False) -> Count:
    """The updates of an epoch at one batch size."""
    reason = "the last, incomplete update is dropped" if drop_last else "the last update takes what is left"
    return _divided(dataset, global_batch, not drop_last, reason, f"{dataset} samples / {global_batch}")


def samples_per_epoch(dataset: int, global_batch: int, drop_last: bool = False) -> Count:
    """The samples that an epoch uses."""
    if not drop_last or dataset % global_batch == 0:
        return Count(dataset, "every sample once", "exact")
    used = dataset // global_batch * global_batch
    return Count(used, f"{dataset // global_batch} updates × {global_batch}; {dataset - used} are left out", "down")


def updates_for_samples(samples: int | Fraction, global_batch: int) -> Count:
    """The updates that it takes to use that many samples, epochs aside."""
    return _divided(samples, global_batch, True, "an update begun is an update", f"{samples} samples / {global_batch}")


def updates_for_epochs(epochs: int | Fraction, dataset: int, global_batch: int, drop_last: bool = False) -> Count:
    """The updates of that many epochs, a part of an epoch counted in its updates."""
    each = updates_per_epoch(dataset, global_batch, drop_last)
    what = f"{epochs} epochs × {each.value} updates"
    whole = _divided(epochs * each.value, 1, True, "an update begun is an update", what)
    rounding = whole.rounding if each.rounding == "exact" else each.rounding
    return Count(whole.value, f"{whole.how} ({each.how})", rounding)


def micro_batches(samples: int, micro: int, world_size: int) -> int:
    """How many times each process accumulates in an update of that many samples: the last time may be short."""
    return -(-samples // (micro * world_size))


@dataclass(frozen=True, slots=True)
class Advice:
    """A remark about a batch size: `kind` for programs, `text` for people, `nearest` the sizes without the flaw.

    Kinds: larger_than_dataset, smaller_than_classes, short_last_update, not_multiple_of_8, not_power_of_two.
    """

    kind: str
    text: str
    nearest: tuple[int, ...] = ()


def advice(
    sizes: Sizes, dataset: int | None = None, classes: int | None = None, drop_last: bool = False
) -> tuple[Advice, ...]:
    """What there is to remark, the gravest first."""
    out = []
    b, m = sizes.global_batch, sizes.micro
    if dataset is not None and b > dataset:
        text = f"the global batch {b} is larger than the dataset, {dataset}"
        out.append(Advice("larger_than_dataset", text, (dataset,)))
    if classes is not None and b < classes:
        text = f"the global batch {b} is smaller than the {classes} classes"
        out.append(Advice("smaller_than_classes", text, (classes,)))
    if dataset is not None and b < dataset and not drop_last and 0 < (left := dataset % b) * 4 <= b:
        out.append(Advice("short_last_update", f"an epoch's last update has {left} samples of {b}"))
    if m % 8:
        text = f"the micro-batch {m} is not a multiple of 8, as matrix units like it"
        out.append(Advice("not_multiple_of_8", text, nearest_multiples(m, 8)))
    elif m & (m - 1):
        out.append(Advice("not_power_of_two", f"the micro-batch {m} is not a power of two", powers_of_two(m)))
    return tuple(out)


def powers_of_two(n: int) -> tuple[int, ...]:
    """The nearest powers of two below and above n, or n itself if it is one."""
    below = 1 << (n.bit_length() - 1)
    return (n,) if below == n else (below, 2 * below)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a pass over a dataset stands: `used` samples into epoch `epoch`."""

    epoch: int = 0
    used: int = 0


def next_update(at: Progress, batch: int, dataset: int, drop_last: bool) -> tuple[Progress, int]:
    """Where the next update starts and its number of samples: at the next epoch's start if this one has ended.

    An epoch ends when nothing is left, or with drop_last when less than the next batch is left.
    """
    left = dataset - at.used
    if left <= 0 or (drop_last and left < batch):
        at, left = Progress(at.epoch + 1), dataset
        if drop_last and left < batch:
            raise BatchError(f"with drop_last a batch of {batch} never fits a dataset of {dataset}")
    return at, min(batch, left)


def advance(at: Progress, updates: int, batch: int, dataset: int, drop_last: bool) -> Progress:
    """Where the pass stands after that many updates of one batch size: whole epochs are skipped at once."""
    if updates <= 0:
        return at
    at, _ = next_update(at, batch, dataset, drop_last)
    each = updates_per_epoch(dataset - at.used, batch, drop_last).value
    if updates <= each:
        return Progress(at.epoch, min(at.used + updates * batch, dataset))
    whole = updates_per_epoch(dataset, batch, drop_last).value
    epochs, rest = divmod(updates - each - 1, whole)
    return Progress(at.epoch + 1 + epochs, min((rest + 1) * batch, dataset))
