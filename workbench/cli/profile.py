"""`petbench run --profile`: the spans of the whole command, kept with the run and shown as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table

from workbench.cli.console import cell, console, error_console, make_table
from workbench.runs.layout import RunDirectory
from workbench.runs.profile import PartTime, Profile, save_profile
from workbench.support.clean import clean
from workbench.support.spans import Part, Recorder
from workbench.support.units import human_seconds, percent

if TYPE_CHECKING:
    import torch

_MEANINGS = {
    Part.IMPORTS: "Python loads torch",
    Part.OPENING: "data, split, weights",
    Part.STORE: "decoded images",
    Part.TRIAL: "which arithmetic is faster",
    Part.FEATURES: "of the frozen trunk",
    Part.DATA: "a step's images, targets",
    Part.AUGMENTATION: "views drawn and rendered",
    Part.OPTIMISER: "and averages of weights",
    Part.WAITING: "for the device, or a batch",
    Part.EVALUATION: "validation, data included",
    Part.LABELLING: "the pool, a round each",
    Part.RESULTS: "the test split, files",
    Part.OTHER: "all else",
}


def follow_device(recorder: Recorder, device: torch.device) -> None:
    """On a GPU the host runs ahead: have it wait at the end of a step's spans, so that they last as long."""
    from workbench.compute import accelerator_of, runs_ahead

    if runs_ahead(device):
        recorder.settle = lambda: accelerator_of(device).settle(device)


def keep_profile(run: RunDirectory, recorder: Recorder, device: str) -> Profile | None:
    """End the recording and keep it; None, with a word on why, where the disk does not take it."""
    try:
        return save_profile(run, recorder, device)
    except OSError as error:
        error_console.print(f"the profile cannot be kept: {error.strerror or error}", style="yellow")
        return None


def print_profile(run: RunDirectory, profile: Profile) -> None:
    """The table and where to look further."""
    for part in profile_page(profile):
        console.print(part)
    console.print(f"trace: open {clean(run.trace)} at https://ui.perfetto.dev", soft_wrap=True)


def profile_page(profile: Profile) -> Iterator[RenderableType]:
    """The table of parts, and what must be known to read it; made for 80 columns."""
    yield _table(profile)
    if profile.waits_for_device:
        yield (
            "The host waited for the GPU at the end of each span of a step ('waited'): spans are the\n"
            "device's time too, and the run was slower than without --profile."
        )
    if profile.trace_shortest_seconds:
        shortest = f"{1e3 * profile.trace_shortest_seconds:.2g} ms"
        yield f"The table counts every span; the trace leaves out those of up to {shortest}: too many."


def _table(profile: Profile) -> Table:
    columns = ["part", "seconds", "%", "times", "ms each"]
    if profile.waits_for_device:
        columns.append("waited s")
    title = f"Where the {human_seconds(profile.wall_seconds)} went, {clean(profile.device)}"
    table = make_table([*columns, ""], title=title, right=columns[1:], spare=("",))
    _add(table, profile, profile.parts)
    if profile.beside:
        table.add_section()
        _add(table, profile, profile.beside, beside=True)
    return table


def _add(table: Table, profile: Profile, rows: Sequence[PartTime], *, beside: bool = False) -> None:
    for row in rows:
        each = "" if row.part is Part.OTHER or not row.times else f"{1e3 * row.seconds / row.times:.2f}"
        cells = [
            row.part.value,
            f"{row.seconds:.2f}",
            percent(row.seconds / max(1e-9, profile.wall_seconds), 1),
            "" if row.part is Part.OTHER else str(row.times),
            each,
        ]
        if profile.waits_for_device:
            cells.append(f"{row.waited_seconds:.2f}" if row.waited_seconds else "")
        meaning = "beside, in other threads" if beside else _MEANINGS.get(row.part, "")
        if profile.waits_for_device and not beside:
            meaning = ""  # 80 columns are full
        table.add_row(*cells, cell(meaning, "dim"))
