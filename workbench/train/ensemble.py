"""Several finished runs as one model: the mean of their log-probabilities, chosen by validation, kept whole.

Nothing is trained and no image is looked at: runs on the same division of the same images have said already
what they think of each, and have kept it.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from workbench.dataset.split_file import SplitIds, join_splits, split_ids
from workbench.recipe import Recipe, dump_recipe, flat, load_recipe
from workbench.runs.calibration import calibration_from, fit_temperature, tempered
from workbench.runs.ensemble import Ensemble, Member, Tried, differing_keys, is_ensemble, write_ensemble
from workbench.runs.events import ConfusionSeen, EpochDone, Message
from workbench.runs.intervals import share_words
from workbench.runs.layout import MEMBERS, RunDirectory, create_whole_run
from workbench.runs.log import RunLog
from workbench.runs.metrics import MetricsWriter, Tee
from workbench.runs.paired import Pair
from workbench.runs.predictions import Predictions, finished_predictions, save_predictions
from workbench.runs.process import write_exit
from workbench.runs.provenance import read_provenance, write_provenance
from workbench.runs.results import Evaluation, Results, read_results, write_results
from workbench.runs.status import RunStatus, status_of
from workbench.support.clean import clean
from workbench.support.digests import file_sha256, fingerprint, note_sum
from workbench.support.errors import UserError
from workbench.support.units import in_percent, p_words, points, points_words
from workbench.train.checkpoint import is_whole
from workbench.train.conclude import FINAL_WEIGHTS
from workbench.train.evaluation import evaluate_probabilities, negative_log_likelihood

MOST_EXHAUSTIVE = 4
"""Of up to so many runs every combination is tried (15); of more, those that greedy addition meets: the fewer
are tried, the less their best one owes to chance."""
_COPIED = (
    *("recipe.toml", "provenance.toml", "split.json", "corrections.toml", "results.toml", "metrics.jsonl"),
    *("exit.json", "SHA256SUMS"),
)
_LINKED = (
    *(f"checkpoint/{FINAL_WEIGHTS}", f"checkpoint/{Path(FINAL_WEIGHTS).stem}.sha256"),
    *("predictions/val.npz", "predictions/test.npz"),
)
_SPOKEN_OF = ("name", "description", "tags", "training.checkpoint_seconds")

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Candidate:
    """A finished run that may become a member."""

    run: RunDirectory
    recipe: Recipe
    results: Results
    weights_sha256: str
    val: Predictions
    test: Predictions
    split: SplitIds
    temperature: float
    """What fits its validation images best."""


@dataclass(frozen=True, eq=False)
class Choice:
    """The members that validation prefers, and all that was tried to find them."""

    members: tuple[Candidate, ...]
    calibrated: bool
    by: Literal["all", "val"]
    tried: tuple[Tried, ...]

    @property
    def chosen(self) -> Tried:
        """What was tried of the chosen members."""
        ids = tuple(member.run.id for member in self.members)
        return next(one for one in self.tried if (one.members, one.calibrated) == (ids, self.calibrated))

    @property
    def best_member(self) -> Candidate:
        """The one that is best alone, on validation."""
        return max(self.members, key=lambda one: (one.results.val.accuracy, -one.results.val.loss))

    def probabilities(self, split: Literal["val", "test"]) -> Floats:
        """(N, C) float32, what the members say together."""
        said = [getattr(member, split).probabilities for member in self.members]
        return pooled(said, self.temperatures)

    @property
    def temperatures(self) -> list[float]:
        """One a member."""
        return [member.temperature if self.calibrated else 1.0 for member in self.members]


def pooled(probabilities: Sequence[Floats], temperatures: Sequence[float]) -> Floats:
    """(N, C) float32 ∝ exp of the mean of the members' log-probabilities, each at its temperature.

    A logarithmic opinion pool of equal weights (Heskes 1998); one member at temperature 1 stays what it is.
    """
    mean = np.zeros(probabilities[0].shape)
    for said, temperature in zip(probabilities, temperatures, strict=True):
        shares = tempered(said, temperature).astype(np.float64)
        mean += np.log(np.maximum(shares, 1e-30)) / len(probabilities)
    powers = np.exp(mean - mean.max(axis=1, keepdims=True))
    together: Floats = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return together


def candidates(runs: Sequence[RunDirectory]) -> list[Candidate]:
    """The runs, ready to be averaged.

    Raises:
        UserError: fewer than two, one of them twice, not finished, damaged, without weights, an ensemble
            itself, or not on the same images, classes and division as the first.
    """
    if len(runs) < 2:
        raise UserError(
            "an ensemble takes two runs or more",
            where=clean(runs[0].id) if runs else "",
            hint="petbench runs ls lists them",
        )
    seen: dict[Path, RunDirectory] = {}
    for run in runs:
        if run.path.resolve() in seen:
            raise UserError("a run is named twice: it would count double", where=clean(run.id))
        seen[run.path.resolve()] = run
    found = [candidate(run) for run in runs]
    for other in found[1:]:
        _require_same_images(found[0], other)
    _refuse_equal_weights(found)
    return found


def candidate(run: RunDirectory) -> Candidate:
    """A finished run with all that an ensemble needs of it. Raises: UserError."""
    if is_ensemble(run):
        raise UserError(
            "it is an ensemble itself",
            where=clean(run.id),
            hint=f"name its runs in its place: petbench runs show {run.handle} lists them",
        )
    status = status_of(run)
    if status is not RunStatus.FINISHED or not run.results.exists():
        told = status.value if status is not RunStatus.FINISHED else "without results"
        raise UserError(
            f"the run is not finished: it is {told}",
            where=clean(run.id),
            hint=f"petbench resume {run.handle} goes on with it",
        )
    weights = run.checkpoint / FINAL_WEIGHTS
    if not is_whole(weights):
        what = "damaged" if weights.exists() else "gone"
        raise UserError(f"its weights are {what}", where=clean(weights), hint="train the run again")
    results = read_results(run.results)
    val, test = finished_predictions(run, "val"), finished_predictions(run, "test")
    return Candidate(
        run=run,
        recipe=load_recipe(run.recipe),
        results=results,
        weights_sha256=file_sha256(weights),
        val=val,
        test=test,
        split=split_ids(run.split),
        temperature=fit_temperature(val.probabilities, val.labels),
    )


def _refuse_equal_weights(found: Sequence[Candidate]) -> None:
    for one, other in itertools.combinations(found, 2):
        if one.weights_sha256 == other.weights_sha256:
            raise UserError(
                f"{clean(one.run.id)} has the very same weights: together they say what one says",
                where=clean(other.run.id),
            )


def _require_same_images(first: Candidate, other: Candidate) -> None:
    """Raises: UserError, which says in what they differ."""
    mine, its = first.results.classes, other.results.classes
    if mine != its:
        raise _different(
            first, other, f"classes: {len(its)} ({_named(its)}), and there {len(mine)} ({_named(mine)})"
        )
    if first.split.data_fingerprint != other.split.data_fingerprint:
        place, there = (one.recipe.data.root or one.recipe.data.dataset for one in (other, first))
        raise _different(first, other, f"images: {clean(place)} as it was then, and there {clean(there)}")
    for part, name in (("val", "validation"), ("test", "test")):
        one, two = getattr(first, part), getattr(other, part)
        if one.ids != two.ids or not np.array_equal(one.labels, two.labels):
            shared = len(set(one.ids) & set(two.ids))
            told = f"{name} images: {len(two.ids)}, of which {shared} are among the other's {len(one.ids)}"
            seeds = (other.recipe.data.split_seed, first.recipe.data.split_seed)
            if seeds[0] != seeds[1]:
                told += f" (data.split_seed = {seeds[0]}, and there {seeds[1]})"
            raise _different(first, other, told)


def _named(classes: Sequence[str]) -> str:
    return ", ".join(clean(name, 40) for name in classes[:3]) + (", …" if len(classes) > 3 else "")


def _different(first: Candidate, other: Candidate, told: str) -> UserError:
    return UserError(
        f"it and {clean(first.run.id)} cannot be averaged: they differ in their {told}",
        where=clean(other.run.id),
        allowed="runs on the same images, classes, validation and test part",
    )


def choose(found: Sequence[Candidate], by: Literal["all", "val"]) -> Choice:
    """Whose word is averaged, by validation alone: accuracy, then loss; of equals the fewer runs.

    Whether logits are first divided by each run's temperature is decided likewise.

    Args:
        by: all of them, or `val`: the best of all combinations of up to `MOST_EXHAUSTIVE` runs, single ones
            among them; of more runs what greedy addition comes to from the best one.
    """
    tried: dict[tuple[tuple[int, ...], bool], tuple[float, float]] = {}
    labels = found[0].val.labels

    def look(members: tuple[int, ...]) -> tuple[float, float]:
        for calibrated in (False, True):
            if (members, calibrated) not in tried:
                temperatures = [found[m].temperature if calibrated else 1.0 for m in members]
                said = pooled([found[m].val.probabilities for m in members], temperatures)
                right = float((said.argmax(axis=1) == labels).mean())
                tried[members, calibrated] = right, -negative_log_likelihood(said, labels)
        return max(tried[members, False], tried[members, True])

    everyone = tuple(range(len(found)))
    if by == "all":
        look(everyone)
    elif len(found) <= MOST_EXHAUSTIVE:
        for size in range(1, len(found) + 1):
            for members in itertools.combinations(everyone, size):
                look(members)
    else:
        _add_greedily(everyone, look)
    # `max` keeps the first of equals: fewer runs, and logits as they are.
    best = max(sorted(tried, key=lambda key: (len(key[0]), key)), key=lambda key: tried[key])
    return Choice(
        members=tuple(found[m] for m in best[0]),
        calibrated=best[1],
        by=by,
        tried=tuple(
            Tried(tuple(found[m].run.id for m in members), calibrated, accuracy, -minus_loss)
            for (members, calibrated), (accuracy, minus_loss) in tried.items()
        ),
    )


def _add_greedily(everyone: Sequence[int], look: Callable[[tuple[int, ...]], tuple[float, float]]) -> None:
    """Look at each run alone, then add to the best the one that helps most, until none helps."""
    now: tuple[int, ...]
    reached, now = max(((look((m,)), (m,)) for m in everyone), key=lambda pair: pair[0])
    while len(now) < len(everyone):
        further = [tuple(sorted((*now, m))) for m in everyone if m not in now]
        value, members = max(((look(members), members) for members in further), key=lambda pair: pair[0])
        if value <= reached:
            return
        reached, now = value, members


def make_ensemble(runs_home: Path, name: str, choice: Choice, command_line: Sequence[str]) -> RunDirectory:
    """Write the run directory of a choice of two members or more; nothing is left of one that fails.

    Raises:
        UserError: it cannot be written.
    """
    best = choice.best_member
    recipe = best.recipe.model_copy(
        update={
            "name": name,
            "description": f"The mean log-probabilities of {len(choice.members)} runs; the rest of this "
            f"recipe is that of {best.run.id}, which validates best of them.",
            "tags": ("ensemble",),
        }
    )
    return create_whole_run(
        runs_home,
        name,
        dump_recipe(recipe),
        datetime.now(),
        lambda run: _fill(run, choice, command_line),
    )


def _fill(run: RunDirectory, choice: Choice, command_line: Sequence[str]) -> None:
    members = [_keep(run, number, member) for number, member in enumerate(choice.members, start=1)]
    kept = tuple(
        Member(
            id=member.run.id,
            name=member.recipe.name,
            folder=str(copy.path.relative_to(run.path)),
            weights_sha256=member.weights_sha256,
            temperature=temperature,
            val_accuracy=member.results.val.accuracy,
            val_loss=member.results.val.loss,
        )
        for member, copy, temperature in zip(choice.members, members, choice.temperatures, strict=True)
    )
    recipes = [_told_recipe(member.recipe) for member in choice.members]
    write_ensemble(run, Ensemble(kept, choice.calibrated, choice.by, choice.tried, differing_keys(recipes)))
    note_sum(run.recipe, run.path, file_sha256(run.recipe))
    split = join_splits(run.split, [copy.split for copy in members])
    _write_provenance(run, members[0], split, command_line)
    evaluations: dict[str, Evaluation] = {}
    with MetricsWriter(run.metrics) as metrics:
        reporter = Tee(metrics, RunLog(run.log))
        for text in words_of(choice):
            reporter.event(Message("info", text))
        for part in ("val", "test"):
            predictions: Predictions = getattr(choice.members[0], part)
            said = choice.probabilities("val" if part == "val" else "test")
            save_predictions(run.predictions(part), predictions.ids, said, predictions.labels)
            on = evaluations[part] = evaluate_probabilities(said, predictions.labels)
            split_name: Literal["val", "test"] = "val" if part == "val" else "test"
            reporter.event(EpochDone("fit", 0, 0, split_name, on.loss, on.accuracy, 0.0, 0.0, 0.0, on.images))
        reporter.event(ConfusionSeen("fit", 0, 0, [list(row) for row in evaluations["val"].confusion]))
    write_results(run.results, _results(run, choice, split, evaluations["val"], evaluations["test"]))
    write_exit(run, code=0, attempt=1)


def _told_recipe(recipe: Recipe) -> dict[str, Any]:
    return {key: value for key, value in flat(recipe).items() if key not in _SPOKEN_OF}


def _keep(run: RunDirectory, number: int, member: Candidate) -> RunDirectory:
    """A run directory for a member: its weights and predictions linked, what tells of it copied."""
    kept = RunDirectory(run.path / MEMBERS / f"{number:02d}-{member.run.id}")
    for folder in ("checkpoint", "predictions", "pseudo"):
        (kept.path / folder).mkdir(parents=True)
    for name in _COPIED:
        if (member.run.path / name).exists():
            shutil.copyfile(member.run.path / name, kept.path / name)
    for name in _LINKED:
        _link(member.run.path / name, kept.path / name)
    return kept


def _link(source: Path, target: Path) -> None:
    """A second name for a file, which petbench replaces and never changes; a copy on another disk."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def kept_bytes(run: RunDirectory) -> tuple[int, int]:
    """(bytes of the weights that an ensemble keeps, those that take no room while the runs are there)."""
    found = [path.stat() for path in run.path.glob(f"{MEMBERS}/*/checkpoint/{FINAL_WEIGHTS}")]
    return sum(one.st_size for one in found), sum(one.st_size for one in found if one.st_nlink > 1)


