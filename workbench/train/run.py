"""One run from recipe to results: prepare, train each stage of the plan, conclude. Begins or goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from workbench.compute import accelerator_of
from workbench.dataset import save_split
from workbench.loader import Samples
from workbench.loader.samples import PLAIN
from workbench.pseudo import Selection, choose, judge
from workbench.pseudo.pool import inverse_frequency
from workbench.recipe import Recipe
from workbench.recipe.offline import InRounds, Offline
from workbench.recipe.plan import Stage, plan
from workbench.runs.attempt_control import Tenure
from workbench.runs.ensemble import is_ensemble
from workbench.runs.events import Message, Reporter, Silent
from workbench.runs.intervals import share_words
from workbench.runs.layout import OF_ATTEMPTS, RunDirectory
from workbench.runs.results import LabelsUsed, Results, RoundResult
from workbench.support.atomic import temporaries
from workbench.support.clean import clean
from workbench.support.digests import file_sha256, note_sum
from workbench.support.errors import UserError
from workbench.support.spans import Part, spanned
from workbench.train.begin import (
    decide_compilation,
    decide_precision,
    pin_corrections,
    pin_split,
    record_provenance,
    require_same_weights,
    say_world,
    warn_of_cautions,
    warn_of_copies,
    warn_of_emulation,
    warn_of_tuning,
    warn_of_uncovered_classes,
)
from workbench.train.checkpoint import CheckpointWriter, discard_checkpoints, load_newest, sweep_checkpoints
from workbench.train.conclude import conclude, finished_results, state_concluded
from workbench.train.evaluation import loss_offsets, shares_to_choose_by, validation_of
from workbench.train.interrupt import Interruptible, StopRequest, Unrecorded
from workbench.train.loop import StageRun, Surroundings
from workbench.train.network import Network
from workbench.train.objectives import Objective
from workbench.train.out_of_fold import Fold, OutOfFold, choosing_images, choosing_labels, judge_by_folds
from workbench.train.precision import as_stated
from workbench.train.setup import PartByNeed, Places, Setup, prepare
from workbench.train.state import Best, RunState, StageProgress, Weights, pack, unpack, weights_under
from workbench.train.taught import as_competitor, asks_runs, find_teachers, hear, pinned_word, read_teachers
from workbench.train.teacher import label_pool, record_online, share_right, view_pool


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
    accelerator_of(places.device).begin_peak(places.device)
    with as_stated(recipe.training):
        return _execute(directory, recipe, places, reporter, stop, tenure, begun, command_line)


def _execute(
    directory: RunDirectory,
    recipe: Recipe,
    places: Places,
    reporter: Reporter,
    stop: StopRequest,
    tenure: Tenure,
    begun: Callable[[], None],
    command_line: Sequence[str],
) -> Results:
    world = places.world
    finished = world.agree(lambda: finished_results(directory, reporter))
    if finished is not None:
        begun()
        if world.is_first:
            sweep_leftovers(directory)
            discard_checkpoints(directory.checkpoint)  # it may have been killed before it came to that
        return finished
    if is_ensemble(directory):
        raise UserError(
            "an ensemble of runs trains nothing: its results or predictions are damaged",
            where=clean(directory.id),
            hint="petbench ensemble makes it anew from its runs",
        )
    # Between two steps all processes stop together; in other work the first one decides for all.
    patient = Interruptible(reporter, stop if world.is_first else StopRequest(), tenure.beat)
    checkpoint = world.agree(lambda: load_newest(directory.checkpoint, reporter))
    concluded = world.agree(lambda: state_concluded(directory)) if checkpoint is None else None
    corrections = world.agree(lambda: pin_corrections(directory, recipe))
    pinned = world.agree(lambda: directory.split if world.is_alone or directory.split.exists() else None)
    setup = prepare(recipe, places, patient, corrections=corrections, pinned=pinned)
    as_prepared = setup.split
    if world.is_first:
        pin_split(directory, setup, reporter)
    if world.any(setup.split is not as_prepared):
        setup.need("unlabelled", "test")
    require_same_weights(directory, setup)
    state, tensors, within_stage = _stand(checkpoint) if concluded is None else (concluded, {}, False)
    trained_by = state.processes
    say_world(setup, state, reporter, goes_on=checkpoint is not None)
    if concluded is not None:
        state.processes = trained_by
    precision = state.precision or world.agree(lambda: decide_precision(setup, reporter))
    state.precision = precision

    def record() -> None:
        by = {"taught_by": ", ".join(t.id for t in read_teachers(directory))} if asks_runs(recipe) else {}
        record_provenance(directory, setup, command_line, by)

    need = partial(_need, directory, setup, record)
    if recipe.training.compile == "auto" and recipe.pseudo_label is not None:
        need("unlabelled")  # how many they are decides what pays
    state.compilation = state.compilation or world.agree(
        lambda: decide_compilation(setup, precision, reporter)
    )
    network = Network(setup, precision, patient)
    stages = plan(recipe)
    warn_of_uncovered_classes(setup, state, reporter)
    warn_of_copies(setup, state, reporter)
    warn_of_cautions(setup, state, reporter)
    warn_of_emulation(setup, state, reporter)
    warn_of_tuning(setup, state, reporter)
    network.load(weights_under("model/", tensors))
    teachers = find_teachers(directory, setup)
    world.barrier()  # before any is pinned
    begun()
    if asks_runs(recipe) or recipe.data.label_folds is not None:
        need("unlabelled", "test")
    if recipe.data.label_folds is not None and state.out_of_fold is None:
        state.out_of_fold = _judge_by_folds(network, stages, state, patient, stop, tenure)
    if checkpoint is None and concluded is None:
        split = setup.split
        used = LabelsUsed(len(split.labelled), len(split.validation), len(split.test))
        reporter.event(Message("info", f"labels: {used.words}"))
    tenure.check()
    if asks_runs(recipe) and concluded is None:
        hear(directory, setup, teachers, patient)
        if state.teacher is None:
            state.teacher, state.taught_by_runs = as_competitor(directory, setup, patient), True
    if state.met is None and state.selection is None:
        _weigh_validation(directory, network, state, reporter)
    if world.is_first:
        note_sum(directory.recipe, directory.path, file_sha256(directory.recipe))
    if concluded is not None:
        if world.is_first:
            sweep_leftovers(directory)
        need("unlabelled", "test")
        return conclude(directory, network, state, Unrecorded(patient), tenure, again=True)
    if world.is_first:
        record()
        sweep_leftovers(directory)
    goes_on = tenure.attempt > 1
    with CheckpointWriter(directory.checkpoint, tenure.check, is_kept=world.is_first) as writer:
        while state.stage_index < len(stages):
            stage = stages[state.stage_index]
            if stage.round or stage.online is not None:
                need("unlabelled")
            restored = tensors if within_stage else None
            around = Surroundings(
                reporter=reporter,
                stop=stop,
                heartbeat=tenure.beat,
                save=lambda tensors: _save(writer, tensors, state, within_stage=True),
                goes_on=goes_on,
            )
            best = _train(directory, stage, network, state, around, tenure, restored)
            goes_on = False
            _enter(state, stage, best, setup, reporter)
            if stage.name == "student" and isinstance(recipe.pseudo_label, InRounds):
                _choose_teacher(recipe.pseudo_label, network, state, len(stages), reporter)
            within_stage = False
            whole = {f"model/{name}": t for name, t in network.weights().items()}
            _save(writer, whole, state, within_stage=False)
            if world.any(bool(stop)):
                stop.ask()
            stop.raise_if_set()
    need("unlabelled", "test")
    return conclude(directory, network, state, patient, tenure)


def _need(directory: RunDirectory, setup: Setup, record: Callable[[], None], *parts: PartByNeed) -> None:
    """Decode parts of the split; where an image cannot be, the run's files learn of it.

    Args:
        record: writes the provenance.
    """
    if setup.need(*parts) and setup.world.is_first:
        save_split(directory.split, setup.catalogue, setup.split)
        if directory.provenance.exists():
            record()


def _judge_by_folds(
    network: Network,
    stages: Sequence[Stage],
    state: RunState,
    reporter: Reporter,
    stop: StopRequest,
    tenure: Tenure,
) -> OutOfFold:
    """Train the whole plan in every fold of the labelled images; nothing of it is recorded or kept."""

    def train(setup: Setup, fold: Fold) -> None:
        within = RunState(precision=state.precision, compilation=state.compilation)
        own = Network(setup, network.precision, Silent())
        around = Surroundings(Silent(), stop, tenure.beat, lambda _: None, fold)
        knobs = setup.recipe.pseudo_label
        for stage in stages:
            if stage.round:
                assert isinstance(knobs, Offline)  # an online student trains on images
                pool = judge(view_pool(own, knobs, stage.round, Silent()), knobs, within.selection)
                within.selection = choose(pool, knobs, stage.round, within.selection)
            if stage.fresh:
                own.reset()
            samples, labelled = samples_of(setup, stage, within)
            told = within.selection if stage.round else None
            offsets = None if told is None else loss_offsets(setup, told, samples, labelled)
            StageRun(stage, own, samples, labelled, within, around, None, offsets).run()
            within.progress = StageProgress()
        network.reset()

    folds = network.setup.recipe.data.label_folds or 0
    network.reset()
    found = judge_by_folds(
        network.setup, train, lambda done: reporter.progress("folds of the labelled images", done, folds)
    )
    reporter.event(Message("info", f"{folds} folds of the labelled images choose; all of them teach"))
    return found


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
    around: Surroundings,
    tenure: Tenure,
    restored: Weights | None,
) -> Best:
    """Train one stage, labelling the pool first where a new round begins."""
    setup = network.setup
    is_offline = isinstance(setup.recipe.pseudo_label, Offline)
    if is_offline and stage.round and state.selection_round != stage.round:
        _label(directory, stage, network, state, around.reporter)
    if stage.fresh and restored is None:
        network.reset()
    samples, labelled = samples_of(setup, stage, state)
    stage = paced(stage, setup, state, len(samples))
    selection = state.selection if stage.round else None
    offsets = None if selection is None else loss_offsets(setup, selection, samples, labelled)
    run = StageRun(stage, network, samples, labelled, state, around, restored, offsets)
    best = run.run()
    if stage.online is not None:
        _record_online(directory, stage, network, run.learner.objective, tenure)
    return best


@spanned(Part.LABELLING)
def _record_online(
    directory: RunDirectory, stage: Stage, network: Network, objective: Objective, tenure: Tenure
) -> None:
    """Write what the student, as its stage keeps it, says of the pool."""
    setup = network.setup
    module = network.evaluated(setup.classifier, trunk_fixed=network.tuning.trunk_fixed)
    said = network.probabilities(setup.split.unlabelled, module, task="the student's word on the pool")
    weights = objective.weights_now(torch.from_numpy(said).to(setup.device)).cpu().numpy()
    tenure.check()
    record_online(setup, directory, stage.round, said, weights)


def paced(stage: Stage, setup: Setup, state: RunState, labelled: int) -> Stage:
    """The stage with what follows from its length, which is decided once a run."""
    knobs = stage.online
    if knobs is None:
        return stage
    if state.pace is None:
        state.pace = knobs.pace(stage.steps_an_epoch(labelled, len(setup.split.unlabelled)))
    return stage.at_pace(state.pace)


@spanned(Part.LABELLING)
def _label(
    directory: RunDirectory, stage: Stage, network: Network, state: RunState, reporter: Reporter
) -> None:
    setup = network.setup
    knobs = setup.recipe.pseudo_label
    assert isinstance(knobs, Offline)  # only their plans have rounds
    asks = state.taught_by_runs and _teacher_of(state, setup) == 0
    word = pinned_word(directory, setup) if asks else None
    pool = view_pool(network, knobs, stage.round, reporter, word)
    chosen = label_pool(setup, knobs, state, stage.round, pool, directory, reporter)
    state.selection = setup.world.agree(lambda: chosen)
    state.selection_round = stage.round
    if state.met is None:
        _weigh_validation(directory, network, state, reporter)


def _weigh_validation(directory: RunDirectory, network: Network, state: RunState, reporter: Reporter) -> None:
    """Judge by the mixture that the model will meet, from now on and for the rest of the run.

    The pool's mixture is first known when the first teacher has labelled it, which stands in `network` unless
    finished runs teach; it is judged by that again. Later estimates change nothing: models are compared by
    one measure.
    """
    setup = network.setup
    state.met = shares_to_choose_by(setup, state.selection)
    if state.met is None:
        return
    worth = ""
    teacher, folds = state.teacher, state.out_of_fold
    if teacher is not None:
        if state.taught_by_runs:
            said = pinned_word(directory, setup).val.probabilities
        elif folds is not None:
            said = folds.after(teacher.label, teacher.epoch)
        else:
            module = network.evaluated(setup.classifier, trunk_fixed=network.tuning.trunk_fixed)
            said = network.probabilities(setup.split.validation, module, task="weigh validation")
        seen = validation_of(said, choosing_labels(setup), state.met)
        state.teacher = replace(teacher, accuracy=seen.accuracy, loss=seen.loss)
        worth = f"; the teacher's accuracy is then {share_words(seen.accuracy, seen.images)}"
    images = "validation images" if folds is None else "labelled images"
    text = f"{images} choose as pseudo_label.target_prior mixes the classes, not as they are mixed"
    reporter.event(Message("info", text + worth))


def samples_of(setup: Setup, stage: Stage, state: RunState) -> tuple[Samples, int]:
    """(what the stage trains on, how many of it are labelled)."""
    split = setup.split
    selection = state.selection if stage.round else None
    weights = _class_weights(setup, selection) * np.float32(selection.labelled_weight if selection else 1.0)
    labelled = Samples.of(split.labelled, setup.taught[split.labelled], len(setup.classes), weights)
    labelled = labelled.with_head_crops(setup.catalogue, stage.head_crops).with_copies(stage.augmented_copies)
    if selection is None:
        return labelled, len(labelled)
    pseudo = Samples.soft(split.unlabelled[selection.rows], selection.targets, selection.weights)
    if stage.augmented_copies:
        # Copies are drawn of labelled images; beside them nothing is augmented anew.
        pseudo = replace(pseudo, copies=np.full(len(pseudo), PLAIN, dtype=np.int64))
    return Samples.concatenate([labelled, pseudo]), len(labelled)


def _class_weights(setup: Setup, selection: Selection | None) -> NDArray[np.float32]:
    """(L,) weight of each labelled image by its class: a rule's own, else by `training.class_weights`."""
    labels = setup.taught[setup.split.labelled]
    if selection is not None and selection.class_weights is not None:
        by_class = selection.class_weights
    elif setup.recipe.training.class_weights == "none":
        return np.ones(len(labels), dtype=np.float32)
    else:
        by_class = inverse_frequency(np.bincount(labels, minlength=len(setup.classes)))
    weights: NDArray[np.float32] = by_class[labels].astype(np.float32)
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
        share = share_words(best.accuracy, choosing_images(setup))
        before = "student" if stage.name == "fit" and stage.round else "probe"
        text = f"{stage.label}: no epoch beat the {before} on validation ({share}); keeping the {before}"
        state.warn_once(text, reporter)
    state.stage_index += 1
    state.progress = StageProgress()


def _teacher_of(state: RunState, setup: Setup) -> int:
    """The round whose student taught the round that has just ended; 0: the first teacher."""
    knobs = setup.recipe.pseudo_label
    if isinstance(knobs, InRounds) and knobs.next_teacher == "latest":
        return len(state.rounds)
    return 0 if state.ahead is None else state.ahead.round


def _choose_teacher(
    knobs: InRounds, network: Network, state: RunState, stages: int, reporter: Reporter
) -> None:
    """Let the best model on validation teach the next round; end the rounds if students keep losing."""
    best, kept, result = state.ahead, state.best, state.rounds[-1]
    if best is None or kept is None or knobs.next_teacher == "latest":
        return
    if result.improved and best.round == result.round:
        return
    network.reset()
    network.load(kept.weights)  # of other runs' there are none: a student goes on from the best student
    name = f"student of round {best.round}" if best.round else "teacher"
    images = choosing_images(network.setup)
    student, other = (share_words(a, images) for a in (result.student_val_accuracy, best.accuracy))
    text = f"round {result.round}: the student, {student}, is not above the {name}, {other}, on validation"
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
        neighbour_recall=selection.recall if selection.recall < 1 else None,
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
