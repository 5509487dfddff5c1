"""Write a sample set: images, boxes and lists, or class folders; safe when two runs do it together."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.dataset.sample.animals import BREEDS, Breed
from workbench.support.atomic import atomic_folder
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.locks import beside, locked
from workbench.support.progress import QUIET, Progress

if TYPE_CHECKING:
    from workbench.dataset.sample.scene import Photograph

GENERATOR_VERSION = 1
"""Raise it with any change to what is drawn: sets made by an older generator are then made anew."""

MARKER = "petbench-sample.json"
HIDDEN_MARKER = f".{MARKER}"
"""Of a folder set, where a file beside the classes would be a stray one."""


class SampleKind(StrEnum):
    """What the pictures of a sample set show."""

    PETS = "pets"
    """Ten invented breeds in the Oxford layout: what `data.dataset = "sample"` reads."""
    DEFECTS = "defects"
    """Cloth that is sound, scratched or spotted: small marks, nothing that ImageNet has, uneven classes."""
    SKEWED = "skewed"
    """Leaves of eight trees: a long tail to learn from, an even validation and test."""
    TWINS = "twins"
    """Beetles in four pairs of classes that differ by a detail."""

    @property
    def is_folder(self) -> bool:
        """A folder of classes (`data.dataset = "folder"`), rather than the Oxford layout."""
        return self is not SampleKind.PETS


_SHARES: dict[SampleKind, dict[str, float]] = {
    SampleKind.PETS: dict.fromkeys((breed.name for breed in BREEDS), 1.0),
    SampleKind.DEFECTS: {"sound": 1.0, "scratch": 0.45, "spot": 0.25},
    SampleKind.SKEWED: {
        "aspen": 1.0, "maple": 0.7, "beech": 0.5, "oak": 0.35, "lime": 0.25, "willow": 0.18, "elm": 0.12,
        "thorn": 0.1,
    },
    SampleKind.TWINS: dict.fromkeys(
        ("collar_a", "collar_b", "spots_a", "spots_b", "horns_a", "horns_b", "bands_a", "bands_b"), 1.0
    ),
}  # fmt: skip
"""Kind -> class -> its images as a share of the commonest class's."""