def words_of(choice: Choice) -> Iterator[str]:
    """What validation says of a choice, for people; no word of the test images."""
    chosen, best = choice.chosen, choice.best_member
    how = "each at its temperature" if choice.calibrated else "their logits as they are"
    names = ", ".join(clean(member.run.id) for member in choice.members)
    yield f"the mean log-probabilities of {names}, {how}"
    right = choice.probabilities("val").argmax(axis=1) == best.val.labels
    alone = best.val.probabilities.argmax(axis=1) == best.val.labels
    pair = Pair.of(alone, right)
    change = points(chosen.val_accuracy - best.results.val.accuracy)
    within = pair.interval
    yield (
        f"validation: {share_words(chosen.val_accuracy, len(right))}; "
        f"{clean(best.run.id)} alone {share_words(best.results.val.accuracy, len(right))}"
    )
    yield (
        f"{change} points ({points_words(within)}), McNemar's p {p_words(pair.p)}"
        + (", which may be chance" if within[0] <= 0 <= within[1] else "")
    )
    if choice.by == "val":
        yield (
            f"it is the best of {len(choice.tried)} combinations on these images, so its figure on them is a "
            "little too good"
        )


def _write_provenance(
    run: RunDirectory, first: RunDirectory, split: SplitIds, command_line: Sequence[str]
) -> None:
    told = read_provenance(first)
    alike = ("pictures_fingerprint", "bit_depth", "float_white", "long_images")
    extra = {
        "data_fingerprint": split.data_fingerprint,
        "split_fingerprint": split.split_fingerprint,
        **{key: str(told[key]) for key in alike if key in told},
    }
    write_provenance(run, command_line, extra)


