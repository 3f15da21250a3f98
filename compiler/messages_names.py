"""Messages about names and types (SC2xx): one constructor each, so that callers write no prose."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from schedc.compiler.codes import code
from schedc.compiler.diagnostics import Diagnostic, Fix, Label, error, warning
from schedc.compiler.source import Span

UNKNOWN_NAME = code("SC201", "unknown-name", "a name that is defined nowhere")
UNKNOWN_ARGUMENT = code("SC202", "unknown-argument", "an argument that the definition does not have")
MISSING_ARGUMENT = code("SC203", "missing-argument", "a required argument is not given")
TOO_MANY_ARGUMENTS = code("SC204", "too-many-arguments", "more arguments by position than parameters")
TWICE_GIVEN = code("SC205", "argument-given-twice", "one parameter given two values")
DUPLICATE = code("SC206", "bound-twice", "the same name bound or defined twice")
TYPE = code("SC207", "wrong-type", "a value of another type than the parameter's")
BOUND = code("SC208", "out-of-bounds", "a value outside the parameter's bounds")
RESERVED = code("SC209", "reserved-name", "a name that cannot be redefined")
NOT_A_HYPERPARAMETER = code("SC210", "unknown-hyper-parameter", "a bound name that no optimizer is known to have")
RECURSION = code("SC211", "recursion", "a definition that reaches itself")
NOT_HERE = code("SC212", "not-available-here", "a variable used where it has no meaning")
UNKNOWN_SETTING = code("SC213", "unknown-setting", "a setting that train or batch does not have")
UNKNOWN_FILE = code("SC214", "unknown-import", "an import that cannot be found")
IMPORT_CYCLE = code("SC215", "import-cycle", "files that import each other in a circle")
OUTSIDE_ROOT = code("SC216", "outside-project", "an import that leaves the project root")
UNKNOWN_PARAMETER = code("SC217", "unknown-parameter", "a parameter given from outside that the file does not have")
CONTRADICTION = code("SC218", "contradicts-file", "a value from outside that contradicts the file")
MODIFIER_PLACE = code("SC219", "modifier-out-of-place", "a modifier where a stage is expected, or the reverse")
UNUSED = code("SC220", "unused-definition", "a definition that nothing uses")
VARYING = code("SC221", "varying-argument", "a value that varies where one number is expected")
BASE_UNDER_RELATIVE = code("SC222", "base-under-relative", "base read under *=, where it is already a factor")
RELATIVE_LET = code("SC223", "two-lone-expressions", "more than one lone expression in a text")


def suggestion(name: str, known: Iterable[str], cutoff: float = 0.65) -> str | None:
    """The one known name that is close to what was written. The only place that guesses."""
    names = sorted(set(known))
    close = get_close_matches(name, names, n=1, cutoff=cutoff)
    if not close:
        close = [k for k in names if k.lower() == name.lower()]
    return close[0] if close else None


def _guess(name: str, known: Iterable[str], span: Span) -> dict[str, Any]:
    close = suggestion(name, known)
    return {"help": f"did you mean `{close}`?", "fix": Fix(span, close, certain=False)} if close else {}


def unknown_name(name: str, what: str, span: Span, known: Iterable[str], place: str = "") -> Diagnostic:
    return error(
        UNKNOWN_NAME,
        f"no {what} is called `{name}`",
        span,
        place or "not defined in this file or in the standard library",
        **_guess(name, known, span),
    )


def unknown_module(name: str, span: Span, known: Iterable[str]) -> Diagnostic:
    close = suggestion(name, known)
    return error(
        UNKNOWN_NAME,
        f"nothing is imported as `{name}`",
        span,
        help=f"did you mean `{close}`?" if close not in (None, name) else f"write `use {name}` above",
    )


def unknown_argument(definition: str, name: str, span: Span, known: Iterable[str]) -> Diagnostic:
    known = list(known)
    guess = _guess(name, known, span)
    takes = "it takes " + ", ".join(f"`{k}`" for k in known) if known else "it takes no arguments"
    return error(UNKNOWN_ARGUMENT, f"`{definition}` has no parameter `{name}`", span, "" if guess else takes, **guess)


def param_without_value(name: str, type_: str, span: Span) -> Diagnostic:
    return error(
        MISSING_ARGUMENT, f"`param {name}` has no value", span, "no default, and nothing is given from outside",
        help=f"give it with `-D {name}=…`, or write a default: `param {name}: {type_} = …`",
    )  # fmt: skip


def missing_argument(definition: str, name: str, type_: str, span: Span) -> Diagnostic:
    return error(
        MISSING_ARGUMENT,
        f"`{definition}` needs `{name}`",
        span,
        f"`{name}` ({type_}) is not given",
        help=f"write `{definition}(…, {name}=…)`",
    )


def too_many_arguments(definition: str, most: int, span: Span) -> Diagnostic:
    count = "no argument" if most == 0 else "1 argument" if most == 1 else f"{most} arguments"
    return error(TOO_MANY_ARGUMENTS, f"`{definition}` takes {count} by position", span, "one too many")


def given_twice(definition: str, name: str, span: Span, before: Span) -> Diagnostic:
    return error(
        TWICE_GIVEN,
        f"`{definition}` is given `{name}` twice",
        span,
        "again here",
        labels=(Label(before, "first here"),),
    )


def duplicate(what: str, name: str, span: Span, before: Span) -> Diagnostic:
    return error(
        DUPLICATE, f"{what} `{name}` stands here twice", span, "again here", labels=(Label(before, "first here"),),
        help="keep one of the two, or put the second into a `group`" if what == "the binding" else None,
    )  # fmt: skip


def wrong_type(name: str, expected: str, got: str, span: Span, help_: str | None = None) -> Diagnostic:
    return error(TYPE, f"`{name}` takes a {expected}, and this is a {got}", span, got, help=help_)


def not_a_number(what: str, got: str, span: Span, help_: str | None = None) -> Diagnostic:
    return error(TYPE, f"{what} takes numbers, and this is a {got}", span, got, help=help_)


def unknown_word(name: str, word: str, words: Iterable[str], span: Span) -> Diagnostic:
    words = list(words)
    close = suggestion(word, words)
    return error(
        TYPE,
        f"`{name}` is one of {', '.join(f'`{w}`' for w in words)}, not `{word}`",
        span,
        help=f"did you mean `{close}`?" if close else None,
    )


def out_of_bounds(name: str, bound: str, value: str, span: Span, declared: Span | None) -> Diagnostic:
    labels = (Label(declared, "declared here"),) if declared is not None and declared.source is span.source else ()
    return error(BOUND, f"`{name}` must be {bound}, and is {value}", span, value, labels=labels)


def reserved(name: str, span: Span) -> Diagnostic:
    return error(RESERVED, f"`{name}` has a fixed meaning and can't be defined again", span, help="choose another name")


def not_a_hyperparameter(name: str, span: Span, known: Iterable[str]) -> Diagnostic:
    close = suggestion(name, known, 0.8)
    own = f'write `let {name} = …` for a value of your own, or `"{name}" = …` for a key of your optimizer'
    return error(
        NOT_A_HYPERPARAMETER, f"no optimizer is known to have a hyper-parameter `{name}`", span,
        help=f"did you mean `{close}`?" if close else own,
    )  # fmt: skip


def recursion(name: str, span: Span, way: Iterable[str]) -> Diagnostic:
    return error(RECURSION, f"`{name}` reaches itself", span, notes=("the way back: " + " -> ".join(way),))


def not_here(name: str, where: str, span: Span) -> Diagnostic:
    return error(NOT_HERE, f"`{name}` has no meaning {where}", span)


def unknown_setting(block: str, name: str, span: Span, known: Iterable[str]) -> Diagnostic:
    known = sorted(known)
    guess = _guess(name, known, span)
    return error(
        UNKNOWN_SETTING,
        f"`{block}` has no setting `{name}`",
        span,
        "" if guess else "it has " + ", ".join(f"`{k}`" for k in known),
        **guess,
    )


def unknown_import(name: str, span: Span, known: Iterable[str]) -> Diagnostic:
    return error(UNKNOWN_FILE, f"there is no `{name}` to import", span, "", **_guess(name, known, span))


def unreadable_import(path: str, why: str, span: Span) -> Diagnostic:
    return error(UNKNOWN_FILE, f"`{path}` can't be read: {why}", span)


def faulty_import(path: str, count: int, span: Span) -> Diagnostic:
    return error(
        UNKNOWN_FILE, f"`{path}` has {count} error{'s' if count > 1 else ''} of its own", span, "imported here"
    )


def import_cycle(way: Iterable[str], span: Span) -> Diagnostic:
    return error(IMPORT_CYCLE, "files import each other in a circle", span, notes=(" -> ".join(way),))


def outside_root(path: str, root: str, span: Span) -> Diagnostic:
    return error(
        OUTSIDE_ROOT, f"`{path}` lies outside the project", span, notes=(f"imports may not leave the folder `{root}`",)
    )


def unknown_parameter(name: str, span: Span, known: Iterable[str]) -> Diagnostic:
    known = list(known)
    close = suggestion(name, known)
    return error(
        UNKNOWN_PARAMETER, f"this file has no `param {name}`", span,
        help=f"did you mean `{close}`?" if close else "its params: " + (", ".join(f"`{k}`" for k in known) or "none"),
    )  # fmt: skip


def contradiction(name: str, given: str, written: str, span: Span) -> Diagnostic:
    return error(
        CONTRADICTION,
        f"`{name}` is {given} from outside and {written} in the file",
        span,
        written,
        help="drop one of the two",
    )


def modifier_as_stage(name: str, span: Span) -> Diagnostic:
    return error(
        MODIFIER_PLACE,
        f"`{name}` is a modifier, and a stage is expected here",
        span,
        help=f"write it behind a schedule, as in `hold | {name}`",
    )


def stage_as_modifier(name: str, span: Span) -> Diagnostic:
    return error(
        MODIFIER_PLACE,
        f"`{name}` is no modifier",
        span,
        "right of `|` stands a modifier",
        help=f"write `-> {name}` for the next stage",
    )


def unused(what: str, name: str, span: Span) -> Diagnostic:
    return warning(UNUSED, f"{what} `{name}` is used nowhere", span)


def varying_argument(name: str, reads: str, span: Span) -> Diagnostic:
    return error(
        VARYING,
        f"`{name}` takes one number, and this varies with {reads}",
        span,
        help=f"declare the parameter as `{name}: schedule` to take a value that varies",
    )


def base_under_relative(name: str, span: Span) -> Diagnostic:
    return error(
        BASE_UNDER_RELATIVE,
        f"`{name} *= …` multiplies by `base` already",
        span,
        "`base` is read here",
        help=f"write `{name} = …`",
    )


def two_lone(span: Span, before: Span) -> Diagnostic:
    return error(
        RELATIVE_LET,
        "a text holds one lone expression",
        span,
        "a second one",
        labels=(Label(before, "the first"),),
        help="give each a name, as in `lr = …`",
    )
