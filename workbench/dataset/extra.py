"""Images beside the data set's own (`[data] extra_labelled`, `extra_unlabelled`): they only ever train."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from workbench.dataset.catalogue import EXTRA_PARTS, Catalogue, ImageRecord, LeftOut, Part
from workbench.dataset.folder_layout import files_below, read_entries
from workbench.dataset.generated import FILES
from workbench.dataset.listing import (
    UNKNOWN,
    StrayFile,
    image_id,
    is_image,
    readable,
    stray_file,
    stray_lines,
)
from workbench.dataset.probe import UnreadableImage, image_endings, read_header
from workbench.recipe.data import Data
from workbench.support.class_key import class_key
from workbench.support.clean import clean
from workbench.support.digests import file_sha256
from workbench.support.errors import UserError, nearest
from workbench.support.progress import QUIET, Progress


@dataclass(frozen=True, slots=True)
class ExtraImage:
    """An image file beside the data set; its id begins with its part's name."""

    id: str
    path: Path
    class_name: str | None
    """None where nobody says what it is."""
    part: Part


@dataclass(frozen=True, slots=True)
class ExtraListing:
    """What lies in the extra folders: labelled images first, each part by ascending id, and other files."""

    images: tuple[ExtraImage, ...] = ()
    stray: tuple[StrayFile, ...] = ()

    def count(self, part: Part) -> int:
        """Image files of a part."""
        return sum(image.part == part for image in self.images)


def list_extra(data: Data) -> ExtraListing:
    """Find the extra images that [data] names, without opening them.

    Raises:
        UserError: a folder that is missing, cannot be read or has no image; a labelled image in no class
            sub-folder; one file in both folders.
    """
    images: list[ExtraImage] = []
    stray: list[StrayFile] = []
    for part in EXTRA_PARTS:
        if named := getattr(data, part):
            found = list(_images_below(_folder(named, part), part, stray))
            if not found:
                raise UserError(
                    "no image in it" + "".join(f"; {line}" for line in stray_lines(stray)[:3]),
                    where=f"data.{part}: {clean(named)}",
                    allowed=f"images end in {' '.join(sorted(image_endings()))}",
                )
            images += sorted(found, key=lambda image: image.id)
    _refuse_shared_files(images)
    return ExtraListing(tuple(images), tuple(stray))


def with_extra(catalogue: Catalogue, data: Data, *, reporter: Progress = QUIET) -> Catalogue:
    """The catalogue with the extra images that [data] names after its own, whose positions stay.

    Sub-folders of `extra_labelled` are named as the breeds, or for `target = "species"` as the species.
    Unreadable images are left out by name, as those of the data set are.

    Raises:
        UserError: as `list_extra`; a sub-folder that no class is named as; an image that the data set has
            already; a folder none of whose images can be read.
    """
    listing = list_extra(data)
    if not listing.images:
        return catalogue
    classes = _classes(catalogue, data)
    check_classes(listing, classes, data)
    _refuse_own_files(catalogue, listing)
    records: list[ImageRecord] = []
    left_out: list[LeftOut] = []
    for done, image in enumerate(listing.images, 1):
        try:
            header = read_header(image.path)
        except UnreadableImage as error:
            left_out.append(LeftOut(image.id, error.reason, image.path))
        else:
            breed, species = _unknown(catalogue) if image.class_name is None else classes[image.class_name]
            records.append(
                ImageRecord(image.id, image.path, breed, species, image.part, header.size, header.bytes)
            )
        if done % 100 == 0 or done == len(listing.images):
            reporter.progress("read extra images", done, len(listing.images))
    for part in {image.part for image in listing.images} - {record.part for record in records}:
        first = next(image for image in left_out if image.id.startswith(f"{part}/"))
        raise UserError(
            f"none of its {listing.count(part)} images can be read ({clean(first.id)}: {first.reason})",
            where=f"data.{part}: {clean(getattr(data, part))}",
        )
    return replace(
        catalogue,
        records=(*catalogue.records, *records),
        left_out=(*catalogue.left_out, *left_out),
        passed_over=(*catalogue.passed_over, *stray_lines(listing.stray)),
    )


def check_classes(listing: ExtraListing, known: Sequence[str] | Mapping[str, object], data: Data) -> None:
    """Refuse labelled images of a class that is none.

    Raises:
        UserError: names the sub-folder and the closest class.
    """
    for image in listing.images:
        name = image.class_name
        if name is None or name in known:
            continue
        near = _same_letters(name, known) or nearest(name, known)
        raise UserError(
            f"the data set has no class '{clean(name, 80)}'",
            where=f"data.extra_labelled: {clean(data.extra_labelled)}",
            hint=f"did you mean {clean(near, 80)}?" if near else "sub-folders are named as the classes are",
        )


