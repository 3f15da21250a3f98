"""Expressions as Python source text: float64 mathematics through `math`, readable as if written by hand.

Whatever decides between values (floor, mod, comparisons, `passed`, `Piecewise`) is computed in whole numbers where its
argument is a rational function of the update, so that no rounding moves a step. Everything smooth is floating point.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from schedc.compiler import expressions as ex
from schedc.compiler.printer_range import value_range
from schedc.compiler.printer_text import (
    ATOM,
    COMPARE,
    POWER,
    PRODUCT,
    SIGN,
    SUM,
    Call,
    Line,
    Ratio,
    Text,
    choice,
    compared,
    floating,
    indented,
    is_short,
    mentions_t,
    number,
    straight,
    tuple_of,
    whole_number,
)

LONG_CHAIN = 8
"""More pieces than this are looked up rather than tested one after another."""

MATH = {f: f"math.{f}" for f in ("exp", "log", "sqrt", "sin", "cos", "tan", "tanh")}
SIGNS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
CONSTANTS = {"pi": "math.pi", "e": "math.e", "inf": "math.inf"}
HELPERS = {
    "power": '''def power(x, y):
    """x to the power y; infinite where a float can't hold it."""
    try:
        return float(x) ** y
    except OverflowError:
        return math.inf if x > 0 or y % 2 == 0 else -math.inf''',
    "exp": '''def exp(x):
    """e to the power x; infinite where a float can't hold it."""
    return math.exp(x) if x < 709 else math.inf''',
}
"""Functions that printed text may call, for values that need not fit a float on the way."""


@dataclass
class Scope:
    """What the names in an expression stand for, and over which updates it is evaluated."""

    readings: Mapping[tuple[str, int], Line | Call] = field(default_factory=lambda: {("steps", 0): Line(1, 0, 1)})
    variables: Mapping[str, str] = field(default_factory=dict)
    bound: Callable[[ex.Bound], str] = lambda b: b.name
    convert: Callable[[ex.Convert, str], str] | None = None
    origin: tuple[str, int, Fraction] = ("steps", 0, Fraction(0))
    horizon: Fraction | None = None
    first: int = 0
    last: int | None = None


class Printer:
    """Prints expressions in one scope. `helpers` and `modules` name what the text calls for."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.helpers: set[str] = set()
        self.modules: set[str] = set()
        self.local: Text | None = None

    def body(self, expr: ex.Expr) -> list[str]:
        """The statements of a function that returns the value: local time, where it is read, then `return`."""
        lines = []
        clock, table, origin = self.scope.origin
        if origin or self.scope.readings.get((clock, table)) != Line(1, 0, 1):
            wanted = ex.local_time(clock, origin, table)
            if any(e == wanted for e in ex.walk(expr)):
                text = self.text(wanted)
                lines.append(f"t = {text.text}")
                self.local = Text("t", whole=text.whole)
        lines += self._returns(expr)
        if self.local and not any(mentions_t(line) for line in lines[1:]):
            del lines[0]
        return lines

    def _returns(self, expr: ex.Expr) -> list[str]:
        match expr:
            case ex.Op("if", (condition, yes, no)):
                return [f"if {self.condition(condition)}:", *indented(self._returns(yes)), *self._returns(no)]
            case ex.Piecewise(reading, bounds, values) if len(bounds) <= LONG_CHAIN:
                lines = []
                for bound, value in zip(bounds, values, strict=False):
                    test = self.condition(ex.Op("lt", (reading, ex.Num(bound))))
                    lines += [f"if {test}:", *indented(self._returns(value))]
                return lines + self._returns(values[-1])
            case ex.Num(value):
                return [f"return {floating(value).text}"]
        text = self.text(expr)
        return [f"return float({text.text})" if text.whole else f"return {text.text}"]

    # Floating point.

    def text(self, expr: ex.Expr) -> Text:
        """The value's source."""
        if self.local is not None and expr == ex.local_time(*_clock(self.scope.origin)):
            return self.local
        match expr:
            case ex.Num(value):
                return number(value)
            case ex.Const(name):
                return Text(CONSTANTS[name])
            case ex.Var(name):
                return Text(self.scope.variables[name])
            case ex.Bound():
                return Text(self.scope.bound(expr))
            case ex.Reading() | ex.Convert() | ex.Op("add" | "sub", (ex.Reading(), ex.Num())):
                exact = self.exact(expr)
                assert exact is not None
                return self._over(exact)
            case ex.Piecewise(reading, bounds, values):
                return self._piecewise(reading, bounds, values)
            case ex.Op(name, args):
                return self._op(name, args, expr)

    def _op(self, name: str, args: tuple[ex.Expr, ...], expr: ex.Expr) -> Text:
        match name:
            case "add" | "sub":
                return self._sum(args[0], args[1], minus=name == "sub")
            case "neg":
                inner = self.text(args[0])
                return Text(f"-{inner.within(SIGN)}", SIGN, inner.whole)
            case "mul":
                return self._product(args[0], args[1])
            case "div":
                return self._quotient(args[0], args[1])
            case "pow":
                return self._power(args[0], args[1])
            case "exp" if not self.range(args[0])[1] <= 709:
                self.helpers.add("exp")
                return Text(f"exp({self.text(args[0]).text})")
            case "sqrt":
                return Text(f"math.sqrt({self._not_negative(args[0]).text})")
            case "abs":
                inner = self.text(args[0])
                return Text(f"abs({inner.text})", whole=inner.whole)
            case "min" | "max" if len(args) > 1:
                texts = [self.text(a) for a in args]
                return Text(f"{name}({', '.join(t.text for t in texts)})", whole=all(t.whole for t in texts))
            case "min" | "max":
                return self.text(args[0])
            case "clamp":
                return self._op("min", (ex.Op("max", args[:2]), args[2]), expr)
            case "if":
                yes, no = self.text(args[1]), self.text(args[2])
                condition = self.condition(args[0])
                return choice(yes, condition, no)
            case "pick":
                return self._pick(args[0], args[1:])
            case "product":
                return self._running_product(args[0], args[1:])
        if name in MATH:
            return Text(f"{MATH[name]}({self.text(args[0]).text})")
        if name in SIGNS:
            return Text(self.condition(expr), COMPARE, whole=True)
        exact = self.exact(expr)
        if exact is not None:
            return self._over(exact)
        inner = self.text(args[0])
        match name:
            case "floor" | "ceil":
                return Text(f"math.{name}({inner.text})", whole=True)
            case "round":
                return Text(f"math.floor({inner.within(SUM)} + 0.5)", whole=True)
            case "mod":
                return Text(f"{inner.within(PRODUCT)} % {self.text(args[1]).within(SIGN)}", PRODUCT)
            case "passed":
                tests = [f"({inner.within(SUM)} >= {self.text(m).within(SUM)})" for m in args[1:]]
                return Text(" + ".join(tests) or "0", SUM, whole=True)
        raise ValueError(f"no operator {name}")

    def _sum(self, a: ex.Expr, b: ex.Expr, minus: bool) -> Text:
        if not minus and _is_negative(a) and not _is_negative(b):
            a, b = b, a
        if _is_negative(b):
            b, minus = _opposite(b), not minus
        left, right = self.text(a), self.text(b)
        text = f"{left.within(SUM)} {'-' if minus else '+'} {right.within(PRODUCT)}"
        return Text(text, SUM, left.whole and right.whole)

    def _product(self, a: ex.Expr, b: ex.Expr) -> Text:
        if isinstance(b, ex.Num) and not isinstance(a, ex.Num):
            a, b = b, a
        if isinstance(a, ex.Num):
            return self._scaled(a.value, b)
        match b:
            case ex.Op("div", (x, y)):
                ratio = self._whole_quotient(x, y)
                if ratio is not None:
                    text = f"{self.text(a).within(PRODUCT)} * {ratio.text.within(SIGN)} / {whole_number(ratio.over)}"
                    return Text(text, PRODUCT)
                return self._quotient(ex.Op("mul", (a, x)), y)
            case ex.Op("neg", (x,)):
                inner = self._product(a, x)
                return Text(f"-{inner.within(PRODUCT)}", SIGN, inner.whole)
        left, right = self.text(a), self.text(b)
        return Text(f"{left.within(PRODUCT)} * {_as_factor(b, right)}", PRODUCT, left.whole and right.whole)

    def _scaled(self, factor: Fraction, expr: ex.Expr) -> Text:
        """A number times an expression."""
        if factor < 0:
            inner = self._scaled(-factor, expr)
            return Text(f"-{inner.within(PRODUCT)}", SIGN, inner.whole)
        if factor == 1:
            return self.text(expr)
        if isinstance(expr, ex.Op) and expr.name == "div":
            return self._quotient(ex.Op("mul", (ex.Num(factor), expr.args[0])), expr.args[1])
        horizon = self.scope.horizon
        inner = self.text(expr)
        # 3e-4 * t / 2200 says more than 1.3636363636363637e-07 * t, and 3e-4 * t / 500 more than 6e-7 * t.
        fractional = factor.denominator != 1 and horizon is not None and horizon > 1 and horizon.denominator == 1
        if fractional and horizon is not None and expr == ex.local_time(*_clock(self.scope.origin)):
            whole = factor * horizon
            if is_short(whole) and len(floating(whole).text) <= len(floating(factor).text):
                return self._quotient(ex.Num(whole) if whole != 1 else ex.ONE, ex.Num(horizon), inner)
        if factor.numerator == 1 and not is_short(factor):
            return Text(f"{inner.within(PRODUCT)} / {whole_number(factor.denominator)}", PRODUCT)
        if not is_short(factor) and max(factor.numerator, factor.denominator) < 10**6:
            return Text(f"{factor.numerator} * {_as_factor(expr, inner)} / {whole_number(factor.denominator)}", PRODUCT)
        literal = number(factor)
        return Text(f"{literal.text} * {_as_factor(expr, inner)}", PRODUCT, literal.whole and inner.whole)

    def _quotient(self, a: ex.Expr, b: ex.Expr, times: Text | None = None) -> Text:
        ratio = self._whole_quotient(a, b)
        if ratio is not None:
            return self._over(ratio)
        above, below = self.text(a), self.text(b)
        if times is not None:
            above = times if a == ex.ONE else Text(f"{above.text} * {times.within(SIGN)}", PRODUCT)
        return Text(f"{above.within(PRODUCT)} / {below.within(SIGN)}", PRODUCT)

    def _whole_quotient(self, a: ex.Expr, b: ex.Expr) -> Ratio | None:
        """A quotient by a fraction that no short literal holds, in whole numbers."""
        if isinstance(b, ex.Num) and b.value > 0 and b.value.denominator != 1 and not is_short(b.value):
            return self.exact(ex.Op("div", (a, b)))
        return None

    def _power(self, base: ex.Expr, exponent: ex.Expr) -> Text:
        if exponent == ex.Num(Fraction(1, 2)):
            return self._op("sqrt", (base,), base)
        if isinstance(exponent, ex.Num) and exponent.value == 0:
            return Text("1.0")
        whole = isinstance(exponent, ex.Num) and exponent.value.denominator == 1
        below = self.text(base) if whole or self._is_whole(exponent) else self._not_negative(base)
        if isinstance(base, ex.Num):
            below = floating(base.value)
        elif below.whole and not (whole and 0 <= _value(exponent) <= 4):
            below = Text(f"float({below.text})")  # A huge int would not fit a float.
        above = self.text(exponent)
        if self._may_overflow(base, exponent):
            self.helpers.add("power")
            return Text(f"power({below.text}, {above.text})")
        return Text(f"{below.within(ATOM)} ** {above.within(SIGN)}", POWER, below.whole)

    def _is_whole(self, expr: ex.Expr) -> bool:
        exact = self.exact(expr)
        return exact is not None and exact.over == 1 and exact.text.whole

    def _not_negative(self, expr: ex.Expr) -> Text:
        """The value, kept from being negative by rounding alone: Python would raise, or turn complex."""
        text = self.text(expr)
        low, high = self.range(expr)
        if _stays_positive(expr) or low > 1e-6 * min(high, 1) or high < 0 or (low >= 0 and _rounds_once(expr)):
            return text
        return Text(f"max(0.0, {text.text})")

    def _may_overflow(self, base: ex.Expr, exponent: ex.Expr) -> bool:
        low, high = self.range(base)
        e_low, e_high = self.range(exponent)
        size = max(abs(low), abs(high))
        if size > 1 and e_high > 0 and (math.isinf(e_high) or math.isinf(size) or e_high * math.log(size) > 700):
            return True
        return e_low < 0 and low > 0 and low < 1 and (math.isinf(e_low) or e_low * math.log(low) > 700)

    def _pick(self, index: ex.Expr, values: tuple[ex.Expr, ...]) -> Text:
        last = len(values) - 1
        if not all(isinstance(v, ex.Num) for v in values):
            bounds = tuple(Fraction(i + 1) for i in range(last))
            return self._piecewise(index, bounds, values)
        at = self._index(index, last)
        return Text(f"{tuple_of([floating(_value(v)).text for v in values])}[{at}]")

    def _index(self, index: ex.Expr, last: int) -> str:
        """The whole part of the index, between 0 and `last`."""
        at = self.text(ex.Op("floor", (index,)))
        passes = len(index.args) - 1 if isinstance(index, ex.Op) and index.name == "passed" else None
        if passes is not None and passes <= last:
            return at.text
        return f"min({at.text}, {last})" if self.range(index)[0] >= 0 else f"min(max(0, {at.text}), {last})"

    def _running_product(self, index: ex.Expr, values: tuple[ex.Expr, ...]) -> Text:
        if not all(isinstance(v, ex.Num) for v in values):
            every = tuple_of([self.text(v).text for v in values])
            return Text(f"math.prod({every}[:{self._index(index, len(values))}])")
        if len(set(values)) == 1 and len(values) > 2:
            return Text(f"{floating(_value(values[0])).within(ATOM)} ** {self._index(index, len(values))}", POWER)
        products = [Fraction(1)]
        for v in values:
            products.append(products[-1] * _value(v))
        return Text(f"{tuple_of([floating(p).text for p in products])}[{self._index(index, len(values))}]")

    def _piecewise(self, reading: ex.Expr, bounds: tuple[Fraction, ...], values: tuple[ex.Expr, ...]) -> Text:
        if len(bounds) > LONG_CHAIN and all(isinstance(v, ex.Num) for v in values):
            at = self.text(ex.Op("passed", (reading, *map(ex.Num, bounds))))
            return Text(f"{tuple_of([floating(_value(v)).text for v in values])}[{at.text}]")
        if len(values) == 1:
            return self.text(values[0])
        # A chain while it is short, halves of halves when it is long: Python nests only so deep.
        cut = 1 if len(bounds) <= LONG_CHAIN else len(values) // 2
        yes = self._piecewise(reading, bounds[: cut - 1], values[:cut])
        no = self._piecewise(reading, bounds[cut:], values[cut:])
        condition = self.condition(ex.Op("lt", (reading, ex.Num(bounds[cut - 1]))))
        return choice(yes, condition, no)

    # Exactly.

    def exact(self, expr: ex.Expr) -> Ratio | None:
        """The value in whole numbers, or None where it is not a rational function of the clocks and captures."""
        if self.local is not None and self.local.whole and expr == ex.local_time(*_clock(self.scope.origin)):
            return self._line("t", 1, 0, 1)
        match expr:
            case ex.Num(value):
                return Ratio(Text(str(value.numerator), SIGN if value < 0 else ATOM, True), value.denominator)
            case ex.Reading(clock, table):
                reading = self.scope.readings[clock, table]
                if isinstance(reading, Line):
                    return self._line("n", reading.slope, reading.offset, reading.scale)
                return Ratio(Text(reading.text, ATOM, reading.whole), 1, (reading.text, 1, 0))
            case ex.Convert(inner, _, _, _):
                at = self.exact(inner)
                if self.scope.convert is None:
                    raise ValueError("no clocks to convert by")
                if at is not None and at.over != 1:
                    self.modules.add("fractions")
                    source = f"Fraction({at.text.text}, {at.over})"
                else:
                    source = at.text.text if at is not None else self.text(inner).text
                text = self.scope.convert(expr, source)
                return Ratio(Text(text, ATOM, False), 1, (text, 1, 0))
            case ex.Var(name) if name.startswith("capture:") or name == "batch":
                text = self.scope.variables[name]
                return Ratio(Text(text, ATOM, True), 1, (text, 1, 0) if text.isidentifier() else None)
            case ex.Op(name, args):
                return self._exact_op(name, args)
        return None

    def _exact_op(self, name: str, args: tuple[ex.Expr, ...]) -> Ratio | None:
        if name in ("passed",):
            return self._exact_passed(args[0], args[1:])
        if name in SIGNS:
            return Ratio(Text(self.condition(ex.Op(name, args)), COMPARE, True))
        if name == "if":
            a, b = self.exact(args[1]), self.exact(args[2])
            if a is None or b is None:
                return None
            over = math.lcm(a.over, b.over)
            yes, no = self._times(a, over // a.over).text, self._times(b, over // b.over).text
            return Ratio(choice(yes, self.condition(args[0]), no), over)
        if name not in (
            "add",
            "sub",
            "neg",
            "mul",
            "div",
            "floor",
            "ceil",
            "round",
            "mod",
            "abs",
            "min",
            "max",
            "clamp",
        ):
            return None
        if name == "clamp":
            return self.exact(ex.Op("min", (ex.Op("max", args[:2]), args[2])))
        parts = [self.exact(a) for a in args]
        ratios = [p for p in parts if p is not None]
        if len(ratios) < len(parts):
            return None
        a = ratios[0]
        match name:
            case "neg":
                return self._times(a, -1)
            case "mul":
                for i, arg in enumerate(args):
                    if isinstance(arg, ex.Num):
                        return self._times(ratios[1 - i], arg.value)
                b = ratios[1]
                whole = a.text.whole and b.text.whole
                text = f"{a.text.within(PRODUCT)} * {b.text.within(SIGN)}"
                return Ratio(Text(text, PRODUCT, whole), a.over * b.over)
            case "div":
                divisor = args[1]
                return self._times(a, 1 / divisor.value) if isinstance(divisor, ex.Num) and divisor.value else None
            case "floor" if a.over == 1 and a.text.whole:
                return a
            case "floor":
                return Ratio(Text(f"{a.text.within(PRODUCT)} // {whole_number(a.over)}", PRODUCT, True))
            case "ceil" if a.over == 1 and a.text.whole:
                return a
            case "ceil":
                up = self._times(Ratio(a.text, 1, a.line), -1).text
                return Ratio(Text(f"-({up.within(PRODUCT)} // {whole_number(a.over)})", SIGN, True))
            case "round":
                return self._exact_op("floor", (ex.Op("add", (args[0], ex.Num(Fraction(1, 2)))),))
            case "abs":
                return Ratio(Text(f"abs({a.text.text})", ATOM, a.text.whole), a.over)
        over = math.lcm(*(r.over for r in ratios))
        scaled = [self._times(Ratio(r.text, 1, r.line), over // r.over) for r in ratios]
        whole = all(s.text.whole for s in scaled)
        if name in ("min", "max"):
            return Ratio(Text(f"{name}({', '.join(s.text.text for s in scaled)})", ATOM, whole), over)
        if name == "mod":
            text = f"{scaled[0].text.within(PRODUCT)} % {scaled[1].text.within(SIGN)}"
            return Ratio(Text(text, PRODUCT, whole), over)
        return self._exact_sum(scaled[0], scaled[1], over, name == "sub")

    def _exact_sum(self, a: Ratio, b: Ratio, over: int, minus: bool) -> Ratio:
        """The sum of two ratios that are both over `over`."""
        x, y = straight(a), straight(b)
        if x is not None and y is not None and ("" in (x[0], y[0]) or x[0] == y[0]):
            sign = -1 if minus else 1
            whole = a.text.whole and b.text.whole
            return self._line(x[0] or y[0], x[1] + sign * y[1], x[2] + sign * y[2], over, whole)
        text = f"{a.text.within(SUM)} {'-' if minus else '+'} {b.text.within(PRODUCT)}"
        return Ratio(Text(text, SUM, a.text.whole and b.text.whole), over)

    def _exact_passed(self, value: ex.Expr, marks: tuple[ex.Expr, ...]) -> Ratio | None:
        exact = self.exact(value)
        if exact is None or not exact.text.whole or not all(isinstance(m, ex.Num) for m in marks):
            return None
        scaled = sorted(math.ceil(_value(m) * exact.over) for m in marks)
        text = exact.text
        if exact.line is not None and exact.line[1] > 0:
            variable, slope, offset = exact.line
            scaled = [-((offset - m) // slope) for m in scaled]
            text = Text(variable)
        if len(scaled) <= 2:
            tests = [f"({text.within(SUM)} >= {whole_number(m)})" for m in scaled]
            return Ratio(Text(" + ".join(tests), SUM if len(tests) > 1 else ATOM, True))
        self.modules.add("bisect")
        return Ratio(Text(f"bisect({tuple_of([whole_number(m) for m in scaled])}, {text.text})", ATOM, True))

    def condition(self, expr: ex.Expr) -> str:
        """The source of a truth value: a comparison, or whether the value is not 0."""
        if not (isinstance(expr, ex.Op) and expr.name in SIGNS):
            return f"{self.text(expr).within(SUM)} != 0"
        a, b = expr.args
        sign = SIGNS[expr.name]
        if isinstance(a, ex.Num):
            a, b, sign = b, a, sign.translate(str.maketrans("<>", "><"))
        x, y = self.exact(a), self.exact(b)
        if x is None or y is None:
            return f"{self.text(a).within(SUM)} {sign} {self.text(b).within(SUM)}"
        over = math.lcm(x.over, y.over)
        x = self._times(Ratio(x.text, 1, x.line), over // x.over)
        y = self._times(Ratio(y.text, 1, y.line), over // y.over)
        if isinstance(b, ex.Num) and x.line is not None and x.line[1] > 0 and x.text.whole:
            return compared(x.line[0], sign, Fraction(int(y.text.text) - x.line[2], x.line[1]))
        return f"{x.text.within(SUM)} {sign} {y.text.within(SUM)}"

    def _line(self, variable: str, slope: int, offset: int, scale: int = 1, whole: bool = True) -> Ratio:
        """(slope·variable + offset) / scale, in lowest terms."""
        common = math.gcd(slope, offset, scale)
        slope, offset, scale = slope // common, offset // common, scale // common
        if slope == 0 or not variable:
            return Ratio(Text(whole_number(offset), SIGN if offset < 0 else ATOM, True), scale)
        text = variable if abs(slope) == 1 else f"{whole_number(abs(slope))} * {variable}"
        if slope < 0 < offset:
            text, offset_text = f"{whole_number(offset)} - {text}", ""
        else:
            text = text if slope > 0 else f"-{text}"
            offset_text = f" {'-' if offset < 0 else '+'} {whole_number(abs(offset))}" if offset else ""
        binds = SUM if offset else SIGN if slope < 0 else PRODUCT if slope != 1 else ATOM
        return Ratio(Text(text + offset_text, binds, whole), scale, (variable, slope, offset))

    def _times(self, a: Ratio, factor: Fraction | int) -> Ratio:
        factor = Fraction(factor)
        common = math.gcd(factor.numerator, a.over)
        by, over = factor.numerator // common, a.over // common * factor.denominator
        on_line = straight(a)
        if on_line is not None:
            return self._line(on_line[0], on_line[1] * by, on_line[2] * by, over, a.text.whole)
        if by == 1:
            return Ratio(a.text, over)
        text = f"-{a.text.within(SIGN)}" if by == -1 else f"{whole_number(by)} * {a.text.within(SIGN)}"
        return Ratio(Text(text, PRODUCT if by != -1 else SIGN, a.text.whole), over)

    def _over(self, a: Ratio) -> Text:
        """The ratio's value in floating point; an int where it is one."""
        if a.over == 1:
            return a.text if a.text.whole else Text(f"float({a.text.text})")
        quotient = Text(f"{a.text.within(PRODUCT)} / {whole_number(a.over)}", PRODUCT)
        return quotient if a.text.whole else Text(f"float({quotient.text})")

    # Bounds.

    def range(self, expr: ex.Expr) -> tuple[float, float]:
        """Between which floats the value lies, roughly; infinite where that is not seen at once."""
        return value_range(expr, self.scope)


def _clock(origin: tuple[str, int, Fraction]) -> tuple[str, Fraction, int]:
    clock, table, at = origin
    return clock, at, table


def _value(expr: ex.Expr) -> Fraction:
    assert isinstance(expr, ex.Num)
    return expr.value


def _is_negative(expr: ex.Expr) -> bool:
    """Whether the text would begin with a minus sign."""
    match expr:
        case ex.Num(value):
            return value < 0
        case ex.Op("neg", _):
            return True
        case ex.Op("mul" | "div", (first, _)):
            return _is_negative(first)
    return False


def _opposite(expr: ex.Expr) -> ex.Expr:
    """Minus the expression, for one that begins with a minus sign."""
    match expr:
        case ex.Num(value):
            return ex.Num(-value)
        case ex.Op("neg", (inner,)):
            return inner
        case ex.Op("mul", (first, other)):
            return ex.mul(_opposite(first), other)
        case ex.Op(name, (first, other)):
            return ex.Op(name, (_opposite(first), other))
    raise ValueError("it does not begin with a minus sign")


def _as_factor(expr: ex.Expr, text: Text) -> str:
    """The text right of a `*`; products and quotients need no parentheses there."""
    return text.within(PRODUCT if isinstance(expr, ex.Op) and expr.name in ("mul", "div") else SIGN)


def _stays_positive(expr: ex.Expr) -> bool:
    """Whether the floating-point value is certainly not negative, rounding included."""
    match expr:
        case ex.Num(value):
            return value >= 0
        case ex.Const() | ex.Reading() | ex.Convert() | ex.Var():
            return True
        case ex.Op("exp" | "sqrt" | "abs" | "passed", _):
            return True
        case ex.Op("add" | "mul" | "div" | "pow", args):
            return all(map(_stays_positive, args)) or (expr.name == "pow" and _stays_positive(args[0]))
        case ex.Op("max", args):
            return any(map(_stays_positive, args))
        case ex.Op("min", args):
            return all(map(_stays_positive, args))
    return False


def _rounds_once(expr: ex.Expr) -> bool:
    """Whether the value is a whole number less one correctly rounded quotient, which can't pass it by rounding."""
    match expr:
        case ex.Op("sub", (ex.Num(), ex.Op("div", (above, ex.Num())))):
            return isinstance(above, ex.Reading) or (
                isinstance(above, ex.Op) and above.name == "sub" and _rounds_once(above)
            )
        case ex.Op("div", (inner, ex.Num(value))) | ex.Op("mul", (ex.Num(value), inner)):
            return value > 0 and _rounds_once(inner)
        case ex.Op("sub", (ex.Reading(), ex.Num())) | ex.Reading():
            return True
    return False
