"""A training loop that knows only the past, in exact fractions: the semantics of language.md, the slow and obvious way.

Programs are random trees; `text` writes one as `.sched`, `Loop` runs it update by update. Nothing here is shared with
the
compiler: clocks are appended one update at a time, and asking one about its future fails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction as Q
from math import floor
from typing import Any

Sizes = Callable[[int, Q, Q], tuple[int, int]]


class Clock:
    """What was consumed before each update so far. `sizes(n, samples, tokens)` gives batch and sequence length."""

    def __init__(self, sizes: Sizes, dataset: int | None = None, drop_last: bool = False) -> None:
        self.sizes, self.dataset, self.drop_last = sizes, dataset, drop_last
        self.read = {"steps": [Q(0)], "samples": [Q(0)], "tokens": [Q(0)]}
        self.left = dataset or 0
        self.batches: list[int] = []

    @property
    def n(self) -> int:
        return len(self.read["steps"]) - 1

    def advance(self) -> None:
        n, s, k = self.n, self.read["samples"][-1], self.read["tokens"][-1]
        batch, seq_len = self.sizes(n, s, k)
        if self.dataset is not None:
            if (self.drop_last and self.left < batch) or (not self.drop_last and self.left == 0):
                self.left = self.dataset or 0
            batch = min(batch, self.left)
            self.left -= batch
        self.batches.append(batch)
        self.read["steps"].append(Q(n + 1))
        self.read["samples"].append(s + batch)
        self.read["tokens"].append(k + batch * seq_len)

    def at(self, unit: str, position: Q) -> Q:
        readings = self.read[unit]
        n = floor(position)
        assert position <= self.n, "a look into the future"
        if n == self.n:
            return readings[n]
        return readings[n] + (position - n) * (readings[n + 1] - readings[n])

    def inv(self, unit: str, reading: Q) -> Q:
        readings = self.read[unit]
        assert reading <= readings[-1], "a look into the future"
        n = next(i for i in range(len(readings) - 1, -1, -1) if readings[i] <= reading)
        if n == self.n:
            return Q(n)
        return n + (reading - readings[n]) / (readings[n + 1] - readings[n])


# Programs: each knows its text, and how to begin at a position with an entering value.


@dataclass(frozen=True)
class Stage:
    """`linear`, `square` (a formula), `hold`, `inverse`, `constant`: over `amount` of `unit`."""

    kind: str
    amount: Q
    unit: str
    to: Q = Q(0)
    begin_at: Q | None = None

    def text(self) -> str:
        d = f"{self.amount} {self.unit}"
        start = "start" if self.begin_at is None else f"({self.begin_at})"
        if self.kind == "linear":
            return f"linear({d}, to=({self.to}), from={start})"
        if self.kind == "square":
            return f"({start} + (({self.to}) - {start}) * p^2 for {d})"
        if self.kind == "hold":
            return f"hold({d})"
        if self.kind == "inverse":
            return f"(start / (1 + t / 7) for {d})"
        return f"(({self.to}) for {d})"

    def begin(self, clock: Clock, position: Q, entering: Q | None) -> Any:
        return Running(self, clock, position, entering)


class Running:
    def __init__(self, stage: Any, clock: Clock, position: Q, entering: Q | None) -> None:
        self.stage, self.clock, self.start, self.entering = stage, clock, position, entering
        self.origin = clock.at(stage.unit, position)

    def ended(self, position: Q) -> Any:
        return self.clock.at(self.stage.unit, position) >= self.origin + self.stage.amount

    def end(self) -> Any:
        return self.clock.inv(self.stage.unit, self.origin + self.stage.amount)

    def value(self, position: Q) -> Any:
        s = self.stage
        entering = Q(1) if self.entering is None else self.entering
        t = min(self.clock.at(s.unit, position) - self.origin, s.amount)
        p = Q(1) if t == s.amount else t / s.amount
        start = entering if s.begin_at is None else s.begin_at
        forms: dict[str, Callable[[], Q]] = {
            "linear": lambda: start + (s.to - start) * p,
            "square": lambda: start + (s.to - start) * p**2,
            "hold": lambda: entering,
            "inverse": lambda: entering / (1 + t / 7),
            "constant": lambda: s.to,
        }
        return forms[s.kind]()


@dataclass(frozen=True)
class Chain:
    parts: tuple[Any, ...]

    def text(self) -> str:
        return "(" + " -> ".join(p.text() for p in self.parts) + ")"

    def begin(self, clock: Clock, position: Q, entering: Q | None) -> Any:
        return RunningChain(self, clock, position, entering)


class RunningChain:
    def __init__(self, chain: Any, clock: Clock, position: Q, entering: Q | None) -> None:
        self.chain, self.clock = chain, clock
        self.begun = [chain.parts[0].begin(clock, position, entering)]

    def reach(self, position: Q) -> None:
        while self.begun[-1].ended(position) and len(self.begun) < len(self.chain.parts):
            last = self.begun[-1]
            end = last.end()
            self.begun.append(self.chain.parts[len(self.begun)].begin(self.clock, end, last.value(end)))

    def ended(self, position: Q) -> Any:
        self.reach(position)
        return len(self.begun) == len(self.chain.parts) and self.begun[-1].ended(position)

    def end(self) -> Any:
        return self.begun[-1].end()

    def value(self, position: Q) -> Any:
        self.reach(position)
        return next((b for b in self.begun if not b.ended(position)), self.begun[-1]).value(position)


@dataclass(frozen=True)
class Affine:
    """`k * S + c`."""

    k: Q
    c: Q
    body: Any

    def text(self) -> str:
        return f"(({self.k}) * {self.body.text()} + ({self.c}))"

    def begin(self, clock: Clock, position: Q, entering: Q | None) -> Any:
        return RunningAffine(
            self, self.body.begin(clock, position, None if entering is None else (entering - self.c) / self.k)
        )


class RunningAffine:
    def __init__(self, affine: Affine, inner: Any) -> None:
        self.affine, self.inner = affine, inner
        self.ended, self.end = inner.ended, inner.end

    def value(self, position: Q) -> Any:
        return self.affine.k * self.inner.value(position) + self.affine.c


@dataclass(frozen=True)
class Least:
    """`min(S, T)`: in parallel, the shorter one held."""

    a: Any
    b: Any

    def text(self) -> str:
        return f"min({self.a.text()}, {self.b.text()})"

    def begin(self, clock: Clock, position: Q, entering: Q | None) -> Any:
        return RunningLeast(self.a.begin(clock, position, entering), self.b.begin(clock, position, entering))


class RunningLeast:
    def __init__(self, a: Any, b: Any) -> None:
        self.a, self.b = a, b

    def ended(self, position: Q) -> Any:
        return self.a.ended(position) and self.b.ended(position)

    def end(self) -> Any:
        return max(self.a.end(), self.b.end())

    def value(self, position: Q) -> Any:
        return min(held(self.a, position), held(self.b, position))


def held(running: Any, position: Q) -> Any:
    return running.value(running.end() if running.ended(position) else position)


@dataclass(frozen=True)
class Cut:
    """`S for D`: cut, or held until there."""

    body: Any
    amount: Q
    unit: str

    def text(self) -> str:
        return f"({self.body.text()} for {self.amount} {self.unit})"

    def begin(self, clock: Clock, position: Q, entering: Q | None) -> Any:
        return RunningCut(self, clock, position, self.body.begin(clock, position, entering))


class RunningCut:
    def __init__(self, cut: Any, clock: Clock, position: Q, inner: Any) -> None:
        self.cut, self.clock, self.inner = cut, clock, inner
        self.stop = clock.at(cut.unit, position) + cut.amount

    def ended(self, position: Q) -> Any:
        return self.clock.at(self.cut.unit, position) >= self.stop

    def end(self) -> Any:
        return self.clock.inv(self.cut.unit, self.stop)

    def value(self, position: Q) -> Any:
        return held(self.inner, min(position, self.end()) if self.ended(position) else position)


@dataclass(frozen=True)
class Repeat:
    """`S | repeat times decay growth`; the cycle's boundaries are all in `unit`."""

    body: Any
    times: int
    decay: Q
    growth: Q
    unit: str

    def text(self) -> str:
        return f"({self.body.text()} | repeat times={self.times} decay=({self.decay}) growth=({self.growth}))"

    def begin(self, clock: Clock, position: Q, entering: Q | None) -> Any:
        return RunningRepeat(self, clock, position, entering)


