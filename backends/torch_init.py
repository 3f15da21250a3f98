"""A Plan's `init { … }` carried out on a PyTorch model.

Every value depends on the seed, the parameter's name and the element's index alone (see `philox`): the order in which
modules were built, the device, the sharding and the number of processes change nothing, another dtype only rounds. A
process that holds a shard of a parameter (DTensor, FSDP2) computes its own elements and no others, but for `orthogonal`
and `sparse`, which need the whole. Nothing is written unless the whole plan fits; torch's generators are not touched.

Fans follow torch.nn.init: fan_in = shape[1]·k and fan_out = shape[0]·k, k the kernel's size. That counts a grouped
convolution's fan_out over all groups, and swaps the two for transposed convolutions, whose weight is
[in, out/groups, …]. `fans=forward` counts instead what happens: the weights that feed one output and the outputs that
one input feeds (strides aside). A report notes where the two differ. A vector such as a bias has the fans of its
module's `weight`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import nn

from schedc.backends import philox, selectors
from schedc.compiler import expressions as ex
from schedc.compiler.evaluate import expression_value
from schedc.compiler.plan import InitRule, Plan

CHUNK = 1 << 15
"""Elements drawn at a time on the CPU, so that what is being computed stays in the cache."""

DEVICE_CHUNK = 1 << 22
"""Elements drawn at a time on other devices."""

WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Parts of a parameter's name that a wrapper adds; they don't count, so that wrapping changes no value."""

SHUFFLE = 1
"""The stream that decides where `sparse` puts its zeros; stream 0 draws values."""

DEFAULTS: dict[str, dict[str, Fraction | int | None]] = {
    "constant": {"value": None},
    "normal": {"mean": 0, "std": 1},
    "uniform": {"low": 0, "high": 1},
    "trunc_normal": {"mean": 0, "std": 1, "cutoff": 2},
    "orthogonal": {"gain": 1},
    "dirac": {"groups": 1},
    "identity": {"gain": 1},
    "sparse": {"sparsity": None, "std": Fraction(1, 100)},
}
"""The distributions with their parameters' defaults; None: must be given."""


OPTIONS = frozenset({"split", "fans", "correct", "groups"})
"""The words, flags and counts that a rule may carry beside formulas."""


class InitError(ValueError):
    """Why a plan can't initialise a model; nothing was written. `problems` has one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("the init plan does not fit the model:\n" + "\n".join(f"  {p}" for p in problems))


@dataclass(frozen=True, slots=True)
class Written:
    """A parameter and what was written into it.

    `mean` and `std` are measured, on this process's shard; the declared ones are the distribution's. Fans are None
    where the shape has none. `aliases`: its other names, if it is tied.
    """

    name: str
    shape: tuple[int, ...]
    rule: int
    label: str
    fan_in: int | None
    fan_out: int | None
    declared_mean: float
    declared_std: float
    mean: float | None
    std: float | None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class InitReport:
    """What `initialize` did. `unmatched` parameters kept what their modules had put there; `str` gives a table."""

    seed: int
    written: tuple[Written, ...]
    unmatched: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Written:
        for w in self.written:
            if name == w.name or name in w.aliases:
                return w
        raise KeyError(name)

    def __str__(self) -> str:
        head = ("parameter", "shape", "rule", "fan_in", "fan_out", "mean", "std", "measured mean", "measured std")
        rows = [head] + [
            (w.name, "×".join(map(str, w.shape)) or "scalar", w.label, _text(w.fan_in), _text(w.fan_out),
             _text(w.declared_mean), _text(w.declared_std), _text(w.mean), _text(w.std))
            for w in self.written
        ]  # fmt: skip
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        lines = []
        for row in rows:
            cells = (c.ljust(n) if i < 3 else c.rjust(n) for i, (c, n) in enumerate(zip(row, widths, strict=True)))
            lines.append("  ".join(cells).rstrip())
        lines += [f"unmatched, kept as it was: {name}" for name in self.unmatched]
        return "\n".join(lines + [f"note: {n}" for n in self.notes])


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


@dataclass
class _Target:
    """A parameter of the model under its first name, without wrappers' parts. `places` is where modules hold it."""

    name: str
    param: nn.Parameter
    owner: nn.Module
    places: list[tuple[nn.Module, str]] = field(default_factory=list)
    aliases: list[tuple[str, nn.Module]] = field(default_factory=list)


