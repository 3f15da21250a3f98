"""Messages about `# schedc: ignore` comments (SC13x): one constructor each, so that callers write no prose."""

from __future__ import annotations

from schedc.compiler.codes import code
from schedc.compiler.diagnostics import Diagnostic, Fix, note, warning
from schedc.compiler.source import Span

UNUSED = code("SC130", "unused-ignore", "an ignore comment for a message that is not said there")
NO_REASON = code("SC131", "ignore-without-reason", "an ignore comment that does not say why")
FORM = code("SC132", "ignore-form", "a `# schedc:` comment that is not understood")
REFUSED = code("SC133", "not-ignorable", "an ignore comment for an error that leaves the program without meaning")


def unused(number: str, span: Span, fix: Fix | None) -> Diagnostic:
    return warning(
        UNUSED, f"`ignore {number}` suppresses nothing", span, f"no {number} is said here",
        help="remove it" if fix is None else "remove the comment", fix=fix,
    )  # fmt: skip


def no_reason(numbers: str, span: Span) -> Diagnostic:
    return note(
        NO_REASON, "the ignore gives no reason", span,
        help=f"say why behind two dashes, as in `# schedc: ignore {numbers} -- restarts are wanted here`",
    )  # fmt: skip


def not_understood(words: str, span: Span, known: str | None = None) -> Diagnostic:
    return warning(
        FORM, f"`{words}` is nothing that a `# schedc:` comment can say" if words else "the comment says nothing", span,
        help=f"did you mean `{known}`?" if known else "write `# schedc: ignore SC403 -- why`",
    )  # fmt: skip


def unknown_code(word: str, span: Span, known: str | None) -> Diagnostic:
    return warning(
        FORM, f"there is no message `{word}`", span, "a code such as SC403 belongs here",
        help=f"did you mean `{known}`?" if known else None,
    )  # fmt: skip


def no_code(span: Span) -> Diagnostic:
    return warning(
        FORM, "the ignore names no message", span, help="name the messages, as in `# schedc: ignore SC403 -- why`"
    )


def refused(number: str, span: Span) -> Diagnostic:
    return note(REFUSED, f"{number} can't be ignored", span, "it leaves the program without a meaning")
