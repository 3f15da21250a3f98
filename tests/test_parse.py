"""Texts the grammar takes and the trees they have; the limits; every span."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import fields
from fractions import Fraction
from importlib.resources import files

import lark
import pytest

from schedc.compiler.source import Source, Span
from schedc.grammar import layout, limits, syntax, tables
from schedc.grammar.format import expression_text, same
from schedc.grammar.parse import parse

TASTE_1 = "warmup 500 linear -> cosine T=10000 | plateau factor=0.2            # a whole program, e.g. in a YAML string"

TASTE_2 = """\
## DeepSeek-V3 pre-training, section 4.2 of its report.

param peak = 2.2e-4

train {
  length  = 14.8T tokens
  seq_len = 4096
}
batch {
  global = linear from=3072 to=15360 for 469B tokens | staircase 1B tokens | round 64
  micro  = auto
}

lr = warmup 2000 to=peak
  -> hold until 10T tokens
  -> cosine to=10% for 4.3T tokens
  -> hold for 333B tokens
  -> 7.3e-6 for 167B tokens
weight_decay = 0.1
betas[1]     = 0.95
let mtp_weight = 0.3 until 10T tokens -> 0.1

group "*.bias", "*norm*" { weight_decay = 0 }

init {
  Linear          : normal std=0.006
  "*norm*.weight" : ones
  "*.bias"        : zeros
}

assert max(lr) <= 1e-3
assert lr(5T tokens) == 2.2e-4
"""

TASTE_3 = """\
train { length = 940_566 steps; seq_len = 4096 }
batch { global = 1024 }
use "stage1.sched" as stage1                                         # re-decay an earlier run from update 928646
lr = stage1.lr until 928_646 steps -> linear to=0 for 50B tokens
"""

TASTE_4 = """\
train { length = 90 epochs; steps_per_epoch = 1252 }
lr = 3e-4 * (warmup 500 -> cosine)
group "backbone.*"   { lr *= 0.1 }
group "blocks.{i}.*" { lr *= 0.75^(12 - i) }                         # layer-wise decay
group ndim < 2, "embed*" except "pos_embed" { weight_decay = 0 }
group "head.*"       { lr *= 0 for 5 epochs -> 1 }                   # frozen for 5 epochs
"""

DEFINITIONS = """\
## Inverse-time decay: start / (1 + gamma·t).
def inverse_time(gamma: number > 0) = start / (1 + gamma * t)

## Warm up to the entering value (or `to`) along a curve.
def warmup(T: duration, shape: curve = linear, from: level = 0, to: level = start) = from + (to - from) * shape(p)

## Warmup, stable, decay.
def wsd(warm: duration, stable: duration, decay: duration, to: level = 0) =
  warmup warm -> hold stable -> linear decay to=to

curve cosine(p) = (1 - cos(pi * p)) / 2          # also defines the stage: cosine T from=start to=0
modifier staircase(every: duration > 0) = input(floor(t / every) * every)      # input at another time