def copied_images(catalogue: Catalogue, measuring: Sequence[int]) -> list[tuple[str, str]]:
    """(extra image, its twin) for every extra image that is the same file as one that measures a run.

    Only files of equal length are read.

    Args:
        measuring: positions of validation and test images.
    """
    if not catalogue.is_extra.any():
        return []
    by_length: dict[int, list[ImageRecord]] = {}
    for position in measuring:
        record = catalogue.records[position]
        by_length.setdefault(record.bytes, []).append(record)
    found = []
    for record in catalogue.records:
        if record.part in EXTRA_PARTS and record.bytes in by_length:
            twins = (other for other in by_length[record.bytes] if _same_file(record.path, other.path))
            found += [(record.id, twin.id) for twin in islice(twins, 1)]
    return found


def _folder(named: str, part: Part) -> Path:
    folder = Path(named).expanduser().absolute()
    if not os.path.isdir(folder):  # noqa: PTH112 (false, not an error, for a name that no file can have)
        raise UserError(
            "no such directory",
            where=f"data.{part}: {clean(folder)}",
            hint="a relative path counts from the recipe's own directory",
        )
    return folder


def _images_below(folder: Path, part: Part, stray: list[StrayFile]) -> Iterator[ExtraImage]:
    for entry in read_entries(folder):
        if entry.name in FILES:
            continue
        is_class = entry.is_dir()
        for path in files_below(entry) if is_class else (entry,):
            id_ = f"{part}/{image_id(path, folder)}"
            if not is_image(path) or path.is_dir():
                place = f"{part}/{image_id(entry, folder)}" if is_class else part
                stray.append(stray_file(path, id_, place))
            elif part == "extra_unlabelled":
                yield ExtraImage(id_, path, None, part)
            elif is_class:
                yield ExtraImage(id_, path, readable(entry.name), part)
            else:
                raise UserError(
                    f"{clean(path.name, 80)} lies in no class sub-folder",
                    where=f"data.{part}: {clean(folder)}",
                    hint="extra_unlabelled takes images whose class nobody knows",
                )


def _refuse_shared_files(images: Sequence[ExtraImage]) -> None:
    """One picture cannot be labelled and of unknown class: neither one file nor two of the same content."""
    labelled: dict[int, list[ExtraImage]] = {}
    for image in images:
        length = _length(image.path)
        if image.part == "extra_labelled":
            labelled.setdefault(length, []).append(image)
            continue
        for other in labelled.get(length, ()):
            if _same_file(image.path, other.path):
                raise UserError(
                    f"{clean(image.id, 80)} is the same picture as {clean(other.id, 80)}",
                    where="data.extra_unlabelled",
                    hint="an image is labelled or it is not: leave it in one of the two folders",
                )


def _refuse_own_files(catalogue: Catalogue, listing: ExtraListing) -> None:
    own = {os.path.realpath(record.path): record.id for record in catalogue.records}
    ids = {record.id for record in catalogue.records} | {image.id for image in catalogue.left_out}
    for image in listing.images:
        twin = own.get(os.path.realpath(image.path))
        if twin is not None:
            raise UserError(
                f"{clean(image.path)} is the data set's own image {clean(twin, 80)}",
                where=f"data.{image.part}",
                hint="extra images are others than the data set's",
            )
        if image.id in ids:
            raise UserError(
                f"the data set has an image {clean(image.id, 80)} too", where=f"data.{image.part}"
            )


def _classes(catalogue: Catalogue, data: Data) -> dict[str, tuple[int, int | None]]:
    """Sub-folder name -> (breed, species)."""
    species_of = {record.breed: record.species for record in catalogue.records}
    known: dict[str, tuple[int, int | None]] = {}
    if data.target == "species":
        known |= {name: (UNKNOWN, number) for number, name in enumerate(catalogue.species)}
    unknown = _unknown(catalogue)[1]
    return known | {name: (i, species_of.get(i, unknown)) for i, name in enumerate(catalogue.breeds)}


def _unknown(catalogue: Catalogue) -> tuple[int, int | None]:
    return UNKNOWN, UNKNOWN if catalogue.species else None


def _same_letters(name: str, known: Sequence[str] | Mapping[str, object]) -> str | None:
    return next((other for other in known if class_key(other) == class_key(name)), None)


def _length(path: Path) -> int:
    """In bytes; -1 for a broken link or a file that just went."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _same_file(first: Path, second: Path) -> bool:
    if os.path.realpath(first) == os.path.realpath(second):
        return True
    try:
        return file_sha256(first) == file_sha256(second)
    except OSError:
        return False  # reading its header tells what is wrong with it
