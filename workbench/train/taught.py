"""Finished runs as the teacher: what they say of a run's images, kept with it before it trains.

They are asked once, at the run's beginning, and their word is pinned: the run goes on exactly, to the same
weights, whatever becomes of them. No label that is hidden here may have reached them, nor any image that
measures this run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tomli_w
import torch
from numpy.typing import NDArray

from workbench.dataset.split_file import other_pictures, split_ids
from workbench.loader import open_store, stored_side
from workbench.recipe import Recipe, load_recipe
from workbench.runs.ensemble import is_ensemble, read_ensemble
from workbench.runs.events import Message, Reporter
from workbench.runs.find import TEACHER_KEY, named_teachers, teacher_names
from workbench.runs.layout import RunDirectory
from workbench.runs.predictions import Predictions, load_predictions, save_predictions
from workbench.runs.results import Results, read_results
from workbench.support.clean import clean
from workbench.support.digests import file_sha256, require_sum, summed_write
from workbench.support.errors import UserError
from workbench.support.records import plain, validated
from workbench.support.regular_file import UnreadableFile
from workbench.support.toml_text import read_toml
from workbench.support.units import in_percent
from workbench.train.conclude import FINAL_WEIGHTS
from workbench.train.ensemble import pooled
from workbench.train.evaluation import evaluate_probabilities
from workbench.train.network import Network
from workbench.train.precision import Precision, inference_dtype
from workbench.train.predict import require_weights, restored
from workbench.train.setup import Setup
from workbench.train.state import Best

_LIMIT_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Heard:
    """A run that teaches another, as it was when it was asked."""

    id: str
    path: str
    weights_sha256: tuple[str, ...]
    """One; of an ensemble, one a member."""


@dataclass(frozen=True, eq=False)
class Word:
    """What the teachers say together, by images in the order of the run's split."""

    pool: Predictions
    val: Predictions


def asks_runs(recipe: Recipe) -> bool:
    """Whether finished runs teach, in place of a teacher of the run's own."""
    return teacher_names(recipe) is not None


def find_teachers(directory: RunDirectory, setup: Setup) -> list[RunDirectory]:
    """The runs that `pseudo_label.teacher` names; none once their word is pinned, or where it names none.

    Raises:
        UserError: there is no such run, it is not finished, its weights are gone, its classes are others, or
            it knows of labels or images that this run must not.
    """
    if directory.teachers.exists():
        return []
    found = named_teachers(setup.recipe, directory.path.parent, directory)
    for run in found:
        _require_fit(run, setup)
    return found


def _require_fit(run: RunDirectory, setup: Setup) -> None:
    name = clean(run.id)
    classes = read_results(run.results).classes
    if classes != setup.classes:
        raise UserError(
            f"{name} knows {len(classes)} classes, and this run {len(setup.classes)}: they must be the same, "
            "in the same order",
            where=TEACHER_KEY,
        )
    for member, _ in _members(run):
        weights = member.checkpoint / FINAL_WEIGHTS
        if not weights.exists():
            raise UserError(f"the weights of {name} are gone: {clean(weights)}", where=TEACHER_KEY)
    _refuse_leaks(run, setup)


def _refuse_leaks(run: RunDirectory, setup: Setup) -> None:
    """What taught or chose the teacher must be what may teach or choose here. Raises: UserError."""
    split, records = setup.split, setup.catalogue.records
    changed = other_pictures(run.split, setup.catalogue)
    if changed:
        raise UserError(
            f"{clean(run.id)} was trained on other images: {len(changed)} are not among this run's, or are "
            f"other pictures now ({', '.join(clean(one, 60) for one in changed[:3])}"
            f"{', …' if len(changed) > 3 else ''})",
            where=TEACHER_KEY,
            allowed="runs on this run's images",
        )
    seen = split_ids(run.split)
    parts = {
        part: {records[position].id for position in getattr(split, part).tolist()}
        for part in ("labelled", "unlabelled", "validation", "test")
    }
    leaks = [
        (len(seen.labelled & parts["validation"]), "of its labelled images validate this run"),
        (len(seen.labelled & parts["test"]), "of its labelled images test this run"),
        (len(seen.labelled & parts["unlabelled"]), "labels that are hidden here taught it"),
        (len(seen.validation & parts["test"]), "of its validation images test this run"),
        (len(seen.validation & parts["unlabelled"]), "labels that are hidden here chose its epoch"),
    ]
    told = "; ".join(f"{count} {what}" for count, what in leaks if count)
    if told:
        raise UserError(
            f"{clean(run.id)} knows too much to teach this run: {told}",
            where=TEACHER_KEY,
            allowed="runs with this run's data.split_seed, validation part and labels, or fewer of the same",
            hint=f"petbench recipe diff {run.handle} RECIPE shows in what they differ",
        )


def _members(run: RunDirectory) -> Iterator[tuple[RunDirectory, float]]:
    """(run with a network, its temperature): an ensemble's, or the run alone."""
    if not is_ensemble(run):
        yield run, 1.0
        return
    for member in read_ensemble(run).members:
        kept = RunDirectory(run.path / member.folder)
        require_weights(kept, member.weights_sha256)
        yield kept, member.temperature


