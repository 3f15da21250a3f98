"""Plans as pictures: one panel per bound name, over the updates, with the stages marked.

`figure` needs matplotlib, `terminal` plotext; each is imported when it is called. `plateau` decides while training
runs; it is drawn with factor 1, as before any cut.
"""

from __future__ import annotations

import html
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from schedc.compiler.evaluate import binding_values
from schedc.compiler.plan import Binding, Plan, UnknownClock
from schedc.compiler.readings import readings_at

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SAMPLES = 4000
"""Updates drawn, of a longer run; the ends of every segment are always among them."""
ENDLESS = 1000
"""Updates drawn of a schedule that goes on for ever from its start."""
COLOURS = ("#0b6bcb", "#d1495b", "#2a9d6f", "#e08e1b", "#7a4fbf", "#4d4d4d", "#1f9bb0", "#b5508f")
FACTOR = "× built-in value"
MAX_LABELS = 40
"""Segments marked; a picture with more would show nothing else."""


@dataclass
class Line:
    """One plan's values of a panel."""

    label: str
    updates: NDArray[np.int64]
    values: NDArray[np.float64]


@dataclass
class Panel:
    """One bound name: its lines, and the stages of the first plan that binds it, as (first update, words)."""

    name: str
    unit: str
    lines: list[Line] = field(default_factory=list)
    stages: list[tuple[int, str]] = field(default_factory=list)


def shown_updates(plans: Sequence[Plan]) -> int:
    """How many updates the picture covers: the longest run, or until the last schedule ends."""
    longest = 0
    for plan in plans:
        if plan.run is not None:
            longest = max(longest, plan.run.updates)
            continue
        starts = [s.start for b in _bindings(plan) for s in b.curve.segments if s.end is None]
        ends = [s.end for b in _bindings(plan) for s in b.curve.segments if s.end is not None]
        # A little beyond the end shows what is held.
        longest = max(longest, math.ceil(max(ends, default=0) * 21 / 20), math.ceil(2 * max(starts, default=0)))
    return longest or ENDLESS


def panels(plans: Sequence[Plan], updates: int, base: float | None = None, names: Sequence[str] = ()) -> list[Panel]:
    """What is drawn: every name that a plan binds, or those asked for, and the global batch where it changes."""
    by_name: dict[str, Panel] = {}
    labels = _labels(plans)
    for plan, label in zip(plans, labels, strict=True):
        for binding in _bindings(plan):
            if names and binding.name not in names:
                continue
            panel = by_name.setdefault(binding.name, Panel(binding.name, FACTOR if binding.relative else ""))
            if not binding.relative or base is not None:
                panel.unit = ""
            at = _sampled(binding, updates)
            drawn = _live(binding, at)
            got = np.asarray(
                binding_values(plan, binding.name, at[drawn], base=1.0 if base is None else base), dtype=np.float64
            )
            panel.lines.append(Line(label, at[drawn], got))
            if len(plans) == 1:
                panel.stages = _stages(binding, updates)
        if len(plan.batch.phases) > 1 and (not names or "batch" in names):
            panel = by_name.setdefault("batch", Panel("batch", "samples in an update"))
            panel.lines.append(_batch(plan, label, updates))
    return list(by_name.values())


def _bindings(plan: Plan) -> tuple[Binding, ...]:
    return (*plan.bindings, *plan.lets)


def _labels(plans: Sequence[Plan]) -> list[str]:
    """What to call the plans: by their files, or by their texts if they have none."""
    labels = []
    for plan in plans:
        text = " ".join(plan.source.split())
        if plan.name.startswith("<") and text:
            labels.append(text if len(text) <= 60 else text[:59] + "…")
        else:
            # Of a path the end tells most.
            labels.append(plan.name if len(plan.name) <= 60 else "…" + plan.name[-59:])
    return labels


def _sampled(binding: Binding, updates: int) -> NDArray[np.int64]:
    if updates <= SAMPLES:
        return np.arange(updates, dtype=np.int64)
    edges = [u for s in binding.curve.segments for u in (s.first - 1, s.first)]
    inner = [u for u in edges if 0 <= u < updates]
    even = np.linspace(0, updates - 1, SAMPLES).astype(np.int64)
    return np.unique(np.concatenate([even, np.array(inner, dtype=np.int64)]))


