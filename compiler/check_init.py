"""What is checked of an init plan without a model: hidden weights that would all start equal."""

from __future__ import annotations

from collections.abc import Iterator

from schedc.compiler import expressions as ex
from schedc.compiler import messages_init as say
from schedc.compiler import plan
from schedc.compiler.diagnostics import Diagnostic
from schedc.compiler.timeline import Timeline

_WEIGHT_TYPES = ("Linear", "Conv", "Embedding", "MultiheadAttention", "LSTM", "GRU", "RNN", "Bilinear")


def check_init(line: Timeline, draft: plan.Plan) -> Iterator[Diagnostic]:
    """Constant weights of a layer kind are warned of: its units would stay copies of each other."""
    for rule, span in zip(draft.init, line.init_spans, strict=True):
        if rule.kind != "constant":
            continue
        for selector in rule.selection.union:
            module, _, parameter = selector.text.partition(".")
            weights = selector.kind == "type" and module.startswith(_WEIGHT_TYPES)
            if weights and (parameter == "weight" or (parameter == "" and not _is_zero(rule))):
                yield say.constant_weights(f"`{selector.text}`", span)


def _is_zero(rule: plan.InitRule) -> bool:
    return bool(rule.arguments.get("value") == ex.ZERO)
