"""What was meant: from the place where the grammar gave up to words about it.

Each rule knows one mistake and answers with its message, or None where it does not apply; the first answer counts.
Where no rule knows better, what the grammar would have taken is said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from schedc.compiler import messages_syntax as say
from schedc.compiler.diagnostics import Diagnostic
from schedc.compiler.source import Source
from schedc.grammar.elsewhere import FOREIGN, KINDS, LOOKALIKES, SUFFIXES, TRUE_KINDS, UNITS
from schedc.grammar.layout import CLOSING, OPENING, Token
from schedc.grammar.reading import ARITHMETIC, LIMITS, RELATIONS, Braces, Fault, Reading, block, open_brackets

__all__ = ["Fault", "block", "explain", "open_brackets", "unclosed_block"]

Rule = Callable[[Reading], Diagnostic | None]

SIGNS = frozenset("+-*/^<>=!()[]{},:;|%")

WELL_FORMED = re.compile(
    r"(?:[0-9]+(?:_[0-9]+)*(?:\.(?:[0-9]+(?:_[0-9]+)*)?)?|\.[0-9]+(?:_[0-9]+)*)"
    r"(?:[eE][+-]?[0-9]+)?(?:[KMG]i|[kMBT])?%?"
)
QUOTED = re.compile(r""" "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' """, re.X)
BAD_ESCAPE = re.compile(r"""(?:\\["'\\]|[^\\])*(\\[^"'\\])""")

SYMBOLS = {
    "EQ": "`=`", "MULEQ": "`*=`", "COLON": "`:`", "LBRACE": "`{`", "RBRACE": "`}`", "LPAR": "`(`", "RPAR": "`)`",
    "RSQB": "`]`", "COMMA": "`,`", "RELOP": "a comparison", "KIND": "a kind", "AS": "`as`", "EXCEPT": "`except`",
    "ARROW": "`->`", "PIPE": "`|`", "FOR": "`for`", "UNTIL": "`until`", "ENSURES": "`ensures`",
    "IMPLIES": "`implies`", "NUMBER": "a number", "STRING": "a quoted text", "WORD": "a name", "NAME": "a name",
    "DEFNAME": "a name", "OF": "`of`",
}  # fmt: skip
"""What the grammar's terminals are called."""

HEADS = frozenset({"def", "curve", "modifier"})
ITEMS = HEADS | {"param", "let", "use", "include", "group", "assert"}
BOUND = frozenset({"lr", "weight_decay", "momentum", "eps", "alpha", "rho", "dampening"})
BLOCKS = frozenset({"train", "batch", "init", "group"})


def explain(source: Source, tokens: Sequence[Token], fault: Fault, enclosing: str | None = None) -> Diagnostic:
    """The message for a fault in one item, or in an entry of the block that the word `enclosing` opens."""
    reading = Reading(source, tokens, fault, enclosing)
    for rule in RULES:
        said = rule(reading)
        if said is not None:
            return said
    return _expected(reading)


def unclosed_block(source: Source, tokens: Sequence[Token], braces: Braces) -> Diagnostic:
    """A block whose entries have been spoken of, and that nothing closes."""
    r = Reading(source, tokens, Fault(len(tokens), "item", frozenset()), None)
    return say.unclosed("{", r.place(braces.open), "}", r.place(r.at), r.found())


def _character(r: Reading) -> Diagnostic | None:
    """A character that has no meaning anywhere."""
    here = r.here
    if here is None or not here.is_sign or len(here.text) > 1 or here.text in SIGNS:
        return None
    c = here.text
    place = r.place(r.at)
    if c.isspace() or c == "\u200b":
        return say.character(f"a blank of another kind (U+{ord(c):04X})", place, " ")
    if c in LOOKALIKES:
        return say.character(f"`{c}`", place, LOOKALIKES[c])
    shown = f"`{c}`" if c.isprintable() and c != "`" else f"the character U+{ord(c):04X}"
    return say.not_ascii(shown, place) if c.isalnum() else say.character(shown, place)