@dataclass
class _Job:
    """A parameter with the distribution that it gets."""

    target: _Target
    rule: int
    label: str
    fans: tuple[int, int] | None
    kind: str
    args: dict[str, Fraction | float]
    split: int
    correct: bool


def initialize(
    plan: Plan, model: nn.Module, seed: int = 0, *, device: torch.device | str | None = None, measure: bool = True
) -> InitReport:
    """Write the model's parameters as the plan says: rules in order, the last match wins, each parameter once.

    Parameters no rule matches, and all buffers, stay as they are. Parameters on the meta device are first allocated on
    `device`; there a parameter no rule matches is an error, and a buffer is given its value by its module's
    `reset_parameters`, or is an error too. Tied parameters stay tied and are written under their first name. Raises
    InitError, having written nothing, if a rule matches nothing or can't apply to what it matches.
    """
    if isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
        model = model.module
    targets = _targets(model)
    jobs, unmatched, notes, problems = _assign(plan, targets)
    resets = _meta_problems(model, targets, unmatched, device, problems)
    if problems:
        raise InitError(problems)
    if device is not None and (resets or any(t.param.is_meta for t in targets)):
        _materialise(model, torch.device(device), targets, resets)
    written = tuple(_write(job, seed, measure) for job in jobs)
    return InitReport(seed, written, tuple(t.name for t in unmatched), tuple(notes))


def _targets(model: nn.Module) -> list[_Target]:
    found: dict[int, _Target] = {}
    for prefix, module in model.named_modules(remove_duplicate=False):
        for leaf, param in module._parameters.items():
            if param is None:
                continue
            path = f"{prefix}.{leaf}" if prefix else leaf
            name = ".".join(part for part in path.split(".") if part not in WRAPPERS)
            target = found.get(id(param))
            if target is None:
                target = found[id(param)] = _Target(name, param, module)
            elif name != target.name and all(name != alias for alias, _ in target.aliases):
                target.aliases.append((name, module))
            if all(m is not module or at != leaf for m, at in target.places):
                target.places.append((module, leaf))
    return list(found.values())


def _assign(plan: Plan, targets: list[_Target]) -> tuple[list[_Job], list[_Target], list[str], list[str]]:
    """The jobs in the model's order, the parameters without one, notes and problems."""
    chosen: dict[int, tuple[int, selectors.Captures]] = {}
    notes: list[str] = []
    problems: list[str] = []
    firsts = [(_described(t.name, t.owner, t.param), t) for t in targets]
    aliases = [(_described(name, owner, t.param), t) for t in targets for name, owner in t.aliases]
    everything = [p for p, _ in firsts + aliases]
    for index, rule in enumerate(plan.init):
        hits = {id(t): (index, c) for p, t in firsts if (c := selectors.selects(rule.selection, p)) is not None}
        chosen |= hits
        tied = [(p, t) for p, t in aliases if selectors.selects(rule.selection, p) is not None]
        if not hits and tied:
            p, t = tied[0]
            notes.append(f'{_named(rule)} matches "{p.name}", which is tied to "{t.name}" and goes by that name')
        try:
            selectors.check_matched([rule.selection], everything, "init")
        except selectors.SelectorError as unmatched:
            (notes if hits or tied else problems).extend(str(unmatched).splitlines())
        else:
            if not hits and not tied:
                problems.append(f"{_named(rule)} matches no parameter")
    jobs = []
    for t in targets:
        if id(t) in chosen:
            index, captures = chosen[id(t)]
            try:
                jobs.append(_job(t, index, plan.init[index], captures, notes))
            except _Unfit as reason:
                problems.append(f'{_named(plan.init[index])} can\'t initialise "{t.name}": {reason}')
    return jobs, [t for t in targets if id(t) not in chosen], notes, problems


def _described(name: str, owner: nn.Module, param: nn.Parameter) -> selectors.Parameter:
    return selectors.Parameter(name, selectors.type_names(type(owner)), param.ndim)


def _named(rule: InitRule) -> str:
    where = f" ({rule.place.file}:{rule.place.line})" if rule.place else ""
    return f"the rule `{rule.selection} : {rule.label or rule.kind}`{where}"


class _Unfit(Exception):
    """Why a rule can't apply to a parameter."""


