"""Batch plans and the sampler, against brute force."""

from __future__ import annotations

from fractions import Fraction
from itertools import chain, islice
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from schedc.backends.torch_batch import BatchPlan, UpdateSampler, batch
from schedc.compiler import plan as p
from schedc.compiler.batch_arithmetic import BatchError


def a_plan(
    *globals_: tuple[int, int], updates: int | None = None, train: dict[str, Any] | None = None, **declared: Any
) -> p.Plan:
    """A plan with (update, global batch) phases."""
    phases = tuple(p.BatchPhase(update=n, global_batch=b, seq_len=None) for n, b in globals_)
    run = p.Run(clock="steps", length=Fraction(updates), end=Fraction(updates), updates=updates) if updates else None
    settings_ = p.BatchSettings(phases=phases, **declared)
    return p.Plan(
        version="0", name="test", source="", clocks=(), run=run, batch=settings_, train=p.TrainSettings(**(train or {}))
    )


class TestPlan:
    def test_each_phase_has_its_sizes(self) -> None:
        found = batch(a_plan((0, 64), (100, 128), updates=250, micro=8), world_size=4)
        assert [(f.update, f.updates, f.micro, f.accumulation, f.global_batch) for f in found.phases] == [
            (0, 100, 8, 2, 64),
            (100, 150, 8, 4, 128),
        ]
        assert found.at(99).global_batch == 64
        assert found.at(100).global_batch == 128
        assert str(found).splitlines()[1] == (
            "from update 100 (150 updates): micro 8 × accumulation 4 × world 4 = global 128"
        )

    def test_without_micro_nothing_is_accumulated(self) -> None:
        assert batch(a_plan((0, 64)), world_size=4).phases[0].sizes.micro == 16

    def test_without_a_global_batch_micro_gives_it(self) -> None:
        assert batch(a_plan(micro=4, accumulation=2), world_size=3).phases[0].global_batch == 24
        with pytest.raises(BatchError, match="declares no batch"):
            batch(a_plan())

    def test_sizes_that_disagree_name_the_nearest(self) -> None:
        with pytest.raises(BatchError, match=r"from update 5: .* not a multiple .*ion 4 × world 4 = global 32;"):
            batch(a_plan((0, 16), (5, 34), micro=2), world_size=4)

    def test_auto_needs_the_model(self) -> None:
        with pytest.raises(BatchError, match="pass `micro=`"):
            batch(a_plan((0, 64), micro="auto"))
        assert batch(a_plan((0, 64), micro="auto"), micro=16).phases[0].accumulation == 4

    def test_what_contradicts_the_plan_is_refused(self) -> None:
        with pytest.raises(BatchError, match="8 processes"):
            batch(a_plan((0, 64), train={"world_size": 8}), world_size=4)
        with pytest.raises(BatchError, match="`micro = 8`, not 4"):
            batch(a_plan((0, 64), micro=8), micro=4)
        assert batch(a_plan((0, 64), train={"world_size": 8})).world_size == 8

    def test_loader_kwargs(self) -> None:
        found = batch(a_plan((0, 64), micro=8, workers=2, pin_memory=False, train={"drop_last": True}))
        assert found.loader_kwargs() == {"batch_size": 8, "drop_last": True, "num_workers": 2, "pin_memory": False}
        sampler = found.sampler(100)
        assert found.loader_kwargs(sampler) == {"batch_sampler": sampler, "num_workers": 2, "pin_memory": False}
        with pytest.raises(BatchError, match="micro-batch changes"):
            batch(a_plan((0, 64), (5, 128))).loader_kwargs()

    def test_workers_auto_is_a_number(self) -> None:
        assert 0 <= batch(a_plan((0, 64), workers="auto")).loader_kwargs()["num_workers"] <= 8


RAMP = st.lists(st.integers(1, 6), min_size=1, max_size=4)
WORLD = st.sampled_from([1, 2, 3, 4])


