"""Before the first step: what is pinned down, recorded and said aloud."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from workbench.dataset import Catalogue, SplitSummary, load_split, save_split, split_summary
from workbench.dataset.catalogue import is_long
from workbench.dataset.extra import copied_images
from workbench.dataset.review import pin_review
from workbench.dataset.split_file import is_by_content
from workbench.model import tune
from workbench.recipe import Recipe
from workbench.runs.events import Message, Reporter
from workbench.runs.layout import RunDirectory
from workbench.runs.provenance import read_provenance, write_provenance
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.spans import Part, spanned
from workbench.train.compiled import Compilation, choose_compilation
from workbench.train.precision import Precision, choose_precision, timing_key
from workbench.train.setup import Setup
from workbench.train.stage import plan
from workbench.train.state import RunState


def pin_corrections(directory: RunDirectory, recipe: Recipe) -> Path | None:
    """Keep a copy of the review with the run: resumed, it trains as it began, whatever people said since.

    Returns: the copy, or None for a recipe without corrections.

    Raises:
        UserError: there is no such review, it is damaged, or the copy of a run that has begun is gone.
    """
    if not recipe.data.corrections:
        return None
    pinned = directory.corrections
    if not pinned.exists():
        if directory.split.exists():
            raise UserError(
                "the corrections that the run began with are gone",
                where=clean(pinned),
                hint="copy the file back, or launch the recipe as a new run",
            )
        pin_review(recipe.data.corrections, pinned)
    return pinned


def pin_split(directory: RunDirectory, setup: Setup, reporter: Reporter) -> None:
    """Save the split with the run; a resumed run must find the same one."""
    if directory.split.exists():
        pinned = load_split(directory.split, setup.catalogue, exact=True)
        if pinned.fingerprint != setup.split.fingerprint:
            raise UserError(
                "the data are divided otherwise than when the run began",
                where=str(directory.split),
                hint="the images on disk have changed; launch the recipe as a new run",
            )
        if not is_by_content(directory.split):
            text = (
                "this run began before petbench told pictures apart by their content: that its images are "
                "still the same pictures could not be compared, only their names, sizes and lengths"
            )
            reporter.event(Message("warning", text))
        return
    save_split(directory.split, setup.catalogue, setup.split)
    _say_corrections(setup, reporter)
    summary = _summary(setup)
    total = summary.total
    reporter.event(
        Message(
            "info",
            f"{summary.labelled_words} labelled, {summary.unlabelled_words} unlabelled, "
            f"{total.validation} validation and "
            f"{total.test} test images; {summary.covered} of {len(setup.classes)} classes labelled, "
            f"accuracy ceiling {100 * summary.ceiling:.1f} %",
        )
    )


def _say_corrections(setup: Setup, reporter: Reporter) -> None:
    done = setup.corrected
    if not setup.corrections:
        return
    labelled = f"{done.labelled} labelled by hand ({done.from_pool} from the pool)"
    reporter.event(Message("info", f"corrections: {labelled}, {done.excluded} excluded"))
    if done.left_alone:
        reporter.event(
            Message(
                "warning",
                f"corrections: {done.left_alone} left alone: validation and test images are never changed",
            )
        )


def _summary(setup: Setup) -> SplitSummary:
    return split_summary(setup.catalogue, setup.split, setup.recipe.data.target, setup.taught)


@spanned(Part.OPENING, "provenance")
def record_provenance(directory: RunDirectory, setup: Setup, command_line: Sequence[str]) -> None:
    """Write down the code, packages, machine and data of this attempt."""
    device = setup.device
    extra = {
        "data_fingerprint": setup.catalogue.fingerprint,
        "pictures_fingerprint": setup.catalogue.pictures,
        "split_fingerprint": setup.split.fingerprint,
        **_pixels(setup.catalogue),
        **({"weights_fingerprint": setup.weights} if setup.weights else {}),
        **{part: str(count) for part, count in setup.extra_images.items()},
        **({"corrections_fingerprint": setup.corrections} if setup.corrections else {}),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "cuda": (torch.version.cuda or "") if device.type == "cuda" else "",
        "threads": str(torch.get_num_threads()),
    }
    write_provenance(directory, command_line, extra)


def _pixels(catalogue: Catalogue) -> dict[str, str]:
    """How images are read that are not read as they are."""
    scale, long = catalogue.scale, sum(is_long(record.size) for record in catalogue.records)
    depth = {"bit_depth": str(scale.bits), "float_white": f"{scale.white:g}"} if scale else {}
    return depth | ({"long_images": str(long)} if long else {})


def require_same_weights(directory: RunDirectory, setup: Setup) -> None:
    """Going on from other pretrained weights would mix two networks: features of one, a head of the other.

    Raises:
        UserError: the file that `model.weights` names is another than when the run began.
    """
    before = read_provenance(directory).get("weights_fingerprint", "")
    if before and before != setup.weights:
        raise UserError(
            "the pretrained weights are others than when the run began",
            where=f"model.weights: {clean(setup.recipe.model.weights)}",
            hint="put the file back as it was, or start a new run",
        )


@spanned(Part.TRIAL, "precision")
def decide_precision(setup: Setup, reporter: Reporter) -> Precision:
    """Resolve `training.precision` for what this recipe trains, and say so."""
    recipe = setup.recipe
    stages = plan(recipe)
    tuning = tune(setup.classifier, recipe.finetune)  # what is frozen decides which arithmetic is faster
    on_images = not tuning.trunk_fixed or any(not stage.sees_plain_views for stage in stages)
    precision = choose_precision(
        recipe.training.precision,
        setup.classifier,
        recipe.data.image_size,
        setup.device,
        trains_on_images=on_images,
        kept=setup.places.cache / "precision" / f"{_timing_key(recipe)}.json",
    )
    reporter.event(
        Message(
            "info",
            f"precision: {precision.training} training, {precision.inference} inference ({precision.reason})",
        )
    )
    return precision


def _timing_key(recipe: Recipe) -> str:
    tuned = [recipe.finetune.layers, recipe.finetune.batch_norm]
    return timing_key(recipe.model.backbone, recipe.model.weights, tuned, recipe.data.image_size)


@spanned(Part.TRIAL, "compilation")
def decide_compilation(setup: Setup, precision: Precision, reporter: Reporter) -> Compilation:
    """Resolve `training.compile` for the steps that this recipe takes on images, and say so."""
    wanted = setup.recipe.training.compile
    steps = _steps_on_images(setup)
    if wanted == "auto" and not steps:
        chosen = Compilation(False, "training runs on features that are computed once")
    else:
        chosen = choose_compilation(
            wanted,
            setup.classifier,
            setup.recipe.data.image_size,
            setup.recipe.training.batch_of(len(setup.split.labelled)),
            steps,
            precision,
            setup.device,
        )
    if wanted != "off":
        words = "training steps are compiled" if chosen.is_on else "nothing is compiled"
        reporter.event(Message("info", f"compile: {words} ({chosen.reason})"))
    return chosen


def _steps_on_images(setup: Setup) -> int:
    """At least so many: what rules will select of the pool is not known yet."""
    recipe, split = setup.recipe, setup.split
    is_fixed = tune(setup.classifier, recipe.finetune).trunk_fixed
    batch = recipe.training.batch_of(len(split.labelled))
    steps = 0
    for stage in plan(recipe):
        if stage.name == "probe" or (is_fixed and stage.sees_plain_views):
            continue
        images = len(split.labelled)
        if stage.online is not None:
            images = len(split.unlabelled) // stage.online.unlabelled_ratio
        steps += stage.epochs * max(1, images // batch)
    return steps


def warn_of_copies(setup: Setup, state: RunState, reporter: Reporter) -> None:
    """Say aloud, once, that extra images are the very files that measure the run."""
    split = setup.split
    trains = {setup.catalogue.records[p].id for p in (*split.labelled.tolist(), *split.unlabelled.tolist())}
    measuring = [*split.validation.tolist(), *split.test.tolist()]
    found = [(extra, twin) for extra, twin in copied_images(setup.catalogue, measuring) if extra in trains]
    if not found:
        return
    shown = ", ".join(f"{clean(extra, 60)} is {clean(twin, 60)}" for extra, twin in found[:3])
    text = (
        f"{len(found)} extra images are copies of validation or test images: {shown}"
        f"{', …' if len(found) > 3 else ''}; what measures the run should not train it"
    )
    if text not in state.warnings:
        state.warnings.append(text)
        reporter.event(Message("warning", text))


def warn_of_uncovered_classes(setup: Setup, state: RunState, reporter: Reporter) -> None:
    """Say aloud, once, what limits the run before it begins."""
    summary = _summary(setup)
    if summary.covered == len(setup.classes):
        return
    text = (
        f"{summary.covered} of {len(setup.classes)} classes have a labelled image: "
        f"test accuracy cannot pass {100 * summary.ceiling:.1f} %"
    )
    if text not in state.warnings:
        state.warnings.append(text)
        reporter.event(Message("warning", text))
