"""The words of the syntax messages: one constructor for each thing to say. Callers pass facts, never prose."""

from __future__ import annotations

from schedc.compiler.codes import code
from schedc.compiler.diagnostics import Diagnostic, Fix, Label, error
from schedc.compiler.source import Span

EXPECTED = code("SC101", "expected", "something that must stand here is missing, or something else stands here")
BRACKET = code("SC102", "bracket", "a bracket is open without its partner, or closed without one")
CHARACTER = code("SC103", "character", "a character has no meaning in the language")
APPLICATION = code("SC104", "short-application", "a short application takes part in arithmetic")
MODIFIER = code("SC105", "after-pipe", "something other than a lone modifier stands right of `|`")
NUMBER = code("SC106", "number", "a number is not well formed")
TEXT = code("SC107", "text", "a quoted text is not closed, or holds an unknown escape")
OPERATOR = code("SC108", "operator", "an operator of another language")
SIDE_BY_SIDE = code("SC109", "side-by-side", "two stages or values stand side by side with nothing between them")
BINDING = code("SC110", "binding", "a binding, block or rule is written with another sign")
RESERVED = code("SC111", "reserved", "a reserved word stands where a name belongs")
DEFINITION = code("SC112", "definition-form", "the head of a definition is not well formed")
KIND = code("SC113", "kind", "a parameter's type is not a kind of the language")
CLAIM = code("SC114", "claim", "comparisons are joined in a way the language does not have")
SEPARATOR = code("SC115", "separator", "entries or items are separated by another sign")
QUOTED = code("SC116", "quoted-schedule", "a schedule stands in quotes")
NAME = code("SC117", "name-form", "a name has a form that does not fit its place")
SOURCE_SIZE = code("SC120", "source-size", "the text is larger than the limit")
NESTING = code("SC121", "nesting", "brackets or operators nest deeper than the limit")
ITEMS = code("SC122", "too-many-items", "the text has more items than the limit")
DIGITS = code("SC123", "digits", "a number has more digits than the limit")
EXPONENT = code("SC124", "exponent", "an exponent is larger than the limit")
TOKENS = code("SC125", "too-many-words", "the text has more words and signs than the limit")


def expected(what: str, after: str | None, place: Span, found: str, help: str | None = None) -> Diagnostic:
    """`what` is missing behind `after` (at the start of an item where that is None); `found` stands there."""
    behind = f" after `{after}`" if after else ""
    return error(EXPECTED, f"expected {what}{behind}", place, found, help=help)


def nothing_before(what: str, sign: str, place: Span) -> Diagnostic:
    """A sign or word that belongs behind something opens an item."""
    return error(EXPECTED, f"expected {what} before `{sign}`", place, "nothing stands before it")


def not_in_block(word: str, block: str, place: Span) -> Diagnostic:
    """`train { let x = 3 }`."""
    held = "rules" if block == "init" else "bindings"
    return error(
        EXPECTED,
        f"a block holds {held} only",
        place,
        f"`{word}` stands here",
        help=f"move it out of the `{block}` block",
    )


def unclosed(bracket: str, opened: Span, closing: str, needed: Span, found: str) -> Diagnostic:
    """A bracket that nothing closes; `needed` is where its partner was looked for in vain."""
    return error(
        BRACKET,
        f"`{bracket}` is never closed",
        opened,
        "opened here",
        labels=(Label(needed, found),),
        help=f"add the closing `{closing}`",
    )


def mismatched(bracket: str, opened: Span, found: str, place: Span, closing: str) -> Diagnostic:
    """A bracket that another kind of bracket closes."""
    return error(
        BRACKET,
        f"`{bracket}` is closed by `{found}`",
        place,
        f"expected `{closing}`",
        labels=(Label(opened, "opened here"),),
        help=f"write `{closing}`",
    )


def stray(bracket: str, opening: str, place: Span) -> Diagnostic:
    """A closing bracket without its partner."""
    return error(
        BRACKET, f"`{bracket}` closes nothing", place, f"no `{opening}` is open here", help=f"remove the `{bracket}`"
    )