def ramp(sizes: list[int], lengths: list[int], unit: int) -> list[tuple[int, int]]:
    starts = [sum(lengths[:i]) for i in range(len(sizes))]
    return [(n, b * unit) for n, b in zip(starts, sizes, strict=True)]


def expected_updates(
    phases: list[tuple[int, int]], order: Any, size: int, drop_last: bool, count: int
) -> list[list[int]]:
    """Update after update, one sample after another."""
    out: list[list[int]] = []
    epoch, left = 0, list(order(0))
    while len(out) < count:
        wanted = next(b for n, b in reversed(phases) if n <= len(out))
        if not left or (drop_last and len(left) < wanted):
            epoch, left = epoch + 1, list(order(epoch + 1))
        out.append(left[:wanted])
        left = left[wanted:]
    return out


@settings(max_examples=150, deadline=None)
@given(
    RAMP, st.lists(st.integers(1, 12), min_size=4, max_size=4), WORLD, st.integers(1, 3), st.integers(1, 90),
    st.booleans(), st.integers(0, 30), st.booleans(),
)  # fmt: skip
def test_the_sampler_is_the_definition(
    sizes: list[int],
    lengths: list[int],
    world: int,
    micro: int,
    dataset: int,
    drop_last: bool,
    start: int,
    shuffle: bool,
) -> None:
    phases = ramp(sizes, lengths, world * micro)
    plan = batch(a_plan(*phases, micro=micro, train={"drop_last": drop_last}), world_size=world)
    if drop_last and max(b for _, b in phases) > dataset:
        with pytest.raises(BatchError, match="never fits"):
            plan.sampler(dataset)
        return
    count = 40
    samplers = [
        plan.sampler(dataset, seed=5, rank=r, shuffle=shuffle, start_update=start, updates=count) for r in range(world)
    ]
    expected = expected_updates(phases, samplers[0].order, dataset, drop_last, count)[start:]
    infos = [list(s.schedule()) for s in samplers]
    batches = [iter(s) for s in samplers]
    for i, whole in enumerate(expected):
        info = infos[0][i]
        assert (info.number, info.size) == (start + i, len(whole))
        assert all(other[i].micro_batches == info.micro_batches for other in infos)
        used: list[int] = []
        share: dict[int, float] = {}
        for j in range(info.micro_batches):
            for r in range(world):
                own = next(batches[r])
                weight = infos[r][i].weights[j]
                assert 1 <= len(own) <= micro
                used += own if weight else []
                for index in own:
                    # DDP averages over processes.
                    share[index] = share.get(index, 0) + weight / len(own) / world
        assert used == whole
        assert all(v == pytest.approx(1 / len(whole)) for v in share.values())
    assert all(next(b, None) is None for b in batches)


@given(st.integers(1, 300), st.integers(0, 5), st.integers(0, 3))
def test_an_order_is_a_permutation_of_its_own(dataset: int, seed: int, epoch: int) -> None:
    plan = batch(a_plan((0, 4)))
    order = plan.sampler(dataset, seed=seed).order(epoch)
    assert sorted(order) == list(range(dataset))
    assert list(order) == list(plan.sampler(dataset, seed=seed).order(epoch))
    if dataset > 20:
        assert list(order) != list(plan.sampler(dataset, seed=seed).order(epoch + 1))
        assert list(order) != list(plan.sampler(dataset, seed=seed + 1).order(epoch))


def test_orders_are_even() -> None:
    sampler = batch(a_plan((0, 4))).sampler(8)
    counts = torch.zeros(8, 8)
    for epoch in range(4000):
        for place, index in enumerate(sampler.order(epoch).tolist()):
            counts[place, index] += 1
    assert ((counts - 500).abs() < 5 * 500**0.5).all()


def test_a_distant_update_is_reached_at_once() -> None:
    plan = batch(a_plan((0, 32), (10**6, 48), (2 * 10**6, 64)))
    sampler = plan.sampler(1000, start_update=10**9)
    info = next(iter(sampler.schedule()))
    assert info.size in (64, 1000 % 64)
    assert info.epoch > 6 * 10**7


