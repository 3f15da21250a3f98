"""The Plan: all a schedule means, checked, as frozen data that outlives the compiler.

It is the stable format between compiler and backends, and what a checkpoint stores. It reads without Lark and SymPy.
Positions, readings and constants are exact (`Exact`: a rational, a string such as "3/10" in JSON). Positions count
updates: update n is the position n; a segment owns the updates `first` … `last`, those n with start <= n < end.
"""

from __future__ import annotations

import hashlib
import json
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema

from schedc.compiler import expressions as ex

FORMAT = 1
"""The version of the Plan's JSON. A reader refuses a higher one."""


def _exact(value: Any) -> Fraction:
    if isinstance(value, Fraction | int | str) and not isinstance(value, bool):
        return Fraction(value)
    raise ValueError('an exact number is written as a string such as "3/10"')


Exact = Annotated[
    Fraction,
    BeforeValidator(_exact),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^-?\d+(/\d+)?$"}),
]
Formula = Annotated[
    Any,
    BeforeValidator(lambda v: v if isinstance(v, ex.Expr) else ex.from_json(v)),
    PlainSerializer(ex.to_json),
    WithJsonSchema({"description": "an expression: an exact number as a string, or [kind, …]"}),
]
"""An `expressions.Expr`; in JSON the lists of `expressions.to_json`."""

ClockName = Literal["steps", "epochs", "samples", "tokens"]


class ScheduleEnded(RuntimeError):
    """Training went on into a stage that is `error`."""


class UnknownClock(ValueError):
    """A clock that is read where the run says too little about it. `clock` is its name."""

    def __init__(self, clock: str) -> None:
        super().__init__(f"nothing says how many {clock} an update takes")
        self.clock = clock


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Amount(Frozen):
    """A quantity in a clock's unit."""

    clock: ClockName
    amount: Exact


class Place(Frozen):
    """Where in the source something was written."""

    file: str
    line: int
    column: int


class ClockPiece(Frozen):
    """A stretch of updates over which every clock advances evenly, from update `update` to the next piece's.

    `samples`, `tokens`, `epochs` are the readings at its start, `*_per_update` the rates; None where unknown.
    `batch` is the declared global batch in samples, `seq_len` in tokens.
    """

    update: int
    samples: Exact | None = None
    tokens: Exact | None = None
    epochs: Exact | None = None
    samples_per_update: Exact | None = None
    tokens_per_update: Exact | None = None
    epochs_per_update: Exact | None = None
    batch: int | None = None
    seq_len: int | None = None


class Clocks(Frozen):
    """A run's clocks: pieces in order.

    The last piece goes on for ever, unless `period` says that the updates from
    `period_start` on repeat every `period` updates, each time from the readings reached.
    """

    pieces: tuple[ClockPiece, ...]
    period_start: int | None = None
    period: int | None = None


class Run(Frozen):
    """The declared length: in its clock, the position where it ends, and the number of updates (that, rounded up)."""

    clock: ClockName
    length: Exact
    end: Exact
    updates: int


