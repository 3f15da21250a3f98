"""Resolved program -> Timeline: clocks first, then every binding laid out on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from math import ceil

from schedc.compiler import expressions as ex
from schedc.compiler import messages_init as say_init
from schedc.compiler import messages_layout as say
from schedc.compiler import messages_names, plan
from schedc.compiler import resolved as rd
from schedc.compiler.amounts import LARGEST, Env, Frame, Ground, Stop, check_value, flag, formal_argument, number, word
from schedc.compiler.clocks import ClockError
from schedc.compiler.constants import exact
from schedc.compiler.cycles import Ticked
from schedc.compiler.diagnostics import Diagnostic, errors
from schedc.compiler.placed import Context, Placed, Study, enter, fix
from schedc.compiler.placing import place
from schedc.compiler.plan import UnknownClock
from schedc.compiler.resolve import type_of
from schedc.compiler.settings import batch_settings, ground_of, train_settings
from schedc.compiler.source import Span
from schedc.compiler.staged import Staged
from schedc.compiler.timeline import Laid, LaidGroup, Segment, Timeline
from schedc.grammar import syntax

MAX_SEGMENTS = 1_500
"""A program whose schedules have more pieces than this, all together, is refused."""
MAX_PARTS = 5_000
"""Parts of one formula, written out."""
MAX_ALL_PARTS = 15_000
"""Parts of all formulas of a program together."""
MAX_DEEP = 120
"""Operations of one formula that stand inside each other, written out."""


def lower(program: rd.Program, base: Fraction | None = None) -> Staged[Timeline]:
    """Lay out every binding of the program. With `base` known, bounds that speak of it are checked too."""
    said: list[Diagnostic] = []
    try:
        with ex.allowance(ex.MAX_WORK):
            return _lower(program, base, said)
    except ex.TooMuchWork:
        if not errors(said):
            said.append(say.too_much_work(ex.MAX_WORK, program.main.source.span(0, 0)))
        return Staged(None, tuple(said))


def _lower(program: rd.Program, base: Fraction | None, said: list[Diagnostic]) -> Staged[Timeline]:
    main = program.main
    setting = main.batch.get("global") or main.train.get("seq_len") or main.train.get("dataset")
    at = main.source.span(0, 0) if setting is None else setting.value.span
    try:
        ground = ground_of(main, 0)
    except Stop as fault:
        return Staged(None, (_placed_at(fault.said, at),))
    except ex.TooMuchWork:
        return Staged(None, (say.too_much_work(ex.MAX_WORK, at),))
    except RecursionError:
        return Staged(None, (say.too_nested("definitions, lets or formulas", None, at),))
    ground.base = base
    line = Timeline(program, ground, [ground])
    grounds: dict[int, Ground] = {id(main): ground}
    names = [0]
    pieces = [0, 0]

    def imported(module: rd.Module, outer: Ground) -> Ground:
        if id(module) not in grounds:
            found = ground_of(module, len(line.grounds), outer)
            found.base = base
            if found is not outer:
                line.grounds.append(found)
            grounds[id(module)] = found
        return grounds[id(module)]

    def tried(work: Callable[[], None], at: Span = at) -> None:
        if pieces[0] > MAX_SEGMENTS or pieces[1] > MAX_ALL_PARTS:
            return  # That has been said, and would be said again of every other binding.
        try:
            work()
        except Stop as fault:
            said.append(_placed_at(fault.said, at))
        except ex.TooMuchWork:
            said.append(say.too_much_work(ex.MAX_WORK, at))
            raise  # Nothing is left for the rest.
        except RecursionError:
            said.append(say.too_nested("definitions, lets or formulas", None, at))
        except ClockError as fault:
            where = main.batch.get("global") or main.train.get("dataset")
            span = where.value.span if where else main.source.span(0, 0)
            said.append(say.bad_clock(str(fault), span))
        except UnknownClock as fault:
            said.append(say.no_context(fault.clock, main.source.span(0, 0)))

    def settings() -> None:
        line.train = train_settings(main, ground)
        if ground.run is not None and ground.end is not None:
            end = ground.position(ground.end)
            line.run = plan.Run(clock=ground.run.clock, length=ground.run.length, end=end, updates=ceil(end))  # type: ignore[arg-type]
        line.batch = batch_settings(main, ground, None if line.run is None else line.run.end)

    tried(settings)
    for let in main.lets.values():
        if let.is_param and let.type is not None:
            tried(lambda let=let: _param_in_bounds(let, ground))  # type: ignore[misc]
    if errors(said):
        return Staged(None, tuple(said))

    def one(bind: rd.Bind) -> Laid:
        study = Study(names=names, imported=imported)
        # At the very beginning nothing enters: there `start` is 1 under `*=`, with no arithmetic to undo.
        context = Context(ground, Fraction(0), place, None, bind.relative, ground.end, study=study)
        placed = place(bind.value, Env(), context)
        if line.train.tick == "epoch":
            placed = Ticked(placed)
        segments, after = scan(placed, ground, bind.span)
        for s in segments:
            _known_variables(s.expr, s.span)
        pieces[0] += len(segments)
        pieces[1] += sum(ex.extent(s.expr)[0] for s in segments)
        if pieces[0] > MAX_SEGMENTS:
            raise Stop(say.too_many_segments(MAX_SEGMENTS, bind.span))
        if pieces[1] > MAX_ALL_PARTS:
            raise Stop(say.program_too_large(MAX_ALL_PARTS, bind.span))
        return Laid(bind.name, bind.relative, segments, after, bind.span, placed, study, bind.value)

    for bind in main.binds.values():
        tried(lambda bind=bind: line.bindings.append(one(bind)), bind.span)  # type: ignore[misc]
    for group in main.groups:
        laid: list[Laid] = []
        for bind in group.binds:
            tried(lambda bind=bind, laid=laid: laid.append(one(bind)), bind.span)  # type: ignore[misc]
        line.groups.append(LaidGroup(group, tuple(laid)))
    for let in main.lets.values():
        if not let.is_param and type_of(let.value) in ("number", "schedule"):
            tried(lambda let=let: _let(let, one, line), let.span)  # type: ignore[misc]
    for rule in main.init:
        tried(lambda rule=rule: _init(rule, ground, line), rule.span)  # type: ignore[misc]
    if errors(said):
        return Staged(None, tuple(said))
    _derive(line)
    return Staged(line, tuple(said))


def _let(let: rd.Let, one: Callable[[rd.Bind], Laid], line: Timeline) -> None:
    """A let as the program reads it, under `=`; one that only makes sense behind another stage can't be read so."""
    try:
        line.lets.append(one(rd.Bind(let.name, False, let.value, let.span)))
    except Stop as fault:
        behind_another = (say.NO_START, say.NO_DURATION)
        if fault.said.code not in behind_another:
            raise


