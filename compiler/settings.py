"""`train` and `batch` blocks: the clocks and the run they declare, and the settings handed on as they are."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import ceil, floor

from schedc.compiler import expressions as ex
from schedc.compiler import messages_layout as say
from schedc.compiler import plan
from schedc.compiler import resolved as rd
from schedc.compiler.amounts import LARGEST, Declared, Env, Frame, Ground, Quantity, Stop, duration, flag, number
from schedc.compiler.clocks import ClockError, Clocks, Size
from schedc.compiler.constants import exact
from schedc.compiler.kinds import is_operand, varying
from schedc.compiler.placed import Context, Placed, fix
from schedc.compiler.placing import place
from schedc.compiler.plan import UnknownClock
from schedc.compiler.resolve import type_of
from schedc.compiler.source import NOWHERE

CHANGE = 10
"""What one look at a scheduled batch size counts, beside the parts of its formula."""


FOLLOWED = 1_000_000
"""How many updates of a batch ramp are looked at where no run is declared."""


class Growing(Clocks):
    """The clocks of a run as far as they have grown: they answer only about the past, so that the batch size may depend on it."""

    def __init__(self, clocks: Clocks) -> None:
        self.grown = clocks
        self.batch, self.seq_len, self.dataset = clocks.batch, clocks.seq_len, clocks.dataset
        self.drop_last, self.steps_per_epoch = clocks.drop_last, clocks.steps_per_epoch
        self.known = clocks.known

    def at(self, clock: str, position: Fraction) -> Fraction:
        c = self.grown
        if clock == "steps":
            return position
        if not c.known[clock]:
            raise UnknownClock(clock)
        if clock == "epochs" and c.steps_per_epoch is None and c._open_epoch(floor(position)):
            # Inside an epoch whose end is not known: past its start, and short of the next whole number.
            return c._epoch + (Fraction(0) if position == c.pieces[c._epoch_pieces[0]].n else Fraction(1, 2))
        if clock != "epochs" and position >= c._n:
            return c._samples if clock == "samples" else c._tokens
        if clock == "epochs" and c.steps_per_epoch is None and position >= c._n:
            return Fraction(c._epoch)
        return c.at(clock, position)

    def position(self, clock: str, reading: Fraction) -> Fraction:
        c = self.grown
        if clock != "steps" and not (clock == "epochs" and c.steps_per_epoch) and reading > c._frontier(clock):
            raise Stop(say.look_ahead("what is consumed later", NOWHERE))
        if clock != "steps" and reading == c._frontier(clock) and not (clock == "epochs" and c.steps_per_epoch):
            return Fraction(c._n)
        return c.position(clock, reading)

    def batch_at(self, position: Fraction) -> int:
        raise Stop(say.look_ahead("the batch size itself", NOWHERE))

    def ratio(self, clock: str, per: str) -> Fraction | None:
        if clock == per:
            return Fraction(1)
        c = self.grown
        if {clock, per} == {"samples", "tokens"} and isinstance(c.seq_len, int):
            return Fraction(c.seq_len) if clock == "tokens" else Fraction(1, c.seq_len)
        if {clock, per} == {"steps", "epochs"} and c.steps_per_epoch:
            return Fraction(c.steps_per_epoch) if clock == "steps" else Fraction(1, c.steps_per_epoch)
        return None


class Scheduled(Size):
    """A batch size or sequence length given as a schedule."""

    def __init__(self, name: str, node: rd.Expr, clocks: Clocks, run: Declared | None) -> None:
        self.name, self.node = name, node
        self.clocks = clocks
        self.ground = Ground(Growing(clocks), run, growing=True)
        self.placed: Placed | None = None
        self.other: int | Size | None = None

    def _at(self, n: int) -> tuple[Placed, int, ex.Expr]:
        if self.placed is None:
            self.placed = place(
                self.node, Env(), Context(self.ground, Fraction(0), place, None, False, self.ground.end)
            )
        part = self.placed.at(Fraction(n))
        value = exact(fix(part.expr, Fraction(n), self.ground))
        if value is None or value.denominator != 1:
            other = next((e for e in ex.walk(part.expr) if isinstance(e, ex.Bound)), None)
            if other is not None:
                raise Stop(say.look_ahead(f"`{other.name}`", self.node.span))
            raise Stop(say.not_whole(self.name, n, value, self.node.span))
        return self.placed, int(value), part.expr

    def now(self, n: int) -> int:
        return self._at(n)[1]

    def __call__(self, n: int, samples: Fraction, tokens: Fraction | None) -> tuple[int, int | None]:
        ex.spend(CHANGE)
        placed, value, expr = self._at(n)
        other = (
            self.other.now(n)
            if isinstance(self.other, Scheduled)
            else self.other
            if isinstance(self.other, int)
            else None
        )
        batch, seq_len = (value, other) if self.name == "global" else (other, value)
        rates = {
            "steps": 1,
            "samples": batch,
            "tokens": None if batch is None or seq_len is None else batch * seq_len,
            "epochs": None,
        }
        here = {"steps": Fraction(n), "samples": samples, "tokens": tokens}
        most: int | None = None
        for mark in [] if placed.ended(Fraction(n)) else placed.marks(Fraction(n)):
            rate, at = rates[mark.clock], here.get(mark.clock)
            updates = 1 if rate is None or at is None else max(1, ceil((mark.reading - at) / rate))
            most = updates if most is None else min(most, updates)
        if ex.is_constant(expr):
            return value, most
        return value, self._stays(expr, value, here, rates, most)

    def _stays(
        self,
        expr: ex.Expr,
        value: int,
        here: dict[str, Fraction | None],
        rates: dict[str, int | None],
        most: int | None,
    ) -> int:
        """For how many updates the expression is certainly equal to `value`, by exact interval arithmetic; at least 1."""
        from schedc.compiler.enclosures import exact_bounds

        def same(updates: int) -> bool:
            steps = here["steps"] or Fraction(0)
            ranges: dict[tuple[str, int], tuple[Fraction, Fraction]] = {}
            for clock, start in here.items():
                rate = rates[clock]
                if start is not None and rate is not None:
                    ranges[clock, 0] = (start, start + (updates - 1) * rate)
            try:
                found = exact_bounds(expr, steps, steps + updates - 1, ranges)
            except KeyError:
                return False  # it reads a clock whose pace is not known here
            return not found.maybe_undefined and found.lo == found.hi == value

        good, step = 1, 1
        limit = most if most is not None else 1 << 40
        while good + step <= limit and same(good + step):
            good += step
            step *= 2
        step //= 2
        while step >= 1:
            if good + step <= limit and same(good + step):
                good += step
            step //= 2
        return good


def ground_of(module: rd.Module, table: int, outer: Ground | None = None) -> Ground:
    """The clocks and the run of a file. Raises Stop for a setting with a value it can't have."""
    train = module.train
    if outer is not None and not train and not module.batch:
        return outer
    free = Frame(Ground(Clocks(None, None, None, False, None)))

    def whole(name: str, table_: dict[str, rd.Bind], unit: str | None = None) -> int | None:
        if name not in table_:
            return None
        node = table_[name].value
        if type_of(node) not in ("number", "duration"):
            raise Stop(say.bad_setting(name, "a whole number", type_of(node), node.span))
        if unit is not None and isinstance(node, rd.Literal) and node.unit == unit:
            value: Fraction | None = node.value
        else:
            value = exact(number(node, Env(), free)) if type_of(node) == "number" else None
        if value is None or value.denominator != 1 or value < 1:
            raise Stop(say.bad_setting(name, "a whole number from 1 on", node.span.text, node.span))
        return int(value)

    steps_per_epoch = whole("steps_per_epoch", train, "steps")
    dataset = whole("dataset", train, "samples")
    drop_last = "drop_last" in train and _flag("drop_last", train["drop_last"].value)
    length = _length(train, free, steps_per_epoch)
    sizes: dict[str, int | rd.Expr | None] = {}
    for name, table_ in (("seq_len", train), ("global", module.batch)):
        node = table_[name].value if name in table_ else None
        if node is None:
            sizes[name] = None
        elif is_operand(node, Env()) or varying(node, Env()):
            sizes[name] = node
        elif isinstance(node, rd.Literal) and node.unit == "tokens" and name == "global":
            raise Stop(say.no_context("tokens", node.span))  # with a sequence length it was divided by it
        else:
            sizes[name] = whole(name, table_, "tokens" if name == "seq_len" else "samples")
    clocks = Clocks(None, None, dataset, drop_last, steps_per_epoch)
    made = {n: Scheduled(n, v, clocks, length) if isinstance(v, rd.Node) else v for n, v in sizes.items()}
    for name, other in (("global", "seq_len"), ("seq_len", "global")):
        size = made[name]
        if isinstance(size, Scheduled):
            size.other = made[other]
    Clocks.__init__(clocks, made["global"], made["seq_len"], dataset, drop_last, steps_per_epoch)
    for size in made.values():
        if isinstance(size, Scheduled):
            size.ground.clocks = Growing(clocks)
    ground = Ground(clocks, length, table)
    if steps_per_epoch is not None and dataset is not None and isinstance(clocks.batch, int):
        counted = dataset // clocks.batch if drop_last else -(-dataset // clocks.batch)
        if counted != steps_per_epoch:
            span = train["steps_per_epoch"].value.span
            raise Stop(
                say.bad_setting(
                    "steps_per_epoch",
                    f"{counted}: {dataset} samples in batches of {clocks.batch}",
                    str(steps_per_epoch),
                    span,
                )
            )
    if length is not None and not clocks.known[length.clock]:
        raise Stop(say.no_context(length.clock, train["length"].value.span))
    if length is not None and (length.length >= LARGEST or not ex.is_small(length.length)):
        raise Stop(say.number_too_large(train["length"].value.span))
    if length is not None and length.length <= 0:
        raise Stop(say.bad_setting("length", "above 0", train["length"].value.span.text, train["length"].value.span))
    try:
        if length is not None:
            end = clocks.position(length.clock, length.length)
            clocks.extend_to(end)
    except ClockError as e:
        where = module.batch.get("global") or train.get("dataset") or train["length"]
        raise Stop(say.bad_clock(str(e), where.value.span)) from None
    return ground


