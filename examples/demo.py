"""A schedule from its text to a trained network: check it, look at it, compile it, train with the compiled file.

`make demo` runs this; so does `python examples/demo.py`. It needs `pip install 'schedc[demo]'` and takes seconds on a
CPU.
The data are scikit-learn's handwritten digits, which come with it.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import schedc
from schedc import cli

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = Path(__file__).with_name("digits.sched")
console = Console(highlight=False, soft_wrap=True)


class Digits(nn.Module):
    """A small convolutional network for images of 8 × 8 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(64)
        self.hidden = nn.Linear(64 * 4, 64)
        self.out = nn.Linear(64, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = nn.functional.max_pool2d(self.norm1(self.conv1(images)).relu(), 2)
        x = nn.functional.max_pool2d(self.norm2(self.conv2(x)).relu(), 2)
        logits: torch.Tensor = self.out(self.hidden(x.flatten(1)).relu())
        return logits


@dataclass
class History:
    """What happened: the rate of every update, each epoch's losses, and the updates before which plateau cut."""

    lr: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)


def heading(words: str) -> None:
    console.print(f"\n[bold]{words}[/bold]")


def command(*arguments: str) -> None:
    """Show a command line and run it, in this process."""
    console.print(f"\n[cyan]$ schedc {' '.join(arguments)}[/cyan]")
    status = cli.run(arguments)
    if status:
        sys.exit(status)


