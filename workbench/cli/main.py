"""`petbench`: registers the command groups, turns the user's mistakes into one message and exit code 2."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import workbench
from workbench.cli.console import error_console
from workbench.support.clean import clean
from workbench.support.errors import UserError

app = typer.Typer(
    name="petbench",
    help="A terminal workbench for transfer learning and pseudo-labelling on images.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _register() -> None:
    from workbench.cli import data, inspect, model, recipe, run, runs

    app.command()(run.run)
    app.command()(run.resume)
    app.add_typer(runs.app, name="runs")
    app.add_typer(recipe.app, name="recipe")
    app.add_typer(data.app, name="data")
    app.add_typer(model.app, name="model")
    app.command()(model.backbones)
    app.command()(inspect.inspect)


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
    _register()
    try:
        app()
    except UserError as error:
        report_user_error(error)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # `petbench runs ls | head`: nobody reads on; closing stderr keeps Python from complaining at exit.
        sys.stderr.close()
        sys.exit(0)


def report_user_error(error: UserError) -> None:
    """One clear message on standard error: what, where, what is allowed, what to do."""
    for number, line in enumerate(str(error).splitlines()):
        error_console.print(
            f"{'petbench: ' if number == 0 else '  '}{clean(line)}", style="bold red" if number == 0 else "", soft_wrap=True
        )


if __name__ == "__main__":
    main()
