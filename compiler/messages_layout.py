"""Messages about units and layout (SC3xx): one constructor each, so that callers write no prose."""

from __future__ import annotations

from fractions import Fraction

from schedc.compiler.codes import code
from schedc.compiler.diagnostics import Diagnostic, Label, error, note, warning
from schedc.compiler.source import Span

NO_CONTEXT = code("SC301", "unit-without-context", "a unit whose clock nothing makes known")
NO_DURATION = code("SC302", "missing-duration", "a stage that needs a length and has none")
NO_ROOM = code("SC303", "no-room", "a stage that would have to end before it starts")
TWO_OPEN = code("SC304", "two-open-stages", "two stages of one chain without a length")
FRACTION = code("SC305", "bare-fraction", "a bare fraction where a duration is expected")
NO_RUN = code("SC306", "share-without-run", "a share of the run, where no run is declared")
MIXED = code("SC307", "mixed-clocks", "units without a constant ratio where one number is needed")
NO_START = code("SC308", "no-entering-value", "a stage that starts from the entering value, where there is none")
NOT_CLOSED = code("SC309", "endless-cycle", "a repeat of a schedule that has no end")
IRRATIONAL = code("SC310", "irrational-duration", "a duration that is no rational number")
BEFORE_START = code("SC311", "until-before-start", "an `until` that lies before its stage starts")
LIMIT = code("SC312", "too-many-segments", "a schedule of more pieces than the limit")
LOOK_AHEAD = code("SC313", "look-ahead", "a batch or sequence length that depends on what is not known yet")
TIME_OVER_FEEDBACK = code("SC314", "time-over-feedback", "a time modifier over plateau")
UNKNOWN_LENGTH = code("SC315", "length-unknown", "a stage behind an open one whose length can't be told beforehand")
NEGATIVE = code("SC316", "negative-duration", "a duration below zero")
OWN_CLOCK = code(
    "SC317", "imported-clock", "an imported schedule with clocks of its own, used where they can't be followed"
)
TOO_LARGE = code(
    "SC330", "expands-too-far", "a program that becomes too large when definitions and lets are written out"
)
NUMBER_SIZE = code("SC331", "number-too-large", "a number that does not fit in double precision")
BAD_SETTING = code("SC318", "bad-setting", "a setting with a value it can't have")
SHORTER = code("SC320", "shorter-than-run", "a schedule that ends before the run does")
LONGER = code("SC321", "longer-than-run", "a schedule that the end of the run cuts")
WARMUP_LONG = code("SC322", "warmup-longer-than-run", "a first stage as long as the run, or longer")


def show(value: Fraction | int) -> str:
    """A number as people write it: 10000, 0.25, 1/3; long ones with underscores."""
    value = Fraction(value)
    if value.denominator == 1:
        return f"{value.numerator:_}" if abs(value.numerator) >= 100_000 else str(value.numerator)
    denominator = value.denominator
    while denominator % 2 == 0:
        denominator //= 2
    while denominator % 5 == 0:
        denominator //= 5
    if denominator == 1 and len(text := f"{float(value):.12g}") <= 14 and Fraction(text) == value:
        return text
    if abs(value) >= 1000:
        return f"{float(value):.2f}"
    return (
        f"{value.numerator}/{value.denominator}"
        if max(abs(value.numerator), value.denominator) < 10_000
        else f"{float(value):.6g}"
    )


def amount(value: Fraction, clock: str) -> str:
    """`500 steps`, `1 epoch`."""
    return f"{show(value)} {clock[:-1] if value == 1 else clock}"


_NEEDS = {
    "samples": "`batch { global = 256 }`",
    "tokens": "`batch { global = 256 }` and `train { seq_len = 4096 }`",
    "epochs": "`train { steps_per_epoch = 1252 }`, or `train { dataset = 50_000 }` and `batch { global = 128 }`",
}