def _text(r: Reading) -> Diagnostic | None:
    """A quoted text that is not closed, or with an unknown escape."""
    here = r.here
    if here is None or here.kind != "text":
        return None
    if not QUOTED.fullmatch(here.text):
        return say.unclosed_text(here.text[0], r.place(r.at))
    bad = BAD_ESCAPE.match(here.text)
    if bad is None:
        return None
    start = here.start + bad.start(1)
    return say.escape(bad.group(1), r.source.span(start, start + 2))


def _number(r: Reading) -> Diagnostic | None:
    """A number that is not well formed, or apart from its suffix or unit."""
    here = r.here
    if here is None:
        return None
    if r.kind(r.at - 1) == "number" and not here.first and WELL_FORMED.fullmatch(r.text(r.at - 1)):
        return _behind_number(r, r.text(r.at - 1), here.text)
    if here.kind != "number" or WELL_FORMED.fullmatch(here.text):
        return None
    place, text = r.place(r.at), here.text
    if "__" in text or text.endswith("_") or re.search(r"_(?![0-9])|(?<![0-9])_", text):
        return say.number(
            "a `_` in a number stands between two digits",
            place,
            "not so here",
            re.sub(r"_+(?=[0-9])", "_", text).rstrip("_"),
        )
    if text.count(".") > 1:
        return say.number("a number has one point", place, "two stand here", None)
    parts = re.fullmatch(r"([0-9_.]+?(?:[eE][+-]?[0-9]+)?)([kMBT]|[KMG]i)?([A-Za-z]+)%?", text)
    if parts is not None:
        figures, suffix, rest = parts.groups()
        if rest in UNITS and rest not in SUFFIXES and (suffix or rest != "e"):
            return say.number(
                "a unit touches its number",
                place,
                "a blank stands between them",
                f"{figures}{suffix or ''} {UNITS[rest]}",
            )
        if rest in ("e", "E"):
            return say.number("an exponent has no digits", place, "they stand behind the `e`", None)
        if suffix is None and rest in SUFFIXES:
            return say.number(
                f"`{rest}` is not a suffix", place, "the suffixes are k M B T Ki Mi Gi", figures + SUFFIXES[rest]
            )
        if suffix is not None and re.fullmatch(r"[kMBTKGi]+", rest):
            return say.number("a number has one suffix", place, "two stand here", None)
    return say.number(f"`{text}` is not a number", place, "the suffixes are k M B T Ki Mi Gi", None)


def _behind_number(r: Reading, number: str, text: str) -> Diagnostic | None:
    """What stands behind a well-formed number and was meant to belong to it."""
    both = r.place(r.at - 1, r.at)
    if text == "%":
        if r.opens_operand(r.at + 1):
            return None
        return say.number("a blank stands between a number and its `%`", both, "they touch", f"{number}%")
    if text in ("k", "M", "B", "T", "Ki", "Mi", "Gi"):
        return say.number("a blank stands between a number and its suffix", both, "they touch", f"{number}{text}")
    if r.kind(r.at) == "number" and re.fullmatch(r"[0-9]{3}", text) and number.isdigit():
        last = r.at
        while r.kind(last + 1) == "number" and re.fullmatch(r"[0-9]{3}", r.text(last + 1)):
            last += 1
        whole = "_".join(r.text(i) for i in range(r.at - 1, last + 1))
        return say.number("a blank stands inside a number", r.place(r.at - 1, last), "digits are grouped by `_`", whole)
    if r.kind(r.at) == "word" and text in UNITS and text != UNITS[text] and not r.is_named(r.at):
        unit = UNITS[text]
        return say.number(
            f"`{text}` is not a unit", r.place(r.at), "", f"{number}%" if unit == "%" else f"{number} {unit}"
        )
    return None


