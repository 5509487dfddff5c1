"""A split saved with its run: image ids by part, so that it holds on another machine and in another order."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workbench.dataset.catalogue import Catalogue
from workbench.dataset.split import Positions, Split
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.fingerprint import BY_CONTENT, fingerprint
from workbench.support.regular_file import UnreadableFile, read_bytes
from workbench.support.sums import require_sum, summed_write

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
        return [catalogue.records[position].id for position in positions.tolist()]

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
    saved = saved.model_copy(update={"contents": shown, "head_boxes": _boxes(catalogue)})
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
    positions = {record.id: position for position, record in enumerate(catalogue.records)}
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
    if saved.head_boxes is not None and saved.head_boxes != _boxes(catalogue):
        found.append("head boxes are others")
    return "; ".join(found) or "images were added, replaced or moved to another class or part"


def _shown(names: list[str]) -> str:
    return ", ".join(clean(name, 60) for name in names[:3]) + (", …" if len(names) > 3 else "")


def _digests(catalogue: Catalogue) -> dict[str, str]:
    return {
        record.id: content.digest[:_DIGITS]
        for record, content in zip(catalogue.records, catalogue.contents, strict=True)
    }


def _boxes(catalogue: Catalogue) -> str:
    return fingerprint([record.head and astuple(record.head) for record in catalogue.records])


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