def _flag(name: str, node: rd.Expr) -> bool:
    if not isinstance(node, rd.FlagValue):
        raise Stop(say.bad_setting(name, "`true` or `false`", node.span.text, node.span))
    return flag(node, Env())


def _length(train: dict[str, rd.Bind], frame: Frame, steps_per_epoch: int | None) -> Declared | None:
    if "length" not in train:
        return None
    node = train["length"].value
    if type_of(node) not in ("number", "duration") or varying(node, Env()):
        raise Stop(say.bad_setting("length", "a duration", node.span.text, node.span))
    known = Clocks(None, None, None, False, steps_per_epoch)
    known.known = dict.fromkeys(known.known, True)
    quantity: Quantity = duration(node, Env(), replace(frame, ground=Ground(known)))
    if quantity.bare and quantity.amount.denominator != 1:
        raise Stop(say.bare_fraction(quantity.amount, node.span))
    return Declared(quantity.clock, quantity.amount)


def train_settings(module: rd.Module, ground: Ground) -> plan.TrainSettings:
    """`train` as Plan data; what `ground_of` has read is not checked again."""
    train = module.train

    def whole(name: str) -> int | None:
        if name not in train:
            return None
        node = train[name].value
        value = exact(number(node, Env(), Frame(ground))) if type_of(node) == "number" else getattr(node, "value", None)
        if not isinstance(value, Fraction) or value.denominator != 1 or value < 1:
            raise Stop(say.bad_setting(name, "a whole number from 1 on", node.span.text, node.span))
        return int(value)

    tick = train["tick"].value if "tick" in train else None
    if tick is not None and not (isinstance(tick, rd.Word) and tick.value in ("step", "epoch")):
        raise Stop(say.bad_setting("tick", "`step` or `epoch`", tick.span.text, tick.span))
    if isinstance(tick, rd.Word) and tick.value == "epoch" and not ground.clocks.known["epochs"]:
        raise Stop(say.no_context("epochs", tick.span))
    return plan.TrainSettings(
        dataset=whole("dataset"), classes=whole("classes"), drop_last=ground.clocks.drop_last, world_size=whole("world_size"),
        steps_per_epoch=whole("steps_per_epoch"), tick=tick.value if isinstance(tick, rd.Word) else "step",  # type: ignore[arg-type]
    )  # fmt: skip


