"""The formatter's laws, over every program there is and over programs nobody would write."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schedc.compiler.source import Source, Span
from schedc.grammar import layout, syntax
from schedc.grammar.format import WIDTH, expression_text, format_program, format_string, same
from schedc.grammar.parse import parse

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted(
    p for folder in ("stdlib", "examples", "tests") for p in (ROOT / folder).rglob("*.sched") if "build" not in p.parts
)

DEEPSEEK = """\
## DeepSeek-V3 pre-training, section 4.2 of its report.

param peak = 2.2e-4   # the peak


train { # about the run
  length  = 14.8T tokens;  seq_len = 4096

  # between
  world_size = 8 # ranks
  # last
}
batch {
  global = linear from=3072 to=15360 for 469B tokens | staircase 1B tokens | round 64
  micro  = auto }

lr = warmup 2000 to=peak                  # first
  # the long plateau
  -> hold until 10T tokens
  -> cosine (to  # a strange place
     )          # and another
  | plateau
weight_decay=0.1; betas[1]     = 0.95  # both
let mtp_weight = 0.3 until 10T tokens -> 0.1

group "*.bias", "*norm*" { weight_decay = 0 }
group Linear except "head.*" {
}
init {
  Linear: normal std=0.006
  "*norm*.weight"   : ones
  "*.bias",  # continued
  "x"        : zeros
}

assert max(lr) <= 1e-3
assert lr(5T tokens) == 2.2e-4 implies lr of 'a"b' < 3
"""

DEFINITIONS = """\
#!/usr/bin/env schedc
## Not the file's.
def inverse_time(gamma: number > 0) = start / (1 + gamma * t)

## A long one.
## In two lines.
def wsd(warm: duration,  # how long to warm
        # a line of its own
        stable: duration, decay: duration, to: level = 0 # the end
        ) = warmup warm -> hold stable -> linear decay to=to   # all of it
  ensures decreasing(wsd) # always
  ensures a implies b
modifier g(k: 0 < number <= 1 = 2, m: {a, "1-b"} = a, l: list of duration = [30, 60] epochs,) = input * k # ) not it

def onecycle(T: duration, peak: number > 0, pct_start: 0 < number < 1 = 0.25, low: number = 0.85, high: number = 0.95) {
  lr = cosine(pct_start * T, from=(peak / 25), to=peak) -> cosine((1 - pct_start) * T, to=(peak / 1e5), shape=cosine)
  "key" *= 3
}
def short() { lr = 1; momentum = 2 }
## hoisted comments do not part a definition from its words
def f(x) = (x  # inner
  ## doc-like inner
  + 3)
curve too_long_for_one_line(p, first_parameter: number = 1, second_parameter: number = 2) = p^first_parameter
a; -b # minus
  # c
; -c
include recipes.gpt3(peak=1e-4); use 'x.sched'(a=3) as x
"""

TEXTS = [
    "",
    "\n",
    "# only\n\n\n# comments",
    "## doc",
    "a",
    "a;b",
    "a; -b",
    "-a",
    "{}".join(["train ", "\n"]),
    DEEPSEEK,
    DEFINITIONS,
]


def tree(text: str) -> syntax.Program:
    staged = parse(Source("test.sched", text))
    assert staged.value is not None, [str(d) for d in staged.said]
    return staged.value


def keeps_the_laws(text: str) -> None:
    """Formatting keeps the tree and the comments, and formatting again changes nothing."""
    before = tree(text)
    formatted = format_program(before)
    after = tree(formatted)
    assert same(before, after)
    assert format_program(after) == formatted
    # Inside an expression a `##` documents nothing; where such a comment has to move, it must not begin to.
    assert Counter(c.text.lstrip("#") for c in before.comments) == Counter(c.text.lstrip("#") for c in after.comments)
    assert all(line == line.rstrip() for line in formatted.splitlines())
    assert "\n\n\n" not in formatted


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_laws_on_files(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if parse(Source(path.name, text)).value is not None:
        keeps_the_laws(text)


@pytest.mark.parametrize("text", TEXTS)
def test_laws(text: str) -> None:
    keeps_the_laws(text)
    keeps_the_laws(text.replace("\n", "\r\n"))


def test_layout() -> None:
    assert (
        format_program(tree(DEEPSEEK))
        == """\
## DeepSeek-V3 pre-training, section 4.2 of its report.

param peak = 2.2e-4  # the peak

train {  # about the run
  length     = 14.8T tokens
  seq_len    = 4096

  # between
  world_size = 8  # ranks
  # last
}
batch {
  global = linear from=3072 to=15360 for 469B tokens | staircase 1B tokens | round 64
  micro  = auto
}

