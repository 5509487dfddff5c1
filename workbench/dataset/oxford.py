"""The Oxford-IIIT Pet set in its official layout: `images/`, `annotations/*.txt`, `annotations/xmls/`."""

from __future__ import annotations

import codecs
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

from workbench.dataset.catalogue import Catalogue, HeadBox, ImageRecord, LeftOut, Part
from workbench.dataset.probe import UnreadableImage, read_header
from workbench.dataset.reader import Reader, add_reader
from workbench.recipe.data import Data
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.paths import cache_home
from workbench.support.progress import QUIET, Progress

if TYPE_CHECKING:
    from lxml.etree import _Element

MAX_BYTES = 64 * 1024
"""The set's own files have about 700 bytes."""

SLACK = 0.02
"""How far a box may stick out, as a share of the image, and still be clipped: a slip by some pixels."""


class BadBox(Exception):
    """An XML file without a usable head box; `reason` says why in a few words."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def read_head_box(path: Path) -> HeadBox:
    """The first object's box, as fractions of the `<size>` that the XML itself names.

    Fractions make the box right for any size that the image has on disk. Only `<size>` and `<bndbox>` are
    needed; pose, truncated and the other tags may be missing.

    Raises:
        BadBox: unreadable, larger than MAX_BYTES, a DOCTYPE, not XML, no size, or a box that is inverted,
            without area, or outside the image by more than SLACK.
    """
    root = _parse(path)
    width, height = _number(root, "size/width"), _number(root, "size/height")
    if width <= 0 or height <= 0:
        raise BadBox(f"image size {width:g} × {height:g}")
    box = root.find("object/bndbox")
    if box is None:
        raise BadBox("no <bndbox>")
    left, right = (_number(box, tag) / width for tag in ("xmin", "xmax"))
    top, bottom = (_number(box, tag) / height for tag in ("ymin", "ymax"))
    if left >= right or top >= bottom:
        raise BadBox("box without area or inverted")
    if min(left, top) < -SLACK or max(right, bottom) > 1 + SLACK:
        raise BadBox("box outside the image")
    clipped = HeadBox(max(left, 0.0), max(top, 0.0), min(right, 1.0), min(bottom, 1.0))
    if clipped.left >= clipped.right or clipped.top >= clipped.bottom:
        raise BadBox("box outside the image")
    return clipped


def _parse(path: Path) -> _Element:
    """The root element. No entity is resolved, no DTD loaded, no network used; then a DOCTYPE is refused."""
    from lxml import etree

    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadBox(error.strerror or "cannot be read") from None
    if len(content) > MAX_BYTES:
        raise BadBox(f"larger than {MAX_BYTES} bytes")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(content, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise BadBox(f"not XML: {error}") from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise BadBox("has a DOCTYPE")
    return root


def _number(parent: _Element, tag: str) -> float:
    text = parent.findtext(tag)
    if text is None:
        raise BadBox(f"no <{tag}>")
    try:
        value = float(text)
    except ValueError:
        raise BadBox(f"<{tag}> is not a number") from None
    if not math.isfinite(value):
        raise BadBox(f"<{tag}> is not a number")
    return value


SPECIES = ("cat", "dog")
PART_FILES: dict[str, Part] = {"trainval.txt": "train", "test.txt": "test"}

ProblemKind = Literal["bad line", "listed twice", "in train and test", "conflicting labels"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a list: an image's name (without `.jpg`) and its labels."""

    name: str
    class_id: int
    species: int
    """0 cat, 1 dog: the file's 1 and 2 less one."""
    where: str
    """`trainval.txt:12`, for messages."""

    @property
    def breed(self) -> str:
        """The breed's name: the image's name without its number."""
        return self.name.rpartition("_")[0]


@dataclass(frozen=True, slots=True)
class ListProblem:
    """A line that is wrong by itself or beside another."""

    kind: ProblemKind
    where: str
    what: str


@dataclass(frozen=True, slots=True)
class OxfordLists:
    """The parts' entries in file order, what is wrong with them, and the names that `list.txt` has."""

    train: tuple[Entry, ...]
    test: tuple[Entry, ...]
    problems: tuple[ListProblem, ...]
    all_names: frozenset[str]

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Every entry of both parts."""
        return self.train + self.test


def read_lists(annotations: Path) -> OxfordLists:
    """Read the lists and compare them; problems are returned, not raised, so that all can be reported.

    `list.txt` may be missing; where it is there, its labels must agree with the parts'.

    Raises:
        UserError: `trainval.txt` or `test.txt` cannot be read.
    """
    problems: list[ListProblem] = []
    train, test = (_read_list(annotations / name, problems) for name in PART_FILES)
    whole = annotations / "list.txt"
    everything = _read_list(whole, problems) if whole.is_file() else []
    _find_repeats(train, test, problems)
    _find_conflicts([*train, *test, *everything], problems)
    return OxfordLists(
        tuple(train), tuple(test), tuple(problems), frozenset(entry.name for entry in everything)
    )


def _read_list(path: Path, problems: list[ListProblem]) -> list[Entry]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"the list cannot be read ({error.strerror})", where=str(path)) from None
    text = _text(content, path)
    entries = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        where = f"{path.name}:{number}"
        try:
            entries.append(_entry(line.split(), where))
        except ValueError as error:
            problems.append(ListProblem("bad line", where, f"{error}: {clean(line.strip(), 80)}"))
    return entries


def _text(content: bytes, path: Path) -> str:
    """UTF-8, with or without the mark that some editors put first, or UTF-16 that says so by its mark."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "backslashreplace")
    if b"\0" in content:
        raise UserError(
            "the list is not text in UTF-8: it has null bytes",
            where=clean(path),
            hint="save it as UTF-8, for instance by iconv -f UTF-16LE -t UTF-8",
        )
    return content.decode("utf-8-sig", "backslashreplace")


