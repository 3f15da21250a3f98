"""Hostile texts: each gets a clear message, in bounded time and memory, and nothing is written.

Every text is compiled in a process of its own (`fuzz_sandbox`). The bounds are those of the issue, 2 s and 500 MB; the
time is three times that, for machines slower than a developer's.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import fuzz_sandbox
else:
    _spec = importlib.util.spec_from_file_location("fuzz_sandbox", Path(__file__).with_name("fuzz_sandbox.py"))
    assert _spec is not None
    assert _spec.loader is not None
    fuzz_sandbox = importlib.util.module_from_spec(_spec)
    sys.modules["fuzz_sandbox"] = fuzz_sandbox
    _spec.loader.exec_module(fuzz_sandbox)


@pytest.fixture(scope="module")
def box() -> Iterator[fuzz_sandbox.Sandbox]:
    """One compiler in a box for all tests of this file."""
    with fuzz_sandbox.Sandbox() as found:
        yield found


def compiled(box: fuzz_sandbox.Sandbox, text: str, **options: Any) -> fuzz_sandbox.Outcome:
    """What compiling the text leads to, within the bounds."""
    found = box.compile(text, **options)
    assert found.ended in ("plan", "refused"), f"{found.ended} after {found.seconds:.1f} s\n{found.trace}"
    assert found.seconds < fuzz_sandbox.SECONDS * fuzz_sandbox.SLOW
    assert found.mebibytes < fuzz_sandbox.MEBIBYTES
    return found


def chain(stage: str, count: int) -> str:
    return "lr = 1 for 5 -> " + " -> ".join(stage.replace("#", str(i + 3)) for i in range(count))


def doubling(line: str, last: str, lr: str, count: int = 30) -> str:
    """Definitions that each use the next one twice: `line` defines number #, by number @."""
    lines = [line.replace("#", str(i)).replace("@", str(i + 1)) for i in range(count)]
    return "\n".join([*lines, last.replace("#", str(count)), lr])


def lets(first: str, step: str, lr: str, count: int = 40) -> str:
    """Lets that each use the one before twice."""
    lines = [f"let a{i + 1} = " + step.replace("#", f"a{i}") for i in range(count)]
    return "\n".join([f"let a0 = {first}", *lines, lr.replace("#", f"a{count}")])


def listed(count: int) -> str:
    return ",".join(map(str, range(1, count + 1)))