# a strange place
lr = warmup 2000 to=peak  # first
  # the long plateau
  -> hold until 10T tokens
  -> cosine (to)  # and another
  | plateau
weight_decay = 0.1
betas[1] = 0.95  # both
let mtp_weight = 0.3 until 10T tokens -> 0.1

group "*.bias", "*norm*" { weight_decay = 0 }
group Linear except "head.*" {}
init {
  Linear          : normal std=0.006
  "*norm*.weight" : ones
  # continued
  "*.bias", "x"   : zeros
}

assert max(lr) <= 1e-3
assert lr(5T tokens) == 2.2e-4 implies lr of "a\\"b" < 3
"""
    )


def test_layout_of_definitions() -> None:
    assert (
        format_program(tree(DEFINITIONS))
        == """\
#!/usr/bin/env schedc
## Not the file's.
def inverse_time(gamma: number > 0) = start / (1 + gamma * t)

## A long one.
## In two lines.
def wsd(
  warm: duration,  # how long to warm
  # a line of its own
  stable: duration,
  decay: duration,
  to: level = 0,  # the end
) = warmup warm -> hold stable -> linear decay to=to  # all of it
  ensures decreasing(wsd)  # always
  ensures a implies b
modifier g(k: 0 < number <= 1 = 2, m: {a, "1-b"} = a, l: list of duration = [30, 60] epochs) =
  input * k  # ) not it

def onecycle(
  T: duration,
  peak: number > 0,
  pct_start: 0 < number < 1 = 0.25,
  low: number = 0.85,
  high: number = 0.95,
) {
  lr     = cosine(pct_start * T, from=(peak / 25), to=peak)
    -> cosine((1 - pct_start) * T, to=(peak / 1e5), shape=cosine)
  "key" *= 3
}
def short() { lr = 1; momentum = 2 }
# inner
# doc-like inner
## hoisted comments do not part a definition from its words
def f(x) = (x + 3)
curve too_long_for_one_line(p, first_parameter: number = 1, second_parameter: number = 2) =
  p^first_parameter
