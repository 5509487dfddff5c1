"""`petbench runs …`: list, show, compare, export, tag and remove runs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from workbench.cli.arguments import Json, RunId, RunIds, RunsDir
from workbench.cli.compare import compare
from workbench.cli.console import (
    check_file,
    confirm,
    console,
    error_console,
    print_json,
    write_file,
    write_out,
)
from workbench.cli.runs_listing import group, listed, listing_columns, listing_table, run_page, trash_table
from workbench.cli.runs_tidy import tidy
from workbench.jobs import discard_runs
from workbench.runs.export import ExportFormat, RunPage, export_runs, page_record, read_page, run_record
from workbench.runs.filter import filter_runs
from workbench.runs.find import find_run
from workbench.runs.index import list_runs
from workbench.runs.keys import NEWEST_FIRST, keys_of, resolve_key, sort_runs
from workbench.runs.layout import RunDirectory
from workbench.runs.leftovers import empty_trash, restore_run, trashed_runs
from workbench.runs.log import LogTail
from workbench.runs.notes import change_notes
from workbench.runs.status import status_of
from workbench.runs.summary import RunSummary, summarise
from workbench.support.clean import as_word, clean
from workbench.support.errors import UserError
from workbench.support.paths import runs_home
from workbench.support.regular_file import open_regular

_LOOK_SECONDS = 0.5
_AT_ONCE_BYTES = 4 * 2**20


def log(
    run: RunId,
    lines: Annotated[
        int, typer.Option("--lines", "-n", metavar="N", min=1, help="At most so many lines from the end.")
    ] = 50,
    search: Annotated[
        str, typer.Option("--search", metavar="WORDS", help="Only lines with these words, in either case.")
    ] = "",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is written, until the run ends or Ctrl-C.")
    ] = False,
    as_json: Json = False,
    runs_dir: RunsDir = None,
) -> None:
    """Print the end of a run's log, at most its last two MiB."""
    directory = find_run(runs_home(runs_dir), run)
    seen = LogTail(directory.log).refresh()
    words = search.casefold()
    fitting = [line for line in seen.lines if words in line.casefold()]
    if as_json:
        if follow:
            raise UserError("--json prints once, --follow goes on", where="--json")
        print_json("runs-log", {"run": directory.id, "lines": fitting[-lines:]})
        return
    for line in fitting[-lines:]:
        console.print(clean(line), soft_wrap=True)
    if follow:
        for line in _growing(directory, seen.size):
            if words in line.casefold():
                console.print(clean(line), soft_wrap=True)


def _growing(directory: RunDirectory, offset: int) -> Iterator[str]:
    """Whole lines written after `offset`, until the run is no longer active."""
    while True:
        active = status_of(directory).is_active  # asked first: what it wrote before it ended is read after
        try:
            with open_regular(directory.log) as stream:
                stream.seek(offset)
                text = stream.read(_AT_ONCE_BYTES)
        except OSError as error:
            raise UserError(error.strerror or str(error), where=clean(directory.log)) from error
        more = len(text) == _AT_ONCE_BYTES
        whole = text[: text.rfind(b"\n") + 1] or (text if more else b"")
        offset += len(whole)
        yield from whole.decode("utf-8", "backslashreplace").splitlines()
        if more:
            continue
        if not active:
            return
        time.sleep(_LOOK_SECONDS)


_TABLE_LIMIT = 200

app = typer.Typer(help="Browse, compare and tidy past runs.", no_args_is_help=True, rich_markup_mode=None)
app.command()(compare)
app.command()(group)
app.command()(log)
app.command()(tidy)

FilterText = Annotated[
    str,
    typer.Option(
        "--filter",
        "-f",
        metavar="EXPR",
        help='Only runs that fit, such as "pseudo.labelled_fraction=0.1 and test.accuracy>85%", '
        '"status=live", "tag:table1 not backbone~resnet", "created>=2026-11". '
        "A bare word finds names, ids and tags.",
    ),
]
Archived = Annotated[bool, typer.Option("--archived", help="Archived runs too.")]