def _job(target: _Target, index: int, rule: InitRule, captures: selectors.Captures, notes: list[str]) -> _Job:
    param, options = target.param, rule.options
    if isinstance(param, nn.parameter.UninitializedParameter):
        raise _Unfit("it has no shape before the first forward pass")
    if not param.is_floating_point():
        raise _Unfit(f"its dtype is {str(param.dtype).removeprefix('torch.')}, not floating-point")
    if rule.kind not in DEFAULTS:
        raise _Unfit(f"this schedc knows no distribution `{rule.kind}`")
    unknown = rule.arguments.keys() - DEFAULTS[rule.kind].keys() or options.keys() - OPTIONS
    if unknown:
        raise _Unfit(f"`{rule.kind}` takes no `{sorted(unknown)[0]}`")
    split = int(options.get("split", 1))
    if split < 1 or (param.ndim and param.shape[0] % split):
        raise _Unfit(f"its first dimension, {param.shape[0] if param.ndim else 1}, does not split in {split}")
    fans = {style: _fans(target, style, split) for style in ("torch", "forward")}
    style = str(options.get("fans", "torch"))
    if style not in fans:
        raise _Unfit(f"`fans` is torch or forward, not {style}")
    values = {"numel": Fraction(param.numel())} | {f"capture:{c}": Fraction(n) for c, n in captures.items()}
    if (mine := fans[style]) is not None:
        values |= {"fan_in": Fraction(mine[0]), "fan_out": Fraction(mine[1])}
    args: dict[str, Fraction | float] = {}
    reads: set[str] = set()
    for name, default in DEFAULTS[rule.kind].items():
        formula = rule.arguments.get(name, options.get(name, default))
        if formula is None:
            raise _Unfit(f"`{rule.kind}` needs `{name}`")
        formula = ex.num(Fraction(formula)) if isinstance(formula, int | Fraction) else formula
        reads |= ex.variables(formula)
        args[name] = _number(formula, values, name, tuple(param.shape))
    counted, real = fans["torch"], fans["forward"]
    differ = [name for i, name in enumerate(("fan_in", "fan_out")) if counted and real and counted[i] != real[i]]
    if counted and real and reads & set(differ):
        notes.append(
            f'"{target.name}": torch counts fan_in {counted[0]}, fan_out {counted[1]}; a forward pass has '
            f"fan_in {real[0]}, fan_out {real[1]}; used: {style}"
        )
    job = _Job(target, index, rule.label or rule.kind, mine, rule.kind, args, split, bool(options.get("correct", True)))
    _check(job)
    _local(target)
    return job


def _fans(target: _Target, style: str, split: int) -> tuple[int, int] | None:
    """fan_in and fan_out; None for what has none. `split` equal parts along the first dimension count one by one."""
    shape, owner = tuple(target.param.shape), target.owner
    if len(shape) < 2:
        weight = owner._parameters.get("weight")
        if weight is None or weight.ndim < 2:
            return None
        shape = tuple(weight.shape)
    kernel = math.prod(shape[2:])
    groups = getattr(owner, "groups", 1)
    if type(owner).__name__ == "Conv1D" and len(shape) == 2:  # Hugging Face's linear layer: [in, out].
        return shape[0], shape[1] // split
    if isinstance(owner, nn.Bilinear) or style == "torch":
        return shape[1] * kernel, shape[0] * kernel // split
    if isinstance(owner, nn.modules.conv._ConvTransposeNd):
        return shape[0] // groups * kernel, shape[1] * kernel
    if isinstance(owner, nn.modules.conv._ConvNd):
        return shape[1] * kernel, shape[0] // groups * kernel // split
    if isinstance(owner, nn.Embedding | nn.EmbeddingBag):
        return 1, shape[1]
    return shape[1] * kernel, shape[0] * kernel // split


def _number(formula: ex.Expr, values: dict[str, Fraction], name: str, shape: tuple[int, ...]) -> Fraction | float:
    """The formula's value: exact where it is rational, else in float64."""
    missing = ex.variables(formula) - values.keys()
    if missing:
        raise _Unfit(f"`{sorted(missing)[0]}` of a parameter of shape {shape} is not defined")
    closed = ex.rebuild(formula, lambda e: ex.Num(values[e.name]) if isinstance(e, ex.Var) else None)
    if isinstance(closed, ex.Num):
        return closed.value
    value = float(expression_value((), closed, 0))
    if not math.isfinite(value):
        raise _Unfit(f"`{name}` is {value} for its shape {shape}")
    return value


