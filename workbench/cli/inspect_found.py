"""The images that `petbench inspect` found, told to a person or as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from workbench.cli.console import console
from workbench.cli.inspect_export import MAPS
from workbench.cli.inspect_tables import opinions_table, print_marks, print_summary
from workbench.cli.label_issues import issue_counts, print_duplicates, print_issue_summary
from workbench.runs.doubt import Doubt
from workbench.runs.export import finite_json
from workbench.runs.issue_opinions import judged
from workbench.runs.layout import RunDirectory
from workbench.runs.opinions import Opinion, Opinions
from workbench.runs.sources import IssueSource, RoundSource, Source
from workbench.support.clean import clean


@dataclass(frozen=True, slots=True)
class Found:
    """The images of a source that fit, in order."""

    directory: RunDirectory
    of: Source
    order: Doubt
    surest_first: bool
    opinions: Opinions
    """All of the source."""
    fitting: list[Opinion]
    limit: int
    """At most so many are shown; 0: all."""

    @property
    def shown(self) -> list[Opinion]:
        """Of those that fit, the first."""
        return self.fitting[: self.limit or None]

    @property
    def words(self) -> str:
        """How they are ordered."""
        least = "likely wrong" if isinstance(self.of, IssueSource) else "least sure"
        return f"the {'surest' if self.surest_first else least} by {self.order.value} first"


def found_record(found: Found, written: Sequence[Path]) -> dict[str, object]:
    """For JSON; `written` are the pictures of them."""
    record = {
        "run": found.directory.id,
        "of": found.of.words,
        "order": found.order.value,
        "surest_first": found.surest_first,
        "images": len(found.opinions.rows),
        "fitting": len(found.fitting),
        "rows": finite_json([{**asdict(row), "wrong": row.wrong} for row in found.shown]),
        "exported": [str(path) for path in written],
    }
    if not isinstance(found.of, IssueSource):
        return record
    pairs = judged(found.directory)[2].duplicates
    return {
        **record,
        "search": issue_counts(found.directory),
        "duplicates": [asdict(pair) for pair in pairs[: found.limit or None]],
    }


def print_found(found: Found, written: Sequence[Path], *, with_maps: bool) -> None:
    """For a person: what there is in all, the images as a table, what its signs mean, the pictures' files.

    Args:
        with_maps: saliency maps are among what was written.
    """
    judges_labels = isinstance(found.of, IssueSource)
    if judges_labels:
        print_issue_summary(found.directory)
    else:
        print_summary(found.directory, found.of.words, found.opinions)
    if not found.fitting:
        console.print("no image fits")
        return
    console.print(f"{len(found.shown)} of the {len(found.fitting)} that fit, {found.words}")
    console.print(opinions_table(found.shown, found.order, in_round=isinstance(found.of, RoundSource)))
    print_marks(found.shown)
    if judges_labels:
        print_duplicates(found.directory, found.limit)
    _print_written(written, with_maps=with_maps)


def _print_written(written: Sequence[Path], *, with_maps: bool) -> None:
    if not written:
        console.print("the same command with --export sheet.png draws them")
        return
    maps = f" and {len(written) - 2} overlays in {MAPS}/" if with_maps else ""
    named = ", ".join(clean(path) for path in written[:2])
    console.print(f"written to {named}{maps}", soft_wrap=True)