@dataclass(frozen=True, slots=True)
class SampleOptions:
    """What a sample set is made of. Its files follow from this and the generator's version."""

    seed: int = 0
    train_per_class: int = 60
    """Of the commonest class."""
    test_per_class: int = 30
    size: int = 192
    """Side of the images in pixels."""
    kind: SampleKind = SampleKind.PETS

    def images(self) -> dict[str, dict[str, int]]:
        """Part -> class -> how many images. At least two of a class train, and one tests."""

        def counts(most: int, least: int, shares: dict[str, float]) -> dict[str, int]:
            return {name: max(least, round(most * share)) for name, share in shares.items()}

        shares = _SHARES[self.kind]
        train = counts(self.train_per_class, 2, shares)
        if self.kind is not SampleKind.SKEWED:
            return {"train": train, "test": counts(self.test_per_class, 1, shares)}
        even = counts(self.test_per_class, 1, dict.fromkeys(shares, 1.0))
        return {"train": train, "val": {name: -(-count // 2) for name, count in even.items()}, "test": even}


def ensure_sample(directory: Path, *, reporter: Progress = QUIET) -> Path:
    """Return `directory` holding a sample set of this generator, made where there is none.

    A set made by another version of the generator is made anew with the options that it was made with.

    Raises:
        UserError: the directory holds something else, or cannot be written.
    """
    marker = _read_marker(directory)
    if marker is None:
        generate_sample(directory, SampleOptions(), reporter=reporter)
    elif marker.get("generator") != GENERATOR_VERSION:
        generate_sample(directory, _options_of(marker), replace=True, reporter=reporter)
    return directory


def holds_sample(directory: Path) -> bool:
    """Whether `directory` holds a sample set of pets of this generator, whatever its other options."""
    marker = _read_marker(directory)
    return (
        marker is not None
        and marker.get("generator") == GENERATOR_VERSION
        and marker["kind"] == SampleKind.PETS
    )


def is_current_sample(directory: Path, options: SampleOptions) -> bool:
    """Whether `directory` holds the set that this generator would make of `options`."""
    return _read_marker(directory) == _marker(options)


def generate_sample(
    directory: Path,
    options: SampleOptions,
    *,
    replace: bool = False,
    reporter: Progress = QUIET,
) -> None:
    """Draw the set into a directory beside `directory`, then rename it: no reader ever sees half of it.

    A lock file makes a second process wait, and then find the set made.

    Args:
        replace: put it in the place of a sample set that is there already.

    Raises:
        UserError: `directory` is there and not empty (with `replace`: no sample set), or cannot be written.
    """
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with locked(beside(directory), stays=False):
            if is_current_sample(directory, options):
                return
            _refuse_foreign(directory, replace=replace)
            with atomic_folder(directory, replace=replace, durable=False) as made:
                _write_set(made, options, reporter)
    except OSError as error:
        raise UserError(
            f"the sample set cannot be written: {error.strerror or error}", where=clean(directory)
        ) from None


def _refuse_foreign(directory: Path, *, replace: bool) -> None:
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return
    if not _is_sample(directory):
        raise UserError(
            "there is something else than a sample set; it stays as it is", where=clean(directory)
        )
    if not replace:
        raise UserError(
            "there is a sample set made with other options",
            where=clean(directory),
            hint="--force replaces it",
        )


def _is_sample(directory: Path) -> bool:
    return _read_marker(directory) is not None


def _marker(options: SampleOptions) -> dict[str, object]:
    return {"generator": GENERATOR_VERSION, **asdict(options)}


def _options_of(marker: dict[str, object]) -> SampleOptions:
    kept = {
        field.name: value
        for field in fields(SampleOptions)
        if isinstance(value := marker.get(field.name), int) and value >= 0
    }
    kinds = [kind for kind in SampleKind if kind == marker.get("kind")]
    return SampleOptions(**kept, kind=kinds[0] if kinds else SampleKind.PETS)


def _read_marker(directory: Path) -> dict[str, object] | None:
    for name in (MARKER, HIDDEN_MARKER):
        try:
            marker = json.loads((directory / name).read_text())
        except (OSError, ValueError):
            continue
        if isinstance(marker, dict):
            return {"kind": SampleKind.PETS, **marker}  # those of before there were others do not say
    return None


def _write_set(root: Path, options: SampleOptions, reporter: Progress) -> None:
    if options.kind.is_folder:
        _write_folders(root, options, reporter)
    else:
        _write_oxford(root, options, reporter)
    marker = HIDDEN_MARKER if options.kind.is_folder else MARKER
    (root / marker).write_text(json.dumps(_marker(options), indent=2) + "\n")


def _write_folders(root: Path, options: SampleOptions, reporter: Progress) -> None:
    """PART/CLASS/CLASS_1.jpg and so on; test images have numbers of their own, whatever trains."""
    import numpy as np
    from PIL import Image

    from workbench.dataset.sample.things import DRAWN

    parts = options.images()
    total, done = sum(sum(counts.values()) for counts in parts.values()), 0
    for part_index, (part, counts) in enumerate(parts.items()):
        for class_index, (name, count) in enumerate(counts.items()):
            folder = root / part / name
            folder.mkdir(parents=True)
            for index in range(count):
                random = np.random.default_rng([options.seed, part_index, class_index, index])
                pixels = DRAWN[options.kind][name](options.size, random)
                quality = int(random.integers(80, 95))
                Image.fromarray(pixels).save(folder / f"{name}_{part}_{index + 1}.jpg", quality=quality)
            done += count
            reporter.progress("draw sample images", done, total)


def _write_oxford(root: Path, options: SampleOptions, reporter: Progress) -> None:
    import numpy as np
    from PIL import Image

    from workbench.dataset.sample.scene import photograph

    (root / "images").mkdir()
    (root / "annotations" / "xmls").mkdir(parents=True)
    lists: dict[str, list[str]] = {"trainval": [], "test": []}
    each = options.train_per_class + options.test_per_class
    of_species = {"cat": 0, "dog": 0}
    for class_index, breed in enumerate(BREEDS):
        of_species[breed.species] += 1
        labels = f"{class_index + 1} {1 if breed.species == 'cat' else 2} {of_species[breed.species]}"
        for index in range(each):
            # Every image has its own stream: more images of a breed leave the first ones as they were.
            random = np.random.default_rng([options.seed, class_index, index])
            picture, name = photograph(breed, options.size, random), f"{breed.name}_{index + 1}"
            quality = int(random.integers(70, 93))
            Image.fromarray(picture.pixels).save(root / "images" / f"{name}.jpg", quality=quality)
            part = "trainval" if index < options.train_per_class else "test"
            lists[part].append(f"{name} {labels}")
            if part == "trainval":
                xml = _head_xml(name, breed, picture, options.size)
                (root / "annotations" / "xmls" / f"{name}.xml").write_text(xml)
        reporter.progress("draw sample images", (class_index + 1) * each, len(BREEDS) * each)
    for part, lines in {**lists, "list": lists["trainval"] + lists["test"]}.items():
        (root / "annotations" / f"{part}.txt").write_text("\n".join(lines) + "\n")


def _head_xml(name: str, breed: Breed, picture: Photograph, size: int) -> str:
    """The head box as the Oxford set writes it (PASCAL VOC); only trainval images have one there, as here."""
    left, top, right, bottom = picture.head
    return (
        f"<annotation><folder>petbench-sample</folder><filename>{name}.jpg</filename>"
        f"<size><width>{size}</width><height>{size}</height><depth>3</depth></size><segmented>0</segmented>"
        f"<object><name>{breed.species}</name><pose>Frontal</pose><truncated>0</truncated><occluded>0</occluded>"
        f"<bndbox><xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox>"
        f"<difficult>0</difficult></object></annotation>\n"
    )
