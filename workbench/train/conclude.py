"""The end of a run: the chosen weights, the one look at the test split, `results.toml`.

What else the results tell of is kept beside the weights, so that a run whose results were lost or damaged is
concluded again from them, to the same digits.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workbench.runs.attempt_control import Tenure
from workbench.runs.calibration import calibration_from
from workbench.runs.events import EpochDone, Message, Reporter, SplitName
from workbench.runs.layout import RunDirectory
from workbench.runs.paired import Pair
from workbench.runs.predictions import load_predictions, save_predictions
from workbench.runs.results import Evaluation, Results, read_results, write_results
from workbench.support.clean import clean
from workbench.support.digests import file_sha256
from workbench.support.errors import UserError
from workbench.support.spans import Part, spanned
from workbench.support.units import in_percent
from workbench.train.checkpoint import DamagedFile, discard_checkpoints, load_tensors, save_tensors
from workbench.train.evaluation import evaluate_probabilities
from workbench.train.network import Network
from workbench.train.out_of_fold import OutOfFold
from workbench.train.state import Best, RunState, StageProgress, pack, unpack

FINAL_WEIGHTS = "final.safetensors"
TEACHER_WEIGHTS = "teacher.safetensors"
CONCLUSION = "conclusion.safetensors"
"""Where the run stood when it was concluded, less the weights that are kept anyway."""


@spanned(Part.RESULTS)
def conclude(
    directory: RunDirectory,
    network: Network,
    state: RunState,
    reporter: Reporter,
    tenure: Tenure,
    *,
    again: bool = False,
) -> Results:
    """Evaluate the models that validation chose on the test split, once; record it all.

    The final model is the best of all on validation; of a pseudo-label run the first teacher and the best
    student are both kept, whichever it is.

    Args:
        again: the weights are kept already, and stay as they are.
    """
    chosen = state.best
    assert chosen is not None  # the plan always ends with a fit or a student
    world = network.setup.world
    if not again and world.is_first:
        _keep_state(directory, state, tenure)
    judged, digest = _judge(directory, network, state, reporter, tenure, again=again)
    if not world.is_first:
        concluded: Results = world.agree(_never)
        return concluded
    teacher, student = judged.get("teacher"), judged["student"]
    final, beside = student, None
    if teacher is not None and chosen is state.teacher:
        final, beside = teacher, student
        _warn_of_lost_rounds(state, teacher, student, reporter)
    elif teacher is not None and state.ahead is state.teacher:
        _warn_of_better_teachers(state, teacher, student, reporter)
    on_val = None if teacher is None else Pair.of(teacher.val_right, student.val_right)
    on_test = None if teacher is None else Pair.of(teacher.test_right, student.test_right)
    split, extra = network.setup.split, network.setup.extra_images
    results = Results(
        classes=network.setup.classes,
        val=final.val,
        test=final.test,
        best_stage=chosen.stage,
        best_round=chosen.round,
        best_epoch=chosen.epoch,
        training_seconds=state.training_seconds,
        images_per_second=state.images_trained / max(1e-9, state.training_seconds),
        peak_memory_bytes=state.peak_memory_bytes,
        precision=_precision_words(network),
        labelled=len(split.labelled),
        unlabelled=len(split.unlabelled),
        extra_labelled=extra.get("extra_labelled"),
        extra_unlabelled=extra.get("extra_unlabelled"),
        label_folds=network.setup.recipe.data.label_folds or 0,
        classes_covered=len(set(network.setup.taught[split.labelled].tolist())),
        weights_sha256=digest,
        teacher_val=None if teacher is None else teacher.val,
        teacher_test=None if teacher is None else teacher.test,
        student_val=None if beside is None else beside.val,
        student_test=None if beside is None else beside.test,
        student_test_p=None if on_test is None else on_test.p,
        student_test_interval=None if on_test is None else on_test.interval,
        weighted_val=_weighted(state),
        student_val_interval=None if on_val is None else on_val.interval,
        probe_val_accuracy=state.probe_accuracy,
        rounds=tuple(state.rounds),
        warnings=tuple(state.warnings),
        devices=state.processes if state.processes > 1 else None,
        calibration=calibration_from(directory),
    )
    tenure.check()
    write_results(directory.results, results)
    discard_checkpoints(directory.checkpoint)
    return world.agree(lambda: results)


def _never() -> Results:
    raise AssertionError("the first process has concluded")


def finished_results(directory: RunDirectory, reporter: Reporter) -> Results | None:
    """The results of a run that has them whole, with the predictions that go with them; None of any other.

    What is damaged is reported.
    """
    try:
        results = read_results(directory.results)
        for name in results.predictions:
            load_predictions(directory.predictions(name))
    except FileNotFoundError as error:
        if directory.results.exists():
            missing = Path(str(error.filename)).name
            reporter.event(
                Message("warning", f"{missing} is gone: concluding the run again from its weights")
            )
        return None
    except UserError as error:
        reporter.event(Message("warning", f"{clean(error.where)}: {error.what}; concluding the run again"))
        return None
    return results


def state_concluded(directory: RunDirectory) -> RunState | None:
    """Where a run stood when it was concluded, with its final weights; None of one that never was.

    Raises:
        UserError: there is no whole copy of what that takes.
    """
    folder = directory.checkpoint
    if not ((folder / FINAL_WEIGHTS).exists() or directory.results.exists()):
        return None
    try:
        state = unpack(*load_tensors(folder / CONCLUSION))
        if state.teacher is not None and not state.taught_by_runs:
            state.teacher = replace(state.teacher, weights=load_tensors(folder / TEACHER_WEIGHTS)[0])
        final, _ = load_tensors(folder / FINAL_WEIGHTS)
        if state.student is not None and not state.student.weights:
            state.student = replace(state.student, weights=final)
        return state
    except (DamagedFile, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"it cannot be concluded again: {clean(error)}",
            where=clean(folder),
            hint=f"petbench run {shlex.quote(str(directory.recipe))} trains it anew, as another run",
        ) from error


def _keep_state(directory: RunDirectory, state: RunState, tenure: Tenure) -> None:
    student = state.student
    if student is not None and state.best is not state.teacher:  # its weights are kept as the final ones
        student = replace(student, weights={})
    teacher = None if state.teacher is None else replace(state.teacher, weights={})
    told = replace(
        state, teacher=teacher, student=student, selection=None, pool_predicted=None, progress=StageProgress()
    )
    save_tensors(directory.checkpoint / CONCLUSION, *pack(told), tenure.check)


@dataclass(frozen=True, slots=True)
class _Judged:
    val: Evaluation
    test: Evaluation
    val_right: NDArray[np.bool_]
    """(V,) bool, the validation images that it got right."""
    test_right: NDArray[np.bool_]
    """(N,) bool, likewise of the test images."""


def _judge(
    directory: RunDirectory,
    network: Network,
    state: RunState,
    reporter: Reporter,
    tenure: Tenure,
    *,
    again: bool,
) -> tuple[dict[str, _Judged], str]:
    """Evaluate teacher and student, each once, and keep their weights; also the SHA-256 of the final ones."""
    judged: dict[str, _Judged] = {}
    digest = ""
    for name, best in (("teacher", state.teacher), ("student", state.student)):
        if best is None:
            continue
        if name == "teacher" and state.taught_by_runs:
            judged[name] = _judge_runs(directory)
            continue
        # Predictions of the final model have no prefix; a teacher's are kept under its name too.
        prefixes = [""] if best is state.best else []
        if best is not state.best or name == "teacher":
            prefixes.append(f"{name}-")
        judged[name] = _evaluate(directory, network, best, state.out_of_fold, reporter, prefixes, tenure)
        if name == "teacher" and not again:
            _save_weights(directory, network, best, TEACHER_WEIGHTS, tenure)
        if best is state.best:
            digest = (
                file_sha256(directory.checkpoint / FINAL_WEIGHTS)
                if again and network.setup.world.is_first
                else _save_weights(directory, network, best, FINAL_WEIGHTS, tenure)
            )
    return judged, digest


def _judge_runs(directory: RunDirectory) -> _Judged:
    """Finished runs that taught, by what was pinned of their word."""
    val, test = (load_predictions(directory.predictions(f"teacher-{split}")) for split in ("val", "test"))
    return _Judged(
        evaluate_probabilities(val.probabilities, val.labels),
        evaluate_probabilities(test.probabilities, test.labels),
        val.probabilities.argmax(axis=1) == val.labels,
        test.probabilities.argmax(axis=1) == test.labels,
    )


def _evaluate(
    directory: RunDirectory,
    network: Network,
    best: Best,
    folds: OutOfFold | None,
    reporter: Reporter,
    prefixes: Sequence[str],
    tenure: Tenure,
) -> _Judged:
    """Validation and test of the weights in `best`; predictions are saved under each prefix and the split."""
    network.reset()
    network.load(best.weights)
    val, val_right = _evaluate_split(directory, network, best, "val", folds, reporter, prefixes, tenure)
    test, test_right = _evaluate_split(directory, network, best, "test", None, reporter, prefixes, tenure)
    return _Judged(val, test, val_right, test_right)


def _evaluate_split(
    directory: RunDirectory,
    network: Network,
    best: Best,
    split: SplitName,
    folds: OutOfFold | None,
    reporter: Reporter,
    prefixes: Sequence[str],
    tenure: Tenure,
) -> tuple[Evaluation, NDArray[np.bool_]]:
    setup = network.setup
    positions = setup.split.validation if split == "val" else setup.split.test
    labels = setup.labels[positions]
    if folds is None:
        module = network.evaluated(setup.classifier, trunk_fixed=network.tuning.trunk_fixed)
        probabilities = network.probabilities(positions, module, task=f"{prefixes[-1]}{split}")
    else:
        # The labelled images taught this model: what models that they did not teach said of them is told.
        positions = setup.own_labelled
        labels, probabilities = setup.taught[positions], folds.after(best.label, best.epoch)
    ids = [setup.catalogue.ids[p] for p in positions]
    for prefix in prefixes if setup.world.is_first else ():
        tenure.check()
        save_predictions(directory.predictions(prefix + split), ids, probabilities, labels)
    evaluation = evaluate_probabilities(probabilities, labels)
    if split == "test":
        reporter.event(
            EpochDone(
                best.stage,
                best.round,
                best.epoch,
                split,
                evaluation.loss,
                evaluation.accuracy,
                learning_rate=0.0,
                images_per_second=0.0,
                seconds=0.0,
                images=evaluation.images,
            )
        )
    return evaluation, probabilities.argmax(axis=1) == labels


def _save_weights(directory: RunDirectory, network: Network, best: Best, name: str, tenure: Tenure) -> str:
    """Save the whole classifier as it stands, with what its numbers mean; returns the file's SHA-256."""
    if not network.setup.world.is_first:
        return ""
    classifier, recipe = network.classifier, network.setup.recipe
    facts = {
        "stage": best.stage,
        "round": best.round,
        "epoch": best.epoch,
        "backbone": classifier.backbone,
        "classes": list(network.setup.classes),
        "image_size": recipe.data.image_size,
        "evaluation_views": list(recipe.evaluation_views),
        "mean": list(classifier.mean),
        "std": list(classifier.std),
    }
    return save_tensors(directory.checkpoint / name, network.classifier.state_dict(), facts, tenure.check)