a;
-b;  # minus
# c
-c
include recipes.gpt3(peak=1e-4)
use "x.sched"(a=3) as x
"""
    )


def test_long_formula_stands_below_its_head() -> None:
    terms = " + ".join(["first_parameter"] * 6)
    assert format_program(tree(f"def f(x) = {terms}")) == f"def f(x) =\n  {terms}\n"


def test_long_chain_is_broken() -> None:
    stages = ["cosine 10k to=0.1 for 500 steps"] * 4
    text = format_program(tree(f"lr = {' -> '.join(stages)} | m"))
    assert text == "lr = " + "\n  -> ".join(stages) + "\n  | m\n"
    assert max(map(len, text.splitlines())) <= WIDTH


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a->b|m", "a -> b | m"),
        ("lr=a;wd  =  b # c", "lr = a; wd = b  # c"),
        ("train {length=3;seq_len=4}", "train { length = 3; seq_len = 4 }"),
        ("def f(x)=x ensures x>0", "def f(x) = x ensures x > 0"),
        ("# c\na", "# c\na\n"),
        ("# c", "# c"),
        ("", ""),
    ],
)
def test_one_line(text: str, expected: str) -> None:
    assert format_string(tree(text)) == expected


def test_same_looks_past_places_only() -> None:
    assert same(tree("a  + 1"), tree("a + 1 # c"))
    assert not same(tree("a + 1"), tree("a + 1.0"))
    assert not same(tree("a + 1"), tree("(a + 1)"))
    assert not same(tree("## d\nlet x = 1"), tree("let x = 1"))
    assert not same(tree("a"), tree("a; b"))


def test_parentheses_are_put_in_where_a_tree_lacks_them() -> None:
    a, b = syntax.Name(NOWHERE, ("a",)), syntax.Name(NOWHERE, ("b",))
    chain = syntax.Chain(NOWHERE, (a, b))
    assert expression_text(syntax.Binary(NOWHERE, chain, "*", syntax.Negate(NOWHERE, a))) == "(a -> b) * -a"
    assert expression_text(syntax.Binary(NOWHERE, syntax.Negate(NOWHERE, a), "^", b)) == "(-a)^b"
    short = syntax.Call(
        NOWHERE,
        a,
        (syntax.Arg(NOWHERE, None, chain, None), syntax.Arg(NOWHERE, "to", syntax.Negate(NOWHERE, b), None)),
        short=True,
    )
    assert expression_text(short) == "a (a -> b) to=(-b)"


# Trees nobody would write, and the texts they have.

NOWHERE = Span(Source("made", ""), 0, 0)
NUMBERS = [
    "0.1",
    "1e-4",
    "1_281_167",
    "300B",
    "10k",
    "2Mi",
    "5%",
    "14.8T tokens",
    "1 step",
    "500 steps",
    "3 epochs",
    ".5",
    "1.",
    "0",
]

words = st.sampled_from(["a", "b", "cosine", "batch", "lr", "for_", "T", "start", "to", "at", "percent", "x1"])
names = st.builds(lambda parts: syntax.Name(NOWHERE, tuple(parts)), st.lists(words, min_size=1, max_size=2))
numbers = st.sampled_from(
    [item.value for text in NUMBERS for item in tree(text).items if isinstance(item, syntax.Bare)]
)
texts = st.builds(lambda value: syntax.Text(NOWHERE, value), st.text(alphabet="ab*.{}\"'\\#; -é", max_size=6))


def operands(inner: st.SearchStrategy[syntax.Expr]) -> st.SearchStrategy[syntax.Expr]:
    """Every kind of expression around `inner`; the printer puts in what parentheses are needed."""
    args = st.lists(
        st.builds(lambda name, value: syntax.Arg(NOWHERE, name, value, None), st.none() | words, inner),
        min_size=1,
        max_size=3,
    ).map(tuple)
    calls = st.builds(lambda n, a, short: syntax.Call(NOWHERE, n, a, short), names, args, st.booleans())
    units = st.sampled_from([None, "steps", "epochs", "%"])
    return st.one_of(
        st.builds(lambda e: syntax.Paren(NOWHERE, e), inner),
        st.builds(lambda e: syntax.Negate(NOWHERE, e), inner),
        st.builds(lambda a, op, b: syntax.Binary(NOWHERE, a, op, b), inner, st.sampled_from("+-*/^"), inner),
        st.builds(
            lambda a, op, b: syntax.Compare(NOWHERE, a, op, b),
            inner,
            st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
            inner,
        ),
        st.builds(lambda es: syntax.Chain(NOWHERE, tuple(es)), st.lists(inner, min_size=2, max_size=4)),
        st.builds(
            lambda a, w, b: syntax.Timed(NOWHERE, a, w, b, NOWHERE), inner, st.sampled_from(["for", "until"]), inner
        ),
        st.builds(lambda a, m: syntax.Pipe(NOWHERE, a, m), inner, names | calls),
        st.builds(lambda a, s: syntax.GroupOf(NOWHERE, a, s), inner, texts),
        st.builds(lambda es, unit: syntax.Items(NOWHERE, tuple(es), unit, None), st.lists(inner, max_size=3), units),
        calls,
        st.builds(lambda n: syntax.Call(NOWHERE, n, (), False), names),
    )


flags = st.booleans().map(lambda b: syntax.Flag(NOWHERE, b))
indexed = st.builds(lambda n, i: syntax.Indexed(NOWHERE, n, i), words, st.integers(0, 99))
expressions: st.SearchStrategy[syntax.Expr] = st.recursive(
    st.one_of(names, numbers, texts, flags, indexed), operands, max_leaves=8
)
claims = st.one_of(expressions, st.builds(lambda a, b: syntax.Implies(NOWHERE, a, b), expressions, expressions))


def unparenthesised(node: object) -> object:
    """A tree without its `Paren`s, to compare one made by hand with the one its text has."""
    if isinstance(node, syntax.Paren):
        return unparenthesised(node.body)
    if isinstance(node, tuple):
        return tuple(unparenthesised(n) for n in node)
    if isinstance(node, syntax.Node):
        made: Any = type(node)
        return made(**{f.name: unparenthesised(getattr(node, f.name)) for f in fields(node)})
    return node


@settings(max_examples=150, deadline=None)
@given(claims)
def test_expression_round_trip(expr: syntax.Expr) -> None:
    text = f"assert {expression_text(expr)}"
    (item,) = tree(text).items
    assert isinstance(item, syntax.Assert)
    # Without its parentheses a pipe or chain in a chain is one in the text, too: compare the texts.
    assert expression_text(item.claim) == expression_text(expr)
    assert same(unparenthesised(item.claim), unparenthesised(expr))


targets = st.one_of(
    words.map(lambda n: syntax.Target(NOWHERE, n, None, quoted=False)),
    words.map(lambda n: syntax.Target(NOWHERE, n, 1, quoted=False)),
    st.just(syntax.Target(NOWHERE, 'my "key"', None, quoted=True)),
)
binds = st.builds(lambda t, r, v: syntax.Bind(NOWHERE, t, r, v), targets, st.booleans(), expressions)
bounds = st.lists(
    st.builds(lambda op, e: syntax.Bound(NOWHERE, op, e), st.sampled_from(["<", ">="]), numbers | names), max_size=2
).map(tuple)
types = st.one_of(
    st.builds(
        lambda kind, b: syntax.Type(NOWHERE, kind, False, (), b),
        st.sampled_from(["number", "level", "duration"]),
        bounds,
    ),
    st.builds(lambda b: syntax.Type(NOWHERE, "count", True, (), b[:1]), bounds),
    st.builds(
        lambda w, many: syntax.Type(NOWHERE, "word", many, tuple(w), ()),
        st.lists(words | st.just("1-x"), min_size=1),
        st.booleans(),
    ),
)
formals = st.lists(
    st.builds(lambda n, t, d: syntax.Formal(NOWHERE, n, t, d), words, st.none() | types, st.none() | expressions),
    max_size=4,
).map(tuple)
selectors_of = st.one_of(
    st.sampled_from(["*.bias", 'a"{i}']).map(lambda t: syntax.Selector(NOWHERE, "glob", t)),
    st.sampled_from(["Linear", "Linear.weight"]).map(lambda t: syntax.Selector(NOWHERE, "type", t)),
    st.just(syntax.Selector(NOWHERE, "ndim", "ndim", "<", 2)),
)
unions = st.lists(selectors_of, min_size=1, max_size=2).map(tuple)
selectors = st.builds(lambda a, b: syntax.Selectors(NOWHERE, a, b), unions, st.just(()) | unions)
blocks = st.lists(binds, max_size=3).map(tuple)
settings_binds = st.lists(binds.filter(lambda b: not b.relative), max_size=3).map(tuple)
ensures = st.lists(claims, max_size=2).map(tuple)
items = st.one_of(
    binds,
    st.builds(
        lambda n, t, d: syntax.Param(NOWHERE, n, NOWHERE, t, d, None), words, st.none() | types, st.none() | expressions
    ),
    st.builds(lambda n, t, d: syntax.Let(NOWHERE, n, NOWHERE, t, d, None), words, st.none() | types, expressions),
    st.builds(
        lambda k, n, f, b, e: syntax.Def(NOWHERE, k, n, NOWHERE, f, b, e, None),
        st.sampled_from(["def", "curve", "modifier"]),
        words,
        formals,
        expressions,
        ensures,
    ),
    st.builds(
        lambda n, f, b: syntax.Def(NOWHERE, "def", n, NOWHERE, f, syntax.Block(NOWHERE, b), (), None),
        words,
        formals,
        blocks,
    ),
    st.builds(lambda s, b: syntax.Group(NOWHERE, s, b), selectors, blocks),
    st.builds(lambda k, b: syntax.Settings(NOWHERE, k, b), st.sampled_from(["train", "batch"]), settings_binds),
    st.builds(
        lambda r: syntax.Init(NOWHERE, tuple(r)),
        st.lists(st.builds(lambda s, v: syntax.Rule(NOWHERE, s, v), selectors, expressions), max_size=2),
    ),
    st.builds(lambda c: syntax.Assert(NOWHERE, c), claims),
    expressions.filter(lambda e: not isinstance(e, syntax.Text | syntax.Compare)).map(
        lambda e: syntax.Bare(NOWHERE, e)
    ),
    st.builds(
        lambda p, a, i: syntax.Use(NOWHERE, p, (), None if i else a, include=i),
        names | texts,
        st.none() | words,
        st.booleans(),
    ),
)


def program(made: list[syntax.Item]) -> syntax.Program:
    return syntax.Program(NOWHERE.source, tuple(made), (), None)


@settings(max_examples=100, deadline=None)
@given(st.lists(items, max_size=5))
def test_program_round_trip(made: list[syntax.Item]) -> None:
    text = format_program(program(made))
    assert same(unparenthesised(tree(text).items), unparenthesised(tuple(made)))
    keeps_the_laws(text)
    assert same(tree(format_string(tree(text))).items, tree(text).items)


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from([DEEPSEEK, DEFINITIONS]), st.sets(st.integers(0, 400), max_size=12), st.sampled_from(["#", "##"])
)
def test_comments_survive_anywhere(text: str, places: set[int], mark: str) -> None:
    tokens, _ = layout.scan(text)
    starts = layout.separate(tokens).ends()
    out: list[str] = []
    at = 0
    indent = 60
    for i, token in enumerate(tokens):
        gap = text[at : token.start]
        # Far to the right, so that the line goes on.
        if i in places and gap and i not in starts and "#" not in gap:
            indent += 200
            gap = f"  {mark} c{i}\n{' ' * indent}"
        out += [gap, token.text]
        at = token.start + len(token.text)
    keeps_the_laws("".join(out) + text[at:])
