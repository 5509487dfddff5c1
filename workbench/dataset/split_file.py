"""A split saved with its run: image ids by part, so that it holds on another machine and in another order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workbench.dataset.catalogue import Catalogue
from workbench.dataset.split import Positions, Split
from workbench.support.clean import clean
from workbench.support.digests import BY_CONTENT, fingerprint, require_sum, summed_write
from workbench.support.errors import UserError
from workbench.support.regular_file import UnreadableFile, read_bytes

SPLIT_FILE = "split.json"

_DIGITS = 8
_LIMIT_BYTES = 2**30  # of ten million images


class _SavedSplit(BaseModel):
    """The file's content."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)

    schema_version: Literal[1] = Field(1, alias="schema")
    dataset: str
    data_fingerprint: str
    split_fingerprint: str
    labelled: list[str]
    unlabelled: list[str]
    validation: list[str]
    test: list[str]
    extra_labelled: list[str] | None = None
    """Images beside the data set that train with a label; left out where there are none."""
    extra_unlabelled: list[str] | None = None
    contents: str | None = None
    """Of each image of `parts`, in their order, eight digits of its content: they say which image changed."""
    head_boxes: str | None = None
    """The fingerprint of all head boxes."""

    @property
    def parts(self) -> tuple[list[str], list[str], list[str], list[str]]:
        """Ids of the split's labelled, unlabelled, validation and test part, extra ones included."""
        labelled = self.labelled + (self.extra_labelled or [])
        return labelled, self.unlabelled + (self.extra_unlabelled or []), self.validation, self.test


def save_split(path: Path, catalogue: Catalogue, split: Split) -> None:
    """Write a split as JSON: image ids a part, and the fingerprints of split and data.

    Raises:
        OSError: it cannot be written; an older file is then untouched.
    """

    def ids(positions: Positions) -> list[str]:
        return [catalogue.ids[position] for position in positions.tolist()]

    def own(positions: Positions) -> list[str]:
        return ids(positions[~catalogue.is_extra[positions]])

    def extra(positions: Positions) -> list[str] | None:
        return ids(positions[catalogue.is_extra[positions]]) or None

    saved = _SavedSplit(
        dataset=catalogue.dataset,
        data_fingerprint=catalogue.fingerprint,
        split_fingerprint=split.fingerprint,
        labelled=own(split.labelled),
        unlabelled=own(split.unlabelled),
        validation=ids(split.validation),
        test=ids(split.test),
        extra_labelled=extra(split.labelled),
        extra_unlabelled=extra(split.unlabelled),
    )
    known = _digests(catalogue)
    shown = " ".join(known[name] for part in saved.parts for name in part)
    saved = saved.model_copy(update={"contents": shown, "head_boxes": catalogue.boxes_fingerprint})
    text = saved.model_dump_json(by_alias=True, indent=1, exclude_none=True) + "\n"
    summed_write(path, path.parent, text.encode())


def load_split(path: Path, catalogue: Catalogue, *, exact: bool = False) -> Split:
    """Read a split back as positions in `catalogue`.

    Args:
        exact: also insist that the data has not changed at all since, as going on with a run needs: no image
            added, replaced by another picture, or in another class.

    Raises:
        UserError: no such file, not a split, the data lacks some of its images or (`exact`) has changed.
    """
    saved = _read(path)
    positions = {name: position for position, name in enumerate(catalogue.ids)}
    missing = [name for ids in saved.parts for name in ids if name not in positions]
    if missing:
        raise UserError(
            f"the data no longer has {len(missing)} of this split's images: {_shown(missing)}",
            where=clean(path),
            hint=f"the data is at {clean(catalogue.root)}; petbench data check looks it over",
        )
    if exact and not catalogue.has_fingerprint(saved.data_fingerprint):
        raise UserError(
            f"the data has changed since this split was made: {_changes(saved, catalogue)}",
            where=clean(path),
            hint=f"put the data at {clean(catalogue.root)} back as it was, or start a new run on it",
        )
    return Split(*(np.array(sorted(positions[name] for name in ids), dtype=np.int64) for ids in saved.parts))


def as_it_was(path: Path, catalogue: Catalogue) -> Catalogue:
    """The catalogue that a run's split was made of: as it is now, or without images that have no class.

    Such files, loose in a folder, were passed over until they became the pool of [pseudo_label].
    """
    written = _read(path).data_fingerprint
    if catalogue.has_fingerprint(written):
        return catalogue
    before = catalogue.without_own_pool()
    return before if before.has_fingerprint(written) else catalogue


@dataclass(frozen=True, slots=True)
class SplitIds:
    """Which image of a saved split is for what, by id; extra images included."""

    labelled: frozenset[str]
    unlabelled: frozenset[str]
    validation: frozenset[str]
    test: frozenset[str]
    data_fingerprint: str
    split_fingerprint: str


