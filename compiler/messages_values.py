"""Messages about values (SC4xx): one constructor each, so that callers write no prose."""

from __future__ import annotations

from schedc.compiler.codes import code
from schedc.compiler.diagnostics import Diagnostic, Label, error, note, warning
from schedc.compiler.source import Span

JUMP = code("SC401", "jump", "a jump where one stage hands over to the next, written by nobody")
BASE_JUMP = code("SC402", "jump-to-base", "a stage that starts from base and not from the entering value")
FROM_JUMP = code("SC403", "jump-by-from", "a stage whose `from=` is not the entering value")
NOT_FINITE = code("SC404", "not-finite", "a value that is no finite number")
NEGATIVE_VALUE = code("SC405", "negative", "a hyper-parameter below zero")
FAILED = code("SC406", "assert-failed", "an assertion that does not hold")
DEFERRED = code("SC407", "assert-deferred", "an assertion that waits for base")
FORGOTTEN_STAR = code("SC408", "relative-peak", "a relative lr whose peak looks absolute")
UNDECIDED = code("SC409", "undecided", "a claim that could not be decided within the budget")
BAD_ASSERT = code("SC410", "assert-form", "an assertion of a form that has no meaning")


def jump(stage: str, update: str, before: str, after: str, span: Span, before_span: Span | None) -> Diagnostic:
    labels = (
        (Label(before_span, f"ends at {before}"),)
        if before_span is not None and before_span.source is span.source
        else ()
    )
    return error(
        JUMP, f"the value jumps from {before} to {after} at update {update}", span, f"starts at {after}", labels=labels,
        notes=(f"checked exactly: the limit from the left is {before}, the value at the seam is {after}",),
        help="read `start` in the formula to go on from the entering value, or write `from=…` to jump on purpose",
    )  # fmt: skip


def base_jump(own: str, update: str, before: str, after: str, span: Span) -> Diagnostic:
    return warning(
        BASE_JUMP, f"the value jumps from {before} to {after} at update {update}", span, f"starts from {own}, not from the entering value",
        notes=(f"checked exactly: the limit from the left is {before}, the value at the seam is {after}",),
    )  # fmt: skip


def from_jump(update: str, before: str, after: str, share: str, near: bool, span: Span) -> Diagnostic:
    make = warning if near else note
    return make(
        FROM_JUMP, f"`from` makes the value jump from {before} to {after} at update {update}", span, share,
        help="drop `from` to go on from the entering value" if near else None,
    )  # fmt: skip


def not_finite(name: str, why: str, update: str, span: Span) -> Diagnostic:
    return error(
        NOT_FINITE,
        f"`{name}` is not finite at update {update}",
        span,
        why,
        help="keep the divisor away from 0, as in `max(…, 1)`" if "zero" in why else None,
    )


def negative(name: str, value: str, update: str, span: Span) -> Diagnostic:
    return error(
        NEGATIVE_VALUE,
        f"`{name}` is negative: {value} at update {update}",
        span,
        f"{value} at update {update}",
        help="put `| clamp 0` behind it",
    )


def failed(claim: str, why: str, span: Span) -> Diagnostic:
    return error(FAILED, f"`assert {claim}` does not hold", span, why)


def deferred(claim: str, span: Span) -> Diagnostic:
    return note(
        DEFERRED,
        f"`assert {claim}` waits for `base`",
        span,
        "decided when bound to an optimizer",
        help="give it now with `--base 0.1`",
    )


def forgotten_star(name: str, peak: str, span: Span, text: str) -> Diagnostic:
    return warning(
        FORGOTTEN_STAR, f"the peak of `{name}` is {peak}, and it multiplies `base`", span,
        f"at most {peak} of what the optimizer was built with",
        help=f"if {peak} is the rate itself, write `{name} = …`",
    )  # fmt: skip


def undecided(what: str, where: str, span: Span) -> Diagnostic:
    return note(UNDECIDED, f"could not decide whether {what}", span, where)


def bad_assert(why: str, span: Span, help_: str | None = None) -> Diagnostic:
    return error(BAD_ASSERT, why, span, help=help_)
