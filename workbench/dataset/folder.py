"""Any folder of class sub-folders, with or without its own test part: which images it has."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from workbench.dataset.catalogue import Catalogue, ImageRecord, LeftOut, Part
from workbench.dataset.folder_layout import (
    FolderLayout,
    OwnValidation,
    class_key,
    files_below,
    read_entries,
    read_layout,
    refuse_beside_parts,
    refuse_reserved,
)
from workbench.dataset.image_formats import image_endings, why_not_read
from workbench.dataset.order import shuffled_ranks
from workbench.dataset.probe import UnreadableImage, read_header
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.progress import QUIET, Progress

DEFAULT_TEST_FRACTION = 0.2
_LAYOUT = "CLASS/IMAGE or train/CLASS/IMAGE with test/CLASS/IMAGE"


@dataclass(frozen=True, slots=True)
class FolderImage:
    """An image file of a folder data set; `part` is None where the folder has no test part of its own."""

    id: str
    path: Path
    class_name: str
    part: Part | None


@dataclass(frozen=True, slots=True)
class StrayFile:
    """A file, or a link to a folder, that is passed over."""

    id: str
    place: str
    """The class sub-folder that it lies in, from the data set's folder; "" where it lies in none."""
    kind: str
    """Its ending in lower case, or a word for what it is."""
    why: str