def _live(binding: Binding, at: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which updates have a value: all but those of `error` segments."""
    live = np.ones(len(at), dtype=np.bool_)
    for segment in binding.curve.segments:
        if segment.error:
            live &= (at < segment.first) | (at > (at.max() if segment.last is None else segment.last))
    return live


def _stages(binding: Binding, updates: int) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    for segment in binding.curve.segments:
        owns = segment.last is None or segment.last >= segment.first
        if owns and segment.first < updates and (not found or segment.label != found[-1][1]):
            found.append((segment.first, segment.label))
    end = binding.curve.end
    if end is not None and binding.curve.segments and math.ceil(end) < updates:
        found.append((math.ceil(end), ""))
    return found


def _batch(plan: Plan, label: str, updates: int) -> Line:
    at: list[int] = []
    got: list[float] = []
    phases = plan.batch.phases
    for i, phase in enumerate(phases):
        end = phases[i + 1].update if i + 1 < len(phases) else updates
        if phase.update < updates:
            at += [phase.update, max(phase.update, min(end, updates) - 1)]
            got += [phase.global_batch] * 2
    return Line(label, np.array(at, dtype=np.int64), np.array(got, dtype=np.float64))


def own_clock(plan: Plan) -> str | None:
    """The clock to show beside the updates: the run's own, else tokens or epochs where they are known."""
    first = [plan.run.clock] if plan.run is not None and plan.run.clock != "steps" else []
    for clock in (*first, "tokens", "epochs"):
        try:
            if plan.clocks:
                readings_at(plan.clocks[0], clock, np.array([0, 1]))
                return clock
        except UnknownClock:
            continue
    return None


def nice_ticks(last: float, count: int = 6) -> list[float]:
    """Round numbers from 0 to `last`."""
    if last <= 0:
        return [0.0]
    raw = last / count
    scale = 10.0 ** math.floor(math.log10(raw))
    step = next(m for m in (1, 2, 2.5, 5, 10) if m * scale >= raw * 0.999) * scale
    return [i * step for i in range(int(last / step * (1 + 1e-9)) + 1)]


def short(value: float) -> str:
    """A count for an axis: `10k`, `2.5B`."""
    for suffix, scale in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= scale:
            return f"{value / scale:.4g}{suffix}"
    return f"{value:.4g}"


def level(value: float) -> str:
    """A value for an axis: `0.5`, `3e-4`, `15k`."""
    if abs(value) >= 1000:
        return short(value)
    text = f"{value:.3g}"
    mantissa, e, exponent = text.partition("e")
    if not e and value and abs(value) < 1e-3:
        mantissa, e, exponent = f"{value:.2e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}" if e else mantissa


def figure(
    plans: Sequence[Plan], updates: int | None = None, base: float | None = None, names: Sequence[str] = ()
) -> Figure:
    """The picture of one plan, or of several over each other. Needs matplotlib."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    count = updates or shown_updates(plans)
    drawn = panels(plans, count, base, names)
    heights = [1.1 if _is_flat(panel) else 2.3 for panel in drawn] or [2.3]
    fig = Figure(figsize=(9, 0.9 + sum(heights)), layout="constrained", facecolor="white")
    grid = {"height_ratios": heights}
    axes: Sequence[Axes] = list(fig.subplots(len(heights), 1, sharex=True, squeeze=False, gridspec_kw=grid)[:, 0])
    for panel, ax in zip(drawn, axes, strict=False):
        for i, line in enumerate(panel.lines):
            colour = COLOURS[i % len(COLOURS)]
            style = "steps-post" if panel.name == "batch" else "default"
            ax.plot(line.updates, line.values, color=colour, lw=1.8, label=line.label, drawstyle=style, zorder=3)
            if len(panel.lines) == 1 and style == "default":
                ax.fill_between(line.updates, line.values, 0, color=colour, alpha=0.07, lw=0, zorder=1)
        _dress(ax, panel, count)
    if not drawn:
        axes[0].text(0.5, 0.5, "nothing is bound", ha="center", va="center", transform=axes[0].transAxes)
    axes[-1].set_xlabel("update", color="#444444")
    axes[-1].xaxis.set_major_formatter(FuncFormatter(lambda x, _: short(x)))
    axes[0].set_xlim(0, max(1, count - 1))
    _clock_axis(axes[0], plans, count)
    fig.align_ylabels(axes)
    title = plans[0].name if len(plans) == 1 else "  ".join(_labels(plans))
    one_line = plans[0].source.strip()
    if len(plans) == 1 and "\n" not in one_line and len(one_line) <= 110:
        title = one_line if plans[0].name.startswith("<") else f"{title}:  {one_line}"
    if len(plans) > 1 and drawn:
        fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=2, frameon=False, fontsize=9)
    else:
        fig.suptitle(title, x=0.01, ha="left", fontsize=10, family="monospace", color="#222222")
    return fig


def _is_flat(panel: Panel) -> bool:
    """Whether every line keeps one value throughout."""
    return all(len(line.values) == 0 or float(np.ptp(line.values)) == 0 for line in panel.lines)


def _dress(ax: Axes, panel: Panel, count: int) -> None:
    from matplotlib.ticker import FuncFormatter

    low, high = _range(panel)
    room = (high - low) or abs(high) or 1.0
    labelled = [stage for stage in panel.stages if stage[1] and not _is_flat(panel)]
    marked = panel.stages if len(panel.stages) <= MAX_LABELS else []
    ax.set_ylim(low - 0.04 * room, high + (0.22 if labelled and marked else 0.08) * room)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: level(y)))
    ax.locator_params(axis="y", nbins=5)
    ax.grid(axis="y", color="#e6e6e6", lw=0.8, zorder=0)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color("#999999")
    ax.tick_params(colors="#444444", labelsize=9)
    ax.set_ylabel(panel.name + (f"\n{panel.unit}" if panel.unit else ""), color="#222222", fontsize=10)
    for i, (first, words) in enumerate(marked):
        if first > 0:
            ax.axvline(first, color="#888888", lw=0.8, ls=(0, (4, 3)), zorder=2)
        end = marked[i + 1][0] if i + 1 < len(marked) else count
        fits = (end - first) / count * 115  # Characters of this size across the axes, about.
        if words and labelled and fits >= 4:
            cut = words if len(words) <= fits else words[: max(1, int(fits) - 1)] + "…"
            ax.text(
                (first + end) / 2, 0.97, cut, transform=ax.get_xaxis_transform(), ha="center", va="top",
                fontsize=8, color="#555555", family="monospace", zorder=4,
            )  # fmt: skip


def _clock_axis(ax: Axes, plans: Sequence[Plan], count: int) -> None:
    """The run's own clock, along the top; that of the first plan."""
    plan = plans[0]
    clock = own_clock(plan)
    if clock is None:
        return
    at = np.unique(np.linspace(0, count, 2001).astype(np.int64))
    shown = np.asarray(readings_at(plan.clocks[0], clock, at), dtype=np.float64)
    ticks = nice_ticks(float(shown[-1]))
    # Interpolation is enough for ticks: between two samples a batch ramp bends the clock by less than a pixel.
    top = ax.secondary_xaxis("top")
    top.set_xticks(np.interp(ticks, shown, at), [short(t) for t in ticks])
    top.set_xlabel(clock if len(plans) == 1 else f"{clock} in {_labels(plans)[0]}", color="#444444")
    top.tick_params(colors="#444444", labelsize=9)
    top.spines["top"].set_color("#999999")


def image(fig: Figure, form: str) -> bytes:
    """The picture as `png`, `svg`, `pdf`, or `html`: a page that needs nothing else."""
    import matplotlib as mpl

    out = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "schedc", "svg.fonttype": "none" if form == "html" else "path"}):
        if form == "png":
            fig.savefig(out, format="png", dpi=160)
        else:
            # Without a date the same plan gives the same file.
            date = {"CreationDate": None} if form == "pdf" else {"Date": None}
            fig.savefig(out, format="pdf" if form == "pdf" else "svg", metadata=date)
    return out.getvalue()


PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
svg {{ width: 100%; height: auto }}
pre {{ background: #f6f6f6; padding: 1rem; overflow-x: auto; font-size: 13px }}
h1 {{ font-size: 1.1rem }}
</style>
<h1>{title}</h1>
{svg}
{sources}
</html>
"""


def page(plans: Sequence[Plan], fig: Figure) -> bytes:
    """The picture and the programs behind it as one HTML page."""
    svg = image(fig, "html").decode()
    svg = svg[svg.index("<svg") :]
    titles = _labels(plans)
    sources = "\n".join(
        (f"<h1>{html.escape(title)}</h1>\n" if len(plans) > 1 else "")
        + f"<pre>{html.escape(plan.source.strip())}</pre>"
        for title, plan in zip(titles, plans, strict=True)
    )
    return PAGE.format(title=html.escape(", ".join(titles)), svg=svg, sources=sources).encode()


def terminal(
    plans: Sequence[Plan],
    width: int,
    height: int,
    colour: bool,
    updates: int | None = None,
    base: float | None = None,
    names: Sequence[str] = (),
) -> str:
    """The picture in characters, `height` lines for each panel."""
    import plotext

    count = updates or shown_updates(plans)
    drawn = panels(plans, count, base, names)
    clock = own_clock(plans[0])
    out: list[str] = [] if drawn else ["nothing is bound"]
    for i, panel in enumerate(drawn):
        fig = plotext.figure
        fig.clear()
        fig.theme("colorless")
        fig.plot_size(width, max(5, height // 2) if _is_flat(panel) else height)
        low, high = _range(panel)
        for first, _ in panel.stages[:MAX_LABELS]:
            if 0 < first < count:
                fig.line(first, "vertical", style="dotted")
        for k, line in enumerate(panel.lines):
            marker = (
                plotext.marker("braille", ("blue+", "red+", "green+", "orange", "magenta+", "cyan+")[k % 6])
                if colour
                else "braille"
            )
            signal = fig.signal(line.updates.tolist(), line.values.tolist(), marker=marker).lines()
            fig.draw(signal)
        _terminal_axes(fig, panel, plans[0], clock if i == 0 else None, count, low, high)
        out.append(_heading(panel, plans, colour))
        text = fig.build().string(not colour)
        out += [row.rstrip() for row in text.split("\n") if row.strip()]
    return "\n".join(out)


def _range(panel: Panel) -> tuple[float, float]:
    got = np.concatenate([line.values for line in panel.lines]) if panel.lines else np.zeros(1)
    got = got[np.isfinite(got)]
    if not len(got):
        return 0.0, 1.0
    low, high = float(got.min()), float(got.max())
    low = min(low, 0.0) if low < 0.5 * high or low == high else low
    return (low, high) if high > low else (low, low + 1.0)


def _terminal_axes(fig: Any, panel: Panel, plan: Plan, clock: str | None, count: int, low: float, high: float) -> None:
    levels = 2 if _is_flat(panel) else 4
    ticks = nice_ticks(count - 1)
    fig.ruler("x", 0).lim(0, max(1, count - 1)).ticks(ticks, [short(t) for t in ticks])
    marks = [m for m in nice_ticks(high, levels) if m >= low] if low >= 0 else [low, 0.0, high]
    fig.ruler("y", 0).lim(low, high).ticks(marks, [level(m) for m in marks])
    if clock is not None:
        at = np.unique(np.linspace(0, count, 501).astype(np.int64))
        shown = np.asarray(readings_at(plan.clocks[0], clock, at), dtype=np.float64)
        tops = nice_ticks(float(shown[-1]), 5)
        words = [f"0 {clock}", *map(short, tops[1:])]
        fig.ruler("x", 1).lim(0, max(1, count - 1)).ticks(np.interp(tops, shown, at).tolist(), words)


def _heading(panel: Panel, plans: Sequence[Plan], colour: bool) -> str:
    head = panel.name + (f" ({panel.unit})" if panel.unit else "")
    words = [words for _, words in panel.stages if words]
    if words:
        # Of what repeats, one cycle.
        shown = list(dict.fromkeys(words))[:8]
        return f"{head}:  {' -> '.join(shown)}" + (" …" if len(words) > len(shown) else "")
    return f"{head}:  " + ", ".join(line.label for line in panel.lines) if len(plans) > 1 else head