def _check(job: _Job) -> None:
    """Refuses what the distribution can't do with these arguments and this shape. Raises _Unfit."""
    shape, args = tuple(job.target.param.shape), job.args
    if args.get("std", 0) < 0:
        raise _Unfit(f"`std` is {_text(float(args['std']))}, below 0")
    if job.kind == "uniform" and args["low"] > args["high"]:
        raise _Unfit(f"`low`, {_text(float(args['low']))}, is above `high`, {_text(float(args['high']))}")
    if job.kind == "trunc_normal" and args["cutoff"] < philox.SMALLEST_CUTOFF:
        raise _Unfit(f"`cutoff` is {_text(float(args['cutoff']))} sigmas; the smallest is {philox.SMALLEST_CUTOFF:g}")
    needs = {"orthogonal": (2, None), "dirac": (3, 5), "identity": (2, 2), "sparse": (2, 2)}.get(job.kind)
    if needs and not (needs[0] <= len(shape) <= (needs[1] or len(shape))):
        low, high = needs
        many = f"{low}" if low == high else f"{low} to {high}" if high else f"at least {low}"
        raise _Unfit(f"`{job.kind}` needs {many} dimensions, it has {len(shape)}")
    if job.kind == "dirac":
        groups = args["groups"]
        if groups < 1 or groups != int(groups) or shape[0] % (int(groups) * job.split):
            raise _Unfit(f"its {shape[0]} output channels are not {_text(float(groups))} groups")
    if job.kind == "sparse" and not 0 <= args["sparsity"] <= 1:
        raise _Unfit(f"`sparsity` is {_text(float(args['sparsity']))}, not between 0 and 1")


def _meta_problems(
    model: nn.Module, targets: list[_Target], unmatched: list[_Target], device: object, problems: list[str]
) -> list[nn.Module]:
    """The modules that have buffers on the meta device; what stands against allocating goes into `problems`."""
    resets = []
    for name, module in model.named_modules():
        buffers = [b for b, value in module._buffers.items() if value is not None and value.is_meta]
        if buffers:
            resets.append(module)
        if buffers and not callable(getattr(module, "reset_parameters", None)):
            path = f"{name}.{buffers[0]}" if name else buffers[0]
            why = "its module has no `reset_parameters` to fill it"
            problems.append(f'the buffer "{path}" is on the meta device; {why}')
    problems += [f'no rule matches "{t.name}", which is on the meta device' for t in unmatched if t.param.is_meta]
    if device is None and (resets or any(t.param.is_meta for t in targets)):
        problems.append("the model is on the meta device: pass `device=`, where to allocate it")
    return resets


def _materialise(model: nn.Module, device: torch.device, targets: list[_Target], resets: list[nn.Module]) -> None:
    """Allocates what is on the meta device, keeps tied parameters tied, and lets modules fill their buffers."""

    def allocate(t: torch.Tensor) -> torch.Tensor:
        return torch.empty_like(t, device=device) if t.is_meta else t

    model._apply(allocate)  # type: ignore[no-untyped-call]
    for target in targets:
        module, leaf = target.places[0]
        param = module._parameters[leaf]
        assert param is not None
        target.param = param
        for module, leaf in target.places[1:]:
            module._parameters[leaf] = param
    with torch.random.fork_rng():
        for module in resets:
            floats = [b for b in module._buffers.values() if b is not None and b.is_floating_point()]
            for buffer in floats:
                buffer.fill_(math.nan)
            module.reset_parameters()  # type: ignore[operator]
            if any(bool(buffer.isnan().any()) for buffer in floats):
                raise InitError([f"{type(module).__name__}.reset_parameters leaves a buffer unfilled"])


