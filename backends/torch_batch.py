"""A Plan's `batch { … }` carried out with PyTorch's own DataLoader: sizes for each phase of a ramp, and a sampler.

The sampler decides by the update alone which samples it uses: update n takes the next B(n) samples of its epoch's
order, whatever the number of processes, micro-batches or restarts. The order of epoch e is that in which the words of
the stream named "epoch:e" ascend (see `philox`; samples with equal words by index), so it is the same on every machine.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
from torch.utils.data import Sampler

from schedc.backends import philox
from schedc.compiler import batch_arithmetic as ba
from schedc.compiler.batch_arithmetic import BatchError
from schedc.compiler.plan import Plan

Batch = TypeVar("Batch")

SAMPLER_STATE = 1
"""The version of the sampler's state."""


@dataclass(frozen=True, slots=True)
class Phase:
    """The updates from `update` on, `updates` of them (None: to the end), with sizes that agree."""

    update: int
    updates: int | None
    sizes: ba.Sizes
    seq_len: int | None
    advice: tuple[ba.Advice, ...] = ()

    @property
    def micro(self) -> int:
        return self.sizes.micro

    @property
    def accumulation(self) -> int:
        return self.sizes.accumulation

    @property
    def global_batch(self) -> int:
        return self.sizes.global_batch


@dataclass(frozen=True)
class BatchPlan:
    """The sizes of every phase, and what a DataLoader is to be given."""

    phases: tuple[Phase, ...]
    world_size: int
    dataset: int | None = None
    drop_last: bool = False
    workers: int | None = None
    pin_memory: bool | None = None

    def at(self, update: int) -> Phase:
        """The phase that owns the update."""
        return self.phases[max(0, bisect_right([p.update for p in self.phases], update) - 1)]

    def loader_kwargs(self, sampler: UpdateSampler | None = None) -> dict[str, Any]:
        """Keyword arguments for a DataLoader: with a sampler, `batch_sampler`; else `batch_size` and `drop_last`.

        Without a sampler the micro-batch must be the same in every phase; raises BatchError if it is not. What the plan
        leaves open is left to the DataLoader.
        """
        given: dict[str, Any] = {}
        if self.workers is not None:
            given["num_workers"] = self.workers
        if self.pin_memory is not None:
            given["pin_memory"] = self.pin_memory
        if sampler is not None:
            return given | {"batch_sampler": sampler}
        sizes = sorted({p.micro for p in self.phases})
        if len(sizes) > 1:
            raise BatchError(
                f"the micro-batch changes during the run, from {sizes[0]} to {sizes[-1]}: a DataLoader with one "
                "`batch_size` can't follow; give `loader_kwargs` a sampler, or declare `micro`"
            )
        return given | {"batch_size": sizes[0], "drop_last": self.drop_last}

    def sampler(
        self, dataset_size: int | None = None, seed: int = 0, rank: int = 0, *,
        shuffle: bool = True, start_update: int = 0, updates: int | None = None,
    ) -> UpdateSampler:  # fmt: skip
        """The batch sampler of process `rank`. It ends before update `updates`, by default where the run ends."""
        size = self.dataset if dataset_size is None else dataset_size
        if size is None:
            raise BatchError("the dataset's size is not known: pass `dataset_size=`, or write `dataset` in `train`")
        last = self.phases[-1]
        if updates is None and last.updates is not None:
            updates = last.update + last.updates
        return UpdateSampler(self, size, seed, rank, shuffle=shuffle, start_update=start_update, updates=updates)

    def __str__(self) -> str:
        lines = []
        for p in self.phases:
            length = "to the end" if p.updates is None else f"{p.updates} updates"
            text = f"from update {p.update} ({length}): {p.sizes}"
            lines += [text + (f", seq_len {p.seq_len}" if p.seq_len else "")] + [f"  note: {a.text}" for a in p.advice]
        return "\n".join(lines)