def character(shown: str, place: Span, instead: str | None = None) -> Diagnostic:
    """A character without meaning; `instead` is what was certainly meant."""
    if instead is None:
        return error(CHARACTER, f"{shown} does not belong to the language", place, "not a character of the language")
    told = "type an ordinary blank" if instead == " " else f"write `{instead}`"
    return error(
        CHARACTER,
        f"{shown} does not belong to the language",
        place,
        "not a character of the language",
        help=told,
        fix=Fix(place, instead),
    )


def not_ascii(shown: str, place: Span) -> Diagnostic:
    """A letter or digit outside ASCII."""
    return error(CHARACTER, f"{shown} does not belong to the language", place, "names and numbers are written in ASCII")


def short_operand(call: str, place: Span) -> Diagnostic:
    """`3e-4 * cosine 10k`: a short application as an operand."""
    return error(
        APPLICATION,
        "a short application takes no part in arithmetic",
        place,
        "an argument without parentheses",
        help=f"write `{call}`",
        fix=Fix(place, call),
    )


def short_argument(instead: str, place: Span) -> Diagnostic:
    """`cosine to=peak/10`: arithmetic in an argument of a short application."""
    return error(
        APPLICATION,
        "an argument of a short application is one word or number",
        place,
        "arithmetic stands here",
        help=f"write `{instead}`",
    )


def short_arithmetic(instead: str, operator: str, place: Span) -> Diagnostic:
    """`cosine 10k * 3`: arithmetic behind a short application."""
    return error(
        APPLICATION,
        "a short application takes no part in arithmetic",
        place,
        f"`{operator}` stands behind one",
        help=f"write `{instead}`",
    )


def not_a_modifier(found: str, place: Span) -> Diagnostic:
    """Right of `|` stands something else than a modifier."""
    return error(
        MODIFIER, "expected a modifier after `|`", place, found, help="name a modifier, as in `| staircase 1000`"
    )


def behind_modifier(word: str, instead: str, place: Span) -> Diagnostic:
    """`x | m -> y`, `x | m for D`, `x | m + 1`."""
    return error(
        MODIFIER, f"`{word}` stands behind a modifier", place, "a modifier ends here", help=f"write `{instead}`"
    )


def number(title: str, place: Span, label: str, instead: str | None) -> Diagnostic:
    """A number that is not well formed; `title` and `label` come from the table of ways in `mistakes.py`."""
    help = None if instead is None else f"write `{instead}`"
    return error(NUMBER, title, place, label, help=help)


def unclosed_text(quote: str, place: Span) -> Diagnostic:
    """A quoted text that its line does not close."""
    return error(
        TEXT, "a quoted text is not closed on its line", place, "starts here", help=f"add the closing `{quote}`"
    )


def escape(sequence: str, place: Span) -> Diagnostic:
    """A backslash with something other than a quote or a backslash behind it."""
    return error(
        TEXT,
        f"`{sequence}` is not an escape",
        place,
        "only a quote or a backslash stands behind a backslash",
        help="write `\\\\` for a backslash",
    )


def foreign(sign: str, place: Span, instead: str, exact: bool) -> Diagnostic:
    """An operator of another language; `exact` says that `instead` simply replaces it."""
    fix = Fix(place, instead) if exact else None
    return error(OPERATOR, f"`{sign}` is not an operator of the language", place, help=f"write `{instead}`", fix=fix)


def side_by_side(before: str, after: str, place: Span, instead: str) -> Diagnostic:
    """Two stages or values with nothing between them."""
    return error(
        SIDE_BY_SIDE,
        f"nothing joins `{before}` and `{after}`",
        place,
        "a second one starts here",
        help=f"write `{instead}`",
    )


def outside_parentheses(argument: str, call: str, place: Span) -> Diagnostic:
    """`cosine(10k) to=0.1`."""
    return error(
        SIDE_BY_SIDE,
        f"`{argument}` stands outside the parentheses",
        place,
        "the call has ended",
        help=f"write `{call}`",
    )


def binding(sign: str, place: Span, instead: str, what: str) -> Diagnostic:
    """A binding, block or rule written with another sign. `what` names it: "a binding", "a rule of `init`"."""
    return error(BINDING, f"{what} is not written with `{sign}`", place, help=f"write `{instead}`")


def relative_setting(name: str, kind: str, place: Span) -> Diagnostic:
    """`train { length *= 2 }`."""
    return error(
        BINDING, f"a setting of `{kind}` is not relative", place, f"`{name}` has no value yet", help=f"write `{name} =`"
    )