## 1cycle with its momentum twin: a block body binds several names; used as an item.
def onecycle(T: duration, peak: number > 0, pct_start: 0 < number < 1 = 0.25, low: number = 0.85, high: number = 0.95) {
  lr       = cosine(pct_start * T, from=(peak / 25), to=peak) -> cosine((1 - pct_start) * T, to=(peak / 1e5))
  momentum = cosine(pct_start * T, from=high, to=low)         -> cosine((1 - pct_start) * T, to=high)
}
"""

FIXED = """\
use torch
use recipes.gpt3(peak=1e-4) as gpt3
train {
  length  = 90 epochs
  dataset = 1_281_167
}
batch { global = 8192 }
lr = linear from=0.1 to=(0.1 * batch / 256) for 5 epochs -> multistep at=[25, 55, 75] epochs
momentum = 0.9
weight_decay = lr^2
"my_key" = 0.5
assert decreasing(lr, 5 epochs)
train {
  length  = 15.6T tokens
  seq_len = 4096 for 252M tokens -> 8192
}
batch { global = 1024 until 2.87T tokens -> 2048 }
lr = warmup 8000 to=8e-5 -> cosine 1_192_000 to=8e-7 -> linear to=0 for 40M tokens
curve cosine(p) = (1 - cos(pi * p)) / 2
def onecycle(T: duration, peak: number > 0, pct_start: 0 < number < 1 = 0.25, div: number > 0 = 25,
             low: number = 0.85, high: number = 0.95, nesterov: flag = false, mode: {cos, linear} = cos) {
  lr       = cosine(pct_start * T, from=peak / div, to=peak) -> cosine to=(peak / div_final)
  momentum = cosine(pct_start * T, from=high, to=low) -> cosine to=high
}
onecycle 10k peak=0.1
lr = 3e-4 * (warmup 5% -> cosine(total - 500, to=10%)) | plateau factor=0.2
"""

PROGRAMS = [TASTE_1, TASTE_2, TASTE_3, TASTE_4, DEFINITIONS, FIXED]

TEXTS = [
    # Short and full application, and words as names of arguments.
    "cosine 10k to=0.1", "cosine(10k, to=0.1)", "linear from = 0 to = 1 for 5 epochs", "linear to=-0.5",
    "linear (-1) 2", "x at=5 for=3 from=1 to=2 in=3 use=4 per=5 min=6 until=7 as=8 let=9",
    "f(at=5, for=3, from=1, in=3, use=4, until=6)", "linear(-1, 2)", "cosine T=1_192_000 until (total - 40M tokens)",
    "3e-4 * (cosine 10k)", "f(cosine 10k)", "f(a -> b, x | m)", "steps(3)", "f 500 steps gamma=2",
    "onecycle 10 epochs=3 steps_per_epoch=100", "f [30, 60] epochs=3", "f [30, 60] epochs gamma=0.1", "f 5% to=3",
    "f 10k T=5 T_0=3", "f for_=3 forx", 'f metric="val_loss"', "f 'a b' 3", "f", "f()", "f(a,)", "a.b.c 3", "a.b(3)",
    # Arithmetic and order of binding.
    "-0.5 * t", "a -> -0.5 * t", "2 ^ -3", "2^3^2", "-x^2", "a -b", "a - -b", "5% * total", "(5% + 100) * 2",
    ".5 * t", "1. * t", "betas[1] * 2", "cosine(10k)^2", "at + from + to + in + use + min",
    "fortune + until_x + percent", "batch / 256", "train * 2", "0.5 * 0.95^t for 100 epochs -> hold",
    "7.3e-6 for 167B tokens", "hold until 10T tokens - 5B tokens", "inf", "none", "((a -> b) | c | d) -> (e | f)",
    "a | clamp 0 1 | plateau", "a | torch.x(3)", "(a -> b) for 10k until 3", "if(t < 5, 1, 2)", "if(a != b, c, d)",
    "pick([1, 2], passed([3 epochs], t))", "choose(mode, cos = cosine(p), linear = p)", "[]", "[1, 2,]", "[1, 5]%",
    # Newlines.
    "warmup 500\n -> cosine\n | plateau", "\n\nwarmup 500\n\n# c\n  # d -> e\n\n-> cosine\n",
    "(warmup 500\n cosine\n)", "[1,\n 2,\n]", "f(\n a,\n b,\n)", "a\r\n-> b\r\n", "a |\nb", "a ->\nb", "a +\nb",
    "a\nfor 10 epochs\n-> b", "a\nuntil 5\n| m", "lr =\n a\nx = 3", "lr =\nonecycle 5",
    "lr = onecycle\n  T=10k\n  peak=0.1", "a\n# c\n    # d\n  3", "lr = a; wd = b\nx = c", "500\tsteps",
    "f(500\n steps)",
    # Items.
    "", "\n\n# only a comment\n", ";;", "lr = a", "lr = a # c\nx = b # d", "lr=a\r\nx=b\r\n", "\ufefflr = a\n -> b",
    "lr *= a", "betas[0] *= 3", "used = 5\nletter = 3\nbatches = 4\ninits = 3",
    "use = 3\nbatch = 3\nlet = 3\nassert = 3\ngroup = 2\nof = 1\nat = 4\nsqrt = 2", "param x", "param x: count",
    "param x: number >= 0 = 5", "param x: 0 < number", 'param x: list of {a, "1-sqrt"} = [a]',
    "let y: duration = 10 epochs", "param x: a + 1 <= number <= 2 * b = c", "def f() = 1",
    'def f(x: {linear, "1-sqrt"} = linear, y: list of duration, z: list of number > 0 = [1]) = x',
    "def f(x) = x ensures x > 0 ensures x < 1", "def f(x) = a -> b\n  ensures decreasing(f)\n  ensures a implies b",
    "def f(x) = a\nensures (x > 0)", "def f() {\n}", "def f() { lr = 3; betas[1] = 2 }",
    "def use(x) = x\ndef steps(a) = a", "curve f(p, power: number = 1) = p^power",
    "modifier g(k: number = 2,) = input * k", "use torch", "use torch as th\nlr = th.StepLR(30)",
    'use "../a.sched" as a', "use 'a.sched'", 'use "a.sched"(peak=3) as a', "include recipes.gpt3(peak=1e-4)",
    'include "a.sched"', "use use as as", "param param = 3", 'group "a" {\n lr *= 0.1\n betas[0] = 0.9\n}\n',
    "group Linear, conv.Conv2d.weight { }", 'group ndim >= 2 except "a", Linear { "k" = 3 }', "train { }",
    "batch {\n}\n", "init { }", 'init {\n "a",\n "b" : normal std=(0.02 / sqrt(2 * 24))\n x : zeros }',
    "train { tick = step }", 'init { ndim < 2, "*.bias" except Linear.weight : zeros; Linear : normal }',
    "train {\n length =\n 3 epochs\n\n# c\n seq_len = 5;\n}", "assert 1e-3 >= max(lr)", "assert monotone(lr)",
    'assert (a < b implies c < d) implies lr of "backbone.*" < lr', "assert lr(3) of 'x' == 5", "assert(a < b)",
    "assert continuous lr", "lr = x for = 3",
]  # fmt: skip


def tree(text: str) -> syntax.Program:
    """The tree of a text without faults."""
    staged = parse(Source("test.sched", text))
    assert staged.said == ()
    assert staged.value is not None
    return staged.value


def expression(text: str) -> syntax.Expr:
    (item,) = tree(text).items
    assert isinstance(item, syntax.Bare)
    return item.value


def shape(node: object) -> object:
    """A tree as nested tuples, without places: short enough to write down."""
    match node:
        case syntax.Number():
            return node.value if node.unit is None else (node.value, node.unit)
        case syntax.Name():
            return node.text
        case syntax.Negate():
            return ("-", shape(node.body))
        case syntax.Binary() | syntax.Compare():
            return (node.op, shape(node.left), shape(node.right))
        case syntax.Paren():
            return ("()", shape(node.body))
        case syntax.Chain():
            return ("->", *(shape(s) for s in node.stages))
        case syntax.Pipe():
            return ("|", shape(node.body), shape(node.modifier))
        case syntax.Timed():
            return (node.word, shape(node.body), shape(node.amount))
        case syntax.Implies():
            return ("implies", shape(node.left), shape(node.right))
        case syntax.GroupOf():
            return ("of", shape(node.body), node.selector.value)
        case syntax.Call():
            args = [shape(a.value) if a.name is None else (a.name, shape(a.value)) for a in node.args]
            return ("short" if node.short else "call", node.name.text, *args)
        case syntax.Items():
            return ("[]", [shape(i) for i in node.items], node.unit)
        case syntax.Text() | syntax.Flag():
            return (type(node).__name__, node.value)
        case syntax.Indexed():
            return (node.name, node.index)
    raise AssertionError(node)


@pytest.mark.parametrize("text", [*PROGRAMS, *TEXTS])
def test_text_is_taken(text: str) -> None:
    program = tree(text)
    assert program.source.text == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-x^2", ("-", ("^", "x", 2))),
        ("2^-3", ("^", 2, ("-", 3))),
        ("2^3^4", ("^", 2, ("^", 3, 4))),
        ("a - b - c", ("-", ("-", "a", "b"), "c")),
        ("a / b * c", ("*", ("/", "a", "b"), "c")),
        ("-a * b", ("*", ("-", "a"), "b")),
        ("a + b < c * d", ("<", ("+", "a", "b"), ("*", "c", "d"))),
        ("a -> b | m -> c".replace(" -> c", ""), ("|", ("->", "a", "b"), "m")),
        ("a | m | n 3", ("|", ("|", "a", "m"), ("short", "n", 3))),
        ("a + 1 for 5 until 9 -> b", ("->", ("until", ("for", ("+", "a", 1), 5), 9), "b")),
        ("hold until 10T tokens", ("until", "hold", (10**13, "tokens"))),
        ("hold for a - b", ("for", "hold", ("-", "a", "b"))),
        (
            "warmup 500 linear -> cosine T=10000 | plateau factor=0.2",
            (
                "|",
                ("->", ("short", "warmup", 500, "linear"), ("short", "cosine", ("T", 10000))),
                ("short", "plateau", ("factor", Fraction(1, 5))),
            ),
        ),
        ("f to=-5 x", ("short", "f", ("to", ("-", 5)), "x")),
        ("f (a -> b) g(3)", ("short", "f", ("()", ("->", "a", "b")), ("call", "g", 3))),
        ("cosine (10k)", ("short", "cosine", ("()", 10000))),
        ("f(a < b, to=c -> d)", ("call", "f", ("<", "a", "b"), ("to", ("->", "c", "d")))),
        ("f 500 steps steps=3", ("short", "f", (500, "steps"), ("steps", 3))),
        ("f 500 steps=3", ("short", "f", 500, ("steps", 3))),
        ("[30, 60] epoch", ("[]", [30, 60], "epochs")),
        ("[1, 2]%", ("[]", [1, 2], "%")),
        ("f [30] epochs=3", ("short", "f", ("[]", [30], None), ("epochs", 3))),
        ("true", ("Flag", True)),
        ("f nesterov=false inf none", ("short", "f", ("nesterov", ("Flag", False)), "inf", "none")),
        (r"""f "a\"b\\" 'c"\'' """, ("short", "f", ("Text", 'a"b\\'), ("Text", "c\"'"))),
        ("betas[1] * a.b", ("*", ("betas", 1), "a.b")),
        ("lr = a x=b".removeprefix("lr = "), ("short", "a", ("x", "b"))),
    ],
)
def test_tree(text: str, expected: object) -> None:
    assert shape(expression(text)) == expected


@pytest.mark.parametrize(
    ("text", "value", "unit", "written"),
    [
        ("0.1", Fraction(1, 10), None, "0.1"),
        ("1e-4", Fraction(1, 10**4), None, "1e-4"),
        ("1_281_167", Fraction(1281167), None, "1_281_167"),
        ("300B", Fraction(300 * 10**9), None, "300B"),
        ("10k", Fraction(10**4), None, "10k"),
        ("2Mi", Fraction(2 * 2**20), None, "2Mi"),
        ("1.5Gi", Fraction(3 * 2**29), None, "1.5Gi"),
        ("14.8T  tokens", Fraction(148 * 10**11), "tokens", "14.8T tokens"),
        ("1 step", Fraction(1), "steps", "1 step"),
        ("1M\tsamples", Fraction(10**6), "samples", "1M samples"),
        ("3%", Fraction(3), "%", "3%"),
        ("2.5e-3%", Fraction(1, 400), "%", "2.5e-3%"),
        (".5", Fraction(1, 2), None, ".5"),
        ("1.", Fraction(1), None, "1."),
        ("1e3k", Fraction(10**6), None, "1e3k"),
        ("1e400", Fraction(10**400), None, "1e400"),
        ("1E-0000400", Fraction(1, 10**400), None, "1E-0000400"),
        ("9" * 100, Fraction(10**100 - 1), None, "9" * 100),
    ],
)
def test_number(text: str, value: Fraction, unit: str | None, written: str) -> None:
    number = expression(text)
    assert isinstance(number, syntax.Number)
    assert (number.value, number.unit, number.written) == (value, unit, written)
    assert number.span.text == text


def test_claims() -> None:
    program = tree('assert a < b implies lr of "x.*" < 2 implies c\nassert lr(5) of "y"')
    first, second = program.items
    assert isinstance(first, syntax.Assert)
    assert isinstance(second, syntax.Assert)
    assert shape(first.claim) == ("implies", ("<", "a", "b"), ("implies", ("<", ("of", "lr", "x.*"), 2), "c"))
    assert shape(second.claim) == ("of", ("call", "lr", 5), "y")


def test_items_of_the_taste() -> None:
    program = tree(TASTE_2)
    kinds = [type(i).__name__ for i in program.items]
    assert kinds == [
        "Param",
        "Settings",
        "Settings",
        "Bind",
        "Bind",
        "Bind",
        "Let",
        "Group",
        "Init",
        "Assert",
        "Assert",
    ]
    assert program.doc == "DeepSeek-V3 pre-training, section 4.2 of its report."
    lr = program.items[3]
    assert isinstance(lr, syntax.Bind)
    assert isinstance(lr.value, syntax.Chain)
    assert [s.span.place for s in lr.value.stages] == [f"test.sched:{line}:6" for line in range(14, 19)]
    betas = program.items[5]
    assert isinstance(betas, syntax.Bind)
    assert (betas.target.text, betas.target.name, betas.target.index, betas.relative) == ("betas[1]", "betas", 1, False)


def test_definitions() -> None:
    program = tree(DEFINITIONS)
    defs = [i for i in program.items if isinstance(i, syntax.Def)]
    assert [(d.kind, d.name) for d in defs] == [
        ("def", "inverse_time"),
        ("def", "warmup"),
        ("def", "wsd"),
        ("curve", "cosine"),
        ("modifier", "staircase"),
        ("def", "onecycle"),
    ]
    assert defs[0].doc == "Inverse-time decay: start / (1 + gamma·t)."
    assert program.doc is None
    assert defs[3].doc is None
    assert defs[3].formals[0].type is None
    assert defs[1].name_span.text == "warmup"
    assert isinstance(defs[5].body, syntax.Block)
    assert [b.target.name for b in defs[5].body.binds] == ["lr", "momentum"]
    between = defs[5].formals[2].type
    assert between is not None
    assert [(b.op, b.span.text) for b in between.bounds] == [(">", "0 <"), ("<", "< 1")]
    assert between.kind == "number"


def test_types() -> None:
    (item,) = tree('def f(a: {linear, "1-sqrt"}, b: list of duration > 0, c: list of {x}, d: 0 <= count, e) = a').items
    assert isinstance(item, syntax.Def)
    seen = [(f.type.kind, f.type.is_list, f.type.words, len(f.type.bounds)) if f.type else None for f in item.formals]
    assert seen == [
        ("word", False, ("linear", "1-sqrt"), 0),
        ("duration", True, (), 1),
        ("word", True, ("x",), 0),
        ("count", False, (), 1),
        None,
    ]
    lower = item.formals[3].type
    assert lower is not None
    assert lower.bounds[0].op == ">="


def test_ensures() -> None:
    (item,) = tree("def f(x) = a -> b\n  ensures x > 0\n  ensures a implies b").items
    assert isinstance(item, syntax.Def)
    assert [shape(e) for e in item.ensures] == [(">", "x", 0), ("implies", "a", "b")]
    assert isinstance(item.body, syntax.Chain)


def test_use() -> None:
    program = tree('use recipes.gpt3(peak=1e-4) as gpt3\nuse "a b.sched"\ninclude "a.sched"(x=1)')
    uses = [i for i in program.items if isinstance(i, syntax.Use)]
    assert [(u.alias, u.include, len(u.args)) for u in uses] == [("gpt3", False, 1), (None, False, 0), (None, True, 1)]
    assert isinstance(uses[0].path, syntax.Name)
    assert uses[0].path.parts == ("recipes", "gpt3")
    assert isinstance(uses[1].path, syntax.Text)
    assert uses[1].path.value == "a b.sched"


def test_selectors() -> None:
    (item,) = tree('group ndim < 2, "embed*", Linear.weight except "pos" { }').items
    assert isinstance(item, syntax.Group)
    assert [(s.kind, s.text, s.op, s.number) for s in item.selectors.union] == [
        ("ndim", "ndim", "<", 2),
        ("glob", "embed*", "", 0),
        ("type", "Linear.weight", "", 0),
    ]
    assert [s.text for s in item.selectors.excepted] == ["pos"]


def test_semicolon_separates_like_a_newline() -> None:
    one = tree("train { a = 1; b = 2 }; lr = f 3; g")
    many = tree("train {\na = 1\nb = 2\n}\nlr = f 3\ng")
    assert same(one, many)


def test_the_line_goes_on_only_where_it_is_deeper_than_the_item() -> None:
    assert len(tree("  lr = a\n  b = c").items) == 2
    assert len(tree("  lr = a\n b = c").items) == 2
    assert len(tree("  lr = a\n   b").items) == 1
    assert len(tree("x = 1; lr = a\n       b = c").items) == 3
    assert len(tree("x = 1; lr = a\n        b=c").items) == 2
    assert len(tree('group "a" { x = 1 }\n  y = 2').items) == 2
    assert len(tree("\tlr = a\n        b = c").items) == 2


@pytest.mark.parametrize(
    ("text", "program_doc", "item_doc"),
    [
        ("## a\n## b\ndef f() = 1", None, "a\nb"),
        ("## a\n\ndef f() = 1", "a", None),
        ("## a\n##  b\n\n## c\nparam x", "a\n b", "c"),
        ("## a", "a", None),
        ("# x\n## a\n\nlet x = 1", None, None),
        ("# x\n## a\nlet x = 1", None, "a"),
        ("## a\n# x\nlet x = 1", None, None),
        ("### a\nlet x = 1", None, None),
        ("## a\nlr = 1", None, None),
        ("lr = 1 ## a\nlet x = 1", None, None),
        ("\ufeff## a\r\n\r\nlet x = 1", "a", None),
        ("##a\n  curve c(p) = p", None, "a"),
        ("## a\nx = 1; let y = 2", None, None),
    ],
)
def test_doc_comment(text: str, program_doc: str | None, item_doc: str | None) -> None:
    program = tree(text)
    assert program.doc == program_doc
    docs = [i.doc for i in program.items if isinstance(i, syntax.Def | syntax.Param | syntax.Let)]
    assert docs in ([], [item_doc])


def test_comments() -> None:
    program = tree('lr = f "#" # a  \r\n  # b\n  -> c')
    assert [(c.text, c.alone, c.span.text) for c in program.comments] == [("# a", False, "# a"), ("# b", True, "# b")]


def nodes(node: object) -> Iterator[syntax.Node]:
    """A node and all nodes in it."""
    if isinstance(node, tuple):
        for part in node:
            yield from nodes(part)
    elif isinstance(node, syntax.Node):
        yield node
        for field in fields(node):
            yield from nodes(getattr(node, field.name))


@pytest.mark.parametrize("text", [*PROGRAMS, *TEXTS])
def test_spans_contain_those_of_their_children(text: str) -> None:
    program = tree(text)
    for node in nodes(program.items):
        assert 0 <= node.span.start < node.span.end <= len(text)
        assert node.span.text == node.span.text.strip()
        for field in fields(node):
            value = getattr(node, field.name)
            for child in value if isinstance(value, tuple) else (value,):
                span = child if isinstance(child, Span) else child.span if isinstance(child, syntax.Node) else node.span
                assert node.span.start <= span.start <= span.end <= node.span.end


def test_exact_spans() -> None:
    program = tree("x = 1\nlr = cosine(10k, to=0.1)  # c\n | m 3 for=2")
    bind = program.items[1]
    assert isinstance(bind, syntax.Bind)
    pipe = bind.value
    assert isinstance(pipe, syntax.Pipe)
    assert isinstance(pipe.body, syntax.Call)
    assert [a.span.text for a in pipe.body.args] == ["10k", "to=0.1"]
    assert isinstance(pipe.modifier, syntax.Call)
    (name_span,) = [a.name_span for a in pipe.modifier.args if a.name]
    assert name_span is not None
    assert (name_span.text, name_span.place) == ("for", "test.sched:3:8")
    assert bind.target.span.place == "test.sched:2:1"


@pytest.mark.parametrize(
    ("text", "code", "start", "title"),
    [
        ("#" * (limits.MAX_BYTES + 1), "SC120", 0, "the text has 1048577 bytes, more than 1048576"),
        ("#" + "é" * (limits.MAX_BYTES // 2), "SC120", 0, "the text has 1048577 bytes, more than 1048576"),
        ("(" * 100 + "1" + ")" * 100, None, 0, ""),
        ("(" * 101 + "1" + ")" * 101, "SC121", 100, "nesting is deeper than 100"),
        ("-" * 101 + "1", "SC121", 100, "nesting is deeper than 100"),
        ("-" * 100 + "1", None, 0, ""),
        ("^".join("2" * 200), "SC121", 200, "nesting is deeper than 100"),
        ("+".join("2" * 200), "SC121", 0, "nesting is deeper than 100"),
        ('group "a" {' * 101, "SC121", 1110, "nesting is deeper than 100"),
        ("a\n" * limits.MAX_ITEMS, None, 0, ""),
        ("a\n" * (limits.MAX_ITEMS + 1), "SC122", 20000, "the text has more than 10000 items"),
        ("a = " + "9" * 101, "SC123", 4, "a number has 101 digits, more than 100"),
        ("betas[1234567890] = 1", "SC123", 0, "an index has more than 9 digits"),
        ("1e401", "SC124", 0, "an exponent is larger than 400"),
        ("1e-9999999999", "SC124", 0, "an exponent is larger than 400"),
        ("1e-" + "0" * 9000 + "1", None, 0, ""),
        ("[" + "1," * 50_000 + "]", "SC125", 100_000, "the text has more than 100000 words and signs"),
    ],
)
def test_limit(text: str, code: str | None, start: int, title: str) -> None:
    staged = parse(Source("test.sched", text))
    seen = [(d.code.number, d.span.start, d.title) for d in staged.said]
    assert seen == ([] if code is None else [(code, start, title)])
    assert (staged.value is None) == (code is not None)


def test_a_wide_text_is_flat() -> None:
    chain = expression(" -> ".join(["a"] * 5000))
    assert isinstance(chain, syntax.Chain)
    assert len(chain.stages) == 5000


def test_the_grammar_has_no_conflicts(caplog: pytest.LogCaptureFixture) -> None:
    level = lark.logger.level
    lark.logger.setLevel(logging.DEBUG)
    try:
        lark.Lark(tables.grammar_text(), parser="lalr", start=list(tables.STARTS), debug=True)
    finally:
        lark.logger.setLevel(level)
    assert [r.getMessage() for r in caplog.records if "onflict" in r.getMessage()] == []


def test_every_terminal_is_named() -> None:
    names = [t.name for t in tables.build(tables.grammar_text()).terminals]
    assert [n for n in names if n.startswith("__")] == []


def test_the_tables_are_those_of_the_grammar() -> None:
    packed = (files("schedc.grammar") / tables.TABLES).read_bytes()
    assert packed.startswith(tables.signature(tables.grammar_text())), "run: python -m schedc.grammar.tables"
    assert tables.unpack(tables.grammar_text(), packed) is not None
    assert tables.unpack(tables.grammar_text() + " ", packed) is None


@pytest.mark.parametrize("text", [*PROGRAMS, *TEXTS])
def test_what_the_grammar_reads_keeps_every_offset(text: str) -> None:
    tokens, remarks = layout.scan(text)
    cleaned = layout.clean(text, tokens, layout.separate(tokens))
    assert len(cleaned) == len(text)
    for token in tokens:
        assert cleaned[token.start : token.end] == text[token.start : token.end]
    for remark in remarks:
        assert not cleaned[remark.start : remark.start + len(remark.text)].strip()


@pytest.mark.parametrize(
    "text", ["a -> b | m 3", "-(a + b)^2 * f(3, to=2)", 'f [1, 2] epochs "x" to=-5', "a implies b"]
)
def test_expression_text(text: str) -> None:
    (item,) = tree(f"assert {text}").items
    assert isinstance(item, syntax.Assert)
    assert expression_text(item.claim) == text