@app.command("ls")
def list_(
    filter_text: FilterText = "",
    sort: Annotated[
        str,
        typer.Option(
            "--sort", metavar="KEY", help="Sort by any key; -KEY sorts downwards. Default: newest first."
        ),
    ] = NEWEST_FIRST,
    columns: Annotated[
        str,
        typer.Option(
            metavar="KEYS", help="Show these keys, comma-separated, such as name,backbone,test.accuracy."
        ),
    ] = "",
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", "-n", min=0, help=f"At most so many; 0: all. Default: {_TABLE_LIMIT}, all with --json."
        ),
    ] = None,
    archived: Archived = False,
    as_json: Json = False,
    runs_dir: RunsDir = None,
) -> None:
    """List runs with their state, progress and accuracies."""
    home = runs_home(runs_dir)
    everything, _ = listed(home, tell=lambda line: error_console.print(Text(line), soft_wrap=True))
    summaries = sort_runs(_chosen(everything, filter_text, archived), sort)
    keys = [
        resolve_key(key.strip(), keys_of(everything), where="--columns")
        for key in columns.split(",")
        if key.strip()
    ]
    if as_json:
        print_json("runs", {"runs": [run_record(summary) for summary in summaries[: limit or None]]})
        return
    summaries = summaries[: (_TABLE_LIMIT if limit is None else limit) or None]
    if summaries:
        console.print(listing_table(summaries, keys or listing_columns(summaries)))
    for summary in summaries:
        if summary.problem:
            told = Text(f"{clean(summary.handle)}: {clean(summary.problem)}", style="red")
            console.print(told, soft_wrap=True)
    console.print(_tally(summaries, everything, home), soft_wrap=True)


@app.command()
def show(
    run: RunId,
    figure: Annotated[
        Path | None,
        typer.Option("--figure", metavar="FILE", help="Draw the reliability diagram: .svg or .png."),
    ] = None,
    as_json: Json = False,
    runs_dir: RunsDir = None,
) -> None:
    """Show one run: its recipe in short, state, results, rounds, warnings, confusions, confidence."""
    page = read_page(find_run(runs_home(runs_dir), run))
    if figure is not None:
        _draw_reliability(page, figure)
    if as_json:
        print_json("runs-show", page_record(page))
        return
    for part in run_page(page):
        console.print(part)
    if figure is not None:
        console.print(f"drawn: {clean(figure)}", soft_wrap=True)


def _draw_reliability(page: RunPage, figure: Path) -> None:
    """Raises: UserError: another ending, a run that has no diagram, or a file that cannot be written."""
    if figure.suffix.lower() not in (".svg", ".png"):
        raise UserError("is no kind of figure", where=f"--figure {clean(figure)}", allowed=".svg, .png")
    target = check_file(figure, "--figure")
    if page.reliability is None or page.results is None:
        raise UserError(
            "the run has no reliability diagram: it has not finished, or its predictions are lost",
            where=clean(page.summary.id),
        )
    from workbench.paper.reliability_chart import reliability_chart

    drawing = reliability_chart(page.reliability, clean(page.summary.name, 60), page.results.judged_by)
    write_file(target, drawing.svg() if figure.suffix.lower() == ".svg" else drawing.png())