def reserved(word: str, place: Span) -> Diagnostic:
    """`for` or `until` where a name belongs."""
    return error(RESERVED, f"`{word}` is a reserved word", place, "a name belongs here", help="choose another name")


def definition(title: str, place: Span, label: str, instead: str) -> Diagnostic:
    """The head of a definition is not well formed; `title` and `label` come from `mistakes.py`."""
    return error(DEFINITION, title, place, label, help=f"write `{instead}`")


def kind(name: str, place: Span, instead: str | None) -> Diagnostic:
    """A type that is not a kind of the language; `instead` is the kind that other languages call so."""
    return error(
        KIND,
        f"`{name}` is not a kind",
        place,
        "a kind belongs here",
        notes=("the kinds are `number`, `count`, `duration`, `level`, `curve`, `schedule`, `flag` and `text`",),
        help=None if instead is None else f"write `{instead}`",
    )


def chained_comparison(place: Span) -> Diagnostic:
    """`a < b < c`."""
    return error(
        CLAIM,
        "a comparison has two sides",
        place,
        "a third one starts here",
        help="write one `assert` for each comparison",
    )


def joined_claims(word: str, place: Span) -> Diagnostic:
    """`a < b and c < d`."""
    return error(CLAIM, f"`{word}` does not join claims", place, help="write one `assert` for each claim")


def python_if(place: Span) -> Diagnostic:
    """`a if c else b`."""
    return error(
        CLAIM, "`if` is a function", place, "its condition comes first", help="write `if(condition, then, else)`"
    )


def separator(sign: str, place: Span) -> Diagnostic:
    """Entries separated by something else than `;` or a newline."""
    return error(SEPARATOR, f"entries are not separated by `{sign}`", place, help="write `;` or start a new line")


def quoted(text: str, place: Span) -> Diagnostic:
    """A whole schedule in quotes."""
    return error(QUOTED, "a quoted text is not a schedule", place, help="remove the quotes", fix=Fix(place, text))


def dotted(name: str, place: Span, what: str) -> Diagnostic:
    """A name with a dot where a plain one belongs. `what` is what is named: "a binding"."""
    return error(
        NAME, f"the name of {what} has no dot", place, "only names from other files have one", help=f"write `{name}`"
    )


def index_apart(place: Span, instead: str) -> Diagnostic:
    """`betas [1] = 0.95`."""
    return error(NAME, "a blank stands between a name and its index", place, "they touch", help=f"write `{instead}`")


def dimensions(place: Span) -> Diagnostic:
    """`ndim < 1.5`."""
    return error(NAME, "`ndim` is compared with a small whole number", place, help="write a number such as `2`")


def source_size(place: Span, size: int, most: int) -> Diagnostic:
    """The text is too large."""
    return error(
        SOURCE_SIZE, f"the text has {size} bytes, more than {most}", place, help="split the file, and `use` its parts"
    )


def nesting(place: Span, most: int) -> Diagnostic:
    """Brackets or operators nest too deep."""
    return error(
        NESTING, f"nesting is deeper than {most}", place, "one level too deep", help="name a part of it with `let`"
    )


def items(place: Span, most: int) -> Diagnostic:
    """There are too many items."""
    return error(
        ITEMS, f"the text has more than {most} items", place, "one too many", help="split the file, and `use` its parts"
    )


def tokens(place: Span, most: int) -> Diagnostic:
    """There are too many words and signs."""
    return error(
        TOKENS,
        f"the text has more than {most} words and signs",
        place,
        "one too many",
        help="split the file, and `use` its parts",
    )


def digits(place: Span, count: int, most: int) -> Diagnostic:
    """A number has too many digits."""
    return error(DIGITS, f"a number has {count} digits, more than {most}", place, help="use an exponent, as in `1e9`")


def index_size(place: Span, most: int) -> Diagnostic:
    """An index with too many digits."""
    return error(DIGITS, f"an index has more than {most} digits", place)


def exponent(place: Span, most: int) -> Diagnostic:
    """An exponent is too large."""
    return error(EXPONENT, f"an exponent is larger than {most}", place, "no such number is ever needed in training")