def batch(
    plan: Plan, world_size: int | None = None, *, micro: int | None = None, accumulation: int | None = None
) -> BatchPlan:
    """The plan's batch sizes on `world_size` processes (by default `train.world_size`, else 1).

    `micro` and `accumulation` are used where the plan declares none, or `auto`. With neither, accumulation is 1. Raises
    BatchError if the sizes of a phase don't agree, with the nearest that do.
    """
    declared = plan.batch
    world = world_size if world_size is not None else plan.train.world_size or 1
    if plan.train.world_size is not None and plan.train.world_size != world:
        raise BatchError(f"the plan declares {plan.train.world_size} processes (`world_size`), not {world}")
    micro = _settled("micro", declared.micro, micro)
    accumulation = _settled("accumulation", declared.accumulation, accumulation)
    if declared.micro == "auto" and micro is None:
        raise BatchError("`micro = auto` is not chosen here: pass `micro=`")
    stretches = [(p.update, p.global_batch, p.seq_len) for p in declared.phases]
    if not stretches and micro is None:
        raise BatchError("the plan declares no batch: write `batch { global = … }`, or pass `micro=`")
    dataset, drop_last = plan.train.dataset, plan.train.drop_last
    end = plan.run.updates if plan.run else None
    phases, wrong = [], []
    for i, (update, wanted, seq_len) in enumerate(stretches or [(0, None, None)]):
        settled = ba.settle(wanted, micro, accumulation, world)
        if settled.sizes is None:
            wrong.append(f"from update {update}: {settled.why}; " + "; or ".join(map(str, settled.nearest)))
            continue
        until = stretches[i + 1][0] if i + 1 < len(stretches) else end
        remarks = ba.advice(settled.sizes, dataset, plan.train.classes, drop_last)
        phases.append(Phase(update, None if until is None else max(0, until - update), settled.sizes, seq_len, remarks))
    if wrong:
        raise BatchError("\n".join(wrong))
    workers = _workers(world) if declared.workers == "auto" else declared.workers
    return BatchPlan(tuple(phases), world, dataset, drop_last, workers, declared.pin_memory)


def _settled(name: str, declared: int | str | None, given: int | None) -> int | None:
    if isinstance(declared, int):
        if given is not None and given != declared:
            raise BatchError(f"the plan declares `{name} = {declared}`, not {given}")
        return declared
    return given


