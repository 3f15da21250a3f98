"""What is said of a faulty text: the words, the place, and how many times."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schedc.compiler import codes, messages_syntax
from schedc.compiler.diagnostics import draw
from schedc.compiler.source import Source
from schedc.grammar import layout, limits
from schedc.grammar.parse import parse

MISTAKES = [
    # text, code, column, title, help
    ("a ->", "SC101", 5, "expected a stage after `->`", "name the stage that follows, as in `-> cosine 10k`"),
    ("a -> -> b", "SC101", 6, "expected a stage after `->`", "name the stage that follows, as in `-> cosine 10k`"),
    ("-> a", "SC101", 1, "expected a stage before `->`", None),
    ("a |", "SC101", 4, "expected a modifier after `|`", "name a modifier, as in `| staircase 1000`"),
    ("a for", "SC101", 6, "expected a duration after `for`", "say how long, as in `for 10 epochs`"),
    ("hold until", "SC101", 11, "expected a duration after `until`", "say how long, as in `until 10 epochs`"),
    ("lr =", "SC101", 5, "expected a value after `=`", None),
    ("lr = 3 +", "SC101", 9, "expected a value after `+`", None),
    ("a * / b", "SC101", 5, "expected a value after `*`", None),
    ("x for 5 -> for 3", "SC101", 12, "expected a stage before `for`", None),
    ("use", "SC101", 4, "expected a name or a quoted text after `use`", None),
    ("param 3 = x", "SC101", 7, "expected a name after `param`", None),
    ("assert", "SC101", 7, "expected a claim after `assert`", None),
    ('include "a" as b', "SC101", 13, 'expected the end of the line after `"a"`', None),
    ("group { lr = 3 }", "SC101", 7,
     "expected a selector after `group`", 'name parameters by a pattern, as in `"*.bias"`'),
    ('group "a" lr = 3', "SC101", 11, 'expected `,`, `except` or `{` after `"a"`', None),
    ('init { "a" zeros }', "SC101", 12, 'expected `:`, `,` or `except` after `"a"`', None),
    ("def f(x) 3", "SC101", 10, "expected `=` or `{` after `)`", None),
    ("def f(x: ) = 3", "SC101", 10, "expected a kind after `:`", None),
    ("let x: number", "SC101", 14, "expected `=` after `number`", None),
    ("train length = 3", "SC101", 7, "expected `{` after `train`", "write `train { … }`"),
    ("train { let x = 3 }", "SC101", 9, "a block holds bindings only", "move it out of the `train` block"),
    ("use a as b as c", "SC101", 12, "expected the end of the line after `b`", None),
    ("f(a=1 b=2)", "SC101", 7, "expected an operator, `->`, `,` or `)` after `1`", None),
    ("[1 2]", "SC101", 4, "expected an operator, `->`, `,` or `]` after `1`", None),
    ("(a", "SC102", 1, "`(` is never closed", "add the closing `)`"),
    ("lr = cosine(10k, to=0.1", "SC102", 12, "`(` is never closed", "add the closing `)`"),
    ("[1, 2", "SC102", 1, "`[` is never closed", "add the closing `]`"),
    ("train { length = 3", "SC102", 7, "`{` is never closed", "add the closing `}`"),
    ("f(a b] + 3", "SC102", 6, "`(` is closed by `]`", "write `)`"),
    ("a)", "SC102", 2, "`)` closes nothing", "remove the `)`"),
    ("a = 1 }", "SC102", 7, "`}` closes nothing", "remove the `}`"),
    ("a → b", "SC103", 3, "`→` does not belong to the language", "write `->`"),
    ("a × b", "SC103", 3, "`×` does not belong to the language", "write `*`"),
    ("a − b", "SC103", 3, "`−` does not belong to the language", "write `-`"),
    ("lr = “x”", "SC103", 6, "`“` does not belong to the language", 'write `"`'),
    ("a\xa0+ b", "SC103", 2,
     "a blank of another kind (U+00A0) does not belong to the language", "type an ordinary blank"),
    ("λ + 1", "SC103", 1, "`λ` does not belong to the language", None),
    ("a\x00", "SC103", 2, "the character U+0000 does not belong to the language", None),
    ("x ? y : z", "SC103", 3, "`?` does not belong to the language", None),
    ("x @ y", "SC103", 3, "`@` does not belong to the language", None),
    ("3e-4 * cosine 10k", "SC104", 8, "a short application takes no part in arithmetic", "write `cosine(10k)`"),
    ("3e-4 * cosine 10k to=0.1 -> hold", "SC104", 8,
     "a short application takes no part in arithmetic", "write `cosine(10k, to=0.1)`"),
    ("max(base * cosine 10k, 1e-6)", "SC104", 12,
     "a short application takes no part in arithmetic", "write `cosine(10k)`"),
    ("- cosine 10k", "SC104", 3, "a short application takes no part in arithmetic", "write `cosine(10k)`"),
    ("2 * cosine (10k)", "SC104", 5, "a short application takes no part in arithmetic", "write `cosine(10k)`"),
    ("a < cosine 10k", "SC104", 5, "a short application takes no part in arithmetic", "write `cosine(10k)`"),
    ("cosine to=peak/10", "SC104", 11,
     "an argument of a short application is one word or number", "write `to=(peak / 10)`"),
    ("cosine to=a+b*2 from=3", "SC104", 11,
     "an argument of a short application is one word or number", "write `to=(a + b * 2)`"),
    ("cosine to=-peak", "SC104", 11, "an argument of a short application is one word or number", "write `to=(-peak)`"),
    ("linear a -5", "SC104", 10, "an argument of a short application is one word or number", "write `(-5)`"),
    ("linear a -b", "SC104", 10, "an argument of a short application is one word or number", "write `(-b)`"),
    ("hold 3 * x", "SC104", 8, "a short application takes no part in arithmetic", "write `hold(3) * x`"),
    ("cosine 10k to=3 ^ 2", "SC104", 15,
     "an argument of a short application is one word or number", "write `to=(3^2)`"),
    ("decreasing lr < 3", "SC104", 15, "a short application takes no part in arithmetic", "write `decreasing(lr) < 3`"),
    ("a | clamp low=peak/10 high=3", "SC104", 15,
     "an argument of a short application is one word or number", "write `low=(peak / 10)`"),
    ("x | m -> y", "SC105", 7, "`->` stands behind a modifier", "write `(x | m) -> y`"),
    ("x | m for 10 epochs", "SC105", 7, "`for` stands behind a modifier", "write `(x | m) for 10 epochs`"),
    ("warmup 500 -> cosine 10k | plateau -> linear to=0 for 20%", "SC105", 36,
     "`->` stands behind a modifier", "write `(warmup 500 -> cosine 10k | plateau) -> linear to=0 for 20%`"),
    ("lr = (x | m until 5)", "SC105", 13, "`until` stands behind a modifier", "write `(x | m) until 5`"),
    ("x | m + 3", "SC105", 7, "`+` stands behind a modifier", "write `(x | m) + 3`"),
    ("x | 3", "SC105", 5, "expected a modifier after `|`", "name a modifier, as in `| staircase 1000`"),
    ("x | (a -> b)", "SC105", 5, "expected a modifier after `|`", "name a modifier, as in `| staircase 1000`"),
    ("x | -m", "SC105", 5, "expected a modifier after `|`", "name a modifier, as in `| staircase 1000`"),
    ("10x", "SC106", 1, "`10x` is not a number", None),
    ("10epochs", "SC106", 1, "a unit touches its number", "write `10 epochs`"),
    ("10kepochs", "SC106", 1, "a unit touches its number", "write `10k epochs`"),
    ("30ep", "SC106", 1, "a unit touches its number", "write `30 epochs`"),
    ("1__0", "SC106", 1, "a `_` in a number stands between two digits", "write `1_0`"),
    ("1_", "SC106", 1, "a `_` in a number stands between two digits", "write `1`"),
    ("5 %", "SC106", 1, "a blank stands between a number and its `%`", "write `5%`"),
    ("10kk", "SC106", 1, "a number has one suffix", None),
    ("10K", "SC106", 1, "`K` is not a suffix", "write `10k`"),
    ("5m", "SC106", 1, "`m` is not a suffix", "write `5M`"),
    ("1e", "SC106", 1, "an exponent has no digits", None),
    ("2.5.3", "SC106", 1, "a number has one point", None),
    ("0x10", "SC106", 1, "`0x10` is not a number", None),
    ("10 Ki", "SC106", 1, "a blank stands between a number and its suffix", "write `10Ki`"),
    ("hold for 10 iters", "SC106", 13, "`iters` is not a unit", "write `10 steps`"),
    ("hold for 1 000 000", "SC106", 10, "a blank stands inside a number", "write `1_000_000`"),
    ('"abc', "SC107", 1, "a quoted text is not closed on its line", 'add the closing `"`'),
    ("lr = 'abc", "SC107", 6, "a quoted text is not closed on its line", "add the closing `'`"),
    ("f \"a\\n\"", "SC107", 5, "`\\n` is not an escape", "write `\\\\` for a backslash"),
    ("warmup 5 => b", "SC108", 10, "`=>` is not an operator of the language", "write `->`"),
    ("lr => a", "SC108", 4, "`=>` is not an operator of the language", "write `=`"),
    ("a >> b", "SC108", 3, "`>>` is not an operator of the language", "write `->`"),
    ("a **2", "SC108", 3, "`**` is not an operator of the language", "write `^`"),
    ("a // b", "SC108", 3, "`//` is not an operator of the language", "write `floor(a / b)`"),
    ("a % b", "SC108", 3, "`%` is not an operator of the language", "write `mod(a, b)`"),
    ("lr := 3", "SC108", 4, "`:=` is not an operator of the language", "write `=`"),
    ("lr += 3", "SC108", 4, "`+=` is not an operator of the language", "write `= base + …`"),
    ("lr *= a || b", "SC108", 9, "`||` is not an operator of the language", "write `|`"),
    ("a - > b", "SC108", 3, "`- >` is not an operator of the language", "write `->`"),
    ("cosine(10k) linear(5)", "SC109", 13, "nothing joins `cosine(10k)` and `linear`", "write `-> linear`"),
    ("warmup 500 for 10 epochs cosine 5", "SC109", 26, "nothing joins `10 epochs` and `cosine`", "write `-> cosine`"),
    ("0.1 warmup 5", "SC109", 5, "nothing joins `0.1` and `warmup`", "write `0.1 * warmup(5)`"),
    ("0.1 cosine", "SC109", 5, "nothing joins `0.1` and `cosine`", "write `0.1 * cosine`"),
    ("cosine(10k) to=0.1", "SC109", 13, "`to=` stands outside the parentheses", "write `cosine(10k, to=0.1)`"),
    ("lr: 3", "SC110", 3, "a binding is not written with `:`", "write `lr =`"),
    ('"key": 3', "SC110", 6, "a binding is not written with `:`", 'write `"key" =`'),
    ("lr == 3", "SC110", 4, "a binding is not written with `==`", "write `lr = …`"),
    ("train = { a = 1 }", "SC110", 7, "a block is not written with `=`", "write `train {`"),
    ("batch: { a = 3 }", "SC110", 6, "a block is not written with `:`", "write `batch {`"),
    ("init { Linear = ones }", "SC110", 15, "a rule of `init` is not written with `=`", "write `Linear :`"),
    ('group "a" { lr: 3 }', "SC110", 15, "a binding is not written with `:`", "write `lr =`"),
    ("train { length *= 3 }", "SC110", 9, "a setting of `train` is not relative", "write `length =`"),
    ("let for = 3", "SC111", 5, "`for` is a reserved word", "choose another name"),
    ("for = 3", "SC111", 1, "`for` is a reserved word", "choose another name"),
    ("def until(x) = x", "SC111", 5, "`until` is a reserved word", "choose another name"),
    ("def f(for: number) = x", "SC111", 7, "`for` is a reserved word", "choose another name"),
    ("for 5", "SC101", 1, "expected a stage before `for`", None),
    ("until", "SC101", 1, "expected a stage before `until`", None),
    ("def f(x): x", "SC112", 9, "the formula of a definition stands behind `=`", "write `def f(x) =`"),
    ("def f(x) -> number", "SC112", 10, "the formula of a definition stands behind `=`", "write `def f(x) =`"),
    ("def f (x) = 3", "SC112", 5, "a blank stands between a name and its parenthesis", "write `def f(x)`"),
    ("def f = 3", "SC112", 5, "a definition has parentheses", "write `def f() =`"),
    ("def f x y = 3", "SC112", 5, "a definition has parentheses", "write `def f(x, y) =`"),
    ("def f(x: float) = x", "SC113", 10, "`float` is not a kind", "write `number`"),
    ("def f(x: list of int) = x", "SC113", 18, "`int` is not a kind", "write `count`"),
    ('param x: str = "a"', "SC113", 10, "`str` is not a kind", "write `text`"),
    ("param x: float > 0 = 3", "SC113", 10, "`float` is not a kind", "write `number`"),
    ("param x: thing", "SC113", 10, "`thing` is not a kind", None),
    ("a < b < c", "SC114", 7, "a comparison has two sides", "write one `assert` for each comparison"),
    ("assert a < b and c < d", "SC114", 14, "`and` does not join claims", "write one `assert` for each claim"),
    ("assert a < b && c < d", "SC114", 14, "`&&` does not join claims", "write one `assert` for each claim"),
    ("0.1 if t < 5 else 0", "SC114", 5, "`if` is a function", "write `if(condition, then, else)`"),
    ("train { a = 1, b = 2 }", "SC115", 14, "entries are not separated by `,`", "write `;` or start a new line"),
    ("lr = 3, wd = 4", "SC115", 7, "entries are not separated by `,`", "write `;` or start a new line"),
    ('"warmup 500 -> cosine"', "SC116", 1, "a quoted text is not a schedule", "remove the quotes"),
    ("lr.x = 3", "SC117", 1, "the name of a binding has no dot", "write `x`"),
    ("def a.b(x) = 3", "SC117", 5, "the name of a definition has no dot", "write `b`"),
    ("betas [1] = 3", "SC117", 1, "a blank stands between a name and its index", "write `betas[1] =`"),
    ("group ndim < 1.5 { }", "SC117", 14, "`ndim` is compared with a small whole number", "write a number such as `2`"),
]  # fmt: skip

TOO_LARGE = {
    "SC120": "#" * (limits.MAX_BYTES + 1), "SC121": "(" * 101, "SC122": "a\n" * (limits.MAX_ITEMS + 1),
    "SC123": "1" * 101,
    "SC124": "1e999", "SC125": "1 " * (limits.MAX_TOKENS + 1),
}  # fmt: skip
"""The limits; test_parse.py has their exact places."""


@pytest.mark.parametrize(("text", "code", "column", "title", "help"), MISTAKES, ids=[repr(m[0]) for m in MISTAKES])
def test_mistake(text: str, code: str, column: int, title: str, help: str | None) -> None:
    staged = parse(Source("test.sched", text))
    assert staged.value is None
    (said,) = staged.said
    assert (said.code.number, said.span.start + 1, said.title, said.help) == (code, column, title, help)
    assert said.span.end <= len(text)


@pytest.mark.parametrize(("text", "code", "column", "title", "help"), MISTAKES, ids=[repr(m[0]) for m in MISTAKES])
def test_mistake_in_a_block_between_sound_items(
    text: str, code: str, column: int, title: str, help: str | None
) -> None:
    """The mistake is found where it stands, and found once, whatever surrounds it."""
    before, after = "x = 1  # é\n\n", "\ny = (2\n  + 3)\n"
    staged = parse(Source("test.sched", before + text + after))
    if text.startswith(("->", "for", "until")) and text != "for = 3":
        # Here it carries on the line above.
        return
    if text.endswith(("=", "+", "->", "|")) or code == "SC102":
        # The line goes on into the next one, and the fault may show there.
        assert staged.said
        return
    (said,) = staged.said
    assert (said.code.number, said.span.start - len(before) + 1, said.title) == (code, column, title)


def lines_said(text: str) -> list[tuple[int, int, str]]:
    """Line, column and title of all that is said."""
    staged = parse(Source("test.sched", text))
    assert staged.value is None
    return [(*d.span.source.place(d.span.start), d.title) for d in staged.said]


def test_every_fault_of_a_file_in_one_run() -> None:
    text = """\