def small(world: int = 1, **options: Any) -> tuple[BatchPlan, UpdateSampler]:
    plan = batch(a_plan((0, 4), (3, 8), updates=12, micro=2), world_size=world)
    return plan, plan.sampler(30, seed=1, **options)


class TestTraining:
    def run(self, sampler: UpdateSampler, plan: BatchPlan, stop: int | None = None, **options: Any) -> list[list[int]]:
        loader = DataLoader(TensorDataset(torch.arange(30)), **plan.loader_kwargs(sampler), **options)
        return [[int(x) for (batch_,), _ in update for x in batch_] for update in islice(sampler.updates(loader), stop)]

    def test_the_run_ends_where_the_plan_ends(self) -> None:
        plan, sampler = small()
        updates = self.run(sampler, plan)
        assert [len(u) for u in updates] == [4, 4, 4, 8, 8, 2, 8, 8, 8, 6, 8, 8]
        assert sorted(chain(*updates[:6])) == list(range(30))

    def test_a_run_can_stop_and_go_on_after_every_update(self) -> None:
        whole = self.run(small()[1], small()[0])
        for stop in range(13):
            plan, first = small()
            done = self.run(first, plan, stop)
            state = first.state_dict()
            assert state == {"format": 1, "update": stop, "seed": 1, "dataset": 30}
            _, second = small()
            second.load_state_dict(state)
            assert done + self.run(second, plan) == whole

    def test_it_goes_on_with_another_number_of_processes(self) -> None:
        whole = self.run(small()[1], small()[0])
        plan, _ = small(world=2)
        both = [list(plan.sampler(30, seed=1, rank=r, start_update=7)) for r in (0, 1)]
        halves = [x for own in zip(*both, strict=True) for indices in own for x in indices]
        assert sorted(halves) == sorted(chain(*whole[7:]))

    def test_workers_ahead_of_training_do_not_count(self) -> None:
        plan, sampler = small()
        self.run(sampler, plan, 2, num_workers=1, prefetch_factor=4)
        assert sampler.state_dict()["update"] == 2

    def test_an_update_cut_short_is_not_finished_but_does_not_shift_the_next(self) -> None:
        plan, sampler = small()
        loader = DataLoader(TensorDataset(torch.arange(30)), **plan.loader_kwargs(sampler))
        whole = self.run(small()[1], plan)
        updates = sampler.updates(loader)
        next(iter(next(updates)))
        assert sampler.state_dict()["update"] == 0
        assert [int(x) for (b,), _ in next(updates) for x in b] == whole[1]

    def test_another_seed_or_dataset_is_refused(self) -> None:
        plan, sampler = small()
        with pytest.raises(ValueError, match="seed is 1, not 2"):
            plan.sampler(30, seed=2).load_state_dict(sampler.state_dict())
        with pytest.raises(ValueError, match="dataset is 30, not 31"):
            plan.sampler(31, seed=1).load_state_dict(sampler.state_dict())
        with pytest.raises(ValueError, match="format"):
            sampler.load_state_dict({})

    def test_weights_give_the_mean_gradient(self) -> None:
        plan = batch(a_plan((0, 6), micro=2), world_size=1)
        sampler = plan.sampler(7, updates=2)
        x = torch.arange(7.0)
        loader = DataLoader(TensorDataset(x), **plan.loader_kwargs(sampler))
        for update in sampler.updates(loader):
            w = torch.ones(1, requires_grad=True)
            seen = []
            for (values,), weight in update:
                ((w * values).mean() * weight).backward()
                seen.append(values)
            assert w.grad is not None
            assert w.grad.item() == pytest.approx(torch.cat(seen).mean().item())


def test_unusable_arguments_are_refused() -> None:
    plan = batch(a_plan((0, 4)))
    with pytest.raises(BatchError, match="dataset's size is not known"):
        plan.sampler()
    with pytest.raises(BatchError, match="empty"):
        plan.sampler(0)
    with pytest.raises(BatchError, match="rank 1"):
        plan.sampler(10, rank=1)