def _foreign(r: Reading) -> Diagnostic | None:
    """An operator of another language."""
    here = r.here
    if here is None:
        return None
    if here.text in ("&&", "||") and ("RELOP" not in r.accepts) and r.text(0) == "assert":
        return say.joined_claims(here.text, r.place(r.at))
    if here.text == "&&":
        return say.joined_claims(here.text, r.place(r.at))
    if here.text == ">" and r.text(r.at - 1) == "-" and "NUMBER" in r.accepts:
        return say.foreign("- >", r.place(r.at - 1, r.at), "->", exact=True)
    if here.is_sign and here.text in FOREIGN:
        instead, exact = FOREIGN[here.text]
        if instead == "->" and "EQ" in r.accepts and r.text(0) in BOUND:
            instead = "="
        return say.foreign(here.text, r.place(r.at), instead, exact)
    return None


def _reserved(r: Reading) -> Diagnostic | None:
    """`for` or `until` as a name, or with nothing before it."""
    here = r.here
    if here is None or here.kind != "word" or here.text.split(".")[0] not in LIMITS or "FOR" in r.accepts:
        return None
    named = bool({"WORD", "DEFNAME"} & r.accepts) and "NUMBER" not in r.accepts
    if named or r.text(r.at + 1) in ("=", "*=", ":", ")", ",", "["):
        return say.reserved(here.text, r.place(r.at))
    if ("NUMBER" in r.accepts and "PIPE" not in r.accepts) or r.at == 0:
        return say.nothing_before("a stage", here.text, r.place(r.at))
    return None


def _bracket(r: Reading) -> Diagnostic | None:
    """A bracket without its partner."""
    here = r.here
    opened = open_brackets(r.tokens[: r.at])
    if here is None:
        if not opened:
            return None
        bracket = r.text(opened[-1])
        closing = OPENING[bracket]
        if SYMBOL_OF[closing] not in r.accepts and bracket != "{":
            return None
        return say.unclosed(bracket, r.place(opened[-1]), closing, r.place(r.at), r.found())
    if not here.is_sign or here.text not in CLOSING:
        return None
    if not opened:
        return say.stray(here.text, CLOSING[here.text], r.place(r.at))
    bracket = r.text(opened[-1])
    if bracket == CLOSING[here.text]:
        return None
    if here.text == "}" or (len(opened) > 1 and r.text(opened[-2]) == CLOSING[here.text]):
        return say.unclosed(bracket, r.place(opened[-1]), OPENING[bracket], r.place(r.at), r.found())
    return say.mismatched(bracket, r.place(opened[-1]), here.text, r.place(r.at), OPENING[bracket])


SYMBOL_OF = {")": "RPAR", "]": "RSQB", "}": "RBRACE"}


def _head(r: Reading) -> Diagnostic | None:
    """The head of a definition."""
    word, name = r.text(0), r.text(1)
    if word not in HEADS or r.kind(1) != "word" or r.at == 0 or r.start != "item":
        return None
    if r.at == 1:
        if "." in name and r.text(2) == "(":
            return say.dotted(name.rpartition(".")[2], r.place(1), "a definition")
        if r.text(2) == "(":
            whole = f"{word} {name}{r.spaced(2, r.group_end(2))}"
            return say.definition(
                "a blank stands between a name and its parenthesis", r.place(1, 2), "they touch", whole
            )
        if r.text(2) in ("=", "{", ""):
            return say.definition(
                "a definition has parentheses", r.place(1), "none behind this name", f"{word} {name}() ="
            )
        if r.kind(2) == "word":
            names = [name]
            for i in range(2, len(r.tokens)):
                if r.kind(i) != "word":
                    break
                names.append(r.text(i))
            return say.definition(
                "a definition has parentheses",
                r.place(1),
                "none behind this name",
                f"{word} {name}({', '.join(names[1:])}) =",
            )
        return None
    if r.text(r.at - 1) == ")" and r.text(r.at) in (":", "->") and not open_brackets(r.tokens[: r.at]):
        return say.definition(
            "the formula of a definition stands behind `=`",
            r.place(r.at),
            f"found `{r.text(r.at)}`",
            f"{r.spaced(0, r.at)} =",
        )
    return None