def imported(path: Path) -> list[str]:
    """The modules that a Python file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return sorted(found)


def load_by_path(path: Path) -> ModuleType:
    """A Python file as a module, wherever it lies."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def splits() -> tuple[TensorDataset, TensorDataset, TensorDataset]:
    """The digits: 1437 to learn from, 180 to watch, 180 to test; every class has its share in each."""
    images, labels = load_digits(return_X_y=True)
    learn_x, rest_x, learn_y, rest_y = train_test_split(
        images, labels, train_size=1437, stratify=labels, random_state=0
    )
    watch_x, test_x, watch_y, test_y = train_test_split(rest_x, rest_y, train_size=180, stratify=rest_y, random_state=0)

    def dataset(x: Any, y: Any) -> TensorDataset:
        pixels = torch.tensor(x, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
        return TensorDataset(pixels, torch.tensor(y))

    return dataset(learn_x, learn_y), dataset(watch_x, watch_y), dataset(test_x, test_y)


@torch.no_grad()
def evaluate(model: nn.Module, data: TensorDataset, device: torch.device) -> tuple[float, float]:
    """Mean loss, and the share that is right."""
    model.eval()
    images, labels = (tensor.to(device) for tensor in data.tensors)
    logits = model(images)
    model.train()
    return cross_entropy(logits, labels).item(), (logits.argmax(1) == labels).float().mean().item()


def train(plan: schedc.Plan, compiled: ModuleType, device: torch.device, seed: int) -> tuple[nn.Module, History]:
    """Train on what the plan says, with the scheduler of the compiled file."""
    learn, watch, _ = splits()
    model = Digits().to(device)
    print(plan.initialize(model, seed=seed))

    sizes = plan.batch()
    sampler = sizes.sampler(seed=seed)
    loader = DataLoader(learn, **sizes.loader_kwargs(sampler))
    print(f"\n{sizes}\n")

    optimizer = torch.optim.SGD(compiled.param_groups(model), lr=0.1, momentum=0.9, nesterov=True)
    schedule = compiled.Schedule(optimizer)

    history = History()
    with progress() as shown:
        assert plan.run is not None
        task = shown.add_task("", total=plan.run.updates, epoch=0, loss=0.0, val=0.0, right=0.0, lr=0.0)
        for update in sampler.updates(loader):
            history.lr.append(schedule.get_last_lr()[0])
            for (images, labels), weight in update:
                loss = cross_entropy(model(images.to(device)), labels.to(device)) * weight
                loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            shown.update(task, advance=1, lr=history.lr[-1])
            if update.info.first + update.info.size == len(learn):  # The last update of its epoch.
                val_loss, right = evaluate(model, watch, device)
                before = schedule.get_last_lr()[0]
                schedule.observe(val_loss=val_loss)
                after = schedule.get_last_lr()[0]
                history.val_loss.append(val_loss)
                epoch = update.info.epoch + 1
                if after < before:
                    history.cuts.append(update.info.number + 1)
                    shown.print(
                        f"epoch {epoch}: val_loss stays above {min(history.val_loss):.4f}, so plateau cuts lr to {after:.3g}"
                    )
                shown.update(task, epoch=epoch, loss=loss.item(), val=val_loss, right=right)
    return model, history


def progress() -> Progress:
    return Progress(
        TextColumn("epoch {task.fields[epoch]:>2}"),
        BarColumn(bar_width=16),
        TextColumn("loss {task.fields[loss]:.4f} val_loss {task.fields[val]:.4f} right {task.fields[right]:.1%}"),
        TextColumn("lr {task.fields[lr]:.4f}"),
        console=console,
    )


def draw(plan: schedc.Plan, history: History, path: Path) -> None:
    """The rate that was used beside the planned one, with plateau's cuts, over the validation loss."""
    count = len(history.lr)
    per_epoch = count // len(history.val_loss)
    fig = Figure(figsize=(9, 5.4), layout="constrained", facecolor="white")
    top, bottom = fig.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 2]})
    top.plot(range(count), plan["lr"](range(count)), color="#999999", lw=1.4, ls=(0, (5, 3)), label="planned: no cut")
    top.plot(range(count), history.lr, color="#1f6fb4", lw=2, label="used")
    top.fill_between(range(count), history.lr, color="#1f6fb4", alpha=0.08, lw=0)
    top.set_ylabel("lr")
    ends = [(i + 1) * per_epoch for i in range(len(history.val_loss))]
    bottom.plot(ends, history.val_loss, color="#c2571a", lw=1.8, marker="o", ms=3)
    bottom.set_ylabel("val_loss")
    bottom.set_yscale("log")
    bottom.set_xlabel("update")
    for ax in (top, bottom):
        for i, cut in enumerate(history.cuts):
            ax.axvline(cut, color="#b3261e", lw=1, ls=":", label="plateau cuts" if i == 0 else None)
        ax.grid(axis="y", color="#e6e6e6", lw=0.8)
        ax.spines[["top", "right"]].set_visible(False)
    for segment in plan["lr"].segments:
        last = count if segment.end is None else min(count, float(segment.end))
        if segment.start > 0:
            top.axvline(float(segment.start), color="#888888", lw=0.8, ls=(0, (4, 3)))
        if last - segment.start > count / 12:
            middle = (float(segment.start) + last) / 2
            style = {"ha": "center", "size": 8, "family": "monospace", "color": "#555555"}
            top.text(middle, 0.94, segment.label, transform=top.get_xaxis_transform(), **style)
    top.set_ylim(0, 1.16 * max(history.lr))
    top.set_xlim(0, count)
    top.legend(loc="upper right", bbox_to_anchor=(1, 0.9), edgecolor="none", framealpha=1)
    epochs = top.secondary_xaxis("top", functions=(lambda n: n / per_epoch, lambda e: e * per_epoch))
    epochs.set_xlabel("epoch")
    fig.savefig(path, dpi=140)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "out", help="the folder for the compiled file and the picture"
    )
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    program, target, picture = (shown(p) for p in (PROGRAM, given.out / "digits_schedule.py", given.out / "demo.png"))

    heading("The program")
    console.print(PROGRAM.read_text().strip(), style="dim", markup=False)

    heading("Checked, drawn and compiled before any training starts")
    command("check", program)
    command("plot", program, "--name", "lr")
    command("compile", program, "-o", target)
    modules = imported(Path(target))
    assert "schedc" not in modules
    print(f"{target} imports {', '.join(modules)}: it needs no schedc.")

    heading(f"Training on {device_name(given.device)} with {target}")
    if given.device == "cpu":
        torch.set_num_threads(1)  # More would only wait for each other: the network is small.
    plan = schedc.load(program)
    device = torch.device(given.device)
    model, history = train(plan, load_by_path(Path(target)), device, given.seed)
    draw(plan, history, Path(picture))

    heading("Result")
    _, right = evaluate(model, splits()[2], device)
    print(f"{right:.1%} of 180 test images right; plateau cut {len(history.cuts)} times")
    print(f"the compiled schedule: {target}")
    print(f"the rate that was used, beside the plan: {picture}")


def shown(path: Path) -> str:
    """The path as short as it can be from here."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def device_name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else f"the {device.upper()}"


if __name__ == "__main__":
    main()
