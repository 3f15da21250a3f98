"""Messages about initialisation (SC7xx): one constructor each, so that callers write no prose."""

from __future__ import annotations

from schedc.compiler.codes import code
from schedc.compiler.diagnostics import Diagnostic, error, warning
from schedc.compiler.source import Span

NOT_AN_INITIALISER = code("SC701", "not-an-initialiser", "an init rule whose right side is no initialiser")
SYMMETRY = code("SC702", "constant-weights", "hidden weights that all start with the same value")


def not_an_initialiser(span: Span) -> Diagnostic:
    return error(
        NOT_AN_INITIALISER,
        "this is no initialiser",
        span,
        help="write a distribution, as in `normal(std=0.02)`, `zeros` or `kaiming_normal`",
    )


def constant_weights(selector: str, span: Span) -> Diagnostic:
    return warning(
        SYMMETRY, f"{selector} starts with the same value everywhere", span,
        notes=("units with equal weights get equal gradients and stay equal: a layer of them is one unit wide",),
        help="use `kaiming_normal`, `xavier_uniform` or `normal(std=0.02)` for weights",
    )  # fmt: skip