def no_context(clock: str, span: Span) -> Diagnostic:
    what = {
        "epochs": "an epoch has no known length",
        "samples": "an update has no known number of samples",
        "tokens": "an update has no known number of tokens",
    }
    return error(NO_CONTEXT, f"{what[clock]}", span, clock, help=f"write {_NEEDS[clock]}")


def no_duration(stage: str, span: Span) -> Diagnostic:
    """`stage` begins with the name of a definition, which takes `T`, or is a formula, which takes `for`."""
    written = (
        f"{stage} T=10000" if stage[:1].isalpha() and stage.replace("_", "").isalnum() else f"{stage} for 10k steps"
    )
    return error(
        NO_DURATION,
        f"`{stage}` has no length, and no run says how long it may be",
        span,
        "how long?",
        help=f"write `{written}`, or declare the run: `train {{ length = 10k steps }}`",
    )


def room(all_: str, taken: str, left: Fraction, clock: str) -> str:
    """How the length that is left came about."""
    return f"{all_}, less {taken} before = {amount(left, clock)}"


def no_room(stage: str, room: Fraction, clock: str, why: str, span: Span) -> Diagnostic:
    return error(
        NO_ROOM,
        f"`{stage}` would last {amount(room, clock)}",
        span,
        f"{amount(room, clock)} left",
        notes=(why,),
        help="lengthen the run, or shorten the stages before",
    )


def two_open(first: Span, second: Span) -> Diagnostic:
    return error(
        TWO_OPEN,
        "two stages of this chain have no length of their own",
        second,
        "and this one",
        labels=(Label(first, "this one"),),
        help="give one of them a length with `for`",
    )


def bare_fraction(value: Fraction, span: Span) -> Diagnostic:
    help_ = f"did you mean `{show(value * 100)}%`?" if 0 < value < 1 else "write a whole number of steps, or a unit"
    return error(FRACTION, f"{show(value)} is no whole number of steps", span, "a duration in steps", help=help_)


def share_without_run(span: Span) -> Diagnostic:
    return error(
        NO_RUN, "a `%` is a share of the run, and no run is declared", span, help="write `train { length = 10k steps }`"
    )


def total_without_run(span: Span) -> Diagnostic:
    return error(
        NO_RUN,
        "`total` is the length of the run, and no run is declared",
        span,
        help="write `train { length = 10k steps }`",
    )


def mixed_clocks(a: str, b: str, span: Span) -> Diagnostic:
    return error(
        MIXED,
        f"{a} and {b} have no constant ratio here",
        span,
        help="use one unit, or add them behind `until`, where both are positions",
    )


def no_entering(stage: str, span: Span) -> Diagnostic:
    return error(
        NO_START, f"`{stage}` starts from the entering value, and nothing comes before it", span, "the first stage of an absolute binding",
        help="write `from=…` or `to=…`, multiply (`3e-4 * (…)`), or bind with `*=`",
    )  # fmt: skip


def not_closed(kind: str, span: Span) -> Diagnostic:
    return error(
        NOT_CLOSED,
        "only a schedule with an end can be repeated",
        span,
        f"this one is {kind}",
        help="give its last stage a length",
    )


def irrational(span: Span) -> Diagnostic:
    return error(IRRATIONAL, "a duration must be a rational number", span, help="write `round(…)` around it")


def before_start(span: Span, at: str, start: str) -> Diagnostic:
    return error(
        BEFORE_START,
        "this `until` lies before its stage starts",
        span,
        at,
        notes=(f"`until` counts from the start of the chain: it means {at}, and the stage starts at {start}",),
        help="write `for` to count from the start of the stage",
    )


def too_many_segments(limit: int, span: Span) -> Diagnostic:
    return error(
        LIMIT, f"this schedule has more than {limit} pieces", span, help="use a larger `growth`, or fewer `times`"
    )


def too_many_stages(limit: int, span: Span) -> Diagnostic:
    return error(
        LIMIT, f"this chain has more than {limit} stages", span, help="write a formula, or `piecewise`, or `| repeat`"
    )