PLAN = "a Plan"
ATTACKS: dict[str, tuple[str, str, str]] = {
    # name: text, the code of the first error (or that it is a Plan), words of its title
    "tower": ("lr = 9^9^9^9", "SC404", "not finite at update 0"),
    "tower of twos": ("lr = 2^(2^(2^(2^(2^2))))", "SC404", "not finite"),
    "tower of lets": ("let a = 9^999\nlet b = a^a\nlr = b^b for 10", "SC331", "too large"),
    "tower as a duration": ("lr = linear(9^9^9^9, from=1)", "SC310", "rational number"),
    "tower of exp": ("lr = exp(exp(exp(exp(exp(9)))))", "SC404", "not finite"),
    "rounded tower of exp": ("lr = linear(floor(exp(exp(exp(exp(9))))), from=1)", "SC310", "rational number"),
    "rounded exp of a million": ("lr = linear(floor(exp(1000000)), from=1)", "SC310", "rational number"),
    "sine of a tower": ("lr = 1 for floor(10 + sin(exp(exp(20))))", "SC310", "rational number"),
    "10^400": ("lr = 10^400 for 10", "SC331", "too large"),
    "1e400": ("lr = 1e400 for 10", "SC331", "too large"),
    "1e400 steps": ("lr = linear(1e400, from=1)", "SC331", "too large"),
    "1e401": ("lr = 1e401", "SC124", "larger than 400"),
    "1e-400": ("lr = 1e-400 * linear(10, from=1)", PLAN, ""),
    "a number of 201 digits": ("lr = 0." + "1" * 200, "SC123", "201 digits, more than 100"),
    "1e300 steps": ("train { length = 1e300 steps }\nlr = linear(from=1)", PLAN, ""),
    "1e300 tokens": (
        "train { length = 1e300 tokens; seq_len = 7; dataset = 1000003 }\nbatch { global = 7 }\nlr = linear(from=1)",
        PLAN, "",
    ),
    "1e400 tokens": ("train { length = 1e400 tokens; seq_len = 7 }\nbatch { global = 7 }\nlr = 1", "SC331", "too large"),
    "1e12 epochs of one sample": (
        "train { length = 1e12 epochs; dataset = 1 }\nbatch { global = 2 }\nlr = cosine(from=1)\nassert mean(lr) < 1",
        PLAN, "SC409",
    ),
    "1e12 epochs, ticking": (
        "train { length = 1e12 epochs; dataset = 1; tick = epoch }\nbatch { global = 1 }\nlr = cosine(from=1)", PLAN, "",
    ),
    "asserts over 1e12 updates": (
        "train { length = 1e12 steps }\nlr = cosine(from=1)\nassert mean(lr) <= 2\nassert decreasing(lr)", PLAN, "SC409",
    ),
    "a position beyond all runs": ("lr = 1 for 5\nassert lr(10^400) == 1", "SC410", "no run has such a position"),
    "a position below zero": ("lr = 1 for 5\nassert lr(-5) == 1", "SC410", "no run has such a position"),
    "a bound beyond doubles": ("lr = 1 for 5\nassert max(lr) <= 1e400", "SC331", "too large"),
    "asserts of many groups": (
        "train { length = 5000000 steps }\nlr = cosine(from=1)\n"
        + "\n".join(f'group "a{i}" {{ lr *= 0.5 }}' for i in range(100))
        + "\n".join(f"\nassert max(lr) <= {i + 1}" for i in range(100)),
        PLAN, "SC409",
    ),
    "a batch that changes at each of 1e9 updates": (
        "train { length = 1e9 steps }\nbatch { global = linear(1e9, from=1, to=1e10) | round 1 }\nlr = cosine(from=1)",
        "SC330", "operations",
    ),
    "a batch of n": ("train { length = 1e9 steps }\nbatch { global = n + 1 }\nlr = cosine(from=1)", "SC330", "operations"),
    "a batch that wobbles": (
        "train { length = 1e15 tokens; seq_len = mod(n, 3) + 1 }\nbatch { global = mod(n, 2) + 1 }\nlr = cosine(from=1)",
        "SC330", "operations",
    ),
    "a batch ramp through epochs of one sample": (
        "train { length = 1e12 epochs; dataset = 1 }\n"
        "batch { global = linear(1e9, from=1, to=1e9) | round 1 }\nlr = cosine(from=1)",
        "SC330", "operations",
    ),
    "a batch of itself": ("train { length = 10 steps }\nbatch { global = batch }\nlr = 1", "SC313", "the batch size itself"),
    "a batch that looks ahead": (
        "train { length = 1e12 samples }\nbatch { global = (1 for 1 steps -> 2 for 1 steps) | repeat }\nlr = 1",
        "SC313", "can't depend on",
    ),
    "seq_len 0": ("train { length = 10 steps; seq_len = 0 }\nbatch { global = 1 }\nlr = 1", "SC318", "seq_len"),
    "negative settings": (
        "train { length = -10 steps; seq_len = -1; dataset = -5 }\nbatch { global = -1 }\nlr = 1", "SC318", "dataset",
    ),
    "a negative length": ("train { length = -10 steps }\nlr = cosine(from=1)", "SC318", "`length` must be above 0"),
    "a negative stage": ("lr = linear(-5, from=1)", "SC316", "can't be negative"),
    "a negative until": ("lr = 1 until -5 steps", "SC311", "before its stage"),
    "negative repeats": ("lr = linear(5, from=1) | repeat times=-1", "SC208", "`times` must be above 0"),
    "a negative growth": ("lr = linear(5, from=1) | repeat growth=-1", "SC208", "`growth` must be above 0"),
    "a trillion growing cycles": ("lr = linear(5, from=1) | repeat times=1e12 growth=1.0000001", "SC312", "pieces"),
    "cycles that hardly grow": ("lr = linear(5, from=1) | repeat growth=1.0000001", "SC312", "pieces"),
    "cycles that shrink for ever": ("lr = linear(5, from=1) | repeat growth=0.5", "SC312", "pieces"),
    "cycles that shrink to nothing": ("lr = linear(5, from=1) | repeat growth=1e-400", "SC312", "pieces"),
    "a trillion cycles": ("lr = linear(5, from=1) | repeat times=1e12", PLAN, ""),
    "repeat in repeat in repeat": (
        "lr = ((linear(5, from=1) | repeat times=1e6) | repeat times=1e6) | repeat times=1e6", PLAN, "",
    ),
    "growing repeat in repeat in repeat": (
        "lr = ((linear(5, from=1) | repeat times=60 growth=1.1) | repeat times=60 growth=1.1)"
        " | repeat times=60 growth=1.1", "SC312", "pieces",
    ),
    "a cycle of length 0": ("lr = linear(0, from=1) | repeat", "SC309", "an end"),
    "5000 constants": (chain("# for 5", 5000), "SC312", "more than 1000 stages"),
    "5000 decays": (chain("start * 0.99^t for 5", 5000), "SC312", "more than 1000 stages"),
    "100 decays that can't be worked out": (chain("start * exp(-t / #) for 5", 100), "SC330", "more than 15000 parts"),
    "300 decays that can't be worked out": (
        chain("1 for 1", 150) + " -> " + chain("start * exp(-t / #) for 5", 200).split(" -> ", 1)[1],
        "SC330", "",
    ),
    "900 jumps": (chain("exp(-t / #) for 5", 900), "SC401", "jumps"),
    "3000 bindings": ("\n".join(f'"k{i}" = 1' for i in range(3000)), "SC312", "pieces"),
    "a million items": (f"lr = piecewise([{listed(150_000)}], [{listed(150_001)}])", "SC120", "bytes"),
    "40,000 items": (f"lr = piecewise([{listed(25_000)}], [{listed(25_001)}])", "SC125", "more than 100000"),
    "10,000 items": (f"lr = piecewise([{listed(10_000)}], [{listed(10_001)}])", "SC330", "20004 parts"),
    "a formula of 90,000 parts": ("lr = " + "+".join("t" * 45_000) + " for 5", "SC121", "deeper than 100"),
    "a maximum of 20,000": ("lr = max(" + ",".join("t" * 20_000) + ") for 5", "SC330", "20001 parts"),
    "8000 stages side by side": (
        "lr = min(" + ",".join(f"linear({i + 1}, from=1)" for i in range(8000)) + ")", "SC330", "operations",
    ),
    "2^30 stages": (doubling("def d#() = d@() -> d@()", "def d#() = 1 for 1", "lr = d0()"), "SC330", "operations"),
    "2^30 stages side by side": (
        doubling("def d#() = max(d@(), d@())", "def d#() = linear(5, from=1)", "lr = d0()"), "SC330", "operations",
    ),
    "2^30 numbers": (
        doubling("def d#(x: number) = d@(x + x) + 0", "def d#(x: number) = x for 5", "lr = d0(1)"), "SC330", "operations",
    ),
    "2^30 schedules": (
        doubling("def d#(x: schedule) = d@(x -> x)", "def d#(x: schedule) = x", "lr = d0(1 for 5)"), "SC330", "operations",
    ),
    "2^30 durations": (
        doubling("def d#(x: duration) = d@(x + x)", "def d#(x: duration) = 1 for x", "lr = d0(5 steps)"),
        "SC330", "operations",
    ),
    "2^30 curves": (
        doubling(
            "def d#(x: number, s: curve) = d@(x=s(x) + s(x), s=s)", "def d#(x: number, s: curve) = x for 5",
            "lr = d0(0.5, s=cosine)",
        ), "SC330", "",
    ),
    "40 definitions deep": (
        doubling("def d#() = d@()", "def d#() = 1 for 1", "lr = d0()", 40), "SC330", "more than 32 deep",
    ),
    "3000 definitions deep": (
        doubling("def d#() = d@()", "def d#() = 1 for 1", "lr = d0()", 3000), "SC330", "more than 32 deep",
    ),
    "2^40 by lets of numbers": (lets("1", "# + #", "lr = # for 5"), "SC330", "operations"),
    "2^40 by lets of pi": (lets("pi", "# * #", "lr = # for 5"), "SC330", "operations"),
    "2^40 by lets of durations": (lets("5 steps", "# + #", "lr = 1 for #"), "SC330", "operations"),
    "2^40 by lets of stages": (lets("1 for 5", "# -> #", "lr = #"), "SC330", ""),
    "2^40 by lets and if": (lets("pi", "if(# > 0, #, #)", "lr = # for 5"), "SC330", "operations"),
    "2^13 by lets of t": (lets("t", "# * #", "lr = # for 5", 13), "SC330", ""),
    "5000 lets in a row": (lets("1", "#", "lr = # for 5", 5000), "SC330", "too deep"),
    "5000 lets in a row, backwards": (
        "\n".join(f"let a{i} = a{i + 1}" for i in range(5000)) + "\nlet a5000 = 1\nlr = a0 for 5", "SC330", "32 deep",
    ),
    "2^30 by modifiers": (
        "modifier m(x: number) = input * input\nlr = linear(5, from=1)" + " | m(1)" * 30, "SC330", "parts",
    ),
    "30 modifiers of time": (
        "modifier m(x: number) = input(t) + input(t + 1)\nlr = linear(5, from=1)" + " | m(1)" * 30, "SC330", "operations",
    ),
    "90 delays": ("lr = linear(500, from=1)" + " | delay 1" * 90, "SC330", "operations"),
    "90 clamps": ("lr = linear(500, from=1)" + " | clamp 0" * 90, PLAN, ""),
    "30 plateaus": ("lr = linear(500, from=1)" + " | plateau" * 30, PLAN, ""),
    "5000 parentheses": ("lr = " + "(" * 5000 + "1" + ")" * 5000, "SC121", "deeper than 100"),
    "98 parentheses": ("lr = " + "(" * 98 + "1" + ")" * 98, PLAN, ""),
    "5000 minus signs": ("lr = " + "-" * 5000 + "1", "SC121", "deeper than 100"),
    "90 calls": ("lr = " + "max(" * 90 + "t" + ", 1)" * 90 + " for 5", PLAN, ""),
    "90 powers of two": ("lr = " + "^".join("2" * 90), "", ""),
    "a definition of itself": ("def a() = a()\nlr = a()", "SC211", "`a` reaches itself"),
    "definitions of each other": ("def a() = b()\ndef b() = a()\nlr = a()", "SC211", "reaches itself"),
    "a default of itself": ("def a(x: schedule = a()) = x\nlr = a()", "SC211", "reaches itself"),
    "defaults of each other": (
        "def f(g: number = h(1)) = 1\ndef h(g: number = f(1)) = 1\nlr = f() for 5", "SC211", "reaches itself",
    ),
    "a definition through a curve": ("def f(s: curve = g) = s(p) for 5\ncurve g(p) = f(p)\nlr = f()", "SC211", "reaches"),
    "a definition through a let": ("let a = d()\ndef d() = a\nlr = a", "SC211", "reaches itself"),
    "lets of each other": ("let a = b\nlet b = a\nlr = a", "SC211", "reaches itself"),
    "a list of itself": ("let a = [a, a]\nlr = pick(a, 0)", "SC211", "reaches itself"),
    "a modifier of itself": ("modifier m(x: number) = input | m(x)\nlr = 1 | m 1", "SC211", "reaches itself"),
    "bindings of each other": ("lr = momentum\nmomentum = lr", "SC211", "reaches itself"),
    "a binding of itself in a group": ('group "a" { lr = lr }\nlr = 1', "SC211", "`lr` reaches itself"),
    "a circle in a group": ('group "a" { lr = momentum }\nlr = 1\nmomentum = lr', "SC211", "`lr` reaches itself"),
    "a circle through a default": ("def f(x: schedule = lr) = x + 1 for 5\nlr = f()", "SC211", "`lr` reaches itself"),
    "a binding through a let": ("let x = lr\nlr = x for 5", "SC211", "reaches itself"),
    "a stage as a modifier's argument": (
        "modifier m(x: schedule) = input + x\nlr = 1 | m (1 | m (1 | m 2))", "SC207", "takes numbers",
    ),
    "a stage in a duration": ("lr = 1 for if((1 -> 2) > 2, 5 steps, 6 steps)", "", ""),
    "a length of itself": ("train { length = total }\nlr = cosine(from=1)", "SC306", "no run is declared"),
    "NUL": ("lr = 1\0 for 5", "SC103", "U+0000"),
    "a right-to-left mark": ("lr = \u202e1 for 5", "SC103", "U+202E"),
    "half a character": ("lr = \ud800 1", "SC103", "U+D800"),
    "half a character in a comment": ("# \ud800\nlr = 1 for 5", "SC103", "U+D800"),
    "half a character in a selector": ('group "\ud800" { lr = 2 }\nlr = 1 for 5', "SC103", "U+D800"),
    "a byte order mark": ("\ufefflr = 1 for 5", PLAN, ""),
    "a line separator": ("lr = 1 for 5\u2028momentum = 2", "SC103", "U+2028"),
    "an emoji": ("lr = \U0001f600", "SC103", "does not belong"),
    "2 MiB": ("#" + "x" * (2 << 20), "SC120", "bytes, more than"),
    "nothing": ("", PLAN, ""),
    "an open text": ('lr = "', "SC107", "not closed"),
    "1/0 as a duration": ("lr = 1 for 10 steps / 0", "SC310", "rational number"),
    "an item of nothing": ("lr = 1 for pick([], 0)", "SC203", "`pick` needs `list`"),
    "log(0) in a constant": ("let a = log(0)\nlr = a for 5", "SC404", "not finite"),
    "sqrt(-1) in a constant": ("lr = sqrt(-1) for 5", "SC404", "not finite"),
    "0^-1": ("lr = 0^-1 for 5", "SC404", "not finite"),
    "inf - inf": ("lr = (inf - inf) for 5", "SC404", "not finite"),
    "a chain through no number": ("def f(x: level = (inf - inf)) = start * x for 5\nlr = 1 for 2 -> f()", "SC404", ""),
    "infinite triangles": ("lr = triangular(5, low=inf, high=1)", "SC404", "not finite"),
    "an infinite decay": ("lr = linear(5, from=1) | repeat decay=inf", "SC404", "not finite"),
    "T=inf": ("lr = cosine(T=inf, from=1)", "SC310", "rational number"),
    "for inf": ("lr = 1 for inf", "SC310", "rational number"),
    "times=none": ("lr = linear(5, from=1) | repeat times=none", "SC203", "`repeat` needs `times`"),
    "growth=inf": ("lr = linear(5, from=1) | repeat growth=inf", "SC310", "rational number"),
    "patience=inf": ("lr = 1 for 5 | plateau patience=inf", "SC310", "rational number"),
    "to=inf": ("lr = cosine(5, from=1, to=inf)", "SC404", "not finite"),
    "mode=none": ("lr = 1 for 5 | plateau mode=none", "SC207", "`mode`"),
    "shape=none": ("lr = warmup(5, shape=none, to=1)", "SC207", "`shape`"),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_gets_a_clear_message_in_bounded_time_and_memory(name: str, box: fuzz_sandbox.Sandbox) -> None:
    text, code, words = ATTACKS[name]
    found = compiled(box, text)
    if code == PLAN:
        assert found.ended == "plan", found.titles
        assert words in found.titles
    elif code:
        assert found.errors[:1] == [code], found.titles
        assert words in next(title for level, _, title in found.said if level == "error")


WHERE_A_NUMBER_STANDS = """\
lr = cosine(T=#, from=1)
lr = cosine(5, from=#, to=#)
lr = linear(5, from=1) | repeat times=# growth=# decay=#
lr = linear(5, from=1) | repeat growth=# times=3
lr = 1 for 5 | plateau patience=#
lr = 1 for 5 | plateau cooldown=# threshold=# atol=#
lr = 1 for 5 | plateau min=# eps=# window=# factor=#
lr = 1 for 5 | plateau metric=# mode=#
lr = 1 for # -> 2 until #
lr *= #
let a = #; lr = a for 5
lr = (2^# + #^t) for 5
lr = 1/# + mod(t, #) + mod(#, t + 1) for 5
lr = floor(#) + round(#) + clamp(t, #, 5) for 5
lr = if(#, 1, 2) + if(t > 2, #, 2) for 5
lr = 1 for if(# > 2, 5 steps, 6 steps)
lr = linear(5, from=1) | staircase #
lr = linear(5, from=1) | round # | clamp # high=#
lr = linear(5, from=1) | delay # | shift #
lr = linear(5, from=1) | ramp # | scale #
train { length = # }; lr = cosine(from=1)
train { length = 5 epochs; dataset = # }; batch { global = # }; lr = cosine(from=1)
train { length = 50 tokens; seq_len = # }; batch { global = 2 }; lr = cosine(from=1)
train { length = 5 epochs; steps_per_epoch = # }; lr = cosine(from=1)
train { length = 5 steps }; batch { global = # for 2 steps -> 3 }; lr = cosine(from=1)
train { length = 5 steps; world_size = #; classes = # }; batch { global = 4; micro = #; workers = # }; lr = 1
lr = step(every=#, gamma=#) * 1
lr = multistep([#, 3]) * 1
lr = piecewise([1, 2], [1, #, 3])
lr = piecewise(#, #)
lr = noam(#, warmup=#)
lr = polynomial(5, from=1, power=#)
lr = triangular(5, low=#, high=1)
lr = 1 * sgdr(#)
onecycle(#, peak=#)
lr = 1 * trapezoid(#, 1, 2)
lr = warmup(5, shape=#, to=1)
lr = 1 for 5; assert max(lr) <= #; assert lr(#) == 1; assert decreasing(lr, #, #)
lr = 1 for 5; assert #; assert max(#) < 1
init { "*" : normal(std=#, split=#) }
init { "*" : kaiming_normal(mode=#); "a" : # }
param a: number > # = #; lr = a for 5
param a: duration = #; lr = linear(a, from=1)
param a: list of duration = #; lr = multistep(a) * 1
param a: curve = #; lr = warmup(5, shape=a, to=1)
param a: {x, y} = #; lr = choose(a, x=1, y=2) for 5
def f(x: level = #) = start * x for 5; lr = 1 for 2 -> f()
def f(T: duration = #) = p + t / T; lr = f()
def f(x: schedule = #) = x + 1 for 5; lr = f()
lr = choose(#, a=1, b=2) + passed(#, t) + pick(#, t) + product(#, t) + len(#) for 5
lr = # | repeat
modifier m(x: duration) = input(t + x) + input(#); lr = linear(5, from=1) | m #
lr = # for 5 -> (# + linear(5, from=1)) * #
group "*" { lr = # }; lr = 1
""".splitlines()
NO_NUMBERS = (
    "inf none (-inf) (inf-inf) (10^400) (2^4000) 1e400 (1e-400) 0 (-5) 0.5 5% (5 epochs) pi start t total base (1/0) log(0) sqrt(-1) "
    '"x" true [] [1] hello (1->2) {i} len([]) pick([],0) lr n'
).split()


@pytest.mark.parametrize("text", WHERE_A_NUMBER_STANDS)
def test_whatever_stands_for_a_number_gives_a_plan_or_a_message(text: str, box: fuzz_sandbox.Sandbox) -> None:
    for value in NO_NUMBERS:
        compiled(box, text.replace("#", value))


GIVEN = [
    "9^9^9^9", "1; lr = 2", "a", 'use "x"', "(" * 5000, "\0", "", "\ud800 ) (", "1\n\nlr = 2", "1/0", "lr", "inf", "cosine 10",
    "1e400", "a = 3", "-", "#", "x" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize(
    "type_", ["", ": number > 0", ": duration", ": text", ": curve", ": {x, y}", ": list of number"]
)
def test_a_parameter_from_outside_is_read_as_one_value_or_refused(type_: str, box: fuzz_sandbox.Sandbox) -> None:
    for given in GIVEN:
        found = compiled(box, f"param a{type_}\nlr = 1 for 5", parameters={"a": given})
        if ";" in given or "\n" in given:
            assert found.ended == "refused" or type_ == ": text"
    assert compiled(box, "lr = 1", parameters={"b": "1"}).errors == ["SC217"]


def test_a_setting_from_outside_is_read_as_one_value_or_refused(box: fuzz_sandbox.Sandbox) -> None:
    for name in ("length", "dataset", "steps_per_epoch", "world_size", "global", "seq_len", "tick", "drop_last"):
        for given in GIVEN:
            compiled(box, "lr = 1 for 5", context={name: given})
    assert compiled(box, "lr = 1", context={"world_size": "; lr = 1"}).errors == ["SC207"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a file outside, links to it, a pipe that nobody writes to, and files that import each other."""
    (tmp_path / "outside.sched").write_text("let a = 1\n")
    root = tmp_path / "project"
    root.mkdir()
    (root / "link.sched").symlink_to(tmp_path / "outside.sched")
    (root / "folder").mkdir()
    (root / "up").symlink_to(tmp_path)
    (root / "round").symlink_to(root / "round")
    (root / "zero").symlink_to("/dev/zero")
    os.mkfifo(root / "pipe")
    (root / "self.sched").write_text('include "self.sched"\nlr = 1\n')
    (root / "a.sched").write_text('use "b.sched"\n')
    (root / "b.sched").write_text('use "a.sched"\n')
    (root / "large.sched").write_text("#" * (2 << 20))
    (root / "binary.sched").write_bytes(b"\xff\xfe\x00")
    (root / "faulty.sched").write_text("lr = (\n")
    (root / "deep.sched").write_text("let a = " + "(" * 5000)
    return root


@pytest.mark.parametrize(
    ("path", "code", "words"),
    [
        ("../outside.sched", "SC216", "outside the project"),
        ("../../etc/passwd", "SC216", "outside the project"),
        ("/etc/passwd", "SC216", "outside the project"),
        ("/dev/zero", "SC216", "outside the project"),
        ("link.sched", "SC216", "outside the project"),
        ("up/outside.sched", "SC216", "outside the project"),
        ("zero", "SC216", "outside the project"),
        ("folder", "SC214", "directory"),
        (".", "SC214", "directory"),
        ("pipe", "SC214", "no ordinary file"),
        ("round", "SC214", "can't be read"),
        ("no such file", "SC214", "no such file"),
        ("a\0b", "SC", ""),
        ("a/" * 4000 + "x", "SC214", "can't be read"),
        ("self.sched", "SC215", "circle"),
        ("a.sched", "SC215", "circle"),
        ("large.sched", "SC214", "larger than"),
        ("binary.sched", "SC214", "UTF-8"),
        ("faulty.sched", "SC101", "1 error of its own"),
        ("deep.sched", "SC121", "deeper than 100"),
    ],
)
def test_an_import_stays_in_the_project_and_reads_ordinary_files_only(
    path: str, code: str, words: str, project: Path, box: fuzz_sandbox.Sandbox
) -> None:
    before = sorted(project.rglob("*"))
    for word in ("use", "include"):
        text = f'{word} "{path}"\nlr = 2'
        found = compiled(box, text, name=str(project / "main.sched"), root=str(project))
        assert found.errors, found
        assert found.errors[0].startswith(code), found.titles
        assert words in found.titles
    assert sorted(project.rglob("*")) == before
