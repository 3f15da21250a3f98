"""Values of formulas, curves and bindings: at one update, or at a whole array of them at once.

Arrays may be numpy's or torch's; results are float64, of the same library and on the same device. What depends on the
clocks alone stays in exact integers (`readings.Exact`) until a function forces it into floating point, so floors and
comparisons fall on the right update. What is undefined (a division by zero, say) is inf or nan, as IEEE has it,
without a warning; a branch of `if` that is not taken is not evaluated.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import numpy as np

from schedc.compiler import expressions as ex
from schedc.compiler import readings as rd
from schedc.compiler.plan import Binding, Clocks, Curve, Plan, ScheduleEnded, Segment
from schedc.compiler.readings import Array, Exact, Value, is_scalar, is_tensor, to_float

BoundValue = Callable[[str, Any], Any]
"""Gives another binding's value, by name, at the updates of an array or at one position."""

NOTHING: Mapping[str, Any] = MappingProxyType({})
NAN = math.nan
CHUNK = 2**15
"""So many updates at a time stay in a processor's cache, which makes long tables three times as fast."""


def turns_of(expr: ex.Expr) -> ex.Expr | None:
    """The expression over pi, where it is a product with pi in it."""
    match expr:
        case ex.Const("pi"):
            return ex.ONE
        case ex.Op("neg", (x,)):
            inner = turns_of(x)
            return None if inner is None else ex.op("neg", inner)
        case ex.Op("mul", (x, y)):
            for one, other in ((x, y), (y, x)):
                inner = turns_of(one)
                if inner is not None:
                    return ex.op("mul", inner, other)
        case ex.Op("div", (x, y)):
            inner = turns_of(x)
            return None if inner is None else ex.op("div", inner, y)
        case ex.Op("add" | "sub" as name, (x, y)):
            a, b = turns_of(x), turns_of(y)
            return None if a is None or b is None else ex.op(name, a, b)
    return None


class _Env:
    """Where a formula is evaluated: the positions, and what its leaves stand for."""

    __slots__ = ("at", "bound", "clocks", "memo", "values")

    def __init__(
        self, clocks: Sequence[Clocks], at: Value, values: Mapping[str, Any], bound: BoundValue | None
    ) -> None:
        self.clocks = clocks
        self.at = at
        self.values = values
        self.bound = bound
        # The expression is kept beside its value, so that its id is not given to another one meanwhile.
        self.memo: dict[int, tuple[ex.Expr, Value]] = {}

    @property
    def raw(self) -> Any:
        """The positions as the caller of `curve_values` wrote them."""
        if not isinstance(self.at, Exact):
            return self.at
        return Fraction(self.at.num, self.at.den) if self.at.scalar and self.at.den != 1 else self.at.num

    def where(self, mask: Array) -> _Env:
        """The same at those positions alone."""
        at: Any = self.at
        at = at._replace(num=at.num[mask]) if isinstance(at, Exact) else at[mask]
        return _Env(self.clocks, at, self.values, self.bound)


def _truth(x: Any) -> Any:
    return x.num != 0 if isinstance(x, Exact) else x != 0


def _number(flag: Any) -> Value:
    """A condition as 0 or 1."""
    return rd.exact(int(flag)) if isinstance(flag, bool) else Exact(rd.as_ints(flag), 1, 1, 1)


def value_of(expr: ex.Expr, env: _Env) -> Value:
    """The formula's value at the positions of `env`; a single number where it does not depend on them."""
    kept = env.memo.get(id(expr))
    if kept is None:
        kept = env.memo[id(expr)] = (expr, _value_of(expr, env))
    return kept[1]


def _value_of(expr: ex.Expr, env: _Env) -> Value:
    match expr:
        case ex.Num(value):
            return rd.exact(value)
        case ex.Op(name, args):
            return _op(name, args, env)
        case ex.Reading(clock, table):
            return env.at if clock == "steps" else rd.converted(env.clocks[table], "steps", clock, env.at)
        case ex.Const(name):
            return {"pi": math.pi, "e": math.e}.get(name, math.inf)
        case ex.Var(name):
            return _variable(name, env)
        case ex.Bound(name, at):
            if env.bound is None:
                raise ValueError(f"nothing gives the value of `{name}` here")
            return _given(env.bound(name, env.raw if at is None else at))
        case ex.Piecewise(reading, bounds, values):
            return _chosen(rd.passed(value_of(reading, env), bounds), values, env)
        case ex.Convert(reading, source, target, table):
            clocks = env.clocks[table] if env.clocks else Clocks(pieces=())
            return rd.converted(clocks, source, target, value_of(reading, env))