def _weighted(state: RunState) -> tuple[float, float] | None:
    """Validation accuracy of teacher and best student by the mixture that is met; None: it is plain."""
    if state.met is None or state.teacher is None or state.student is None:
        return None
    return state.teacher.accuracy, state.student.accuracy


def _val_words(state: RunState, teacher: _Judged, student: _Judged) -> tuple[str, str]:
    weighted = _weighted(state)
    if weighted is None:
        return teacher.val.words, student.val.words
    first, second = (f"{in_percent(share)} as target_prior mixes it" for share in weighted)
    return first, second


def _warn_of_lost_rounds(state: RunState, teacher: _Judged, student: _Judged, reporter: Reporter) -> None:
    before, after = _val_words(state, teacher, student)
    where = "on validation" if state.out_of_fold is None else "on the labelled images, out of fold"
    text = f"no round beat the teacher {where} ({before}, the best student {after}): keeping the teacher"
    state.warn_once(text, reporter)


def _warn_of_better_teachers(state: RunState, teacher: _Judged, student: _Judged, reporter: Reporter) -> None:
    before, after = _val_words(state, teacher, student)
    text = (
        f"the runs that taught are better on validation: {before} against {after}; the student is this "
        "run's model all the same"
    )
    state.warn_once(text, reporter)


def _precision_words(network: Network) -> str:
    precision = network.precision
    if precision.training == precision.inference:
        return precision.training
    return f"{precision.training} training, {precision.inference} inference"