def _results(
    run: RunDirectory, choice: Choice, split: SplitIds, val: Evaluation, test: Evaluation
) -> Results:
    each = [member.results for member in choice.members]
    seconds = sum(one.training_seconds for one in each)
    images = sum(one.training_seconds * one.images_per_second for one in each)
    precisions = dict.fromkeys(one.precision for one in each)
    warnings = []
    if choice.chosen.val_accuracy < choice.best_member.results.val.accuracy:
        warnings.append(
            f"{choice.best_member.run.id} alone is better on validation "
            f"({in_percent(choice.best_member.results.val.accuracy)} against {in_percent(val.accuracy)})"
        )
    most = max(each, key=lambda one: one.labelled)
    return replace(
        most,
        calibration=calibration_from(run),
        val=val,
        test=test,
        best_stage="fit",
        best_round=0,
        best_epoch=0,
        training_seconds=seconds,
        images_per_second=images / max(1e-9, seconds),
        peak_memory_bytes=max(one.peak_memory_bytes for one in each),
        precision=next(iter(precisions)) if len(precisions) == 1 else "; ".join(precisions),
        labelled=len(split.labelled),
        unlabelled=len(split.unlabelled),
        devices=None,
        classes_covered=max(one.classes_covered for one in each),
        weights_sha256=fingerprint([(m.weights_sha256, m.results.precision) for m in choice.members]),
        teacher_val=None,
        teacher_test=None,
        student_val=None,
        student_test=None,
        student_test_p=None,
        student_test_interval=None,
        student_val_interval=None,
        probe_val_accuracy=None,
        rounds=(),
        warnings=tuple(warnings),
    )