def _workers(world: int) -> int:
    """A loader process for each core that this training process can call its own, at most 8."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", world))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(0, min(8, cores // max(1, here) - 1))


@dataclass(frozen=True, slots=True)
class Update:
    """One optimizer update: the global sample numbers `samples` of epoch `epoch`, in `micro_batches` per process.

    `weights` has, for each of this process's micro-batches, what to multiply its mean loss with so that the gradient,
    averaged over processes (as DDP does) and added over micro-batches, is the mean over `size` samples.
    """

    number: int
    epoch: int
    size: int
    first: int
    micro_batches: int
    weights: tuple[float, ...]
    phase: Phase


class UpdateSampler(Sampler[list[int]]):
    """Yields this process's micro-batches as lists of indices: a DataLoader's `batch_sampler`.

    Every process yields the same number of micro-batches for an update. An epoch's last update takes what is left (or
    is left out, with drop_last), its last micro-batch shared out evenly; where it has fewer samples than there are
    processes, those without one repeat another's with weight 0.

    A loader with workers asks for batches ahead of time, so the sampler can't know how far training is:
    `updates(loader)` counts what training has used, for `state_dict`; or pass the scheduler's update as `start_update`.
    """

    def __init__(
        self, plan: BatchPlan, dataset_size: int, seed: int = 0, rank: int = 0, *,
        shuffle: bool = True, start_update: int = 0, updates: int | None = None,
    ) -> None:  # fmt: skip
        if dataset_size < 1:
            raise BatchError("the dataset is empty")
        if not 0 <= rank < plan.world_size:
            raise BatchError(f"rank {rank} is not one of {plan.world_size} processes")
        largest = max(p.global_batch for p in plan.phases)
        if plan.drop_last and largest > dataset_size:
            raise BatchError(f"with drop_last a batch of {largest} never fits a dataset of {dataset_size}")
        self.plan = plan
        self.dataset_size = dataset_size
        self.seed = seed
        self.rank = rank
        self.shuffle = shuffle
        self.start_update = start_update
        self.end_update = updates
        self._starts = [p.update for p in plan.phases]
        self._order: tuple[int, np.ndarray] | None = None

    def order(self, epoch: int) -> np.ndarray:
        """The epoch's samples in the order in which they are used."""
        if self._order is None or self._order[0] != epoch:
            if self.shuffle:
                words = philox.words(philox.key(self.seed, f"epoch:{epoch}"), 0, self.dataset_size)
                indices = np.argsort(words, kind="stable")
            else:
                indices = np.arange(self.dataset_size)
            self._order = (epoch, indices)
        return self._order[1]

    def progress(self, update: int) -> ba.Progress:
        """Where the pass over the dataset stands before the update."""
        at = ba.Progress()
        for i, phase in enumerate(self.plan.phases):
            end = min(update, self._starts[i + 1]) if i + 1 < len(self._starts) else update
            at = ba.advance(at, end - phase.update, phase.global_batch, self.dataset_size, self.plan.drop_last)
        return at

    def schedule(self) -> Iterator[Update]:
        """The updates from `start_update` on."""
        at, n = self.progress(self.start_update), self.start_update
        while self.end_update is None or n < self.end_update:
            phase = self.plan.at(n)
            at, size = ba.next_update(at, phase.global_batch, self.dataset_size, self.plan.drop_last)
            count = ba.micro_batches(size, phase.micro, self.plan.world_size)
            shares = [self._share(size, j, phase) for j in range(count)]
            weights = tuple((high - low) * self.plan.world_size / size for low, high in shares)
            yield Update(n, at.epoch, size, at.used, count, weights, phase)
            at, n = replace(at, used=at.used + size), n + 1

    def _share(self, size: int, j: int, phase: Phase) -> tuple[int, int]:
        """Which of the update's `size` samples are this process's in micro-batch j: from, to."""
        world = self.plan.world_size
        start = j * phase.micro * world
        here = min(phase.micro * world, size - start)
        return start + here * self.rank // world, start + here * (self.rank + 1) // world

    def __iter__(self) -> Iterator[list[int]]:
        for update in self.schedule():
            indices = self.order(update.epoch)[update.first : update.first + update.size]
            for j in range(update.micro_batches):
                low, high = self._share(update.size, j, update.phase)
                yield indices[low : max(high, low + 1)].tolist()

    def updates(self, loader: Iterable[Batch]) -> Iterator[TrainingUpdate[Batch]]:
        """The updates with their batches from a loader over this sampler."""
        batches = iter(loader)
        for update in self.schedule():
            training = TrainingUpdate(self, update, batches)
            yield training
            for _ in training:
                pass  # What the caller left of it: the next update has its own batches.

    def state_dict(self) -> dict[str, int]:
        """Where training is: plain integers. An update is over when all its batches have been used."""
        return {"format": SAMPLER_STATE, "update": self.start_update, "seed": self.seed, "dataset": self.dataset_size}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on at the state's update, on any number of processes. Raises ValueError for another seed or dataset."""
        if state.get("format") != SAMPLER_STATE:
            raise ValueError(f"this sampler state has format {state.get('format')}, not {SAMPLER_STATE}")
        for name, mine in (("seed", self.seed), ("dataset", self.dataset_size)):
            if state[name] != mine:
                raise ValueError(f"the saved {name} is {state[name]}, not {mine}: other samples would follow")
        self.start_update = state["update"]


class TrainingUpdate(Generic[Batch]):
    """An update and, once, its micro-batches with their loss weights: `for batch, weight in update`."""

    def __init__(self, sampler: UpdateSampler, info: Update, batches: Iterator[Batch]) -> None:
        self.info = info
        self._steps = self._run(sampler, batches)

    def _run(self, sampler: UpdateSampler, batches: Iterator[Batch]) -> Iterator[tuple[Batch, float]]:
        for weight in self.info.weights:
            yield next(batches), weight
        sampler.start_update = self.info.number + 1

    def __iter__(self) -> Iterator[tuple[Batch, float]]:
        return self._steps