def _param_in_bounds(let: rd.Let, ground: Ground) -> None:
    assert let.type is not None
    check_value(let.name, let.type, let.value, Env(), Env(), Frame(ground, entering=ex.ONE), let.span)


def _known_variables(expr: ex.Expr, span: Span) -> None:
    for name in sorted(ex.variables(expr)):
        if name in ("fan_in", "fan_out", "numel"):
            raise Stop(messages_names.not_here(name, "outside an initialiser", span))


def _placed_at(said: Diagnostic, span: Span) -> Diagnostic:
    """The message, at `span` if it has no place of its own."""
    if said.span.source.name != "<program>":
        return said
    return replace(said, primary=replace(said.primary, span=span))


def _fits(expr: ex.Expr | None, span: Span) -> None:
    """Refuse a formula that the checks can't take in bounded time, or that no number of a computer holds."""
    if expr is None:
        return
    ex.spend()
    parts, deep = ex.extent(expr)
    if deep > MAX_DEEP:
        raise Stop(say.formula_too_deep(MAX_DEEP, span))
    if parts > MAX_PARTS:
        raise Stop(say.formula_too_large(parts, MAX_PARTS, span))
    if any(isinstance(e, ex.Num) and abs(e.value) >= LARGEST for e in ex.walk(expr)):
        raise Stop(say.number_too_large(span))


def scan(
    placed: Placed, ground: Ground, span: Span, out: list[Segment] | None = None
) -> tuple[tuple[Segment, ...], ex.Expr | None]:
    """All segments of a placed schedule, and the value held after them (None: it never ends).

    They also come into `out`, one by one, so that those before a fault are there.
    """
    out = [] if out is None else out
    position = placed.start
    while not placed.ended(position):
        part = placed.at(position)
        _fits(part.expr, part.span)
        ahead = [p for m in placed.marks(position) if (p := ground.position(m)) > position]
        end = min(ahead, default=None)
        begins = fix(part.expr, position, ground)
        ends = None if end is None else placed.left(end, position)
        _fits(begins, part.span)
        _fits(ends, part.span)
        if end is not None and end >= LARGEST:
            raise Stop(say.number_too_large(part.span))
        out.append(
            Segment(
                position,
                end,
                part.expr,
                begins,
                ends,
                part.clock,
                part.origin,
                part.table,
                part.horizon,
                part.span,
                part.error,
            )
        )
        if end is None:
            return tuple(out), None
        if len(out) >= MAX_SEGMENTS:
            raise Stop(say.too_many_segments(MAX_SEGMENTS, span))
        position = end
    after = placed.end_value()
    _fits(after, span)
    return tuple(out), after