def _write(job: _Job, seed: int, measure: bool) -> Written:
    target, shape, args = job.target, tuple(job.target.param.shape), job.args
    local, parts = _local(target)
    k = philox.key(seed, target.name)
    law = _law(job)
    mean, std = _declared(job)
    if law is not None:
        moments = _draw(local, law, k, shape, parts, mean, measure)
    else:
        if job.kind == "constant":
            local.fill_(float(args["value"]))
        elif job.kind in ("dirac", "identity"):
            _place(local, parts, shape, _ones(job), float(args.get("gain", 1)))
        else:
            whole = _orthogonal(job, k) if job.kind == "orthogonal" else _sparse(job, k)
            for d, part in enumerate(parts):
                whole = whole if part is None else whole.index_select(d, torch.from_numpy(part))
            local.copy_(_narrowed(whole, local.dtype))
        moments = [_moments(local.reshape(-1), mean)] if measure else []
    measured = _summary(moments, local.numel(), mean) if measure else (None, None)
    fan_in, fan_out = job.fans if job.fans else (None, None)
    aliases = tuple(alias for alias, _ in target.aliases)
    return Written(target.name, shape, job.rule, job.label, fan_in, fan_out, mean, std, *measured, aliases)


def _law(job: _Job) -> philox.Law | None:
    a = {name: float(value) for name, value in job.args.items()}
    match job.kind:
        case "uniform":
            return philox.uniform(a["low"], a["high"])
        case "normal":
            return philox.normal(a["mean"], a["std"])
        case "trunc_normal":
            return philox.trunc_normal(a["mean"], a["std"], a["cutoff"], job.correct)
    return None


def _declared(job: _Job) -> tuple[float, float]:
    """The distribution's mean and standard deviation."""
    a, shape = {name: float(value) for name, value in job.args.items()}, tuple(job.target.param.shape)
    match job.kind:
        case "constant":
            return a["value"], 0.0
        case "uniform":
            return (a["low"] + a["high"]) / 2, (a["high"] - a["low"]) / math.sqrt(12)
        case "trunc_normal" if not job.correct:
            return a["mean"], a["std"] * philox.truncated_std(a["cutoff"])
        case "orthogonal":
            rows = shape[0] // job.split
            return 0.0, a["gain"] / math.sqrt(max(rows, math.prod(shape[1:]), 1))
        case "dirac" | "identity":
            share = len(_ones(job)) / max(1, math.prod(shape))
            return a.get("gain", 1.0) * share, abs(a.get("gain", 1.0)) * math.sqrt(share - share * share)
        case "sparse":
            return 0.0, a["std"] * math.sqrt(1 - _zeros(job) / max(1, shape[0]))
    return a["mean"], a["std"]