def _entry(fields: list[str], where: str) -> Entry:
    if len(fields) != 4:
        raise ValueError(f"expected 4 fields (NAME CLASS SPECIES BREED), found {len(fields)}")
    name, *numbers = fields
    if "/" in name or "\0" in name or not name.rpartition("_")[0]:
        raise ValueError("the image's name is not BREED_NUMBER")
    if not all(number.isascii() and number.isdigit() and len(number) <= 6 for number in numbers):
        raise ValueError("class, species and breed must be numbers")
    class_id, species, _ = map(int, numbers)
    if class_id < 1:
        raise ValueError("classes count from 1")
    if species not in (1, 2):
        raise ValueError("species must be 1 (cat) or 2 (dog)")
    return Entry(name, class_id, species - 1, where)


def _find_repeats(train: list[Entry], test: list[Entry], problems: list[ListProblem]) -> None:
    first: dict[str, tuple[str, Entry]] = {}
    for part, entries in (("train", train), ("test", test)):
        for entry in entries:
            if entry.name not in first:
                first[entry.name] = (part, entry)
                continue
            other_part, other = first[entry.name]
            kind: ProblemKind = "listed twice" if other_part == part else "in train and test"
            problems.append(ListProblem(kind, entry.where, f"{clean(entry.name)} is at {other.where} too"))


def _find_conflicts(entries: Iterable[Entry], problems: list[ListProblem]) -> None:
    """A breed has one class number and one species; a class number has one breed."""
    by_breed: dict[str, Entry] = {}
    by_class: dict[int, Entry] = {}
    for entry in entries:
        same_breed = by_breed.setdefault(entry.breed, entry)
        same_class = by_class.setdefault(entry.class_id, entry)
        if (same_breed.class_id, same_breed.species) != (entry.class_id, entry.species):
            other, shared = same_breed, f"breed {clean(entry.breed)}"
        elif same_class.breed != entry.breed:
            other, shared = same_class, f"class {entry.class_id}"
        else:
            continue
        what = f"{shared}: {_labels(entry)} here, {_labels(other)} at {other.where}"
        problems.append(ListProblem("conflicting labels", entry.where, what))


def _labels(entry: Entry) -> str:
    return f"{clean(entry.breed)} = class {entry.class_id}, {SPECIES[entry.species]}"


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


OXFORD_DIRECTORY = "oxford-iiit-pet"
SAMPLE_DIRECTORY = "petbench-sample"


class OxfordReader(Reader):
    """The set in the data home, or in or below a given root."""

    directory = OXFORD_DIRECTORY

    def locate(self, data: Data, *, data_home: Path, reporter: Progress) -> Path:
        """The directory with the layout's two.

        Raises:
            UserError: there is none; says how to get it.
        """
        given = _given(data)
        candidates = [given, given / self.directory] if given else [data_home / self.directory]
        found = next((candidate for candidate in candidates if is_oxford(candidate)), None)
        return found or self.missing(given, data_home)

    def missing(self, given: Path | None, data_home: Path) -> NoReturn:
        """Say how to get it. Raises: UserError."""
        raise UserError(
            f"the Oxford-IIIT Pet set is not there: no {OXFORD_DIRECTORY}/ with images/ and annotations/",
            where=clean(given or data_home),
            hint="petbench data get downloads it (about 800 MB); or copy it there, or name the directory "
            f"that holds {OXFORD_DIRECTORY}/ with --data-dir or PETBENCH_DATA",
        )

    def read(self, root: Path, data: Data, reporter: Progress) -> Catalogue:
        """As `read_oxford`."""
        return read_oxford(root, dataset=data.dataset, reporter=reporter)


class SampleReader(OxfordReader):
    """The drawn set; it is drawn where its directory was left to us."""

    directory = SAMPLE_DIRECTORY

    def locate(self, data: Data, *, data_home: Path, reporter: Progress) -> Path:
        """The given directory, else `sample_home`, where it is drawn on its first use."""
        from workbench.dataset.sample import ensure_sample

        if data.root:
            return super().locate(data, data_home=data_home, reporter=reporter)
        return ensure_sample(sample_home(data_home), reporter=reporter)

    def missing(self, given: Path | None, data_home: Path) -> NoReturn:
        """Say how to make it. Raises: UserError."""
        raise UserError(
            "no sample set here (no images/ and annotations/)",
            where=clean(given),
            hint=f"petbench data sample {clean(given)} makes one; an empty data.root has one drawn",
        )


def _given(data: Data) -> Path | None:
    return Path(data.root).expanduser().absolute() if data.root else None


def sample_home(data_home: Path) -> Path:
    """Where the sample set lies, or will be drawn: one in the data home, else a directory of the cache.

    A data home may be read-only, or shared: nothing is drawn there unless `petbench data sample` was told so.
    """
    from workbench.dataset.sample import holds_sample

    own = data_home / SAMPLE_DIRECTORY
    return own if holds_sample(own) else cache_home() / SAMPLE_DIRECTORY


add_reader("oxford-iiit-pet", OxfordReader())
add_reader("sample", SampleReader())
