"""What is to be painted: classes, prompts and seeds, all known before a pipeline is loaded."""

from __future__ import annotations

import hashlib
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from workbench.dataset import Catalogue
from workbench.dataset.generated import Painted
from workbench.dataset.listing import file_name
from workbench.recipe import Recipe
from workbench.support.clean import clean
from workbench.support.errors import UserError, nearest

Precision = Literal["auto", "fp32", "bf16", "fp16"]

PROMPT = "a photo of a {class}, a breed of {species}"
PROMPT_ALONE = "a photo of a {class}"
"""Where the data set knows no species, or the species are the classes."""
NEEDED = ("diffusers", "transformers")
"""Packages of the extra that painting needs; tuning needs peft, too."""
INDEX = "model_index.json"
"""What makes a folder a pipeline of diffusers."""
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[\w.-]+)?")
_FIELDS = ("class", "species")

TRIES = 2
"""So many images are painted for each that is wanted, where others are refused; then the class is left."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for; None leaves a value to the pipeline."""

    model: str
    """A hub's name, or a folder that `save_pretrained` of diffusers wrote."""
    images: int
    """A class."""
    revision: str = ""
    prompt: str = ""
    """The template; "" for `PROMPT`."""
    negative_prompt: str = ""
    guidance: float | None = None
    steps: int | None = None
    size: int | None = None
    """Pixels a side."""
    seed: int = 0
    batch: int = 4
    precision: Precision = "auto"
    similarity: float = 0.0
    """Cosine of features from which on an image is a near copy; 0: by look alone."""
    tune_steps: int = 0
    tune_rank: int = 8
    tune_rate: float = 1e-4
    classes: tuple[str, ...] = ()
    """These alone; none: all."""


@dataclass(frozen=True, slots=True)
class PlannedClass:
    """A class, and how it is asked for."""

    name: str
    folder: str
    """The sub-folder's name."""
    prompt: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Which images there are to be; image `index` of a class follows from seed, class and index."""

    template: str
    classes: tuple[PlannedClass, ...]
    every: tuple[PlannedClass, ...]
    """All classes of the data set: tuning learns them all."""
    images: int
    """A class."""
    seed: int

    def seed_of(self, planned: PlannedClass, index: int) -> int:
        """The seed of an image's own noise: 48 bits of a SHA-256, which every program takes."""
        text = f"petbench generate {self.seed} {index} {planned.name}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")

    def left(self, records: Sequence[Painted]) -> dict[str, int]:
        """Class -> images that are still to be kept, for the classes that want some."""
        kept = Counter(record.class_name for record in records if not record.refused)
        wanted = {planned.name: self.images - kept[planned.name] for planned in self.classes}
        return {name: count for name, count in wanted.items() if count > 0}


@dataclass(frozen=True, slots=True)
class Class:
    """What a class has in the folder."""

    name: str
    prompt: str
    images: int
    """Kept; some may have been removed by hand since."""
    near_copies: int
    """Refused, because a validation or test image looks so."""
    refused: int
    """For any reason, near copies among them."""
    removed: int
    """Kept once, and not there any more: they are not made again."""


def class_of(planned: PlannedClass, records: Sequence[Painted], out: Path) -> Class:
    """What a class has in the folder."""
    own = [record for record in records if record.class_name == planned.name]
    kept = [record for record in own if not record.refused]
    return Class(
        name=planned.name,
        prompt=planned.prompt,
        images=len(kept),
        near_copies=sum(bool(record.twin) for record in own),
        refused=len(own) - len(kept),
        removed=sum(not (out / record.path).exists() for record in kept),
    )


def without_extra(recipe: Recipe) -> Recipe:
    """The recipe on its data set alone: what is generated follows from nothing that was generated before."""
    data = recipe.data.model_copy(update={"extra_labelled": "", "extra_unlabelled": ""})
    return recipe.model_copy(update={"data": data})


