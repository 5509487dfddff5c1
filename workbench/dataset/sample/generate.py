"""Write the sample set: images, head boxes in XML, lists; safe when two runs do it together."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.dataset.sample.breeds import BREEDS, Breed
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.progress import QUIET, Progress

if TYPE_CHECKING:
    from workbench.dataset.sample.scene import Photograph

GENERATOR_VERSION = 1
"""Raise it with any change to what is drawn: sets made by an older generator are then made anew."""

MARKER = "petbench-sample.json"


@dataclass(frozen=True, slots=True)
class SampleOptions:
    """What a sample set is made of. Its files follow from this and the generator's version."""

    seed: int = 0
    train_per_class: int = 60
    test_per_class: int = 30
    size: int = 192
    """Side of the images in pixels."""


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
    """Whether `directory` holds a sample set of this generator, whatever its options."""
    marker = _read_marker(directory)
    return marker is not None and marker.get("generator") == GENERATOR_VERSION


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
    from filelock import FileLock

    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(directory.with_name(f".{directory.name}.lock")):
            if is_current_sample(directory, options):
                return
            _refuse_foreign(directory, replace=replace)
            with tempfile.TemporaryDirectory(prefix=f".{directory.name}.", dir=directory.parent) as scratch:
                made = Path(scratch) / "new"
                _write_set(made, options, reporter)
                if directory.exists():
                    directory.rename(Path(scratch) / "old")
                made.rename(directory)
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
    return SampleOptions(**kept)


def _read_marker(directory: Path) -> dict[str, object] | None:
    try:
        marker = json.loads((directory / MARKER).read_text())
    except (OSError, ValueError):
        return None
    return marker if isinstance(marker, dict) else None


def _write_set(root: Path, options: SampleOptions, reporter: Progress) -> None:
    import numpy as np
    from PIL import Image

    from workbench.dataset.sample.scene import photograph

    (root / "images").mkdir(parents=True)
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
    (root / MARKER).write_text(json.dumps(_marker(options), indent=2) + "\n")


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