def hear(directory: RunDirectory, setup: Setup, runs: Sequence[RunDirectory], reporter: Reporter) -> None:
    """Ask the runs about pool, validation and test images, and pin what they say with this run.

    Raises:
        UserError: a teacher's weights are damaged or do not fit its recipe.
        OSError: the disk is full, or the like.
    """
    if not runs:
        return
    split = setup.split
    parts = {"pool": split.unlabelled, "val": split.validation, "test": split.test}
    said: dict[str, list[Any]] = {part: [] for part in parts}
    heard = []
    for run in runs:
        members = list(_members(run))
        each: dict[str, list[Any]] = {part: [] for part in parts}
        for member, _ in members:
            network, module = _network(member, setup, reporter)
            for part, positions in parts.items():
                task = f"{clean(run.handle)} on {part}"
                each[part].append(network.probabilities(positions, module, task=task))
        for part in parts:
            said[part].append(pooled(each[part], [temperature for _, temperature in members]))
        weights = tuple(file_sha256(member.checkpoint / FINAL_WEIGHTS) for member, _ in members)
        heard.append(Heard(run.id, str(run.path.resolve()), weights))
    if not setup.world.is_first:
        setup.world.barrier()
        return
    for part, positions in parts.items():
        ids = [setup.catalogue.ids[position] for position in positions.tolist()]
        together = pooled(said[part], [1.0] * len(runs))
        save_predictions(directory.predictions(f"teacher-{part}"), ids, together, setup.labels[positions])
    # Last: once it is there, their word is.
    content = tomli_w.dumps({"teachers": [plain(one) for one in heard]})
    summed_write(directory.teachers, directory.path, content.encode())
    setup.world.barrier()


def _network(run: RunDirectory, setup: Setup, reporter: Reporter) -> tuple[Network, torch.nn.Module]:
    """A finished run's network as it stands among this run's images, and the part of it to evaluate."""
    recipe, results = load_recipe(run.recipe), read_results(run.results)
    classifier = restored(run, recipe, results.classes, FINAL_WEIGHTS).to(setup.device)
    classifier.to(memory_format=torch.channels_last)
    store = setup.store
    size, scale = recipe.data.image_size, recipe.data.store_scale
    if stored_side(size, scale) != store.side:
        store = open_store(setup.catalogue, size, cache=setup.places.cache, reporter=reporter, scale=scale)
        store = store.near(setup.device, reporter)
    own = replace(setup, recipe=recipe, classifier=classifier, store=store)
    network = Network(own, _precision(results, setup.device), reporter, is_trained=True)
    return network, network.evaluated(classifier, trunk_fixed=network.tuning.trunk_fixed)


def _precision(results: Results, device: torch.device) -> Precision:
    dtype = inference_dtype(results.precision, device)
    return Precision(dtype, dtype, "as that run had it")


def read_teachers(directory: RunDirectory) -> tuple[Heard, ...]:
    """The runs whose word is pinned with a run.

    Raises:
        FileNotFoundError: none is.
        UserError: the file is damaged.
    """
    try:
        values = read_toml(directory.teachers, max_bytes=_LIMIT_BYTES)
        require_sum(directory.teachers)
        heard: tuple[Heard, ...] = validated(tuple[Heard, ...], values["teachers"])
        return heard
    except (UnreadableFile, ValueError, KeyError) as error:
        raise _gone(directory.teachers, f"damaged: {clean(error)}") from error


def pinned_word(directory: RunDirectory, setup: Setup) -> Word:
    """What the teachers said of this run's images.

    Raises:
        UserError: it is gone, damaged, or of other images.
    """
    found = []
    split = setup.split
    for part, positions in (("pool", split.unlabelled), ("val", split.validation)):
        path = directory.predictions(f"teacher-{part}")
        try:
            said = load_predictions(path)
        except FileNotFoundError as error:
            raise _gone(path, "what the teachers said is gone") from error
        if said.ids != tuple(setup.catalogue.ids[position] for position in positions.tolist()):
            raise _gone(path, "what the teachers said is of other images")
        found.append(said)
    return Word(*found)


def _gone(path: Path, what: str) -> UserError:
    return UserError(what, where=clean(path), hint="copy the file back, or launch the recipe as a new run")


def as_competitor(directory: RunDirectory, setup: Setup, reporter: Reporter) -> Best:
    """The teachers on validation, where students compete with them; they have no weights to be kept by."""
    on = evaluate_probabilities(pinned_word(directory, setup).val.probabilities, _truth(setup))
    names = ", ".join(clean(one.id) for one in read_teachers(directory))
    text = f"taught by {names}: together {in_percent(on.accuracy)} on validation"
    reporter.event(Message("info", text))
    return Best("teacher", 0, 0, on.accuracy, on.loss, {})


def _truth(setup: Setup) -> NDArray[Any]:
    return setup.labels[setup.split.validation]
