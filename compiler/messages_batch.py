"""Messages about batch settings (SC6xx): one constructor each, so that callers write no prose."""

from __future__ import annotations

from collections.abc import Sequence

from schedc.compiler.codes import code
from schedc.compiler.diagnostics import Diagnostic, error, note, warning
from schedc.compiler.source import Span

NOT_DIVISIBLE = code("SC601", "batch-not-divisible", "a global batch that the micro batches don't make up")
LARGER = code("SC602", "batch-over-dataset", "a batch larger than the dataset")
FEWER = code("SC603", "batch-under-classes", "a batch with fewer samples than there are classes")
MULTIPLE = code("SC604", "batch-not-multiple", "a batch per process that is no multiple of 8")


def not_divisible(size: int, why: str, update: int, near: Sequence[str], span: Span) -> Diagnostic:
    return error(
        NOT_DIVISIBLE,
        why,
        span,
        f"{size} from update {update} on",
        help="the nearest that agree: " + "; ".join(near) if near else None,
    )


def larger_than_dataset(size: int, dataset: int, span: Span) -> Diagnostic:
    return warning(
        LARGER,
        f"a batch of {size} is larger than the dataset of {dataset}",
        span,
        notes=("every update is a whole epoch",),
    )


def fewer_than_classes(size: int, classes: int, span: Span) -> Diagnostic:
    return warning(
        FEWER,
        f"a batch of {size} has fewer samples than the {classes} classes",
        span,
        notes=("most updates see no sample of some classes, so their gradient points away from these",),
    )


def not_multiple_of_eight(size: int, span: Span) -> Diagnostic:
    return note(
        MULTIPLE,
        f"a batch of {size} per process is no multiple of 8",
        span,
        help=f"{size // 8 * 8} or {-(-size // 8) * 8} fill the matrix units of GPUs",
    )