def too_much_work(limit: int, span: Span) -> Diagnostic:
    return error(
        TOO_LARGE,
        f"written out, this takes more than {limit} operations to lay out",
        span,
        help="look for definitions or lets that each use another one twice",
    )


def too_nested(what: str, limit: int | None, span: Span) -> Diagnostic:
    deep = "too deep" if limit is None else f"more than {limit} deep"
    return error(
        TOO_LARGE, f"{what} stand {deep} inside each other here", span, help="use fewer of them, each for more"
    )


def formula_too_large(parts: int, limit: int, span: Span) -> Diagnostic:
    return error(
        TOO_LARGE,
        f"written out, this formula has {parts} parts, more than {limit}",
        span,
        help="shorten the formula or its lists",
    )


def program_too_large(limit: int, span: Span) -> Diagnostic:
    return error(
        TOO_LARGE,
        f"written out, the formulas up to here have more than {limit} parts",
        span,
        help="shorten the chains, or start a stage from a number: each one that reads `start` holds all those before it",
    )


def formula_too_deep(limit: int, span: Span) -> Diagnostic:
    return error(
        TOO_LARGE,
        f"written out, this formula is more than {limit} operations deep",
        span,
        help="let a stage start from a number: each one that reads `start` holds all those before it",
    )


def number_too_large(span: Span) -> Diagnostic:
    return error(NUMBER_SIZE, "a number here is too large for double precision", span, "beyond about 1.8e308")


def look_ahead(what: str, span: Span) -> Diagnostic:
    return error(
        LOOK_AHEAD,
        f"a batch size or sequence length can't depend on {what}",
        span,
        "only on steps, samples, tokens and whole epochs so far",
    )


def time_over_feedback(span: Span) -> Diagnostic:
    return error(TIME_OVER_FEEDBACK, "a time modifier can't stand over `plateau`", span, help="put `| plateau` last")


def unknown_length(span: Span, before: Span) -> Diagnostic:
    return error(
        UNKNOWN_LENGTH,
        "the length of this stage is not known beforehand",
        span,
        "this one",
        labels=(Label(before, "so it is open how long this stage lasts"),),
        help="give it a length with `for`",
    )


def negative_duration(value: str, span: Span) -> Diagnostic:
    return error(NEGATIVE, f"a duration can't be negative, and this is {value}", span)


def own_clock(name: str, span: Span) -> Diagnostic:
    return error(
        OWN_CLOCK,
        f"`{name}` runs on the clocks of its own file, which can't be followed from here",
        span,
        help="use it as the first stage",
    )


def bad_setting(name: str, wants: str, got: str, span: Span) -> Diagnostic:
    return error(BAD_SETTING, f"`{name}` must be {wants}", span, got)


def not_whole(name: str, update: int, value: Fraction | None, span: Span) -> Diagnostic:
    shown = "no rational number" if value is None else show(value)
    return error(
        BAD_SETTING, f"`{name}` is {shown} at update {update}, and must be a whole number at every update", span, shown,
        help="put `| round 8` behind it",
    )  # fmt: skip


def bad_clock(why: str, span: Span) -> Diagnostic:
    return error(BAD_SETTING, why, span)


def shorter(name: str, end: str, run: str, value: str, span: Span) -> Diagnostic:
    return note(SHORTER, f"`{name}` ends at {end}, and the run at {run}", span, f"held at {value} from there on")


def longer(name: str, end: str, run: str, value: str, planned: str, span: Span) -> Diagnostic:
    return note(
        LONGER,
        f"the run ends at {run}, before this stage of `{name}` does at {end}",
        span,
        f"cut at {value}" + (f", on the way to {planned}" if planned != value else ""),
    )


def unreached(name: str, start: str, run: str, span: Span) -> Diagnostic:
    return note(LONGER, f"the run ends at {run}, and this stage of `{name}` begins at {start}", span, "never reached")


def warmup_long(name: str, end: str, run: str, span: Span) -> Diagnostic:
    return warning(WARMUP_LONG, f"the first stage of `{name}` lasts until {end}, and the run only until {run}", span)