def batch_settings(module: rd.Module, ground: Ground, end: Fraction | None) -> plan.BatchSettings:
    """`batch` as Plan data, with every value the global batch takes over the run."""
    batch = module.batch

    def whole(name: str) -> int | str | None:
        if name not in batch:
            return None
        node = batch[name].value
        if isinstance(node, rd.Word) and node.value == "auto" and name != "pin_memory":
            return "auto"
        value = exact(number(node, Env(), Frame(ground))) if type_of(node) == "number" else None
        least = 0 if name == "workers" else 1
        if value is None or value.denominator != 1 or value < least:
            raise Stop(say.bad_setting(name, f"a whole number from {least} on, or `auto`", node.span.text, node.span))
        return int(value)

    pin = _flag("pin_memory", batch["pin_memory"].value) if "pin_memory" in batch else None
    phases: list[plan.BatchPhase] = []
    clocks = ground.clocks
    if clocks.batch is not None:
        clocks.extend_to(Fraction(0))
        # Without a run, a ramp is followed to its end, so that every value it takes is known to be a batch size.
        while end is None and not clocks.finished and clocks.updates_known < FOLLOWED:
            clocks.extend_to(Fraction(clocks.updates_known))
        for piece in clocks.pieces:
            if end is not None and piece.n >= end:
                break
            seq_len = piece.seq_len if clocks.seq_len is not None else None
            if not phases or (phases[-1].global_batch, phases[-1].seq_len) != (piece.batch, seq_len):
                phases.append(plan.BatchPhase(update=piece.n, global_batch=piece.batch, seq_len=seq_len))
    return plan.BatchSettings(
        phases=tuple(phases), micro=whole("micro"), accumulation=whole("accumulation"), workers=whole("workers"), pin_memory=pin,  # type: ignore[arg-type]
    )  # fmt: skip
