"""Batch sizes that agree, and counts with their rounding."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedc.compiler import batch_arithmetic as ba

SIZE = st.integers(1, 200)


# What DeepSpeed's resolution gives, and where it refuses: recorded from deepspeed 0.19.8.
@pytest.mark.parametrize(
    ("given_sizes", "expected"),
    [
        ((32, 4, None, 4), (4, 2)),
        ((32, None, None, 4), (8, 1)),
        ((None, 4, 2, 4), (4, 2)),
        ((None, 4, None, 4), (4, 1)),
        ((32, None, 2, 4), (4, 2)),
        ((30, 4, None, 4), None),
        ((30, None, None, 4), None),
        ((33, None, 2, 4), None),
    ],
)
def test_the_sizes_are_those_of_deepspeed(
    given_sizes: tuple[int | None, int | None, int | None, int], expected: tuple[int, int] | None
) -> None:
    sizes = ba.settle(*given_sizes).sizes
    assert (sizes and (sizes.micro, sizes.accumulation)) == expected


def test_the_nearest_sizes_are_named() -> None:
    found = ba.settle(1000, 4, None, 8)
    assert found.sizes is None
    assert found.why == "the global batch 1000 is not a multiple of micro 4 × world 8 = 32"
    # 31 micro-batches: what Megatron's --decrease-batch-size-if-needed takes.
    assert [str(s) for s in found.nearest] == [
        "micro 4 × accumulation 31 × world 8 = global 992",
        "micro 4 × accumulation 32 × world 8 = global 1024",
        "micro 1 × accumulation 125 × world 8 = global 1000",
        "micro 5 × accumulation 25 × world 8 = global 1000",
    ]


@given(st.none() | SIZE, st.none() | st.integers(1, 12), st.none() | st.integers(1, 12), st.integers(1, 8))
def test_settled_sizes_keep_what_was_given(
    global_batch: int | None, micro: int | None, accumulation: int | None, world: int
) -> None:
    if global_batch is None and micro is None:
        with pytest.raises(ba.BatchError):
            ba.settle(global_batch, micro, accumulation, world)
        return
    found = ba.settle(global_batch, micro, accumulation, world)
    if found.sizes is not None:
        assert found.sizes.world == world
        for wanted, got in (
            (global_batch, found.sizes.global_batch),
            (micro, found.sizes.micro),
            (accumulation, found.sizes.accumulation),
        ):
            assert wanted in (None, got)
        return
    assert global_batch is not None
    tries = [(m, a) for m in range(1, 201) for a in range(1, 201) if m * a * world == global_batch]
    assert all((micro, accumulation) not in ((m, a), (m, None), (None, a)) for m, a in tries)
    assert found.nearest
    assert len(set(found.nearest)) == len(found.nearest)
    for sizes in found.nearest:
        assert sizes.world == world
        kept = (sizes.global_batch == global_batch, sizes.micro == micro, sizes.accumulation == (accumulation or 1))
        assert any(kept)
    if micro is not None and accumulation is None:
        unit = micro * world
        expected = {g for g in (global_batch // unit * unit, (global_batch // unit + 1) * unit) if g}
        assert {s.global_batch for s in found.nearest if s.micro == micro} == expected


@pytest.mark.parametrize("sizes", [(0, 1, 1, 1), (8, -1, None, 1), (8, 1, 1, 0)])
def test_sizes_below_1_are_refused(sizes: tuple[int, int, int | None, int]) -> None:
    with pytest.raises(ba.BatchError, match="the smallest is 1"):
        ba.settle(*sizes)


@given(SIZE, SIZE)
def test_nearest_multiples_and_divisors(n: int, k: int) -> None:
    multiples = range(k, n + k + 1, k)
    assert set(ba.nearest_multiples(n, k)) == {m for m in multiples if abs(m - n) < k and (n % k or m == n)}
    assert ba.divisors(n) == tuple(d for d in range(1, n + 1) if n % d == 0)
    below, above = ba.nearest_divisors(n, k)[0], ba.nearest_divisors(n, k)[-1]
    assert (n % below, n % above) == (0, 0)
    assert not any(n % d == 0 for d in range(min(below, k) + 1, k))


@given(st.lists(SIZE, min_size=1, max_size=5), st.integers(1, 6), SIZE)
def test_common_micro(batches: list[int], world: int, largest: int) -> None:
    fits = [m for m in range(1, largest + 1) if all(b % (m * world) == 0 for b in batches)]
    assert ba.common_micro(batches, world, largest) == max(fits, default=None)


def test_counts_name_their_rounding() -> None:
    assert ba.updates_per_epoch(1_281_167, 1024) == ba.Count(
        1252, "1281167 samples / 1024, rounded up: the last update takes what is left", "up"
    )
    assert ba.updates_per_epoch(1_281_167, 1024, drop_last=True).value == 1251
    assert ba.updates_per_epoch(1024, 256).rounding == "exact"
    assert ba.samples_per_epoch(1000, 300, drop_last=True) == ba.Count(900, "3 updates × 300; 100 are left out", "down")
    assert ba.updates_for_epochs(Fraction(5, 2), 10, 4).value == 8
    assert ba.updates_for_samples(1025, 256).value == 5


def test_advice() -> None:
    def kinds(sizes: ba.Sizes, dataset: int | None = None, classes: int | None = None) -> list[str]:
        return [a.kind for a in ba.advice(sizes, dataset, classes)]

    assert kinds(ba.Sizes(64, 1, 8)) == []
    assert kinds(ba.Sizes(30, 1, 1)) == ["not_multiple_of_8"]
    assert kinds(ba.Sizes(24, 1, 1)) == ["not_power_of_two"]
    assert kinds(ba.Sizes(64, 1, 1), 50, 100) == ["larger_than_dataset", "smaller_than_classes"]
    assert kinds(ba.Sizes(64, 1, 1), 65) == ["short_last_update"]
    assert ba.advice(ba.Sizes(30, 1, 1))[0].nearest == (24, 32)
    assert ba.advice(ba.Sizes(24, 1, 1))[0].nearest == (16, 32)


@given(
    st.integers(1, 60), st.integers(1, 70), st.booleans(), st.integers(0, 3), st.integers(0, 60), st.integers(0, 100)
)
def test_advance_is_one_update_after_another(
    dataset: int, batch: int, drop_last: bool, epoch: int, used: int, updates: int
) -> None:
    if drop_last and batch > dataset:
        return
    start = at = ba.Progress(epoch, min(used, dataset))
    for _ in range(updates):
        at, size = ba.next_update(at, batch, dataset, drop_last)
        at = ba.Progress(at.epoch, at.used + size)
    assert ba.advance(start, updates, batch, dataset, drop_last) == at


def test_drop_last_without_a_single_whole_batch_is_refused() -> None:
    with pytest.raises(ba.BatchError, match="never fits"):
        ba.next_update(ba.Progress(0, 10), 11, 10, True)
