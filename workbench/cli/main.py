"""`petbench`: registers the command groups, turns the user's mistakes into one message and exit code 2."""

from __future__ import annotations

import functools
import io
import sys
from typing import Annotated

import typer

import workbench
from workbench.cli.console import print_problem
from workbench.support.errors import UserError

app = typer.Typer(
    name="petbench",
    help="A terminal workbench for transfer learning and pseudo-labelling on images.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@functools.cache
def _register() -> None:
    """Add every command once, however often `main` is called."""
    from workbench.cli import data, doctor, inspect, model, predict, recipe, run, runs

    app.command()(run.run)
    app.command()(run.resume)
    app.add_typer(runs.app, name="runs")
    app.add_typer(recipe.app, name="recipe")
    app.add_typer(data.app, name="data")
    app.add_typer(model.app, name="model")
    app.command()(model.backbones)
    app.command()(inspect.inspect)
    app.command()(predict.predict)
    app.command()(doctor.doctor)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"petbench {workbench.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of petbench itself."""


def main() -> None:
    """Run the command line; exit 0 done, 1 the run failed, 2 the input is wrong, 130 interrupted."""
    _print_anything()
    _register()
    try:
        app()
    except UserError as error:
        print_problem(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # `petbench runs ls | head`: nobody reads on; closing stderr keeps Python from complaining at exit.
        sys.stderr.close()
        sys.exit(0)


def _print_anything() -> None:
    """Let letters that the terminal's encoding lacks print as "?", where Python would raise an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


if __name__ == "__main__":
    main()