def _binding(r: Reading) -> Diagnostic | None:
    """A binding, a block or a rule with the wrong sign, or something else in a block."""
    sign, first = r.text(r.at), r.text(0)
    if r.enclosing and r.at == 1 and first in ITEMS and r.kind(1) in ("word", "text"):
        return say.not_in_block(first, r.enclosing, r.place(0))
    if sign == "{" and r.text(r.at - 1) in ("=", ":") and r.at == 2 and first in BLOCKS:
        return say.binding(r.text(1), r.place(1), f"{first} {{", "a block")
    if sign == ":" and r.text(1) == ":" and first in BLOCKS and r.at == 1:
        return say.binding(":", r.place(1), f"{first} {{", "a block")
    if r.start == "rule" and sign in ("=", "*=") and r.at:
        return say.binding(sign, r.place(r.at), f"{r.spaced(0, r.at)} :", "a rule of `init`")
    if r.start != "rule" and sign == ":" and "EQ" in r.accepts and r.kind(0) in ("word", "text"):
        return say.binding(":", r.place(r.at), f"{r.spaced(0, r.at)} =", "a binding")
    if (
        sign in ("=", "*=")
        and r.kind(0) == "word"
        and r.text(1) == "["
        and r.group_end(1) == r.at
        and r.kind(2) == "number"
    ):
        return say.index_apart(r.place(0, r.at - 1), f"{first}{r.spaced(1, r.at)} {sign}")
    named = {"param": 2, "let": 2}.get(first)
    if named and sign == "=" and r.at == named and r.kind(1) != "word":
        return say.expected("a name", first, r.place(1), f"found `{r.text(1)}`")
    return None


def _kind(r: Reading) -> Diagnostic | None:
    """A type that the language does not have."""
    here = r.here
    if r.text(r.at - 1) in TRUE_KINDS:
        return None
    if here is not None and r.text(r.at - 1) == "of" and "KIND" in r.accepts and here.kind == "word":
        return say.kind(here.text, r.place(r.at), KINDS.get(here.text))
    at = r.at - 1
    if r.text(at) in RELATIONS and r.accepts <= {"KIND"}:
        at -= 1
    elif "RELOP" not in r.accepts:
        return None
    if r.kind(at) == "word" and r.text(at - 1) == ":" and r.start == "item":
        return say.kind(r.text(at), r.place(at), KINDS.get(r.text(at)))
    return None


def _claim(r: Reading) -> Diagnostic | None:
    """Comparisons joined as in other languages."""
    text = r.text(r.at)
    if text in ("and", "or", "not") and r.kind(r.at) == "word":
        return say.joined_claims(text, r.place(r.at))
    if text in ("if", "else") and r.kind(r.at) == "word":
        return say.python_if(r.place(r.at))
    if text in RELATIONS and "RELOP" not in r.accepts:
        first = r.region(frozenset({"->", "|", "=", "*=", ",", *LIMITS, "implies", "ensures"}))
        if any(r.text(i) in RELATIONS and r.tokens[i].is_sign for i in range(first, r.at)):
            return say.chained_comparison(r.place(r.at))
    return None


def _separator(r: Reading) -> Diagnostic | None:
    """A comma between entries."""
    outside = not open_brackets(r.tokens[: r.at])
    bound = r.start == "bind" or r.text(1) in ("=", "*=")
    if r.text(r.at) == "," and outside and bound and r.at > 2:
        return say.separator(",", r.place(r.at))
    return None


STAGE = frozenset({"->", "|", "=", "*=", ",", *LIMITS, ":", *RELATIONS, "implies", "ensures"})
PIPED = frozenset({"=", "*=", ",", ":", "implies", "ensures"})