def _given(x: Any) -> Value:
    return rd.exact(x) if isinstance(x, int | Fraction) else x


def _variable(name: str, env: _Env) -> Value:
    if name in env.values:
        return _given(env.values[name])
    kind, _, table = name.partition(":")
    if kind == "batch":
        pieces = env.clocks[int(table or 0)].pieces
        sizes = [p.batch for p in pieces]
        clocks = env.clocks[int(table or 0)]
        at = env.at
        if clocks.period is not None:
            at = _wrapped(at, clocks.period_start or 0, clocks.period)
        index = rd.passed(at, [Fraction(p.update) for p in pieces[1:]])
        if None in sizes:
            raise ValueError("`batch` is read, but the global batch is not known")
        return rd.gather([Fraction(s or 0) for s in sizes], index)
    raise ValueError(f"nothing gives the value of `{name}`")


def _wrapped(at: Value, start: int, period: int) -> Value:
    """The positions, those beyond the first period taken back into it."""
    if not isinstance(at, Exact):
        beyond = at > start + period
        return at - beyond * ((at - start) // period) * period
    times = (at.num - start * at.den) // (at.den * period)
    times = times * (times > 0)
    return at._replace(num=at.num - times * period * at.den)


def _op(name: str, args: tuple[ex.Expr, ...], env: _Env) -> Value:
    match name:
        case "if":
            return _if(value_of(args[0], env), args[1], args[2], env)
        case "passed":
            return _passed(args, env)
        case "pick":
            return _chosen(_index(value_of(args[0], env), len(args) - 2), args[1:], env)
        case "product":
            products: list[ex.Expr] = [ex.ONE]
            for factor in args[1:]:
                products.append(ex.op("mul", products[-1], factor))
            return _chosen(_index(value_of(args[0], env), len(args) - 1), products, env)
        case "add" | "sub":
            half_angle = _one_and_cosine(name, args, env)
            if half_angle is not None:
                return half_angle
        case "sin" | "cos" | "tan" if (turns := turns_of(args[0])) is not None:
            return _of_turns(name, value_of(turns, env))
        case "pow" if args[0] == ex.Const("e"):
            return _function("exp", value_of(args[1], env))
    return apply(name, [value_of(a, env) for a in args])


def apply(name: str, args: list[Value]) -> Value:
    """The operator applied to values; all but those that choose between their arguments."""
    a = args[0]
    match name:
        case "add":
            return rd.add(a, args[1])
        case "sub":
            return rd.add(a, rd.neg(args[1]))
        case "mul":
            return rd.mul(a, args[1])
        case "div":
            return _quotient(a, args[1])
        case "neg":
            return rd.neg(a)
        case "pow":
            return _power(a, args[1])
        case "abs":
            return a._replace(num=abs(a.num)) if isinstance(a, Exact) else abs(a)
        case "floor":
            return rd.floor(a) if isinstance(a, Exact) else _function("floor", a)
        case "ceil":
            return rd.neg(apply("floor", [rd.neg(a)]))
        case "round":
            return apply("floor", [rd.add(a, rd.exact(Fraction(1, 2)))])
        case "mod":
            return _remainder(a, args[1])
        case "min" | "max":
            for b in args[1:]:
                a = _extreme(name, a, b)
            return a
        case "clamp":
            return _extreme("min", _extreme("max", a, args[1]), args[2])
    return _compare(name, a, args[1]) if name in _COMPARISONS else _function(name, a)


_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "lt": lambda a, b: a < b, "le": lambda a, b: a <= b, "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b, "eq": lambda a, b: a == b, "ne": lambda a, b: a != b,
}  # fmt: skip


def _compare(name: str, a: Value, b: Value) -> Value:
    same = rd.on_one_denominator(a, b) if isinstance(a, Exact) and isinstance(b, Exact) else None
    x, y = (same[0], same[1]) if same else (to_float(a), to_float(b))
    return _number(_COMPARISONS[name](x, y))