param x =
lr = warmup 500 -> -> cosine
  | plateau   # c
weight_decay = 0.1
group "a" { lr = }
betas[1] = 10x
assert max(lr) < 1
lr.x = 3
"""
    assert lines_said(text) == [
        (1, 10, "expected a value after `=`"),
        (2, 20, "expected a stage after `->`"),
        (5, 17, "expected a value after `=`"),
        (6, 12, "`10x` is not a number"),
        (8, 1, "the name of a binding has no dot"),
    ]


def test_an_open_bracket_does_not_hide_the_faults_behind_it() -> None:
    text = """\
lr = (a
x = 10x
group "a" {
  lr = 3 4
  wd = (1
  k = 3..4
}
let for = 3
y = f(
  a,
  b=3
z = )
"""
    assert lines_said(text) == [
        (1, 6, "`(` is never closed"),
        (2, 5, "`10x` is not a number"),
        (4, 10, "nothing joins `3` and `4`"),
        (5, 8, "`(` is never closed"),
        (6, 7, "a number has one point"),
        (8, 5, "`for` is a reserved word"),
        (9, 6, "`(` is never closed"),
        (12, 5, "`)` closes nothing"),
    ]


def test_an_open_block_does_not_hide_the_faults_behind_it() -> None:
    assert lines_said("train {\n length = 3 4\nlr = 3 +\nwd = )") == [
        (1, 7, "`{` is never closed"),
        (2, 13, "nothing joins `3` and `4`"),
        (3, 9, "expected a value after `+`"),
        (4, 6, "`)` closes nothing"),
    ]


def test_faults_in_the_blocks_of_definitions_and_rules() -> None:
    text = 'def f(a: number) {\n lr = 3 +\n momentum = 4 *\n}\ninit {\n Linear = ones\n "a" : b c=\n}'
    assert lines_said(text) == [
        (2, 10, "expected a value after `+`"),
        (3, 16, "expected a value after `*`"),
        (6, 9, "a rule of `init` is not written with `=`"),
        (7, 12, "expected a value after `=`"),
    ]


def test_places_with_a_byte_order_mark_and_carriage_returns() -> None:
    assert lines_said("\ufefflr = a\r\nwd = )\r\n") == [(2, 6, "`)` closes nothing")]


def test_place_of_an_embedded_string() -> None:
    (said,) = parse(Source("run.yaml", "warmup 500 ->", line_offset=4, column_offset=6)).said
    assert said.span.place == "run.yaml:5:20"


def test_drawn() -> None:
    (said,) = parse(Source("resnet.sched", "warmup 500 linear ->")).said
    assert (
        draw(said)
        == """\
error[SC101]: expected a stage after `->`
 --> resnet.sched:1:21
  |
1 | warmup 500 linear ->
  |                     ^ the text ends here
  |
  = help: name the stage that follows, as in `-> cosine 10k`"""
    )


def test_drawn_with_a_second_place() -> None:
    (said,) = parse(Source("a.sched", "lr = cosine(10k,\n  to=0.1\nwd = 3")).said
    assert (
        draw(said)
        == """\
error[SC102]: `(` is never closed
 --> a.sched:1:12
  |
1 | lr = cosine(10k,
  |            ^ opened here
2 |   to=0.1
  |         - the line ends here
  |
  = help: add the closing `)`"""
    )


def test_fixes_put_the_text_right() -> None:
    for text in (
        "a → b",
        "3e-4 * cosine 10k",
        "warmup 5 => b",
        "a **2",
        "lr := 3",
        '"warmup 500 -> cosine"',
        "a\xa0+ b",
    ):
        (said,) = parse(Source("test.sched", text)).said
        assert said.fix is not None
        mended = text[: said.fix.span.start] + said.fix.text + text[said.fix.span.end :]
        assert parse(Source("test.sched", mended)).value is not None


def test_every_code_is_emitted_here() -> None:
    declared = {c.number for c in codes.CODES.values() if c.number.startswith("SC1")}
    emitted = {m[1] for m in MISTAKES}
    for text in TOO_LARGE.values():
        emitted |= {d.code.number for d in parse(Source("test.sched", text)).said}
    assert {c for c in declared if c in vars_of_syntax()} == emitted


def vars_of_syntax() -> set[str]:
    """The codes that the syntax messages declare."""
    return {v.number for v in vars(messages_syntax).values() if isinstance(v, codes.Code)}


def test_titles_follow_the_style() -> None:
    source = inspect.getsource(messages_syntax)
    for word in ("invalid", "illegal", "unexpected"):
        assert word not in source.lower()
    for _, _, _, title, help in MISTAKES:
        assert title[0] == title[0].lower()
        assert not title.endswith(".")
        assert help is None or not help.endswith(".")


SIGNS = set("\n (){}[]=|:,;#\"'\\") | {"\n  ", "\u2028", "\ud800", "\x00", "##"}
SOUP = sorted({t.text for m in MISTAKES for t in layout.scan(m[0])[0]} | SIGNS)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(SOUP), max_size=25).map(" ".join) | st.text(max_size=40))
def test_nothing_raises(text: str) -> None:
    staged = parse(Source("test.sched", text))
    assert (staged.value is None) == bool(staged.said)
    for said in staged.said:
        assert 0 <= said.span.start <= said.span.end <= len(text)
        assert draw(said)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 500_000, "(" * 50 + "]" * 500_000, "a\n" * 500_000, "-" * 90_000 + "1", "1+" * 45_000 + "1",
        "1" * 1_000_000, "1_" * 500_000, '"' * 1_000_000, "1." * 500_000, "a." * 500_000, "x = )\n" * 9_000,
        "x = (\n" * 90, "x = (\n" * 9_000,
        'group "a" {\n' * 9_000, ";" * 90_000, "a " * 90_000 + ")", "\t" * 500_000 + "->",
    ],
    ids=lambda text: repr(text[:12]),
)  # fmt: skip
def test_hostile_texts_are_refused_in_time(text: str) -> None:
    """Linear work: none of these takes more than seconds, whatever the machine."""
    staged = parse(Source("test.sched", text))
    assert staged.said or text.startswith(";")