def split_ids(path: Path) -> SplitIds:
    """Of a saved split, without the data that it divides.

    Raises:
        UserError: no such file, or not a split.
    """
    saved = _read(path)
    labelled, unlabelled, validation, test = map(frozenset, saved.parts)
    return SplitIds(labelled, unlabelled, validation, test, saved.data_fingerprint, saved.split_fingerprint)


def join_splits(path: Path, splits: Sequence[Path]) -> SplitIds:
    """Write the split of several models as one: labelled is what any of them saw with its label.

    Args:
        splits: of the same images with the same validation and test part.

    Raises:
        UserError: as `split_ids`.
        OSError: it cannot be written.
    """
    first, *others = [_read(split) for split in splits]
    labelled = {name for saved in (first, *others) for name in saved.labelled}
    extra = {name for saved in (first, *others) for name in saved.extra_labelled or ()}
    joined = first
    if labelled != set(first.labelled) or extra != set(first.extra_labelled or ()):
        train = [*first.labelled, *first.unlabelled]
        digests: dict[str, str] = {}
        for saved in (first, *others):
            told = [name for part in saved.parts for name in part]
            digests |= dict(zip(told, (saved.contents or "").split(), strict=False))
        joined = first.model_copy(
            update={
                "labelled": sorted(name for name in train if name in labelled),
                "unlabelled": sorted(name for name in train if name not in labelled),
                "extra_labelled": sorted(extra) or None,
            }
        )
        names = [name for part in joined.parts for name in part]
        whole = digests.keys() >= set(names)
        joined = joined.model_copy(
            update={
                "contents": " ".join(digests[name] for name in names) if whole else None,
                "split_fingerprint": fingerprint([sorted(part) for part in joined.parts]),
            }
        )
    text = joined.model_dump_json(by_alias=True, indent=1, exclude_none=True) + "\n"
    summed_write(path, path.parent, text.encode())
    return split_ids(path)


def other_pictures(path: Path, catalogue: Catalogue) -> list[str]:
    """Ids of a saved split's images that a catalogue lacks, or has another picture for.

    Of a split from before pictures were told apart by content, those that it lacks.

    Raises:
        UserError: no such file, or not a split.
    """
    saved = _read(path)
    names, known = [name for part in saved.parts for name in part], _digests(catalogue)
    told = (saved.contents or "").split()
    if len(told) != len(names):
        return [name for name in names if name not in known]
    return [name for name, digest in zip(names, told, strict=True) if known.get(name) != digest]


def is_by_content(path: Path) -> bool:
    """Whether a split's data fingerprint tells pictures apart; that of runs from before 2026-12 does not.

    Raises:
        UserError: as `load_split`.
    """
    return _read(path).data_fingerprint.startswith(BY_CONTENT)


def _changes(saved: _SavedSplit, catalogue: Catalogue) -> str:
    """What is other than it was, by name as far as the split has it."""
    names, known = [name for part in saved.parts for name in part], _digests(catalogue)
    told = (saved.contents or "").split()
    found = []
    if len(told) == len(names):
        changed = [name for name, digest in zip(names, told, strict=True) if known[name] != digest]
        if changed:
            found.append(f"{len(changed)} images are other pictures now ({_shown(changed)})")
    added = sorted(known.keys() - set(names))
    if added and not found:
        found.append(f"images may have been added, and these are in no part of it ({_shown(added)})")
    if saved.head_boxes is not None and saved.head_boxes != catalogue.boxes_fingerprint:
        found.append("head boxes are others")
    return "; ".join(found) or "images were added, replaced or moved to another class or part"


def _shown(names: list[str]) -> str:
    return ", ".join(clean(name, 60) for name in names[:3]) + (", …" if len(names) > 3 else "")


def _digests(catalogue: Catalogue) -> dict[str, str]:
    return {
        name: digest[:_DIGITS] for name, digest in zip(catalogue.ids, catalogue.contents.digests, strict=True)
    }


def _read(path: Path) -> _SavedSplit:
    try:
        content = read_bytes(path, _LIMIT_BYTES)
        saved = _SavedSplit.model_validate_json(content)
        names = [name for ids in saved.parts for name in ids]
        if len(set(names)) != len(names):
            raise UserError("not a split: an image is in it twice", where=clean(path))
        require_sum(path, content)
    except UnreadableFile as error:
        raise UserError(f"damaged split: {error.reason}", where=clean(path)) from None
    except OSError as error:
        raise UserError(f"the split cannot be read ({error.strerror})", where=clean(path)) from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(f"not a split: {clean(place)}: {first['msg']}", where=clean(path)) from None
    return saved