def _extreme(name: str, a: Value, b: Value) -> Value:
    if isinstance(a, Exact) and isinstance(b, Exact):
        same = rd.on_one_denominator(a, b)
        if same is not None:
            x, y, den, top, deep = same
            first = x <= y if name == "min" else x >= y
            if isinstance(first, bool):
                return a if first else b
            return Exact(_select(first, x, y), den, top, deep)
    for one, other in ((a, b), (b, a)):
        # An infinite bound must not cost the other side its exactness.
        if is_scalar(one) and math.isinf(one) and (one > 0) == (name == "min"):
            return other
    x, y = to_float(a), to_float(b)
    if is_scalar(x) and is_scalar(y):
        if math.isnan(x) or math.isnan(y):
            return NAN
        return min(x, y) if name == "min" else max(x, y)
    if is_tensor(x) or is_tensor(y):
        torch = sys.modules["torch"]
        like = x if is_tensor(x) else y
        x, y = (torch.as_tensor(v, dtype=torch.float64, device=like.device) for v in (x, y))
        return torch.minimum(x, y) if name == "min" else torch.maximum(x, y)
    return np.minimum(x, y) if name == "min" else np.maximum(x, y)


def _select(mask: Array, x: Any, y: Any) -> Array:
    return sys.modules["torch"].where(mask, x, y) if is_tensor(mask) else np.where(mask, x, y)


def _quotient(a: Value, b: Value) -> Value:
    inverse = rd.reciprocal(b)
    if inverse is not None and isinstance(a, Exact):
        return rd.mul(a, inverse)
    x, y = to_float(a), to_float(b)
    if is_scalar(y) and y == 0:
        return _function("div_zero", x)
    return x / y


def _power(a: Value, b: Value) -> Value:
    if isinstance(b, Exact) and b.scalar and b.den == 1:
        n = b.num
        if n == 0:
            return rd.exact(1)
        if isinstance(a, Exact) and abs(n) <= rd.SCALAR_FITS.bit_length():
            base = a if n > 0 else rd.reciprocal(a)
            n = abs(n)
            limit = rd.SCALAR_FITS if a.scalar else rd.FITS
            if base is not None and max(base.top, base.deep).bit_length() * n < limit.bit_length():
                return Exact(base.num**n, base.den**n, base.top**n, base.deep**n)
    x, y = to_float(a), to_float(b)
    if is_scalar(x) and is_scalar(y):
        try:
            return math.pow(x, y)
        except OverflowError:
            return -math.inf if x < 0 and y % 2 == 1 else math.inf
        except ValueError:
            return math.inf if x == 0 else NAN
    if is_tensor(x) or is_tensor(y):
        return sys.modules["torch"].pow(x, y)
    return np.power(x, y)


def _remainder(a: Value, b: Value) -> Value:
    """What whole multiples of b leave of a, with b's sign."""
    if isinstance(a, Exact) and isinstance(b, Exact) and b.scalar and b.num != 0:
        same = rd.on_one_denominator(a, b)
        if same is not None:
            x, y, den, top, deep = same
            return Exact(x % y, den, top, deep)
    x, y = to_float(a), to_float(b)
    if is_scalar(x) and is_scalar(y):
        return x % y if y else NAN
    if is_tensor(x) or is_tensor(y):
        return sys.modules["torch"].remainder(x, y)
    return np.mod(x, y)


def _of_turns(name: str, x: Value) -> Value:
    """sin, cos or tan of pi·x, with x reduced exactly first: no digit is lost near their zeros."""
    if name == "tan":
        return _quotient(_of_turns("sin", x), _of_turns("cos", x))
    if name == "cos":
        x = rd.add(x, rd.exact(Fraction(1, 2)))
    # Any whole number of half turns will do that leaves less than one; what is left is exact.
    near = to_float(x)
    if is_scalar(near):
        half_turns: Any = round(near) if math.isfinite(near) else 0
        rest = to_float(rd.add(x, rd.exact(-half_turns)))
        sign = -1.0 if half_turns % 2 else 1.0
    else:
        half_turns = rd.as_ints(near.round())
        whole = Exact(-half_turns, 1, int(abs(half_turns).max()), 1) if isinstance(x, Exact) and len(near) else None
        rest = to_float(rd.add(x, whole)) if whole is not None else near - half_turns
        sign = 1.0 - 2.0 * (half_turns & 1)
    return sign * _function("sin", rest * math.pi)  # type: ignore[operator]