def local_pipeline(model: str, revision: str = "") -> Path | None:
    """The folder that is named, checked from outside; None where it is a hub's name.

    Raises:
        UserError: no such folder, it is no pipeline's, or the name is none that a hub could have.
    """
    where = f"--model {clean(model)}"
    path = Path(model).expanduser()
    if path.is_dir():
        if not (path / INDEX).is_file():
            raise UserError(
                f"the folder is no pipeline: it has no {INDEX}",
                where=where,
                allowed="a folder that save_pretrained of diffusers wrote, or a hub's name",
                hint="the weights of a network alone, or one file of a whole model, have to be converted "
                "first: diffusers' StableDiffusionPipeline.from_single_file(…).save_pretrained(FOLDER)",
            )
        if revision:
            raise UserError("a folder has no revisions", where="--revision", hint="leave it out")
        return path
    if path.exists():
        raise UserError("is a file", where=where, allowed=f"a folder with {INDEX}, or a hub's name")
    if model.startswith((".", "/", "~")) or not _HUB_NAME.fullmatch(model):
        raise UserError("no such folder", where=where, allowed=f"a folder with {INDEX}, or a hub's name")
    return None


def make_plan(wish: Wish, catalogue: Catalogue, target: Literal["breed", "species"]) -> Plan:
    """Name every class in the prompt's words.

    Raises:
        UserError: the template has no `{class}` or an unknown field, or a class is not the data set's.
    """
    species = _species_of(catalogue) if target == "breed" else {}
    template = wish.prompt or (PROMPT if species else PROMPT_ALONE)
    _check_template(template, has_species=bool(species))
    names = catalogue.classes(target)
    _check_classes(wish.classes, names)
    every = tuple(
        PlannedClass(name, _folder_name(name), _filled(template, name, species.get(name, "")))
        for name in names
    )
    chosen = tuple(planned for planned in every if not wish.classes or planned.name in wish.classes)
    return Plan(template, chosen, every, wish.images, wish.seed)


def words_of(name: str) -> str:
    """A class's name as words: `american_pit_bull_terrier` -> `american pit bull terrier`."""
    letters = (" " if letter == "_" or unicodedata.category(letter)[0] in "CZ" else letter for letter in name)
    return " ".join("".join(letters).split()) or clean(name)


def _species_of(catalogue: Catalogue) -> dict[str, str]:
    """Breed -> species, where the data set knows them."""
    if not catalogue.species:
        return {}
    return {
        catalogue.breeds[record.breed]: catalogue.species[record.species]
        for record in catalogue.records
        if record.breed >= 0 and record.species is not None and record.species >= 0
    }


def _check_template(template: str, *, has_species: bool) -> None:
    allowed = f"words with {{class}}{' and {species}' if has_species else ''}, as in {PROMPT_ALONE!r}"
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise UserError(
            f"cannot be read: {error}", where=f"--prompt {clean(template, 120)!r}", allowed=allowed
        ) from error
    fields = [field for _, field, _, _ in parts if field is not None]
    known = _FIELDS if has_species else _FIELDS[:1]
    for _, field, spec, conversion in parts:
        if field is not None and (field not in known or spec or conversion):
            why = "the data set knows no species" if field == "species" else "no such field"
            raise UserError(
                f"{{{clean(field, 40)}}}: {why}", where=f"--prompt {clean(template, 120)!r}", allowed=allowed
            )
    if "class" not in fields:
        raise UserError(
            "all classes would be asked for in the same words",
            where=f"--prompt {clean(template, 120)!r}",
            allowed=allowed,
        )


def _filled(template: str, name: str, species: str) -> str:
    return template.format(**{"class": words_of(name), "species": words_of(species) if species else ""})


def _check_classes(wanted: Sequence[str], names: Sequence[str]) -> None:
    for name in wanted:
        if name not in names:
            near = nearest(name, names)
            raise UserError(
                f"the data set has no class {clean(name, 80)!r}",
                where="--class",
                allowed=[clean(known, 80) for known in names],
                hint=f"did you mean {clean(near, 80)}?" if near else "",
            )


def _folder_name(name: str) -> str:
    """The sub-folder that `data.extra_labelled` reads a class from.

    Raises:
        UserError: no folder can be called so, or it would be passed over.
    """
    folder = file_name(name)
    if not folder or folder.startswith(".") or "/" in folder or "\0" in folder:
        raise UserError(
            f"no folder can be called {clean(name, 80)!r}: images of this class cannot be told apart by it",
            where="class name",
            hint="rename the class in the data set",
        )
    return folder
