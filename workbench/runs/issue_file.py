"""What a search for label issues left in the run's directory: how it was done, and near-duplicates."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal

from workbench.runs.layout import RunDirectory
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.regular_file import UnreadableFile, read_json
from workbench.support.sums import require_sum, summed_write
from workbench.support.validate import validated

OUT_OF_FOLD = "out-of-fold"
"""Name of the predictions of models that did not train on the image; their labels are the given ones."""
_LIMIT_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A labelled image, and another that the network finds nearly the same."""

    id: str
    label: str
    """The class that it is trained with."""
    other: str
    other_label: str
    other_part: Literal["labelled", "validation", "test"]
    similarity: float
    """Cosine of the two images' features, at most 1."""


@dataclass(frozen=True, slots=True)
class IssueSearch:
    """How the out-of-fold predictions were made, and the pairs found on the way, the most alike first."""

    folds: int
    seed: int
    trunk: Literal["run", "pretrained"]
    trunk_learned: bool
    """The trunk was itself trained on the labels that are judged, so that it may agree with wrong ones."""
    least_similarity: float
    """Cosine from which on two images count as near-duplicates."""
    duplicates: tuple[Duplicate, ...] = ()


def write_search(run: RunDirectory, search: IssueSearch) -> None:
    """Keep it with the run. Raises: OSError."""
    summed_write(run.label_issues, run.path, (json.dumps(asdict(search), indent=1) + "\n").encode())


def read_search(run: RunDirectory) -> IssueSearch:
    """What was kept.

    Raises:
        FileNotFoundError: nobody has looked for label issues of this run.
        UserError: the file is damaged.
    """
    try:
        found = read_json(run.label_issues, _LIMIT_BYTES)
        require_sum(run.label_issues)
        return validated(IssueSearch, found)
    except FileNotFoundError:
        raise
    except UnreadableFile as error:
        raise UserError(f"damaged: {clean(error.reason)}", where=clean(run.label_issues)) from error
    except ValueError as error:
        raise UserError(f"damaged: {clean(error)}", where=clean(run.label_issues)) from error