def _one_and_cosine(name: str, args: tuple[ex.Expr, ...], env: _Env) -> Value | None:
    """1 ± cos x as 2 cos² or 2 sin² of x/2, where the sum would cancel."""
    match name, args:
        case (_, (ex.Num(one), ex.Op("cos", (x,)))) if one == 1:
            pass
        case ("add", (ex.Op("cos", (x,)), ex.Num(one))) if one == 1:
            pass
        case _:
            return None
    function = "cos" if name == "add" else "sin"
    half = rd.exact(Fraction(1, 2))
    turns = turns_of(x)
    if turns is not None:
        root = _of_turns(function, rd.mul(half, value_of(turns, env)))
    else:
        root = _function(function, rd.mul(half, value_of(x, env)))
    return 2.0 * root * root  # type: ignore[operator]


def _function(name: str, a: Value) -> Value:
    x = to_float(a)
    if is_scalar(x):
        return _scalar_function(name, float(x))
    if name == "div_zero":
        return x / 0.0
    return getattr(sys.modules["torch"] if is_tensor(x) else np, name)(x)


def _scalar_function(name: str, x: float) -> float:
    if math.isnan(x):
        return NAN
    match name:
        case "div_zero":
            return math.copysign(math.inf, x) if x else NAN
        case "floor":
            return float(math.floor(x)) if math.isfinite(x) else x
        case "log" if x <= 0:
            return NAN if x else -math.inf
        case "sqrt" if x < 0:
            return NAN
        case "sin" | "cos" | "tan" if math.isinf(x):
            return NAN
    function: Callable[[float], float] = getattr(math, name)
    try:
        return function(x)
    except OverflowError:
        return math.inf


def _passed(args: tuple[ex.Expr, ...], env: _Env) -> Value:
    x = value_of(args[0], env)
    marks = [a.value for a in args[1:] if isinstance(a, ex.Num)]
    if len(marks) < len(args) - 1:
        count: Value = rd.exact(0)
        for mark in args[1:]:
            count = rd.add(count, _compare("le", value_of(mark, env), x))
        return count
    index = rd.passed(x, sorted(marks))
    return rd.exact(index) if isinstance(index, int) else Exact(rd.as_ints(index), 1, len(marks), 1)


def _index(x: Value, last: int) -> Any:
    """The whole part, kept within 0 … last."""
    if isinstance(x, Exact):
        whole = rd.floor(x).num
        return max(0, min(whole, last)) if isinstance(whole, int) else whole.clip(0, last)
    values = to_float(x)
    if is_scalar(values):
        return 0 if math.isnan(values) else math.floor(max(0, min(values, last)))
    return rd.as_ints(_select(values == values, values, 0.0).clip(0, last))


def _if(condition: Value, yes: ex.Expr, no: ex.Expr, env: _Env) -> Value:
    flag = _truth(condition)
    return _chosen(int(flag) if isinstance(flag, bool) else rd.as_ints(flag), (no, yes), env)


def _chosen(index: Any, exprs: Sequence[ex.Expr], env: _Env) -> Value:
    """At each position the value of the expression numbered there; the others are not evaluated there."""
    if is_scalar(index):
        return value_of(exprs[int(index)], env)
    constants = [e.value for e in exprs if isinstance(e, ex.Num)]
    if len(constants) == len(exprs):
        return rd.gather(constants, index)
    used = (sys.modules["torch"] if is_tensor(index) else np).unique(index).tolist()
    if len(used) == 1:
        return value_of(exprs[used[0]], env)
    masks = [index == k for k in used]
    values = [value_of(exprs[k], env.where(mask)) for k, mask in zip(used, masks, strict=True)]
    return _joined(masks, values, index)


