"""The command line: its commands, and what happens when one of them fails.

A command is imported when it is called, so that `schedc check` pays for no pictures and no tables. The exit status is
0 when all is well, 1 for a faulty program, 2 for wrong usage, 70 for a bug of schedc.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import click

from schedc.errors import SchedError, did_you_mean

COMMANDS = {
    "check": ("schedc.cli_check", "Check programs: every message of every file, in one run."),
    "show": ("schedc.cli_show", "Show a plan as tables: stages, values, counts, batch, groups, init."),
    "eval": ("schedc.cli_show", "Print the values at some updates."),
    "plot": ("schedc.cli_plot", "Draw every bound name, in the terminal or into a file."),
    "compile": ("schedc.cli_write", "Write a program in another form: torch code, JSON, CSV …"),
    "diff": ("schedc.cli_diff", "Compare two programs: equal, or from which update on they part."),
    "fmt": ("schedc.cli_write", "Lay programs out in the one canonical way."),
    "dump": ("schedc.cli_write", "Print what a stage of the compiler makes of a program."),
    "explain": ("schedc.cli_pages", "Print the page behind a message."),
    "doc": ("schedc.cli_pages", "Print the documentation of the standard library."),
}
"""Each command's module and summary; the module holds it under its name, with `_command` behind it."""

BUG = 70
INTERRUPTED = 130


class Commands(click.Group):
    """The commands, imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        found = getattr(importlib.import_module(COMMANDS[cmd_name][0]), f"{cmd_name}_command")
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = did_you_mean(args[0], COMMANDS)
            if not near and ("->" in args[0] or os.path.exists(args[0])):  # noqa: PTH110, for texts that are no path
                near = "; to check it, write `schedc check`" + ("" if os.path.exists(args[0]) else " -e")  # noqa: PTH110
            raise click.UsageError(f"there is no command `{args[0]}`{near}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


def _version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        import schedc

        click.echo(f"schedc {schedc.__version__}")
        ctx.exit()


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  schedc check train.sched recipes/
  schedc check -e "warmup 500 -> cosine 10k"
  schedc plot train.sched -o curve.png
  schedc COMMAND --help
""",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version."
)
def cli() -> None:
    """A compiler for learning-rate schedules, batch ramps and initialisation."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit status."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None, kept: str | None = None) -> int:
    """Run the command line; its exit status. `kept` is where the verdict of this run is to be kept (see `verdicts`)."""
    try:
        status = cli.main(
            args=None if arguments is None else list(arguments), prog_name="schedc", standalone_mode=False, obj=kept
        )
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader, `head` say, has what it wants. Nothing may be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SchedError as error:
        click.echo(str(error), err=True)
        return 1
    except (ImportError, OSError) as error:
        if isinstance(error, ModuleNotFoundError) and (error.name or "").startswith("schedc"):
            return _bug(error)
        click.echo(f"schedc: {error}", err=True)
        return 2
    except Exception as error:
        return _bug(error)


def _bug(error: Exception) -> int:
    if os.environ.get("SCHEDC_DEBUG"):
        import traceback

        traceback.print_exc()
    import schedc

    said = " ".join(str(error).split())[:200]
    click.echo(
        f"schedc {schedc.__version__}: this is a bug in schedc, not in your program ({type(error).__name__}: {said})\n"
        f"Please report it, with the program and what SCHEDC_DEBUG=1 adds to this message{_tracker()}.",
        err=True,
    )
    return BUG


def _tracker() -> str:
    from importlib.metadata import PackageNotFoundError, metadata

    try:
        urls = metadata("schedc").get_all("Project-URL") or []
    except PackageNotFoundError:
        urls = []
    for name, _, url in (entry.partition(", ") for entry in urls):
        if name.lower() in ("issues", "bug tracker", "tracker"):
            return f", at {url}"
    return ", where you got schedc from"
