"""Any folder of class sub-folders, with or without its own test part."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workbench.dataset.catalogue import Catalogue, ImageRecord, LeftOut, Part
from workbench.dataset.image_formats import image_endings
from workbench.dataset.order import shuffled_ranks
from workbench.dataset.probe import UnreadableImage, read_header
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.progress import QUIET, Progress

TRAIN_NAMES = ("train", "training", "trainval")
TEST_NAMES = ("test", "testing")
VALIDATION_NAMES = ("val", "valid", "validation")
DEFAULT_TEST_FRACTION = 0.2


@dataclass(frozen=True, slots=True)
class FolderImage:
    """An image file of a folder data set; `part` is None where the folder has no test part of its own."""

    id: str
    path: Path
    class_name: str
    part: Part | None


@dataclass(frozen=True, slots=True)
class FolderListing:
    """What lies in a folder: images by ascending id, and files that are none (ids)."""

    images: tuple[FolderImage, ...]
    stray: tuple[str, ...]

    @property
    def has_test_part(self) -> bool:
        """Whether the folder says itself which images test."""
        return any(image.part is not None for image in self.images)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, sorted by code point."""
        return tuple(sorted({image.class_name for image in self.images}))


def read_folder(
    root: Path, *, test_fraction: float | None = None, split_seed: int = 0, reporter: Progress = QUIET
) -> Catalogue:
    """Every image below the class sub-folders of `root`, sorted by id.

    `root/CLASS/…` has no test part: `test_fraction` (0.2) of each class is held out by `split_seed`.
    `root/train/CLASS/…` with `root/test/CLASS/…` has its own; beside `test`, a `val` joins the training part,
    and without `test` it is the test part, as in ImageNet. An image's id is its path below `root`; images lie
    at any depth in a class.

    Raises:
        UserError: no images, fewer than two classes, or a test fraction though there is a test part.
    """
    listing = list_folder(root)
    parts = folder_parts(listing, root, test_fraction=test_fraction, split_seed=split_seed)
    records: list[ImageRecord] = []
    left_out: list[LeftOut] = []
    numbers = {name: number for number, name in enumerate(listing.classes)}
    for done, (image, part) in enumerate(zip(listing.images, parts, strict=True), 1):
        try:
            header = read_header(image.path)
        except UnreadableImage as error:
            left_out.append(LeftOut(image.id, error.reason))
        else:
            number = numbers[image.class_name]
            records.append(ImageRecord(image.id, image.path, number, None, part, header.size, header.bytes))
        if done % 100 == 0 or done == len(listing.images):
            reporter.progress("read images", done, len(listing.images))
    if not records:
        raise UserError(
            f"none of the {len(left_out)} images can be read ({left_out[0].reason})", where=clean(root)
        )
    return Catalogue("folder", root, listing.classes, (), tuple(records), tuple(left_out))


def list_folder(root: Path) -> FolderListing:
    """Find the images without opening them; passes over hidden files, and links to directories in a class."""
    parts = _part_folders(root)
    images: list[FolderImage] = []
    stray: list[str] = []
    for part, part_root in parts:
        for entry in visible_entries(part_root):
            if entry.is_dir():
                for path in files_below(entry):
                    name = image_id(path, root)
                    if path.suffix.lower() in image_endings():
                        images.append(FolderImage(name, path, readable(entry.name), part))
                    else:
                        stray.append(name)
            else:
                stray.append(image_id(entry, root))
    return FolderListing(tuple(sorted(images, key=lambda image: image.id)), tuple(sorted(stray)))


