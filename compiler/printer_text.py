"""Pieces of Python source, and numbers in it: what the printer puts together."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction

CHOICE, COMPARE, SUM, PRODUCT, SIGN, POWER, ATOM = range(7)
"""How tightly Python's operators bind, loosest first."""


@dataclass(frozen=True, slots=True)
class Line:
    """A clock that advances evenly: at update n it shows (slope·n + offset) / scale, in whole numbers."""

    slope: int
    offset: int
    scale: int

    @staticmethod
    def of(slope: Fraction, offset: Fraction) -> Line:
        scale = math.lcm(slope.denominator, offset.denominator)
        return Line(int(slope * scale), int(offset * scale), scale)


@dataclass(frozen=True, slots=True)
class Call:
    """A clock that is read by calling a function: it returns an int (`whole`) or a Fraction."""

    text: str
    whole: bool


@dataclass(frozen=True, slots=True)
class Text:
    """Python source, how tightly it binds, and whether its value is an int."""

    text: str
    binds: int = ATOM
    whole: bool = False

    def within(self, binds: int) -> str:
        """The text where something as tight as `binds` is wanted."""
        return self.text if self.binds >= binds else f"({self.text})"


@dataclass(frozen=True, slots=True)
class Ratio:
    """An exact value: source of a whole number, over a positive int.

    `line` is (variable, slope, offset) where the numerator is straight in one variable.
    """

    text: Text
    over: int = 1
    line: tuple[str, int, int] | None = None


def number(value: Fraction) -> Text:
    """An exact number as the literal that reads best among those that are correctly rounded."""
    if value.denominator == 1 and abs(value) < 2**53:
        return Text(whole_number(int(value)), SIGN if value < 0 else ATOM, whole=True)
    return floating(value)


def floating(value: Fraction) -> Text:
    """An exact number as a float literal, the shortest one that is correctly rounded."""
    try:
        x = value.numerator / value.denominator
    except OverflowError:
        return Text("math.inf") if value > 0 else Text("-math.inf", SIGN)
    text = repr(x)
    if x and not 0.01 <= abs(x) < 1000:
        scientific = next(s for s in (f"{x:.{places}e}" for places in range(18)) if float(s) == x)
        digits, _, power = scientific.partition("e")
        text = min(text, f"{digits}e{int(power)}", key=len)
    return Text(text, SIGN if x < 0 else ATOM)


def whole_number(value: int) -> str:
    return f"{value:_}" if abs(value) >= 1_000_000 else str(value)


def is_short(value: Fraction) -> bool:
    """Whether a few decimal digits hold it."""
    return len(floating(value).text.strip("-")) <= 8 and Fraction(floating(value).text) == value if value else True


def choice(yes: Text, condition: str, no: Text) -> Text:
    """A lazy choice."""
    return Text(f"{yes.within(COMPARE)} if {condition} else {no.within(CHOICE)}", CHOICE, yes.whole and no.whole)


def straight(a: Ratio) -> tuple[str, int, int] | None:
    """The numerator as (variable, slope, offset); a number has no variable."""
    if a.line is None and a.text.text.replace("_", "").lstrip("-").isdigit():
        return "", 0, int(a.text.text)
    return a.line


def compared(variable: str, sign: str, bound: Fraction) -> str:
    """A comparison of an int with a bound, as one with an int."""
    if bound.denominator == 1:
        return f"{variable} {sign} {whole_number(int(bound))}"
    if sign in ("==", "!="):
        return str(sign == "!=")
    whole = math.ceil(bound) if sign in ("<", ">=") else math.floor(bound)
    return f"{variable} {sign} {whole_number(whole)}"


def tuple_of(items: list[str]) -> str:
    return f"({', '.join(items)}{',' if len(items) == 1 else ''})"


def indented(lines: list[str]) -> list[str]:
    return ["    " + line for line in lines]


def mentions_t(line: str) -> bool:
    return re.search(r"\bt\b", line) is not None
