"""What is checked of batch settings: that micro x accumulation x world is the global batch, for every value it takes."""

from __future__ import annotations

from collections.abc import Iterator

from schedc.compiler import messages_batch as say
from schedc.compiler import plan
from schedc.compiler.batch_arithmetic import settle
from schedc.compiler.diagnostics import Diagnostic
from schedc.compiler.timeline import Timeline


def check_batch(line: Timeline, draft: plan.Plan) -> Iterator[Diagnostic]:
    """Every phase of the global batch divides into micro batches; sizes against dataset and classes."""
    batch = line.program.main.batch
    if "global" not in batch or not draft.batch.phases:
        return
    span = batch["global"].value.span
    micro = draft.batch.micro if isinstance(draft.batch.micro, int) else None
    accumulation = draft.batch.accumulation if isinstance(draft.batch.accumulation, int) else None
    world = draft.train.world_size or 1
    seen: set[int] = set()
    for phase in draft.batch.phases:
        size = phase.global_batch
        if size in seen:
            continue
        seen.add(size)
        settled = settle(size, micro, accumulation, world)
        if settled.sizes is None:
            yield say.not_divisible(size, settled.why, phase.update, [str(s) for s in settled.nearest[:2]], span)
            break
    sizes = sorted(seen)
    dataset, classes = draft.train.dataset, draft.train.classes
    if dataset is not None and sizes[-1] > dataset:
        yield say.larger_than_dataset(sizes[-1], dataset, span)
    if classes is not None and sizes[0] < classes:
        yield say.fewer_than_classes(sizes[0], classes, span)
    per_rank = sizes[0] // world
    if len(sizes) == 1 and per_rank >= 8 and per_rank % 8:
        yield say.not_multiple_of_eight(per_rank, span)