def folder_parts(
    listing: FolderListing, root: Path, *, test_fraction: float | None, split_seed: int
) -> list[Part]:
    """The part of each image of a listing: its own, or what is held out of each class.

    Raises:
        UserError: as `read_folder`, but for unreadable images.
    """
    _check_classes(listing, root)
    if not listing.has_test_part:
        fraction = DEFAULT_TEST_FRACTION if test_fraction is None else test_fraction
        held_out = _held_out(listing, fraction, split_seed)
        return ["test" if image.id in held_out else "train" for image in listing.images]
    if test_fraction is not None:
        raise UserError(
            f"test_fraction = {test_fraction:g}, but the folder has its own test part",
            where=clean(root),
            hint="leave data.test_fraction out, or point data.root at the training folder alone",
        )
    return [image.part or "train" for image in listing.images]


def readable(name: str) -> str:
    r"""A file name as text that UTF-8 can hold: undecodable bytes become `\xff`, a backslash is doubled.

    Doubling keeps it one to one, so two files never share an id.
    """
    return os.fsencode(name).replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def image_id(path: Path, root: Path) -> str:
    """The path below `root`, with forward slashes, made readable."""
    return readable(path.relative_to(root).as_posix())


def _part_folders(root: Path) -> list[tuple[Part | None, Path]]:
    try:
        directories = {entry.name.lower(): entry for entry in visible_entries(root) if entry.is_dir()}
    except OSError as error:
        raise UserError(
            f"the folder cannot be read ({error.strerror})",
            where=clean(root),
            hint="set data.root to the directory that holds the class sub-folders",
        ) from None
    found = {
        kind: [directories[name] for name in names if name in directories]
        for kind, names in (("train", TRAIN_NAMES), ("test", TEST_NAMES), ("val", VALIDATION_NAMES))
    }
    if not found["train"] or not (found["test"] or found["val"]):
        return [(None, root)]
    if found["test"]:
        train, test = found["train"] + found["val"], found["test"]
    else:
        train, test = found["train"], found["val"]
    return [*(("train", path) for path in train), *(("test", path) for path in test)]


def visible_entries(directory: Path) -> list[Path]:
    """What lies in a directory, sorted, but hidden things. Raises: OSError."""
    return sorted(entry for entry in directory.iterdir() if not _hidden(entry.name))


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def files_below(directory: Path) -> Iterator[Path]:
    """Every file at any depth, in a stable order; passes over hidden ones and links to directories."""
    for folder, inner, files in os.walk(directory):
        inner[:] = sorted(name for name in inner if not _hidden(name))
        yield from (Path(folder, name) for name in sorted(files) if not _hidden(name))


def _held_out(listing: FolderListing, fraction: float, seed: int) -> set[str]:
    """Ids that test: of each class its share, rounded, at least one, but never its only image."""
    held_out: set[str] = set()
    by_class: dict[str, list[str]] = {}
    for image in listing.images:
        by_class.setdefault(image.class_name, []).append(image.id)
    for ids in by_class.values():
        count = min(max(1, int(fraction * len(ids) + 0.5)), len(ids) - 1)
        ranks = shuffled_ranks(ids, "test", seed)
        held_out |= {name for name, place in zip(ids, ranks.tolist(), strict=True) if place < count}
    return held_out


def _check_classes(listing: FolderListing, root: Path) -> None:
    layout = "CLASS/IMAGE or train/CLASS/IMAGE with test/CLASS/IMAGE; images end in " + " ".join(
        sorted(image_endings())
    )
    if not listing.images:
        raise UserError("no images in any class sub-folder", where=clean(root), allowed=layout)
    if len(listing.classes) < 2:
        only = listing.classes[0]
        hint = f"point data.root at {clean(root / only)}" if only.lower() in TRAIN_NAMES else ""
        raise UserError(
            f"only one class, {clean(only)}; a classifier needs two",
            where=clean(root),
            allowed=layout,
            hint=hint,
        )
    if listing.has_test_part:
        trained = {image.class_name for image in listing.images if image.part == "train"}
        untrained = [clean(name) for name in listing.classes if name not in trained]
        if untrained:
            raise UserError(f"classes without a training image: {', '.join(untrained)}", where=clean(root))