class RunningRepeat:
    """Replays the first cycle, whose values are remembered as a function of the reading since its start."""

    def __init__(self, repeat: Any, clock: Clock, position: Q, entering: Q | None) -> None:
        self.repeat, self.clock, self.start = repeat, clock, position
        self.origin = clock.at(repeat.unit, position)
        self.first = repeat.body.begin(clock, position, entering)

    def bounds(self) -> list[Any]:
        length = self.clock.at(self.repeat.unit, self.first.end()) - self.origin
        out = [Q(0)]
        for k in range(self.repeat.times):
            out.append(out[-1] + length * self.repeat.growth**k)
        return out

    def ended(self, position: Q) -> Any:
        return (
            self.first.ended(position) and self.clock.at(self.repeat.unit, position) - self.origin >= self.bounds()[-1]
        )

    def end(self) -> Any:
        return self.clock.inv(self.repeat.unit, self.origin + self.bounds()[-1])

    def value(self, position: Q) -> Any:
        if not self.first.ended(position):
            return self.first.value(position)
        bounds = self.bounds()
        t = self.clock.at(self.repeat.unit, position) - self.origin
        k = next((i for i in range(self.repeat.times) if t < bounds[i + 1]), self.repeat.times - 1)
        if t >= bounds[-1]:
            return self.repeat.decay**k * self.first.value(self.first.end())
        x = (t - bounds[k]) / self.repeat.growth**k
        return self.repeat.decay**k * self.first.value(self.clock.inv(self.repeat.unit, self.origin + x))


@dataclass(frozen=True)
class Stairs:
    """`S | staircase every`."""

    body: Any
    every: Q
    unit: str

    def text(self) -> str:
        return f"({self.body.text()} | staircase({self.every} {self.unit}))"

    def begin(self, clock: Clock, position: Q, entering: Q | None) -> Any:
        return RunningStairs(self, clock, position, self.body.begin(clock, position, entering))


class RunningStairs:
    def __init__(self, stairs: Any, clock: Clock, position: Q, inner: Any) -> None:
        self.stairs, self.clock, self.inner = stairs, clock, inner
        self.origin = clock.at(stairs.unit, position)
        self.ended, self.end = inner.ended, inner.end

    def value(self, position: Q) -> Any:
        t = self.clock.at(self.stairs.unit, position) - self.origin
        x = floor(t / self.stairs.every) * self.stairs.every
        return held(self.inner, self.clock.inv(self.stairs.unit, self.origin + x))


def run(program: Any, clock: Clock, updates: int) -> list[Q]:
    """The values of the first `updates` updates, each computed when only the updates before it have happened."""
    running = program.begin(clock, Q(0), None)
    out = []
    for _ in range(updates):
        out.append(held(running, Q(clock.n)))
        clock.advance()
    return out