def _ones(job: _Job) -> np.ndarray:
    """The coordinates where `dirac` and `identity` are not 0, one row each."""
    shape = tuple(job.target.param.shape)
    blocks = job.split * int(job.args.get("groups", 1))
    size = shape[0] // blocks
    d = np.arange(min(size, shape[1]), dtype=np.int64)
    out = [(np.arange(blocks, dtype=np.int64)[:, None] * size + d).reshape(-1), np.tile(d, blocks)]
    return np.stack(out + [np.full(len(out[0]), n // 2, dtype=np.int64) for n in shape[2:]], axis=1)


def _zeros(job: _Job) -> int:
    """How many entries of each column `sparse` leaves 0."""
    return math.ceil(job.args["sparsity"] * job.target.param.shape[0])


def _orthogonal(job: _Job, k: philox.Key) -> torch.Tensor:
    """Q of the QR decomposition, with R's diagonal positive; columns or rows orthonormal, whichever are shorter.

    LAPACK computes it in float64: between two machines' libraries it may differ in the 14th digit.
    """
    shape = tuple(job.target.param.shape)
    whole = torch.from_numpy(philox.normal(0, 1).values(philox.words(k, 0, math.prod(shape)))).reshape(shape)
    blocks = []
    for block in whole.reshape(job.split, shape[0] // job.split, -1):
        tall = block if block.shape[0] >= block.shape[1] else block.T
        q, r = torch.linalg.qr(tall)
        q = q * torch.where(r.diagonal() < 0, -1.0, 1.0).to(q.dtype)
        blocks.append(q if block.shape[0] >= block.shape[1] else q.T)
    return float(job.args["gain"]) * torch.cat(blocks).reshape(shape)


def _sparse(job: _Job, k: philox.Key) -> torch.Tensor:
    """Normal values, with 0 in each column where the column's smallest words of the stream SHUFFLE are."""
    shape = tuple(job.target.param.shape)
    n = math.prod(shape)
    values = philox.normal(0, float(job.args["std"])).values(philox.words(k, 0, n)).reshape(shape)
    order = np.argsort(philox.words(k, 0, n, SHUFFLE).reshape(shape), axis=0, kind="stable")
    np.put_along_axis(values, order[: _zeros(job)], 0.0, axis=0)
    return torch.from_numpy(values)


def _place(
    local: torch.Tensor, parts: list[np.ndarray | None], shape: tuple[int, ...], ones: np.ndarray, value: float
) -> None:
    """0 everywhere, and `value` at those coordinates that the shard holds."""
    columns, held = [], np.ones(len(ones), dtype=bool)
    for d, part in enumerate(parts):
        column = ones[:, d]
        if part is not None:
            where = np.full(shape[d], -1, dtype=np.int64)
            where[part] = np.arange(len(part))
            column = where[column]
        held &= column >= 0
        columns.append(column)
    local.zero_()
    local[tuple(torch.from_numpy(c[held]).to(local.device) for c in columns)] = value


def _draw(
    local: torch.Tensor, law: philox.Law, k: philox.Key, shape: tuple[int, ...], parts: list[np.ndarray | None],
    mean: float, measure: bool,
) -> list[torch.Tensor]:  # fmt: skip
    """Fills the shard with its elements of the stream. On the CPU numpy draws."""
    starts, length = philox.runs(shape, parts)
    in_place = local.is_contiguous()
    flat = local.view(-1) if in_place else torch.empty(local.numel(), dtype=local.dtype, device=local.device)
    on_cpu = local.device.type in ("cpu", "mps")  # mps has no float64.
    size = CHUNK if on_cpu else DEVICE_CHUNK

    def fill(at: int, run_starts: np.ndarray, count: int) -> torch.Tensor | None:
        values = law.values(philox.words_in_runs(k, run_starts, count, device=None if on_cpu else local.device))
        values = torch.from_numpy(values) if on_cpu else values
        piece = flat[at : at + len(run_starts) * count]
        piece.copy_(_narrowed(values.reshape(-1), local.dtype))
        return _moments(piece, mean) if measure else None

    pieces: Iterator[tuple[int, np.ndarray, int]]
    if length >= size:
        cuts = range(0, length, size)
        cut = product(range(len(starts)), cuts)
        pieces = ((r * length + a, starts[r : r + 1] + a, min(size, length - a)) for r, a in cut)
    else:
        rows = max(1, size // max(1, length))
        pieces = ((r * length, starts[r : r + rows], length) for r in range(0, len(starts) if length else 0, rows))
    moments = [fill(*piece) for piece in pieces]
    if not in_place:
        local.copy_(flat.view(local.shape))
    return [m for m in moments if m is not None]


def _narrowed(values: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Types narrower than float32 round from float32, so that every device's conversion does the same."""
    return values.float() if dtype.itemsize < 4 else values


def _moments(values: torch.Tensor, shift: float) -> torch.Tensor:
    x = values.to(torch.float64 if values.device.type != "mps" else torch.float32) - shift
    return torch.stack((x.sum(), (x * x).sum()))


def _summary(moments: list[torch.Tensor], count: int, shift: float) -> tuple[float | None, float | None]:
    if not count:
        return None, None
    first, second = (torch.stack(moments).sum(0) / count).tolist()
    return shift + first, math.sqrt(max(0.0, second - first * first))


def _local(target: _Target) -> tuple[torch.Tensor, list[np.ndarray | None]]:
    """The part of the parameter that is here, and its indices along each dimension; None: all. Raises _Unfit."""
    param: Any = target.param
    parts: list[np.ndarray | None] = [None] * param.ndim
    if not hasattr(param, "placements"):
        return param.detach(), parts
    local: torch.Tensor = param.to_local().detach()
    mesh, here = param.device_mesh, param.device_mesh.get_coordinate()
    if here is None:
        return local, [np.arange(0) for _ in parts]  # The process is outside the mesh.
    for dim, placement in enumerate(param.placements):
        if placement.is_partial():
            raise _Unfit("it is a partial sum over processes")
        if not placement.is_replicate():
            at = placement.dim % param.ndim
            held = parts[at] if parts[at] is not None else np.arange(param.shape[at])
            blocks = philox.shares(held, int(getattr(placement, "split_factor", 1)))
            parts[at] = np.concatenate([philox.shares(b, mesh.size(dim))[here[dim]] for b in blocks])
    if tuple(local.shape) != tuple(n if p is None else len(p) for n, p in zip(param.shape, parts, strict=True)):
        raise _Unfit(f"it is sharded in a way that is not known here: {param.placements}")
    return local, parts