def _joined(masks: Sequence[Array], values: Sequence[Value], like: Array) -> Value:
    """One array of the values where their masks are set; exact if all of them are."""
    exacts = [v for v in values if isinstance(v, Exact) and type(v.den) is int]
    if len(exacts) == len(values):
        den = math.lcm(*(v.den for v in exacts))
        top = max(v.top * (den // v.den) for v in exacts)
        if den < rd.FITS and top < rd.FITS:
            out = _empty(like, whole=True)
            for mask, v in zip(masks, exacts, strict=True):
                out[mask] = v.num * (den // v.den)
            return Exact(out, den, top, den)
    out = _empty(like)
    for mask, value in zip(masks, values, strict=True):
        out[mask] = to_float(value)
    return out


def _empty(like: Array, whole: bool = False) -> Array:
    if is_tensor(like):
        torch = sys.modules["torch"]
        return torch.empty(like.shape, dtype=torch.int64 if whole else torch.float64, device=like.device)
    return np.empty(np.shape(like), dtype=np.int64 if whole else np.float64)


def expression_value(
    clocks: Sequence[Clocks],
    expr: ex.Expr,
    n: Any,
    values: Mapping[str, Any] = NOTHING,
    bound: BoundValue | None = None,
) -> Any:
    """The formula's value at update n (or at each of an array): a float, or a float64 array."""
    at, shape = _positions(n)
    with np.errstate(all="ignore"):
        out = to_float(value_of(expr, _Env(clocks, at, values, bound)))
    return _shaped(out, at, shape, None)


def curve_values(
    clocks: Sequence[Clocks],
    curve: Curve,
    n: Any,
    values: Mapping[str, Any] = NOTHING,
    bound: BoundValue | None = None,
    *,
    dtype: Any = None,
) -> Any:
    """The curve's value at update n (or at each of an array): a float, or a float64 array, or one of the dtype.

    `values` gives what its formulas read besides the clocks: `base`, `factor:0`, `capture:i`. Raises ScheduleEnded
    where an `error` stage owns an update asked for.
    """
    at, shape = _positions(n)
    marks = [s.start for s in curve.segments]
    if curve.end is not None:
        marks.append(curve.end)
    env = _Env(clocks, at, values, bound)
    with np.errstate(all="ignore"):
        if shape is None or len(env.raw) <= CHUNK or (is_tensor(env.raw) and env.raw.is_cuda):
            out = _at_once(curve, marks[1:], env)
        else:
            out = _empty(env.raw)
            for begin in range(0, len(out), CHUNK):
                part = slice(begin, begin + CHUNK)
                out[part] = _at_once(curve, marks[1:], env.where(part))
    return _shaped(out, at, shape, dtype)


def _at_once(curve: Curve, marks: Sequence[Fraction], env: _Env) -> Any:
    index = rd.passed(env.at, marks)
    return _segment_value(curve, int(index), env) if is_scalar(index) else _segment_values(curve, index, env)


def _segment_values(curve: Curve, index: Array, env: _Env) -> Any:
    out = _empty(index)
    if not len(index):
        return out
    first, last = int(index[0]), int(index[-1])
    if bool((index[1:] >= index[:-1]).all()):
        # In order, as a table is: each segment takes a slice, not a mask.
        marks = rd.int_array(list(range(first, last + 1)), index)
        ends = (
            rd.count_not_above(index, marks) if not is_tensor(index) else rd.count_not_above(index.contiguous(), marks)
        )
        begin = 0
        for k, end in enumerate(ends.tolist(), first):
            if end > begin:
                out[begin:end] = _segment_value(curve, k, env.where(slice(begin, end)))
            begin = end
        return out
    for k in (sys.modules["torch"] if is_tensor(index) else np).unique(index).tolist():
        mask = index == k
        out[mask] = _segment_value(curve, k, env.where(mask))
    return out


def _ended(update: int, segment: Segment) -> ScheduleEnded:
    place = segment.place
    where = f" ({place.file}:{place.line}:{place.column})" if place else ""
    return ScheduleEnded(f"the schedule ends before update {update}: {segment.error}{where}")


def _segment_value(curve: Curve, k: int, env: _Env) -> Any:
    if k < len(curve.segments):
        segment = curve.segments[k]
        if segment.error is not None:
            raise _ended(int(env.raw if is_scalar(env.raw) else env.raw.min()), segment)
        return to_float(value_of(segment.formula, env))
    after = curve.after
    if after is None:
        after = curve.segments[-1].ends if curve.segments else None
    if after is None:
        raise ValueError("the curve has ended, and nothing says what holds after it")
    return to_float(value_of(after, env))


def segment_at(curve: Curve, n: int | Fraction) -> Segment | None:
    """The segment that owns update n; None after the last."""
    for segment in reversed(curve.segments):
        if segment.start <= n:
            return segment if segment.end is None or n < segment.end else None
    return curve.segments[0] if curve.segments else None


def _positions(n: Any) -> tuple[Value, Any]:
    """The updates as a Value of one dimension at most, and the shape to give back (None: a single number)."""
    if is_scalar(n):
        at = rd.counts(n)
        if n < 0:
            raise ValueError("updates are counted from 0")
        return at, None
    if not is_tensor(n):
        n = np.asarray(n)
    at = rd.counts(n.reshape(-1))
    lowest: Any = at.num if isinstance(at, Exact) else at
    if len(lowest) and bool((lowest < 0).any()):
        raise ValueError("updates are counted from 0")
    return at, n.shape


def _shaped(out: Any, at: Value, shape: Any, dtype: Any) -> Any:
    if shape is None:
        return float(out)
    if is_scalar(out):
        full = _empty(at.num if isinstance(at, Exact) else at)
        full[...] = out
        out = full
    out = out.reshape(shape)
    if dtype is not None:
        out = out.to(dtype) if is_tensor(out) else out.astype(dtype)
    return out


class _Bindings:
    """The values of a plan's names in one param group, each worked out from those it reads."""

    def __init__(
        self,
        plan: Plan,
        base: float | Mapping[str, float] | None,
        group: Sequence[int],
        captures: Mapping[int, Mapping[str, int]],
        factors: Mapping[int, float],
    ) -> None:
        self.plan = plan
        self.base = base
        self.group = group
        self.captures = captures
        self.values: dict[str, Any] = {f"factor:{f.index}": 1 for f in plan.feedback}
        self.values.update({f"factor:{i}": f for i, f in factors.items()})
        self.open: list[str] = []

    def base_of(self, name: str) -> float | None:
        return self.base.get(name) if isinstance(self.base, Mapping) else self.base

    def value(self, name: str, n: Any) -> Any:
        if name in self.open:
            raise ValueError(
                "bindings that read each other: " + " -> ".join([*self.open[self.open.index(name) :], name])
            )
        self.open.append(name)
        try:
            return self._value(name, n)
        finally:
            self.open.pop()

    def _value(self, name: str, n: Any) -> Any:
        base = self.base_of(name)
        rules: list[tuple[Binding, Mapping[str, int]]] = [(b, {}) for b in self.plan.bindings if b.name == name]
        for i in sorted(self.group):
            rules += [(b, self.captures.get(i, {})) for b in self.plan.groups[i].bindings if b.name == name]
        if not rules:
            rules = [(b, {}) for b in self.plan.lets if b.name == name]
        # What stands before the last `=` is replaced, so it need not be defined.
        last = max((k for k, (b, _) in enumerate(rules) if not b.relative), default=-1)
        if last < 0 and base is None:
            raise ValueError(f"`{name}` is relative to the value the optimizer was built with: give `base`")
        value: Any = base if last < 0 else None
        for binding, captured in rules[max(0, last) :]:
            factor = self._curve(binding, base, captured, n)
            value = factor if value is None else value * factor
        return value

    def _curve(self, binding: Binding, base: float | None, captured: Mapping[str, int], n: Any) -> Any:
        values = {**self.values, **{f"capture:{i}": c for i, c in captured.items()}}
        if base is not None:
            values["base"] = base
        return curve_values(self.plan.clocks, binding.curve, n, values, self.value)


def binding_values(
    plan: Plan,
    name: str,
    n: Any,
    *,
    base: float | Mapping[str, float] | None = None,
    group: Sequence[int] = (),
    captures: Mapping[int, Mapping[str, int]] = MappingProxyType({}),
    factors: Mapping[int, float] = MappingProxyType({}),
    dtype: Any = None,
) -> Any:
    """What `name` is at update n (or at each of an array) in the param group matched by the group rules `group`.

    `base` is what the optimizer was built with, for every name or by name; where the plan reads it and it is None,
    ValueError. `captures` are the numbers that a rule's selectors bound, by rule and name; `factors` the plateaus'
    factors, 1 where not given.
    """
    out = _Bindings(plan, base, group, captures, factors).value(name, n)
    if is_scalar(out) and not is_scalar(n):
        at, shape = _positions(n)
        return _shaped(out, at, shape, dtype)
    return out if dtype is None or is_scalar(out) else out.to(dtype) if is_tensor(out) else out.astype(dtype)


def value(plan: Plan, name: str, n: Any, base: float | None = None) -> Any:
    """What `name` is at update n for a parameter that no group rule matches, with no observation made."""
    return binding_values(plan, name, n, base=base)
