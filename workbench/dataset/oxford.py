"""The Oxford-IIIT Pet set in its official layout: `images/`, `annotations/*.txt`, `annotations/xmls/`."""

from __future__ import annotations

from pathlib import Path

from workbench.dataset.boxes import BadBox, read_head_box
from workbench.dataset.catalogue import Catalogue, HeadBox, ImageRecord, LeftOut, Part
from workbench.dataset.oxford_lists import SPECIES, Entry, OxfordLists, read_lists
from workbench.dataset.probe import UnreadableImage, read_header
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.progress import QUIET, Progress


def is_oxford(root: Path) -> bool:
    """Whether `root` has the layout's two directories."""
    return (root / "images").is_dir() and (root / "annotations").is_dir()


def read_oxford(root: Path, *, dataset: str, reporter: Progress = QUIET) -> Catalogue:
    """Every listed image that can be opened, trainval first, in the lists' order.

    Breeds keep the names that the image names have and the order of their class numbers. Reads headers and
    boxes only. A missing or unusable head box leaves the image without one; `data check` reports it.

    Raises:
        UserError: a list is missing, malformed or contradicts itself; no image can be used.
    """
    lists = read_lists(root / "annotations")
    if lists.problems:
        first, more = lists.problems[0], len(lists.problems) - 1
        raise UserError(
            first.what + (f" (and {more} more)" if more else ""),
            where=f"{root / 'annotations'}/{first.where}",
            hint="petbench data check lists every problem of the data",
        )
    records: list[ImageRecord] = []
    left_out: list[LeftOut] = []
    breeds = breed_order(lists)
    numbers = {breed: number for number, breed in enumerate(breeds)}
    boxed = {path.stem for path in (root / "annotations" / "xmls").glob("*.xml")}
    listed: list[tuple[Part, Entry]] = [("train", e) for e in lists.train] + [("test", e) for e in lists.test]
    for done, (part, entry) in enumerate(listed, 1):
        path = image_path(root, entry.name)
        try:
            header = read_header(path)
        except UnreadableImage as error:
            left_out.append(LeftOut(entry.name, error.reason))
        else:
            head = _head_box(root, entry.name) if entry.name in boxed else None
            number = numbers[entry.breed]
            records.append(
                ImageRecord(entry.name, path, number, entry.species, part, header.size, header.bytes, head)
            )
        if done % 100 == 0 or done == len(listed):
            reporter.progress("read images", done, len(listed))
    if not records:
        raise UserError(
            f"none of the {len(listed)} listed images can be read"
            + (f" ({left_out[0].reason})" if left_out else ""),
            where=clean(root),
            hint="petbench data check lists every problem of the data",
        )
    return Catalogue(dataset, root, breeds, SPECIES, tuple(records), tuple(left_out))


def breed_order(lists: OxfordLists) -> tuple[str, ...]:
    """Breed names by ascending class number, of the classes that have an image in either part."""
    return tuple(breed for _, breed in sorted({(entry.class_id, entry.breed) for entry in lists.entries}))


def image_path(root: Path, name: str) -> Path:
    """Where an image of the set lies."""
    return root / "images" / f"{name}.jpg"


def box_path(root: Path, name: str) -> Path:
    """Where an image's head box would lie; not every image has one."""
    return root / "annotations" / "xmls" / f"{name}.xml"


def _head_box(root: Path, name: str) -> HeadBox | None:
    try:
        return read_head_box(box_path(root, name))
    except BadBox:
        return None