def _pipe(r: Reading) -> Diagnostic | None:
    """Something other than a lone modifier right of `|`."""
    here = r.here
    if r.text(r.at - 1) == "|":
        if here is None:
            return None
        return say.not_a_modifier(r.found(), r.place(r.at))
    if here is None or here.text not in ARITHMETIC | RELATIONS | LIMITS | {"->"} or here.kind == "text":
        return None
    first = r.region(PIPED)
    depth = 0
    piped = False
    for i in range(first, r.at):
        if r.tokens[i].is_sign:
            depth += (r.text(i) in OPENING) - (r.text(i) in CLOSING)
            piped = piped or (depth == 0 and r.text(i) == "|")
    if not piped or (here.text in ARITHMETIC and _last_named(r) is not None):
        return None
    body, rest = r.spaced(first, r.at), r.spaced(r.at + 1, r.region_end(r.at))
    instead = f"({body}) {here.text} {rest}"
    if len(instead) > 80 or not rest:
        instead = f"({body if len(body) < 60 else '…'}) {here.text} …"
    return say.behind_modifier(here.text, instead, r.place(r.at))


def _last_named(r: Reading) -> int | None:
    """The index of the name, if the fault follows the value of a named argument in a short application."""
    first = r.region(STAGE)
    at = first + 1
    last = None
    while at < r.at and (r.opens_operand(at) or r.is_named(at)):
        last = at if r.is_named(at) else None
        value = at + 2 if r.is_named(at) else at
        at = r.atom_end(value + (r.text(value) == "-"))
    return last if at == r.at else None


def _short(r: Reading) -> Diagnostic | None:
    """A short application in arithmetic, or arithmetic in one."""
    here = r.here
    if here is None:
        return None
    text = here.text if here.is_sign else ""
    if r.text(r.at - 1) == "-" and r.text(r.at - 2) == "=" and r.opens_operand(r.at) and "NUMBER" in r.accepts:
        end = _arithmetic_end(r, r.at)
        return say.short_argument(f"{r.text(r.at - 3)}=({r.spaced(r.at - 1, end)})", r.place(r.at - 1, end - 1))
    if (
        r.opens_operand(r.at)
        and r.kind(r.at - 1) == "word"
        and r.text(r.at - 2) in ARITHMETIC | RELATIONS
        and r.kind(r.at - 2) == "sign"
    ):
        call, end = r.call(r.at - 1)
        return say.short_operand(call, r.place(r.at - 1, end - 1))
    if text not in ARITHMETIC | RELATIONS or not {"ARROW", "PIPE"} & r.accepts:
        return None
    first = r.region(STAGE)
    if r.kind(first) != "word" or r.at - first < 2:
        return None
    named = _last_named(r)
    if named is not None and text in ARITHMETIC:
        end = _arithmetic_end(r, named + 2)
        return say.short_argument(f"{r.text(named)}=({r.spaced(named + 2, end)})", r.place(named + 2, end - 1))
    if text in ("-", "+") and r.touches(r.at + 1) and not r.touches(r.at):
        end = r.atom_end(r.at + 1)
        return say.short_argument(f"({text.strip('+')}{r.spaced(r.at + 1, end)})", r.place(r.at, end - 1))
    call, end = r.call(first)
    if end != r.at:
        return None
    rest = r.spaced(r.at + 1, _arithmetic_end(r, r.at + 1))
    joint = text if text == "^" else f" {text} "
    return say.short_arithmetic(f"{call}{joint}{rest or '…'}", text, r.place(r.at))


def _arithmetic_end(r: Reading, first: int) -> int:
    """Behind the arithmetic that starts at `first`."""
    at = first
    while at < len(r.tokens):
        while r.text(at) in ("-", "+"):
            at += 1
        if not r.opens_operand(at):
            return at
        at = r.atom_end(at)
        if r.text(at) not in ARITHMETIC:
            return at
        at += 1
    return at


