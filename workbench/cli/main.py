"""`petbench`: registers the command groups, turns the user's mistakes into one message and exit code 2."""

from __future__ import annotations

import functools
import io
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

import workbench
from workbench.cli.arguments import DataDir, RunsDir
from workbench.cli.console import error_console, print_problem, print_text
from workbench.cli.streams import INTERRUPTED, with_streams
from workbench.support.clean import clean
from workbench.support.errors import RunFailed, UserError

_HELP = """A terminal workbench for transfer learning and pseudo-labelling on images.

Without a command it opens the app on the runs directory.
"""

app = typer.Typer(
    name="petbench",
    help=_HELP,
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@functools.cache
def register() -> None:
    """Add every command once, however often `main` is called."""
    from workbench.cli import (
        data,
        doctor,
        ensemble,
        export,
        generate,
        inspect,
        label,
        label_issues,
        launch,
        lr_find,
        model,
        paper,
        predict,
        preview,
        recipe,
        review,
        run,
        runs,
        saliency,
        schemas,
        slices,
        start,
        strategies,
        sweep,
    )

    app.command()(start.start)
    app.command()(label.label)
    app.command()(run.run)
    app.command()(run.resume)
    app.command("launch")(launch.launch_)
    app.command()(launch.stop)
    app.command()(launch.pause)
    app.command()(sweep.sweep)
    app.command("lr-find")(lr_find.lr_find)
    app.add_typer(paper.app, name="paper")
    app.add_typer(launch.queue_app, name="queue")
    app.add_typer(runs.app, name="runs")
    app.add_typer(recipe.app, name="recipe")
    app.add_typer(data.app, name="data")
    app.add_typer(model.app, name="model")
    app.command()(model.backbones)
    app.command()(strategies.strategies)
    app.command()(inspect.inspect)
    app.command()(slices.slices)
    app.command()(review.review)
    app.command()(preview.preview)
    app.command()(generate.generate)
    app.command()(saliency.saliency)
    app.command()(saliency.neighbours)
    app.command("label-issues")(label_issues.label_issues)
    app.command()(predict.predict)
    app.command()(ensemble.ensemble)
    app.command()(export.export)
    app.command()(doctor.doctor)
    app.command()(schemas.schema)


def _version(wanted: bool) -> None:
    if wanted:
        print_text(f"petbench {workbench.__version__}\n")
        raise typer.Exit


@app.callback(help=_HELP)
def _options(
    context: typer.Context,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Open the app as if for the first time: forget where it was left.")
    ] = False,
    images: Annotated[
        str | None,
        typer.Option(
            "--images",
            help="How the app draws pictures: kitty, sixel, octant (eight pixels a cell, two colours), "
            "sextant, quadrant, half, or off; auto, the default, takes the finest that the terminal is known "
            "to show, else quadrant. petbench doctor shows a test picture; PETBENCH_IMAGES chooses for good.",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    if context.invoked_subcommand is not None:
        if fresh or images is not None:
            raise UserError(
                "--fresh and --images open the app, and here a command follows them",
                where=f"petbench {context.invoked_subcommand}",
                hint="PETBENCH_IMAGES=NAME in the environment draws so, however the app is opened",
            )
        _set_homes(context, {"PETBENCH_RUNS": runs_dir, "PETBENCH_DATA": data_dir})
        return
    from workbench.support.paths import data_home, runs_home
    from workbench.tui.start import start

    raise typer.Exit(start(runs_home(runs_dir), data_home(data_dir), fresh=fresh, images=images))


def _set_homes(context: typer.Context, homes: Mapping[str, Path | None]) -> None:
    """What stands before the command is the command's default, as the environment is, while it runs."""
    before = dict(os.environ)
    os.environ |= {name: str(home) for name, home in homes.items() if home is not None}

    def restore() -> None:
        for name in homes:
            os.environ.pop(name, None)
            if name in before:
                os.environ[name] = before[name]

    context.call_on_close(restore)


def main() -> None:
    """Run the command line and exit: 0 done, 1 the run failed or its words could not be written, 2 the input
    is wrong, 130 interrupted, 141 nobody reads what it prints."""
    sys.exit(with_streams(_code))


def _code() -> int:
    try:
        if not _opens_app(sys.argv[1:]):
            register()
        # Not click's own ending: that prints arguments as they are, and knows no words for a lost output.
        return app(standalone_mode=False) or 0
    except UserError as error:
        print_problem(str(error))
        return 2
    except RunFailed as error:
        print_problem(str(error))
        return 1
    except _ClickError as error:
        return _refuse_usage(error)
    except typer.Abort:
        print_problem("stopped: nothing was changed")
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except (RuntimeError, MemoryError) as error:
        if not _told_trouble(error):
            raise
        return 1


def _told_trouble(error: Exception) -> bool:
    """Say what a device or the machine's memory could not do; False: the error is of another kind."""
    if "torch" not in sys.modules:
        return False
    from workbench.compute import trouble_of

    trouble = trouble_of(error)
    if trouble is None:
        return False
    print_problem(f"{trouble.words}\n{trouble.advice or 'end other programs, or take --device cpu'}")
    return True


_ClickError: type[Exception] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)
"""click's error of usage and its like, wherever this release of typer keeps it."""


def _refuse_usage(error: Any) -> int:
    """Say what click found wrong with the arguments, which are text from outside."""
    told = io.StringIO()
    error.show(file=told)
    for line in told.getvalue().splitlines():
        error_console.print(clean(line.replace(_PYDANTIC, ": ")), soft_wrap=True)
    unknown = _NO_COMMAND.match(error.format_message())
    if unknown is not None:
        name = unknown["name"]
        for group in _groups_with(name):
            error_console.print(f"There is petbench {group} {name}")
    return int(error.exit_code)


def _groups_with(name: str) -> list[str]:
    """The groups that have a command of a name."""
    commands: Mapping[str, Any] = getattr(typer.main.get_command(app), "commands", {})
    return [group for group, command in commands.items() if name in getattr(command, "commands", ())]


_NO_COMMAND = re.compile(r"No such command '(?P<name>[a-z-]+)'")

_PYDANTIC = ": Value error, "
"""How pydantic, with which typer 0.29 checks arguments, begins its sentence."""


def _opens_app(arguments: Sequence[str]) -> bool:
    """Whether no command is among the arguments: then none needs importing, and the app opens sooner."""
    rest = iter(arguments)
    for argument in rest:
        if argument in _APP_VALUES:
            next(rest, None)
        elif argument not in _APP_FLAGS and not argument.startswith(
            tuple(f"{name}=" for name in _APP_VALUES)
        ):
            return False
    return True


_APP_VALUES = ("--runs-dir", "--data-dir", "--images")
_APP_FLAGS = ("--fresh",)


if __name__ == "__main__":
    main()