class Segment(Frozen):
    """One piece of a schedule, on [start, end) in updates; `end` None: for ever.

    `formula` is the value as a function of the clocks; with t = reading(clock, table) - origin it is the formula in
    local
    time. `begins` and `ends` are its values at start and, seen from the left, at end; constants, but for what a run
    supplies. `label` is the stage as written.
    """

    start: Exact
    end: Exact | None
    formula: Formula
    clock: ClockName = "steps"
    origin: Exact = Fraction(0)
    table: int = 0
    horizon: Exact | None = None
    begins: Formula
    ends: Formula | None
    label: str = ""
    place: Place | None = None
    error: str | None = None
    """Set for `error`: reaching this segment stops training with this message."""

    @property
    def first(self) -> int:
        """The first update it owns."""
        return max(0, -(-self.start.numerator // self.start.denominator))

    @property
    def last(self) -> int | None:
        """The last update it owns (smaller than `first` if none); None: no last one."""
        return None if self.end is None else -(-self.end.numerator // self.end.denominator) - 1


class Curve(Frozen):
    """A schedule laid out from update 0: segments in order, without gap, the last one endless or followed by `after`.

    `after` is the value held once the segments have ended (a formula without clocks, but perhaps with feedback
    factors).
    """

    segments: tuple[Segment, ...]
    after: Formula | None = None

    @property
    def end(self) -> Fraction | None:
        """The position where the schedule ends; None: never."""
        return self.segments[-1].end if self.segments else Fraction(0)


class Feedback(Frozen):
    """One `plateau`. Its factor F is `factor` to the power of the cuts made; formulas read it as `factor:{index}`.

    It observes metric `metric` while start <= update < end. An observation is better if it passes the best by the
    threshold: for mode min and rel, m < best·(1 - threshold) - atol. More than `patience` observations in a row that
    are not
    better (or `patience_clock`-many of that clock's unit without a better one) cut, unless the value, `input` times F
    and under
    `floor`, would fall by less than `eps`; then a cooldown of `cooldown` observations (or units) follows. `window`
    observations are averaged into one.
    """

    index: int
    metric: str
    mode: Literal["min", "max"]
    factor: Exact
    patience: Exact
    patience_clock: ClockName | None = None
    cooldown: Exact
    cooldown_clock: ClockName | None = None
    threshold: Exact
    threshold_mode: Literal["rel", "abs"]
    atol: Exact
    floor: Formula
    eps: Exact
    window: int
    in_cooldown: Literal["track", "ignore"]
    start: Exact
    end: Exact | None
    input: Curve
    place: Place | None = None


class Binding(Frozen):
    """`name = curve` or, `relative`, `name *= curve`. `name` is as written: `lr`, `betas[1]`, `my_key`."""

    name: str
    relative: bool
    curve: Curve
    place: Place | None = None


class SelectorModel(Frozen):
    """One selector: "glob" (`text`), "type" (`text`: `Linear` or `Linear.weight`) or "ndim" (`op`, `number`)."""

    kind: Literal["glob", "type", "ndim"]
    text: str = ""
    op: str = ""
    number: int = 0

    def __str__(self) -> str:
        if self.kind == "ndim":
            return f"ndim {self.op} {self.number}"
        return f'"{self.text}"' if self.kind == "glob" else self.text


class Selection(Frozen):
    """A union of selectors, less another."""

    union: tuple[SelectorModel, ...]
    excepted: tuple[SelectorModel, ...] = ()

    def __str__(self) -> str:
        text = ", ".join(map(str, self.union))
        return text + (" except " + ", ".join(map(str, self.excepted)) if self.excepted else "")


class GroupRule(Frozen):
    """`group SELECTORS { … }`; captures `{i}` are read by the formulas as `capture:i`."""

    selection: Selection
    bindings: tuple[Binding, ...]
    place: Place | None = None


class InitRule(Frozen):
    """`selectors : initialiser`.

    `kind` is the distribution (constant, normal, uniform, trunc_normal, orthogonal, dirac,
    identity, sparse), `arguments` its parameters as formulas in `fan_in`, `fan_out`, `numel`; `options` its words and
    flags.
    """

    selection: Selection
    kind: str
    arguments: dict[str, Formula]
    options: dict[str, str | bool | int] = {}
    label: str = ""
    place: Place | None = None


class BatchPhase(Frozen):
    """A stretch of the run with one global batch (in samples) and sequence length, from update `update` on."""

    update: int
    global_batch: int
    seq_len: int | None


class BatchSettings(Frozen):
    """`batch { … }`: what was declared. `phases` lists every value the global batch takes over the run."""

    phases: tuple[BatchPhase, ...] = ()
    micro: int | Literal["auto"] | None = None
    accumulation: int | Literal["auto"] | None = None
    workers: int | Literal["auto"] | None = None
    pin_memory: bool | None = None
    place: Place | None = None


class TrainSettings(Frozen):
    """`train { … }`: what was declared or given from outside."""

    dataset: int | None = None
    classes: int | None = None
    drop_last: bool = False
    world_size: int | None = None
    steps_per_epoch: int | None = None
    tick: Literal["step", "epoch"] = "step"


class Fact(Frozen):
    """What was shown about a binding: `claim` in words, `how` it is known, the value where there is one."""

    binding: str
    claim: str
    how: Literal["proved", "certified", "refuted", "undecided", "deferred"]
    detail: str = ""


class Derived(Frozen):
    """A count the compiler derived: what it is, its value, and how it came about (rounding rule included)."""

    what: str
    value: str
    how: str


class Plan(Frozen):
    """A checked program. See the module for units; `schedc.load` and `schedc.compile` make one."""

    format: int = FORMAT
    version: str
    name: str
    source: str
    parameters: dict[str, str] = {}
    context: dict[str, str] = {}
    clocks: tuple[Clocks, ...]
    run: Run | None = None
    train: TrainSettings = TrainSettings()
    batch: BatchSettings = BatchSettings()
    bindings: tuple[Binding, ...] = ()
    lets: tuple[Binding, ...] = ()
    groups: tuple[GroupRule, ...] = ()
    feedback: tuple[Feedback, ...] = ()
    init: tuple[InitRule, ...] = ()
    facts: tuple[Fact, ...] = ()
    derived: tuple[Derived, ...] = ()

    def canonical_json(self) -> str:
        """The whole Plan as JSON with sorted keys and no blanks: equal Plans give equal text."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))

    @property
    def hash(self) -> str:
        """SHA-256 of what the Plan means: schedules, clocks, feedback, groups, init and batch, without names, places and facts."""
        data = self.model_dump(
            mode="json",
            include={"format", "clocks", "run", "train", "batch", "bindings", "lets", "groups", "feedback", "init"},
        )
        return hashlib.sha256(json.dumps(_meaning(data), sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _meaning(data: Any) -> Any:
    if isinstance(data, dict):
        return {k: _meaning(v) for k, v in data.items() if k not in ("place", "label")}
    if isinstance(data, list):
        return [_meaning(v) for v in data]
    return data


def read(text: str) -> Plan:
    """The Plan from its JSON. Raises ValueError for JSON of a later format or another shape."""
    data = json.loads(text)
    if not isinstance(data, dict) or not isinstance(data.get("format"), int):
        raise ValueError("this JSON is not a schedc Plan")
    if data["format"] > FORMAT:
        raise ValueError(f"this Plan has format {data['format']}; this schedc reads up to {FORMAT}: upgrade schedc")
    return Plan.model_validate(data)