@app.command()
def export(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN...]", help="Runs; all that the filter fits if none is named."),
    ] = None,
    form: Annotated[ExportFormat, typer.Option("--format", "-F", help="What to write.")] = ExportFormat.CSV,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write to FILE, not to the terminal."),
    ] = None,
    filter_text: FilterText = "",
    archived: Archived = False,
    runs_dir: RunsDir = None,
) -> None:
    """Export runs as CSV (a column a key), JSON (exact) or a Markdown table.

    In CSV, text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    output = output and check_file(output, "--output")
    home = runs_home(runs_dir)
    if runs:
        named = [summarise(find_run(home, run)) for run in runs]
        summaries = filter_runs(filter_text, named)
    else:
        summaries = _chosen(list_runs(home), filter_text, archived)
    write_out(export_runs(summaries, form), output)


@app.command()
def tag(
    run: RunId,
    words: Annotated[list[str], typer.Argument(metavar="TAG...", help="Tags to add.")],
    remove: Annotated[bool, typer.Option("--remove", "-r", help="Remove these tags instead.")] = False,
    as_json: Json = False,
    runs_dir: RunsDir = None,
) -> None:
    """Tag a run, to find it again with runs ls -f tag:TAG."""
    found = find_run(runs_home(runs_dir), run)
    notes = change_notes(found, remove=words) if remove else change_notes(found, add=words)
    _tell([found], ", ".join(notes.tags) or "no tags", as_json)


@app.command()
def note(
    run: RunId,
    text: Annotated[str, typer.Argument(help='What to remember of the run; "" forgets it.')],
    as_json: Json = False,
    runs_dir: RunsDir = None,
) -> None:
    """Write a note on a run, replacing the one before."""
    found = find_run(runs_home(runs_dir), run)
    change_notes(found, note=text)
    _tell([found], text or "no note", as_json)


@app.command()
def archive(runs: RunIds, as_json: Json = False, runs_dir: RunsDir = None) -> None:
    """Put runs away: they stay where they are, and runs ls shows them only with --archived."""
    _set_archived(runs, runs_dir, True, as_json)


@app.command()
def unarchive(runs: RunIds, as_json: Json = False, runs_dir: RunsDir = None) -> None:
    """Bring archived runs back into the listing."""
    _set_archived(runs, runs_dir, False, as_json)


@app.command("rm")
def remove(runs: RunIds, as_json: Json = False, runs_dir: RunsDir = None) -> None:
    """Move runs to the trash; runs restore brings them back. A running run is refused."""
    home = runs_home(runs_dir)
    moved = discard_runs([find_run(home, run) for run in runs], _say, _say)
    _tell(moved, "in the trash; petbench runs restore {handle}", as_json)


@app.command()
def restore(runs: RunIds, as_json: Json = False, runs_dir: RunsDir = None) -> None:
    """Bring runs back from the trash."""
    home = runs_home(runs_dir)
    _tell([restore_run(home, query) for query in runs], "restored", as_json)


@app.command()
def trash(
    empty: Annotated[bool, typer.Option("--empty", help="Delete for good everything in the trash.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before emptying.")] = False,
    as_json: Json = False,
    runs_dir: RunsDir = None,
) -> None:
    """List the trash, or empty it."""
    home = runs_home(runs_dir)
    held = [summarise(run) for run in trashed_runs(home)]
    if empty:
        confirm(f"Delete {len(held)} runs for good?", yes, hint="add --yes to empty the trash")
        deleted = empty_trash(home, _say)
        if as_json:
            print_json("runs-trash", {"runs": [], "deleted": deleted})
        else:
            console.print(f"{deleted} deleted")
    elif yes:
        raise UserError("--yes goes with --empty")
    elif as_json:
        print_json("runs-trash", {"runs": [run_record(summary) for summary in held], "deleted": 0})
    elif held:
        console.print(trash_table(held))
    else:
        console.print("the trash is empty")


def _chosen(summaries: list[RunSummary], filter_text: str, archived: bool) -> list[RunSummary]:
    return filter_runs(filter_text, (s for s in summaries if archived or not s.archived))


def _tally(shown: list[RunSummary], everything: list[RunSummary], home: Path) -> str:
    """How many runs were shown, and what to do where there are none."""
    if not everything:
        return f"no runs in {clean(home)}; petbench run RECIPE makes one"
    hidden = sum(run.archived for run in everything) - sum(run.archived for run in shown)
    archived = f" ({hidden} archived: --archived)" if hidden else ""
    return f"{len(shown)} of {len(everything)} runs{archived}"


def _set_archived(runs: list[str], runs_dir: Path | None, archived: bool, as_json: bool) -> None:
    home = runs_home(runs_dir)
    found = [find_run(home, run) for run in runs]
    for run in found:
        change_notes(run, archived=archived)
    _tell(found, "archived" if archived else "listed again", as_json)


def _tell(changed: Sequence[RunDirectory], what: str, as_json: bool) -> None:
    """What became of runs, a line each; `{handle}` in it stands for the run."""
    if as_json:
        print_json("runs", {"runs": [run_record(summarise(run)) for run in changed]})
        return
    for run in changed:
        told = clean(what).replace("{handle}", as_word(run.handle))
        console.print(f"{clean(run.id)}: {told}", soft_wrap=True)


def _say(text: str) -> None:
    error_console.print(clean(text), soft_wrap=True)
