"""One run from recipe to results: prepare, train each stage of the plan, conclude. Begins or goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from workbench.dataset.run_data import named_shares
from workbench.loader import Samples
from workbench.loader.samples import PLAIN
from workbench.pseudo import logit_offsets, shrunk_shares
from workbench.recipe import Recipe
from workbench.recipe.offline import InRounds, Offline, Taught
from workbench.runs.events import Message, Reporter
from workbench.runs.layout import OF_ATTEMPTS, RunDirectory
from workbench.runs.results import Results, RoundResult
from workbench.runs.tenure import Tenure
from workbench.support.atomic import temporaries
from workbench.support.fingerprint import file_sha256
from workbench.support.spans import Part, spanned
from workbench.support.sums import note_sum
from workbench.train.begin import (
    decide_compilation,
    decide_precision,
    pin_corrections,
    pin_split,
    record_provenance,
    require_same_weights,
    warn_of_copies,
    warn_of_uncovered_classes,
)
from workbench.train.checkpoint import discard_checkpoints, load_newest, sweep_checkpoints
from workbench.train.conclude import conclude, finished_results, state_concluded
from workbench.train.interrupt import Interruptible, StopRequest, Unrecorded
from workbench.train.labelling import label_pool, share_right
from workbench.train.loop import StageRun, Surroundings
from workbench.train.network import Network
from workbench.train.setup import Places, Setup, prepare
from workbench.train.stage import Stage, plan
from workbench.train.state import Best, RunState, StageProgress, Weights, pack, unpack, weights_under
from workbench.train.teacher import view_pool
from workbench.train.writer import CheckpointWriter

NO_OFFSET = 1e-4
"""Offsets up to here are rounding: the loss is left as it is."""


def execute(
    directory: RunDirectory,
    recipe: Recipe,
    places: Places,
    reporter: Reporter,
    stop: StopRequest,
    tenure: Tenure,
    *,
    begun: Callable[[], None] = lambda: None,
    command_line: Sequence[str] = (),
) -> Results:
    """Train `recipe` in `directory`, from the newest checkpoint there if there is one, to its results.

    Args:
        tenure: the attempt's hold on the run, asked before anything is written.
        begun: called once nothing is refused any more: from here on a run that had begun is changed.

    Raises:
        UserError: the recipe does not fit the data, the backbone or this machine.
        RunFailed: training could not go on; the directory keeps all there is.
        Interrupted: after a checkpoint, when a signal has come.
        TakenOver: another attempt has the run by now.
    """
    finished = finished_results(directory, reporter)
    if finished is not None:
        begun()
        sweep_leftovers(directory)
        discard_checkpoints(directory.checkpoint)  # it may have been killed before it came to that
        return finished
    patient = Interruptible(reporter, stop, tenure.beat)
    checkpoint = load_newest(directory.checkpoint, reporter)
    concluded = state_concluded(directory) if checkpoint is None else None
    corrections = pin_corrections(directory, recipe)
    setup = prepare(recipe, places, patient, corrections=corrections, pinned=directory.split)
    pin_split(directory, setup, reporter)
    require_same_weights(directory, setup)
    state, tensors, within_stage = _stand(checkpoint) if concluded is None else (concluded, {}, False)
    state.precision = state.precision or decide_precision(setup, reporter)
    state.compilation = state.compilation or decide_compilation(setup, state.precision, reporter)
    network = Network(setup, state.precision, patient)
    stages = plan(recipe)
    warn_of_uncovered_classes(setup, state, reporter)
    warn_of_copies(setup, state, reporter)
    network.load(weights_under("model/", tensors))
    begun()
    tenure.check()
    note_sum(directory.recipe, directory.path, file_sha256(directory.recipe))
    if concluded is not None:
        sweep_leftovers(directory)
        return conclude(directory, network, state, Unrecorded(patient), tenure, again=True)
    record_provenance(directory, setup, command_line)
    sweep_leftovers(directory)
    with CheckpointWriter(directory.checkpoint, tenure.check) as writer:
        while state.stage_index < len(stages):
            stage = stages[state.stage_index]
            restored = tensors if within_stage else None
            best = _train(directory, stage, network, state, writer, reporter, stop, tenure, restored)
            _enter(state, stage, best, setup, reporter)
            if stage.name == "student" and isinstance(recipe.pseudo_label, InRounds):
                _choose_teacher(recipe.pseudo_label, network, state, len(stages), reporter)
            within_stage = False
            whole = {f"model/{name}": t for name, t in network.weights().items()}
            _save(writer, whole, state, within_stage=False)
            stop.raise_if_set()
    return conclude(directory, network, state, patient, tenure)


def sweep_leftovers(directory: RunDirectory) -> None:
    """Remove what attempts that were killed left half written; whoever calls has the run to itself."""
    sweep_checkpoints(directory.checkpoint)
    for folder in (directory.path / "predictions", directory.path / "pseudo"):
        for path, _, _ in temporaries(folder):
            path.unlink(missing_ok=True)
    for path, name, _ in temporaries(directory.path):
        if name in OF_ATTEMPTS:
            path.unlink(missing_ok=True)


def _train(
    directory: RunDirectory,
    stage: Stage,
    network: Network,
    state: RunState,
    writer: CheckpointWriter,
    reporter: Reporter,
    stop: StopRequest,
    tenure: Tenure,
    restored: Weights | None,
) -> Best:
    """Train one stage, labelling the pool first where a new round begins."""
    setup = network.setup
    is_offline = isinstance(setup.recipe.pseudo_label, Offline)
    if is_offline and stage.round and state.selection_round != stage.round:
        _label(directory, stage, network, state, reporter)
    if stage.fresh and restored is None:
        network.reset()
    around = Surroundings(
        reporter=reporter,
        stop=stop,
        heartbeat=tenure.beat,
        save=lambda tensors: _save(writer, tensors, state, within_stage=True),
    )
    samples, labelled = samples_of(setup, stage, state)
    offsets = _offsets(setup, stage, state, samples, labelled)
    return StageRun(stage, network, samples, labelled, state, around, restored, offsets).run()


@spanned(Part.LABELLING)
def _label(
    directory: RunDirectory, stage: Stage, network: Network, state: RunState, reporter: Reporter
) -> None:
    setup = network.setup
    knobs = setup.recipe.pseudo_label
    assert isinstance(knobs, Offline)  # only their plans have rounds
    pool = view_pool(network, knobs, stage.round, reporter)
    state.selection = label_pool(setup, knobs, state, stage.round, pool, directory, reporter)
    state.selection_round = stage.round


def samples_of(setup: Setup, stage: Stage, state: RunState) -> tuple[Samples, int]:
    """(what the stage trains on, how many of it are labelled)."""
    split, data = setup.split, setup.recipe.data
    selection = state.selection if stage.round else None
    weights = _class_weights(setup) * np.float32(selection.labelled_weight if selection else 1.0)
    labelled = Samples.of(split.labelled, setup.taught[split.labelled], len(setup.classes), weights)
    if stage.name != "probe":  # it looks at whole, plain images only
        labelled = labelled.with_head_crops(setup.catalogue, data.head_crops).with_copies(
            stage.augmented_copies
        )
    if selection is None:
        return labelled, len(labelled)
    pseudo = Samples.soft(split.unlabelled[selection.rows], selection.targets, selection.weights)
    if stage.augmented_copies:
        # Copies are drawn of labelled images; beside them nothing is augmented anew.
        pseudo = replace(pseudo, copies=np.full(len(pseudo), PLAIN, dtype=np.int64))
    return Samples.concatenate([labelled, pseudo]), len(labelled)


def _offsets(
    setup: Setup, stage: Stage, state: RunState, samples: Samples, labelled: int
) -> NDArray[np.float32] | None:
    """(C,) float32 `pseudo_label.target_prior` as what a student's loss adds to the logits; None: nothing.

    Args:
        labelled: how many of the samples, the first ones, are labelled.
    """
    knobs, selection = setup.recipe.pseudo_label, state.selection
    if not stage.round or selection is None or not isinstance(knobs, Taught) or knobs.target_prior == "off":
        return None
    classes = len(setup.classes)
    uniform = np.full(classes, 1 / classes)
    match knobs.target_prior:
        case "uniform":
            met = uniform
        case "pool":
            met = uniform if selection.prior is None else selection.prior
        case "validation":
            met = shrunk_shares(np.bincount(setup.labels[setup.split.validation], minlength=classes))
        case dict():
            met = named_shares(knobs.target_prior, setup.classes, "pseudo_label.target_prior")
    weights = samples.weights[:labelled, None]
    taught = (samples.targets.dense()[:labelled] * weights).sum(axis=0, dtype=np.float64)
    # Of the pool what it is expected to be: what a rule has chosen so far is the easy classes first.
    covered = taught > 0
    prior = (uniform if selection.prior is None else selection.prior) * covered
    taught += prior / prior.sum() * float(samples.weights[labelled:].sum())
    offsets = logit_offsets(taught, met)
    return None if np.abs(offsets).max() < NO_OFFSET else offsets


def _class_weights(setup: Setup) -> NDArray[np.float32]:
    """(L,) weight of each labelled image by `training.class_weights`; their mean is 1."""
    labels = setup.taught[setup.split.labelled]
    if setup.recipe.training.class_weights == "none":
        return np.ones(len(labels), dtype=np.float32)
    counts = np.bincount(labels, minlength=len(setup.classes))
    balanced = len(labels) / ((counts > 0).sum() * np.maximum(counts, 1))
    weights: NDArray[np.float32] = balanced[labels].astype(np.float32)
    return weights


def _enter(state: RunState, stage: Stage, best: Best, setup: Setup, reporter: Reporter) -> None:
    """Note what a finished stage achieved, and stand before the next."""
    match stage.name:
        case "probe":
            state.probe_accuracy = best.accuracy if stage.round == 0 else state.probe_accuracy
        case "teacher":
            state.teacher = best
        case "fit":
            is_better = state.student is None or not state.student.better_than(best.accuracy, best.loss)
            if state.student is None or (is_better and best.epoch):
                state.student = best
        case "student":
            state.rounds.append(_round_result(state, stage, best, setup))
            if state.student is None or not state.student.better_than(best.accuracy, best.loss):
                state.student = best
    if stage.falls_back and best.epoch == 0:
        share = f"{100 * best.accuracy:.2f} %"
        before = "student" if stage.name == "fit" and stage.round else "probe"
        text = f"{stage.label}: no epoch beat the {before} on validation ({share}); keeping the {before}"
        state.warnings.append(text)
        reporter.event(Message("warning", text))
    state.stage_index += 1
    state.progress = StageProgress()


def _teacher_of(state: RunState, setup: Setup) -> int:
    """The round whose student taught the round that has just ended; 0: the first teacher."""
    knobs = setup.recipe.pseudo_label
    if isinstance(knobs, InRounds) and knobs.next_teacher == "latest":
        return len(state.rounds)
    return 0 if state.best is None else state.best.round


def _choose_teacher(
    knobs: InRounds, network: Network, state: RunState, stages: int, reporter: Reporter
) -> None:
    """Let the best model on validation teach the next round; end the rounds if students keep losing."""
    best, result = state.best, state.rounds[-1]
    if best is None or result.improved or knobs.next_teacher == "latest":
        return
    network.reset()
    network.load(best.weights)
    name = f"student of round {best.round}" if best.round else "teacher"
    text = (
        f"round {result.round}: the student ({100 * result.student_val_accuracy:.2f} %) is not above the "
        f"{name} ({100 * best.accuracy:.2f} %) on validation"
    )
    if state.stage_index < stages:
        if knobs.patience and state.rounds_lost >= knobs.patience:
            state.stage_index = stages
            text += f"; the rounds end (pseudo_label.patience = {knobs.patience})"
        else:
            text += f": the {name} teaches on"
    reporter.event(Message("info", text))


def _round_result(state: RunState, stage: Stage, best: Best, setup: Setup) -> RoundResult:
    selection, before = state.selection, state.best
    improved = before is None or best.better_than(before.accuracy, before.loss)
    if stage.online is not None:
        return _online_result(state, stage, best, setup, improved=improved)
    assert selection is not None  # an offline student always has one
    rows, first = np.unique(selection.rows[selection.positive], return_index=True)
    truth = setup.labels[setup.split.unlabelled][rows]
    taught = selection.targets[selection.positive][first].argmax(axis=1)
    return RoundResult(
        round=stage.round,
        selected=len(rows),
        coverage=len(rows) / max(1, len(setup.split.unlabelled)),
        pseudo_label_accuracy=share_right(taught, truth),
        flipped=state.flipped,
        student_val_accuracy=best.accuracy,
        taught_by=_teacher_of(state, setup),
        improved=improved,
    )


def _online_result(state: RunState, stage: Stage, best: Best, setup: Setup, *, improved: bool) -> RoundResult:
    """Of an online student, by the last epoch's pseudo-labels."""
    share = state.progress.pool_share or 0.0
    return RoundResult(
        round=stage.round,
        selected=round(share * len(setup.split.unlabelled)),
        coverage=share,
        pseudo_label_accuracy=state.progress.pool_accuracy,
        flipped=0,
        student_val_accuracy=best.accuracy,
        taught_by=0,
        improved=improved,
    )


def _stand(checkpoint: tuple[Weights, dict[str, object]] | None) -> tuple[RunState, Weights, bool]:
    """(state, tensors, whether they lie within a stage) of a checkpoint, or of a beginning."""
    if checkpoint is None:
        return RunState(), {}, False
    tensors, plain = checkpoint
    return unpack(weights_under("state/", tensors), plain), tensors, bool(plain["within_stage"])


@spanned(Part.CHECKPOINT)
def _save(writer: CheckpointWriter, tensors: Weights, state: RunState, *, within_stage: bool) -> None:
    state_tensors, plain = pack(state)
    whole = tensors | {f"state/{name}": tensor for name, tensor in state_tensors.items()}
    writer.save(whole, {**plain, "within_stage": within_stage})