# -- initialisers

DISTRIBUTIONS = ("constant", "normal", "uniform", "trunc_normal", "orthogonal", "dirac", "identity", "sparse")


def _init(rule: rd.InitRule, ground: Ground, line: Timeline) -> None:
    call, env = _distribution(rule.value, Env(), ground)
    frame = Frame(ground, owner=call.definition.name)
    arguments: dict[str, ex.Expr] = {}
    options: dict[str, str | bool | int] = {}
    for formal in call.definition.formals:
        found = formal_argument(formal.name, env)
        assert isinstance(found, tuple)
        if formal.type.kind in ("word", "text"):
            options[formal.name] = word(*found)
        elif formal.type.kind == "flag":
            options[formal.name] = flag(*found)
        elif formal.type.kind == "count":
            count = exact(number(rd.FormalRef(rule.span, formal.name, formal.type), env, frame))
            if count is None:
                raise Stop(
                    messages_names.wrong_type(
                        formal.name, "count", "value that depends on the parameter", rule.value.span
                    )
                )
            options[formal.name] = int(count)
        else:
            arguments[formal.name] = number(rd.FormalRef(rule.span, formal.name, formal.type), env, frame)
    line_, column = rule.span.source.place(rule.span.start)
    line.init.append(
        plan.InitRule(
            selection=selection(rule.selectors),
            kind=call.definition.name,
            arguments=arguments,
            options=options,
            label=" ".join(rule.value.span.text.split()),
            place=plan.Place(file=rule.span.source.name, line=line_, column=column),
        )
    )
    line.init_spans.append(rule.span)


def _distribution(node: rd.Expr, env: Env, ground: Ground) -> tuple[rd.StageCall, Env]:
    """The distribution that an initialiser comes down to, and the scope of its parameters."""
    match node:
        case rd.StageCall(definition=definition):
            inner = enter(node, env, ground)
            if definition.external and definition.name in DISTRIBUTIONS:
                return node, inner
            if definition.body is not None:
                return _distribution(definition.body, inner, ground)
        case rd.Choose(branches=branches):
            chosen = word(node.word, env)
            if chosen in branches:
                return _distribution(branches[chosen], env, ground)
        case rd.LetRef(let=let):
            return _distribution(let.value, Env(outer=env), ground)
    raise Stop(say_init.not_an_initialiser(env.site(node.span)))


def selection(tree: syntax.Selectors) -> plan.Selection:
    """Selectors as Plan data."""

    def one(s: syntax.Selector) -> plan.SelectorModel:
        return plan.SelectorModel(kind=s.kind, text=s.text, op=s.op, number=s.number)  # type: ignore[arg-type]

    return plan.Selection(union=tuple(map(one, tree.union)), excepted=tuple(map(one, tree.excepted)))


# -- derived counts


def _derive(line: Timeline) -> None:
    ground, run = line.ground, line.run
    clocks = ground.clocks

    def add(what: str, value: str, how: str) -> None:
        line.derived.append(plan.Derived(what=what, value=value, how=how))

    if run is not None:
        exact_end = run.end.denominator == 1
        how = (
            "declared"
            if run.clock == "steps"
            else f"{say.amount(run.length, run.clock)} end at position {say.show(run.end)}"
            + ("" if exact_end else ", rounded up")
        )
        add("updates in the run", say.show(run.updates), how)
        for clock in ("samples", "tokens", "epochs"):
            if clock != run.clock and clocks.known[clock]:
                add(
                    f"{clock} in the run",
                    say.show(clocks.at(clock, Fraction(run.updates))),
                    f"consumed by {say.show(run.updates)} updates",
                )
    if (
        clocks.known["epochs"]
        and clocks.steps_per_epoch is None
        and clocks.dataset is not None
        and isinstance(clocks.batch, int)
    ):
        whole = clocks.dataset % clocks.batch == 0
        updates = clocks.dataset // clocks.batch if clocks.drop_last else -(-clocks.dataset // clocks.batch)
        rule = (
            "exact"
            if whole
            else "rounded down, the last short batch is dropped"
            if clocks.drop_last
            else "rounded up, the last batch is short"
        )
        add(
            "updates per epoch",
            say.show(updates),
            f"{say.show(clocks.dataset)} samples / {say.show(clocks.batch)} = {say.show(Fraction(clocks.dataset, clocks.batch))}, {rule}",
        )
    for laid in line.bindings:
        for before, after in zip(laid.segments, laid.segments[1:], strict=False):
            if after.start.denominator != 1:
                add(
                    f"{laid.name}: boundary at {before.span.text.splitlines()[0][:30]}",
                    f"update {after.first}",
                    f"position {say.show(after.start)}, rounded up",
                )
