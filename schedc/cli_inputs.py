"""What the commands share: programs from files, folders, strings and stdin, and what is given from outside."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from schedc.compiler.diagnostics import Diagnostic, Level, errors
from schedc.compiler.source import Source
from schedc.errors import did_you_mean, in_order, listed

if TYPE_CHECKING:
    from schedc.compiler.configuration import Configuration, Settings
    from schedc.compiler.pipeline import Options
    from schedc.plan import Plan

MAX_BYTES = 1 << 26
"""A larger file is not read; the compiler's own limit on a program is far lower."""


class Number(click.ParamType[Any]):
    """A number as the language writes it: `1_281_167`, `10k`."""

    name = "number"

    def __init__(self, is_whole: bool = True) -> None:
        self.is_whole = is_whole

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from schedc.quantities import quantity, whole

        if not isinstance(value, str):
            return value
        try:
            if self.is_whole:
                return whole(value)
            got = quantity(value)
            if got.unit:
                self.fail(f"`{value}` has a unit", param, ctx)
            return str(got.value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@dataclass
class Request:
    """The programs a command is asked to work on, and what is given from outside."""

    sources: list[Source]
    paths: dict[str, Path] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    base: str | None = None
    root: Path | None = None
    folders: list[Path] = field(default_factory=list)
    """The folders among what was named; their programs are among the sources."""
    is_configured: bool = True
    """Whether `pyproject.toml` is read."""
    _found: dict[Path, Configuration | None] = field(default_factory=dict)

    def home(self, source: Source) -> Path:
        """The folder from which a source's configuration is looked for upward."""
        path = self.paths.get(source.name)
        return Path.cwd() if path is None else path.resolve().parent

    def settings(self, source: Source) -> Settings:
        """What `pyproject.toml` says for a source. A faulty one is wrong usage."""
        from schedc.compiler.configuration import ConfigurationError, Settings, find

        if not self.is_configured:
            return Settings()
        home = self.home(source)
        try:
            if home not in self._found:
                self._found[home] = find(home)
            found = self._found[home]
            return Settings() if found is None else found.settings_for(self.paths.get(source.name))
        except ConfigurationError as error:
            raise click.UsageError(str(error)) from None

    def options(self, source: Source, settings: Settings | None = None) -> Options:
        """What to compile a source with: what was given, over what is configured."""
        from dataclasses import replace

        from schedc.plan import options, project_root

        path = self.paths.get(source.name)
        settings = self.settings(source) if settings is None else settings
        root = self.root or settings.root or (Path.cwd() if path is None else project_root(path))
        context = {**settings.context_for(source), **self.context}
        made = options(self.parameters, context, self.base, root)
        return replace(made, ignore=settings.ignore, select=settings.select)

    def compile(self, source: Source, settings: Settings | None = None) -> tuple[Plan | None, tuple[Diagnostic, ...]]:
        """The plan of a source, unless it is faulty, and every message.

        `settings` stand for what is configured.
        """
        from schedc.plan import Plan, read, unknown_parameter
        from schedc.stored import CHECKPOINTS, plan_of_json

        path = self.paths.get(source.name)
        if path is not None and (path.suffix == ".json" or path.suffix in CHECKPOINTS):
            try:
                return read(plan_of_json(source.text), base=None if self.base is None else _float(self.base)), ()
            except json.JSONDecodeError as error:
                raise click.UsageError(f"{source.name}:{error.lineno}:{error.colno}: this is no JSON") from None
            except ValueError as error:
                raise click.UsageError(f"{source.name}: {str(error).splitlines()[0]}") from None
        from schedc.compiler.pipeline import compile_source

        staged = compile_source(source, self.options(source, settings))
        said = in_order(staged.said, source)
        if staged.value is None or errors(said):
            if wrong := unknown_parameter(said, self.parameters, _SPELLED):
                raise click.UsageError(wrong)
            return None, said
        base = None if self.base is None else _float(self.base)
        return Plan.of(staged.value, base, said), said

    def plans(self, warn: bool = True) -> list[Plan]:
        """The plans of all the sources. Messages go to stderr; if one is an error, the command ends with status 1.

        Warnings are left out if `warn` is false.
        """
        from schedc.cli_messages import report

        compiled = [self.compile(source) for source in self.sources]
        said = [d for _, of_one in compiled for d in of_one if d.level is not Level.NOTE]
        if not warn:
            said = errors(said)
        if said:
            report(said, err=True)
        if any(plan is None for plan, _ in compiled):
            raise click.exceptions.Exit(1)
        return [plan for plan, _ in compiled if plan is not None]


def _float(text: str) -> float:
    from fractions import Fraction

    return float(Fraction(text))


def programs(function: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command its programs: FILE… and -e, and all that is given from outside. It is called with a `Request`."""

    @functools.wraps(function)
    def call(
        files: tuple[str, ...],
        expressions: tuple[str, ...],
        parameters: tuple[tuple[str, str], ...],
        base: str | None,
        root: Path | None,
        no_config: bool,
        **rest: Any,
    ) -> Any:
        context = {key: rest.pop(f"context_{key}") for key in _CONTEXT}
        request = Request([], {}, dict(parameters), {k: v for k, v in context.items() if v is not None}, base, root)
        request.is_configured = not no_config
        read(request, files, expressions)
        return function(request, **rest)

    for option in reversed(_OPTIONS):
        call = option(call)
    return call


def _definition(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    out: dict[str, str] = {}
    for text in given:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (equals and name and value):
            raise click.BadParameter(f"`{text}` is not of the form name=value, as in -D peak=3e-4", ctx, param)
        if name in out:
            raise click.BadParameter(f"`{name}` is given twice", ctx, param)
        out[name] = value
    return tuple(out.items())


_CONTEXT = (
    "length", "dataset", "classes", "seq_len", "drop_last", "world_size", "steps_per_epoch", "tick", "global", "micro",
)  # fmt: skip

_SPELLED = {name: "--" + ("global-batch" if name == "global" else name.replace("_", "-")) for name in _CONTEXT}
"""The option for each key of the context."""

_OPTIONS: Sequence[Callable[[Callable[..., Any]], Callable[..., Any]]] = (
    click.argument("files", nargs=-1, metavar="[FILE]..."),
    click.option("-e", "expressions", multiple=True, metavar="TEXT", help="A program given here, as in a config."),
    click.option(
        "-D", "parameters", multiple=True, metavar="NAME=VALUE", callback=_definition, help="The value of a `param`."
    ),
    click.option(
        "--length", "context_length", metavar="QUANTITY", help="The run's length: `90 epochs`, `300B tokens`."
    ),
    click.option("--steps-per-epoch", "context_steps_per_epoch", type=Number(), help="Optimizer updates in an epoch."),
    click.option("--dataset", "context_dataset", type=Number(), help="Samples in an epoch."),
    click.option("--global-batch", "context_global", type=Number(), help="Samples in an update."),
    click.option("--micro", "context_micro", type=Number(), help="Samples in one forward pass of one process."),
    click.option("--seq-len", "context_seq_len", type=Number(), help="Tokens in a sample."),
    click.option("--world-size", "context_world_size", type=Number(), help="Number of data-parallel processes."),
    click.option("--classes", "context_classes", type=Number(), help="Number of classes."),
    click.option("--drop-last/--keep-last", "context_drop_last", default=None, help="What becomes of a short batch."),
    click.option(
        "--tick", "context_tick", type=click.Choice(["step", "epoch"]), help="How often the schedule is read."
    ),
    click.option("--base", type=Number(is_whole=False), help="What relative schedules (`*=`) multiply."),
    click.option(
        "--root",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help='The folder that `use "…"` may read below.',
    ),
    click.option("--no-config", is_flag=True, help="Read no pyproject.toml."),
)


def read(request: Request, files: Sequence[str], expressions: Sequence[str]) -> None:
    """Put the sources that are named into the request. What is not there is wrong usage."""
    if not files and not expressions:
        raise click.UsageError("name a file or a folder, `-` for stdin, or a program with -e")
    for number, text in enumerate(expressions, 1):
        request.sources.append(Source("<string>" if len(expressions) == 1 else f"<string {number}>", text))
    for name in files:
        if name == "-":
            request.sources.append(Source("<stdin>", _decoded("<stdin>", sys.stdin.buffer.read())))
            continue
        path = Path(name)
        if path.is_dir():
            request.folders.append(path)
        for found in _below(path) if path.is_dir() else [path]:
            if str(found) not in request.paths:
                request.paths[str(found)] = found
                request.sources.append(Source(str(found), _text(found)))


def _below(folder: Path) -> list[Path]:
    from schedc.verdicts import programs_below

    found = sorted(map(Path, programs_below(str(folder))))
    if not found:
        raise click.UsageError(f"there is no .sched file in {folder}")
    return found


def _text(path: Path) -> str:
    from schedc.stored import CHECKPOINTS, plan_of_checkpoint

    try:
        if path.suffix in CHECKPOINTS and path.is_file():
            return plan_of_checkpoint(path)
        if path.stat().st_size > MAX_BYTES:
            raise click.UsageError(f"{path} is larger than {MAX_BYTES >> 20} MiB")
        return _decoded(str(path), path.read_bytes())
    except FileNotFoundError:
        near = did_you_mean(path.name, [p.name for p in path.parent.glob("*.sched")] if path.parent.is_dir() else [])
        hint = (
            "; to give a program instead of a file, write it behind -e" if "->" in str(path) or " " in str(path) else ""
        )
        raise click.UsageError(f"there is no file {path}{near or hint}") from None
    except OSError as error:
        raise click.UsageError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise click.UsageError(f"{path}: {error}") from None


def _decoded(name: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{name} is not UTF-8 text (byte {error.start})") from None


def write_whole(path: Path, text: str | bytes) -> None:
    """Write a file whole or not at all."""
    import tempfile

    target = path.resolve() if path.is_symlink() else path
    if target.is_dir():
        raise click.UsageError(f"{path} is a folder")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise click.UsageError(f"cannot write {path}: {error.strerror}") from None
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(text.encode("utf-8") if isinstance(text, str) else text)
        mode = target.stat().st_mode & 0o7777 if target.exists() else 0o666 & ~_umask()
        temporary.chmod(mode)
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise click.UsageError(f"cannot write {path}: {error.strerror}") from None
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def one(plans: Sequence[Any], what: str) -> Any:
    """The only plan there is; more are wrong usage."""
    if len(plans) != 1:
        raise click.UsageError(f"{what} takes one program, and {len(plans)} are given")
    return plans[0]


def chosen(available: Sequence[str], asked: Sequence[str]) -> Iterator[str]:
    """The names that are asked for; all if none is."""
    for name in asked:
        if name not in available:
            raise click.UsageError(f"no `{name}` is bound{did_you_mean(name, available)} (bound: {listed(available)})")
    yield from asked or available