def _side_by_side(r: Reading) -> Diagnostic | None:
    """Two stages or values with nothing between them."""
    here, before = r.here, r.before
    if here is None or before is None or not r.opens_operand(r.at) or "ARROW" not in r.accepts:
        return None
    if r.is_named(r.at) and before.text == ")":
        return _outside(r)
    opened = open_brackets(r.tokens[: r.at])
    if r.is_named(r.at) or (opened and r.text(opened[-1]) == "["):
        return None
    if before.kind == "number" and r.text(r.at - 2) in ("=", "*=", "(", ",", "->", "") and here.kind == "word":
        call, end = r.call(r.at) if r.text(r.at + 1) != "(" else (r.spaced(r.at, r.atom_end(r.at)), 0)
        arguments = end == 0 or end > r.at + 1
        return say.side_by_side(
            before.text, here.text, r.place(r.at), f"{before.text} * {call if arguments else here.text}"
        )
    return say.side_by_side(r.operand_before(), here.text, r.place(r.at), f"-> {here.text}")


def _outside(r: Reading) -> Diagnostic | None:
    """`cosine(10k) to=0.1`."""
    depth = 0
    for i in range(r.at - 1, -1, -1):
        depth += (r.text(i) in CLOSING) - (r.text(i) in OPENING)
        if depth == 0:
            break
    else:
        return None
    if r.kind(i - 1) != "word" or not r.touches(i):
        return None
    argument = r.spaced(r.at, r.atom_end(r.at + 2))
    inner = r.spaced(i + 1, r.at - 1)
    call = f"{r.text(i - 1)}({inner}{', ' if inner else ''}{argument})"
    return say.outside_parentheses(f"{r.text(r.at)}=", call, r.place(r.at, r.at + 1))


def _expected(r: Reading) -> Diagnostic:
    """What the grammar would have taken."""
    before = r.before
    place = r.place(r.at)
    if before is None:
        here = r.text(r.at)
        if here in ARITHMETIC | RELATIONS | {"->", "|", "=", "*="}:
            return say.nothing_before("a name" if here in ("=", "*=") else "a stage", here, place)
        what = {"rule": "a selector", "bind": "a binding"}.get(r.start, "an item")
        return say.expected(what, None, place, r.found())
    what, help = _wanted(r, before.text)
    return say.expected(what, before.text, place, r.found(), help)


def _wanted(r: Reading, before: str) -> tuple[str, str | None]:
    """What the grammar would have taken, in words, and what to write."""
    if "KIND" in r.accepts:
        return "a kind", None
    if "NDIM" in r.accepts:
        return "a selector", 'name parameters by a pattern, as in `"*.bias"`'
    if "NUMBER" in r.accepts and "NAME" in r.accepts and "ARROW" not in r.accepts and "PIPE" not in r.accepts:
        if before == "->":
            return "a stage", "name the stage that follows, as in `-> cosine 10k`"
        if before in LIMITS:
            return "a duration", f"say how long, as in `{before} 10 epochs`"
        if before == "assert":
            return "a claim", "state what must hold, as in `assert max(lr) <= 1e-3`"
        return ("an initialiser" if before == ":" and r.start == "rule" else "a value"), None
    if before == "|":
        return "a modifier", "name a modifier, as in `| staircase 1000`"
    if "ARROW" in r.accepts or "PIPE" in r.accepts:
        opened = open_brackets(r.tokens[: r.at])
        bracket = r.text(opened[-1]) if opened else ""
        closing = f"`{OPENING[bracket]}`" if bracket else "the end of the line"
        return f"an operator, `->`{', `,`' if bracket and 'COMMA' in r.accepts else ''} or {closing}", None
    names = list(dict.fromkeys(SYMBOLS[t] for t in sorted(r.accepts) if t in SYMBOLS))
    if not names or len(names) > 4:
        return ("the end of the line" if "$END" in r.accepts else "something else"), None
    return (names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"), None


RULES: tuple[Rule, ...] = (
    _character,
    _text,
    _number,
    _foreign,
    _reserved,
    _bracket,
    _head,
    _binding,
    _kind,
    _claim,
    _separator,
    _pipe,
    _short,
    _side_by_side,
)
