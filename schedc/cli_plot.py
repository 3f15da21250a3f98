"""`schedc plot`."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from schedc.cli_inputs import Number, Request, chosen, programs, write_whole
from schedc.cli_messages import in_colour
from schedc.errors import needs

FORMS = ("png", "svg", "html", "pdf")
MAX_UPDATES = 10**12


@click.command(
    "plot",
    epilog="""\b
Examples:
  schedc plot train.sched                   in the terminal
  schedc plot train.sched -o curve.png      or .svg, .pdf, .html
  schedc plot old.sched new.sched           over each other
  schedc plot -e "warmup 500 -> cosine 10k" -e "linear 10k"
  schedc plot train.sched --name lr --updates 5k
""",
)
@programs
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="A .png, .svg, .html or .pdf file."
)
@click.option("--name", "names", multiple=True, metavar="NAME", help="Only this bound name; may be repeated.")
@click.option("--updates", type=Number(), help="How many updates to draw; by default all of them.")
@click.option(
    "--height", type=click.IntRange(5, 200), default=14, show_default=True, help="Lines a panel has in the terminal."
)
@click.option("--width", type=click.IntRange(30, 400), help="Columns in the terminal.")
def plot_command(
    request: Request,
    output: Path | None,
    names: tuple[str, ...],
    updates: int | None,
    height: int,
    width: int | None,
) -> None:
    """Draw every bound name of the programs, with the stages marked; several programs lie over each other.

    The axis below counts updates, the one above shows the run's own clock where it is known.
    """
    form = None if output is None else output.suffix.removeprefix(".").lower()
    if form is not None and form not in FORMS:
        raise click.UsageError(f"the name of the picture says its form: one of {', '.join('.' + f for f in FORMS)}")
    if updates is not None and not 2 <= updates <= MAX_UPDATES:
        raise click.UsageError("--updates is a number from 2 on")
    plans = request.plans()
    for name in chosen(list(dict.fromkeys([n for p in plans for n in p.names] + ["batch"])), names):
        assert name
    from schedc.backends import plot
    from schedc.compiler.plan import UnknownClock

    base = plans[0]._base
    try:
        if output is None:
            columns = width or min(shutil.get_terminal_size((100, 24)).columns, 160)
            click.echo(plot.terminal(plans, columns, height, in_colour(), updates, base, names), color=in_colour())
            return
        try:
            figure = plot.figure(plans, updates, base, names)
        except ModuleNotFoundError as error:
            raise needs("matplotlib", "plot", "a picture in a file")(error) from None
    except UnknownClock as error:
        raise click.UsageError(str(error)) from None
    write_whole(output, plot.page(plans, figure) if form == "html" else plot.image(figure, str(form)))
