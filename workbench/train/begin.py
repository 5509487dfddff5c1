"""Before the first step: what is pinned down, recorded and said aloud."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from workbench.compute import accelerator_of, computes_in, float32_name, times_convolutions
from workbench.dataset import Catalogue, Split, SplitSummary, load_split, save_split, split_summary
from workbench.dataset.extra import copied_images
from workbench.dataset.generated import measured_and_tuned_on
from workbench.dataset.review import pin_review
from workbench.dataset.split_file import is_by_content
from workbench.model import set_noise, tune
from workbench.recipe import Recipe
from workbench.recipe.plan import Stage, plan
from workbench.runs.events import Message, Reporter
from workbench.runs.layout import RunDirectory
from workbench.runs.provenance import read_provenance, write_provenance
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.spans import Part, spanned
from workbench.support.units import in_percent
from workbench.train.compiled import Compilation, choose_compilation
from workbench.train.precision import Precision, agreed, choose_precision, timing_key
from workbench.train.setup import Setup
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
        if pinned.fingerprint != setup.split.fingerprint and not _loses_the_same(pinned, setup):
            raise UserError(
                "the data are divided otherwise than when the run began",
                where=str(directory.split),
                hint="the images on disk have changed; launch the recipe as a new run",
            )
        if pinned.fingerprint != setup.split.fingerprint:
            save_split(directory.split, setup.catalogue, setup.split)
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
            f"accuracy ceiling {in_percent(summary.ceiling, 1)}",
        )
    )


def _loses_the_same(pinned: Split, setup: Setup) -> bool:
    """Whether the two differ in nothing but images that cannot be decoded: one has looked at more parts."""
    setup.need("unlabelled", "test")
    unreadable = setup.store.unreadable_positions
    parts = {part: getattr(pinned, part) for part in ("labelled", "unlabelled", "validation", "test")}
    kept = replace(pinned, **{part: held[~np.isin(held, unreadable)] for part, held in parts.items()})
    return kept.fingerprint == setup.split.fingerprint


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
def record_provenance(
    directory: RunDirectory, setup: Setup, command_line: Sequence[str], more: Mapping[str, str]
) -> None:
    """Write down the code, packages, machine and data of this attempt, and `more`."""
    device, own = setup.device, accelerator_of(setup.device)
    extra = {
        "data_fingerprint": setup.catalogue.fingerprint,
        "pictures_fingerprint": setup.catalogue.pictures,
        "split_fingerprint": setup.split.fingerprint,
        **_pixels(setup.catalogue),
        **({"weights_fingerprint": setup.weights} if setup.weights else {}),
        **{part: str(count) for part, count in setup.extra_images.items()},
        **({"corrections_fingerprint": setup.corrections} if setup.corrections else {}),
        "device": own.label(device),
        "cuda": own.runtime(),
        "float32": float32_name(device),
        **({} if setup.world.is_alone else {"processes": str(setup.world.size)}),
        **({"deterministic": "true"} if setup.recipe.training.deterministic else {}),
        **({"timed_convolutions": "true"} if times_convolutions(device) else {}),
        "threads": str(torch.get_num_threads()),
        **more,
    }
    write_provenance(directory, command_line, extra)


def _pixels(catalogue: Catalogue) -> dict[str, str]:
    """How images are read that are not read as they are."""
    scale, long = catalogue.scale, len(catalogue.columns.long_sizes)
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
    on_images = bool(stages_on_images(setup))
    tune(setup.classifier, recipe.finetune)  # what is frozen decides which arithmetic is faster
    parts = setup.classifier.parts
    # Of several trunks each is timed as it would be alone: it then shares its features with runs of it alone.
    precision = agreed(
        [
            choose_precision(
                recipe.training.precision,
                setup.classifier if len(parts) == 1 else setup.classifier.trunk.get_submodule(part.path),
                recipe.data.image_size,
                setup.device,
                trains_on_images=on_images,
                kept=setup.places.cache / "precision" / f"{_timing_key(recipe, part.backbone)}.json",
            )
            for part in parts
        ]
    )
    reporter.event(
        Message(
            "info",
            f"precision: {precision.training} training, {precision.inference} inference ({precision.reason})",
        )
    )
    return precision


def _timing_key(recipe: Recipe, backbone: str) -> str:
    tuned = [recipe.finetune.layers, recipe.finetune.batch_norm]
    return timing_key(backbone, recipe.model.weights, tuned, recipe.data.image_size)


@spanned(Part.TRIAL, "compilation")
def decide_compilation(setup: Setup, precision: Precision, reporter: Reporter) -> Compilation:
    """Resolve `training.compile` for the steps that this recipe takes on images, and say so."""
    wanted = setup.recipe.training.compile
    if wanted != "off" and not setup.world.is_alone:
        return _not_compiled(wanted, reporter)
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


def _not_compiled(wanted: Literal["on", "auto"], reporter: Reporter) -> Compilation:
    """Steps that processes share meet within a pass, which no compiler sees through. Raises: UserError."""
    if wanted == "on":
        raise UserError(
            "several processes share the steps, and meet within them: that cannot be compiled",
            where="training.compile",
            allowed=["off", "auto"],
            hint="or train in one process",
        )
    chosen = Compilation(False, "several processes share the steps")
    reporter.event(Message("info", f"compile: nothing is compiled ({chosen.reason})"))
    return chosen


def say_world(setup: Setup, state: RunState, reporter: Reporter, *, goes_on: bool) -> None:
    """Say how many processes train the run, and whether others did before; from now on it is these.

    Args:
        goes_on: the state is a checkpoint's.

    Raises:
        UserError: they do not all see the same data.
    """
    world, before = setup.world, state.processes
    seen = [setup.catalogue.fingerprint, setup.split.fingerprint, setup.weights]
    for rank, other in enumerate(world.values(seen)):
        if other != seen:
            raise UserError(
                f"process {rank} of {world.size} sees other images or weights than process {world.rank}",
                hint="every host needs the same data set and pretrained weights",
            )
    state.processes = world.size
    if not world.is_alone:
        norms = "batch norms that learn see the whole batch"
        text = f"{world.size} processes share each batch and take its one step together; {norms}"
        reporter.event(Message("info", text))
    if goes_on and before != world.size:
        text = (
            f"processes: {before} trained this run so far, {world.size} go on with it: "
            "the steps are the same, but not to the last bit"
        )
        reporter.event(Message("warning", text))


def stages_on_images(setup: Setup) -> list[Stage]:
    """The stages of the plan whose every step sends images through the trunk."""
    recipe, classifier = setup.recipe, setup.classifier
    set_noise(classifier, recipe.model.dropout, 0.0)  # each stage says what noise it has
    is_frozen = tune(classifier, recipe.finetune).trunk_fixed
    set_noise(classifier, recipe.model.dropout, recipe.model.stochastic_depth)

    def is_on_features(stage: Stage) -> bool:
        frozen = is_frozen or stage.name == "probe"
        return stage.is_on_features(trunk_fixed=frozen and not stage.stochastic_depth)

    return [stage for stage in plan(recipe) if not is_on_features(stage)]


def _steps_on_images(setup: Setup) -> int:
    """Of all stages; what a teacher will choose of the pool is guessed."""
    split = setup.split
    with_head = setup.catalogue.heads_among(split.labelled)
    steps = 0
    for stage in stages_on_images(setup):
        labelled = stage.labelled_samples(len(split.labelled), with_head)
        samples = labelled + int(stage.pool_share * len(split.unlabelled))
        steps += stage.epochs * stage.steps_an_epoch(max(1, samples), len(split.unlabelled))
    return steps


def warn_of_emulation(setup: Setup, state: RunState, reporter: Reporter) -> None:
    """Say that a run that began in bf16 goes on on a GPU that only emulates it; it stays in bf16."""
    device, own = setup.device, accelerator_of(setup.device)
    chosen = state.precision
    if chosen is None or own.times_arithmetic or computes_in("bf16", device):
        return
    if "bf16" in (chosen.training, chosen.inference):
        text = f"{own.label(device)} only emulates bf16, in which this run computes: it will be slow"
        reporter.event(Message("warning", text))


def warn_of_cautions(setup: Setup, state: RunState, reporter: Reporter) -> None:
    """Say aloud, once, what figures on these data do not tell."""
    for text in setup.catalogue.cautions:
        state.warn_once(text, reporter)


def warn_of_copies(setup: Setup, state: RunState, reporter: Reporter) -> None:
    """Say aloud, once, that extra images are the very files that measure the run."""
    split = setup.split
    trains = {setup.catalogue.ids[p] for p in (*split.labelled.tolist(), *split.unlabelled.tolist())}
    measuring = [*split.validation.tolist(), *split.test.tolist()]
    found = [(extra, twin) for extra, twin in copied_images(setup.catalogue, measuring) if extra in trains]
    if not found:
        return
    shown = ", ".join(f"{clean(extra, 60)} is {clean(twin, 60)}" for extra, twin in found[:3])
    text = (
        f"{len(found)} extra images are copies of validation or test images: {shown}"
        f"{', …' if len(found) > 3 else ''}; what measures the run should not train it"
    )
    state.warn_once(text, reporter)


def warn_of_tuning(setup: Setup, state: RunState, reporter: Reporter) -> None:
    """Say aloud, once, that whatever made the extra images had learned from images that measure the run."""
    measuring = [*setup.split.validation.tolist(), *setup.split.test.tolist()]
    ids = [setup.catalogue.ids[position] for position in measuring]
    found = measured_and_tuned_on(setup.recipe.data.extra_labelled, ids)
    if not found:
        return
    shown = ", ".join(clean(id_, 60) for id_ in found[:3])
    text = (
        f"the pipeline behind the extra images was tuned on {len(found)} of the images that measure this "
        f"run: {shown}{', …' if len(found) > 3 else ''}; they are of another data.split_seed"
    )
    state.warn_once(text, reporter)


def warn_of_uncovered_classes(setup: Setup, state: RunState, reporter: Reporter) -> None:
    """Say aloud, once, what limits the run before it begins."""
    summary = _summary(setup)
    if summary.covered == len(setup.classes):
        return
    text = (
        f"{summary.covered} of {len(setup.classes)} classes have a labelled image: "
        f"test accuracy cannot pass {in_percent(summary.ceiling, 1)}"
    )
    state.warn_once(text, reporter)