@dataclass(frozen=True, slots=True)
class FolderListing:
    """What lies in a folder: images by ascending id, and what is passed over."""

    images: tuple[FolderImage, ...]
    stray: tuple[StrayFile, ...]
    empty: tuple[str, ...] = ()
    """Class sub-folders with nothing in them that could have been an image: they are no classes."""

    @property
    def has_test_part(self) -> bool:
        """Whether the folder says itself which images test."""
        return any(image.part == "test" for image in self.images)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, sorted by code point."""
        return tuple(sorted({image.class_name for image in self.images}))

    @property
    def passed_over(self) -> tuple[str, ...]:
        """What is not used, a line for each kind of file in each class: `12 .avif in ash: …`."""
        return (*stray_lines(self.stray), *(f"{name}/: no image in it, so no class" for name in self.empty))


def read_folder(
    root: Path,
    *,
    test_fraction: float | None = None,
    split_seed: int = 0,
    validation: OwnValidation | None = None,
    pool: str = "",
    reporter: Progress = QUIET,
) -> Catalogue:
    """Every image below the class sub-folders of `root`, sorted by id.

    Parts and pools are told by name, as `read_layout` says. Where there is no `test/CLASS/…`,
    `test_fraction` (0.2) of each class of the training part is held out by `split_seed`. An image's id is its
    path below `root`; images lie at any depth in a class.

    Args:
        validation, pool: `data.validation` and `data.extra_unlabelled`.

    Raises:
        UserError: a layout that is not clear; no images, or fewer than two classes; a class that loses all
            its images; a test fraction though there is a test part.
    """
    listing = list_folder(root, validation=validation, pool=pool)
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
    _refuse_lost_classes(listing, records, left_out, root)
    return Catalogue(
        "folder", root, listing.classes, (), tuple(records), tuple(left_out), listing.passed_over
    )


def list_folder(root: Path, *, validation: OwnValidation | None = None, pool: str = "") -> FolderListing:
    """Find the images without opening them; passes over hidden files, and links to directories in a class.

    Raises:
        UserError: a layout that is not clear, a folder that cannot be read, a class all of whose files are
            pictures of kinds that are not read, one class under two spellings.
    """
    layout = read_layout(root, pool=pool, validation=validation)
    images: list[FolderImage] = []
    stray: list[StrayFile] = []
    empty: list[str] = []
    for folder in layout.parts:
        for entry in read_entries(folder.path):
            if not entry.is_dir():
                stray.append(_stray(entry, root, ""))
            elif entry not in layout.pool:
                found, others = _class_files(entry, root)
                if not found:
                    _refuse_unread_class(entry, others, root)
                    empty.append(image_id(entry, root))
                name = readable(entry.name)
                images += [FolderImage(image_id(path, root), path, name, folder.part) for path in found]
                stray += others
        _refuse_without_classes(folder.path, folder.part, images, stray, root)
    stray += _aside(layout, root)
    images.sort(key=lambda image: image.id)
    stray.sort(key=lambda file: file.id)
    _refuse_two_spellings(images, root)
    return FolderListing(tuple(images), tuple(stray), tuple(sorted(empty)))


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
        held_out = _held_out([image for image in listing.images if image.part is None], fraction, split_seed)
        return [image.part or ("test" if image.id in held_out else "train") for image in listing.images]
    if test_fraction is not None:
        raise UserError(
            f"test_fraction = {test_fraction:g}, but the folder has its own test part",
            where=clean(root),
            hint="leave data.test_fraction out, or point data.root at the training folder alone",
        )
    return [image.part or "train" for image in listing.images]


def is_image(path: Path) -> bool:
    """Whether a file is taken for an image, by the ending of its name."""
    return path.suffix.lower() in image_endings()


def stray_file(path: Path, id_: str, place: str) -> StrayFile:
    """Why a file is passed over."""
    if path.is_symlink() and path.is_dir():
        return StrayFile(id_, place, "link to a folder", "not followed")
    if is_image(path):
        return StrayFile(id_, place, path.suffix.lower(), "in no class sub-folder")
    ending = clean(path.suffix.lower(), 20)
    return StrayFile(
        id_, place, ending or "without an ending", why_not_read(ending) or "not an image by its name"
    )


def stray_lines(files: Iterable[StrayFile]) -> tuple[str, ...]:
    """A line for each kind of file in each place, most files first."""
    counts = Counter((file.kind, file.place, file.why) for file in files)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(
        f"{count} {kind}{f' in {clean(place, 80)}' if place else ''}: {why}"
        for (kind, place, why), count in ordered
    )


def readable(name: str) -> str:
    r"""A file name as text that UTF-8 can hold: undecodable bytes become `\xff`, a backslash is doubled.

    Doubling keeps it one to one, so two files never share an id.
    """
    return os.fsencode(name).replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def image_id(path: Path, root: Path) -> str:
    """The path below `root`, with forward slashes, made readable."""
    return readable(path.relative_to(root).as_posix())


def _class_files(folder: Path, root: Path) -> tuple[list[Path], list[StrayFile]]:
    """(images, others) of a class sub-folder, at any depth."""
    refuse_reserved(folder, root)
    images: list[Path] = []
    others: list[StrayFile] = []
    checked = {folder}
    for path in files_below(folder):
        above = path.parent
        while above not in checked:
            refuse_reserved(above, root)
            checked.add(above)
            above = above.parent
        if is_image(path) and not path.is_dir():
            images.append(path)
        else:
            others.append(_stray(path, root, image_id(folder, root)))
    return images, others


def _stray(path: Path, root: Path, place: str) -> StrayFile:
    return stray_file(path, image_id(path, root), place)


def _aside(layout: FolderLayout, root: Path) -> list[StrayFile]:
    """What lies beside the parts, where it has no images."""
    found: list[StrayFile] = []
    with_images: list[Path] = []
    for entry in layout.aside:
        files = list(files_below(entry)) if entry.is_dir() else [entry]
        if entry.is_dir() and any(is_image(path) for path in files):
            with_images.append(entry)
        found += [_stray(path, root, image_id(entry, root) if entry.is_dir() else "") for path in files]
    refuse_beside_parts(with_images, layout.parts, root)
    return found


def _held_out(images: Iterable[FolderImage], fraction: float, seed: int) -> set[str]:
    """Ids that test: of each class its share, rounded, at least one, but never its only image."""
    held_out: set[str] = set()
    by_class: dict[str, list[str]] = {}
    for image in images:
        by_class.setdefault(image.class_name, []).append(image.id)
    for ids in by_class.values():
        count = min(max(1, int(fraction * len(ids) + 0.5)), len(ids) - 1)
        ranks = shuffled_ranks(ids, "test", seed)
        held_out |= {name for name, place in zip(ids, ranks.tolist(), strict=True) if place < count}
    return held_out


def _refuse_unread_class(folder: Path, others: list[StrayFile], root: Path) -> None:
    """A class must not vanish because its pictures are of kinds that are not read."""
    pictures = [file for file in others if why_not_read(file.kind)]
    if pictures:
        raise UserError(
            f"none of the images of {clean(image_id(folder, root), 80)} can be read: "
            + "; ".join(stray_lines(pictures)),
            where=clean(root),
            hint="or move the folder out of the data set, if it shall do without this class",
        )


def _refuse_without_classes(
    folder: Path, part: Part | None, images: list[FolderImage], stray: list[StrayFile], root: Path
) -> None:
    """A part whose images lie in no class sub-folder says nothing of them."""
    if any(image.path.is_relative_to(folder) for image in images):
        return
    loose = [file for file in stray if file.why == "in no class sub-folder" and _lies_in(file, folder, root)]
    name = clean(folder.name, 80)
    if part is None and folder == root:
        return  # told with all that is wrong with a folder without classes
    if loose:
        labelled = "test" if part == "test" else "these"
        raise UserError(
            f"{name}/ has {len(loose)} images, none in a class sub-folder: nobody says what {labelled} "
            "images show",
            where=clean(root),
            allowed=f"{name}/CLASS/IMAGE",
            hint=f"move {name}/ out of data.root to hold a test part out of the training images; "
            f"petbench predict RUN {clean(folder)} then names what it shows"
            if part == "test"
            else "",
        )
    raise UserError(
        f"{name}/ has no image in any class sub-folder",
        where=clean(root),
        allowed=f"{name}/CLASS/IMAGE; images end in " + " ".join(sorted(image_endings())),
        hint=f"remove {name}/ if it shall be empty" if part in ("test", "validation") else "",
    )


def _lies_in(file: StrayFile, folder: Path, root: Path) -> bool:
    return file.id.rpartition("/")[0] == image_id(folder, root)


def _refuse_two_spellings(images: list[FolderImage], root: Path) -> None:
    spelled: dict[str, str] = {}
    for name in sorted({image.class_name for image in images}):
        other = spelled.setdefault(class_key(name), name)
        if other != name:
            raise UserError(
                f"one class under two names, {_spelled(other, name)} and {_spelled(name, other)}",
                where=clean(root),
                hint="put their images into one folder, or give one of the classes another name",
            )


def _spelled(name: str, other: str) -> str:
    """The name, by its code points where it looks like the other."""
    if name.casefold() == other.casefold():
        return f"'{clean(name, 80)}'"
    return f"'{clean(name, 80)}' ({name[:80]!a})"


def _refuse_lost_classes(
    listing: FolderListing, records: list[ImageRecord], left_out: list[LeftOut], root: Path
) -> None:
    kept = {record.breed for record in records}
    lost = [name for number, name in enumerate(listing.classes) if number not in kept]
    if not lost:
        return
    why = {image.id: image.reason for image in left_out}
    images = [image for image in listing.images if image.class_name == lost[0]]
    more = f" (and {len(lost) - 1} more classes so)" if len(lost) > 1 else ""
    raise UserError(
        f"none of the {len(images)} images of {clean(lost[0], 80)} can be read "
        f"({clean(images[0].id, 80)}: {clean(why[images[0].id])}){more}",
        where=clean(root),
        hint="petbench data check names every image that cannot be read",
    )


def _check_classes(listing: FolderListing, root: Path) -> None:
    if not listing.images:
        over = "".join(f"; {line}" for line in listing.passed_over[:5])
        layout = f"{_LAYOUT}; images end in " + " ".join(sorted(image_endings()))
        raise UserError(f"no images in any class sub-folder{over}", where=clean(root), allowed=layout)
    if len(listing.classes) < 2:
        only = listing.images[0]
        raise UserError(
            f"only one class, {clean(only.class_name)}; a classifier needs two",
            where=clean(root),
            allowed=_LAYOUT,
            hint=_deeper(listing, root),
        )
    trained = {image.class_name for image in listing.images if image.part in ("train", None)}
    untrained = [clean(name, 80) for name in listing.classes if name not in trained]
    if untrained:
        rest = f" and {len(untrained) - 5} more" if len(untrained) > 5 else ""
        named = ", ".join(untrained[:5]) + rest
        one = next(image for image in listing.images if clean(image.class_name, 80) == untrained[0])
        elsewhere = f"{clean(one.path.relative_to(root).parts[0], 80)}/{untrained[0]}/"
        raise UserError(
            f"classes without a training image: {named}",
            where=clean(root),
            hint=f"put images to learn from into {clean(_training_folder(listing, root), 80)}/"
            f"{untrained[0]}/, or move {elsewhere} out of data.root",
        )


def _training_folder(listing: FolderListing, root: Path) -> str:
    """The name of the folder of the training part, which a listing with a test part has."""
    trained = (image for image in listing.images if image.part in ("train", None))
    return next((image.path.relative_to(root).parts[0] for image in trained), "train")


def _deeper(listing: FolderListing, root: Path) -> str:
    """Where the classes may be meant to begin, if the one folder holds several."""
    top = {image.path.relative_to(root).parts[0] for image in listing.images}
    inner = {image.path.relative_to(root).parts[1] for image in listing.images if image.path.parent != root}
    folders = {name for name in inner if len(top) == 1 and (root / next(iter(top)) / name).is_dir()}
    return (
        f"point data.root at {clean(root / next(iter(top)))} if its folders are the classes"
        if len(folders) > 1
        else ""
    )
