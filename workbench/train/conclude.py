"""The end of a run: the chosen weights, the one look at the test split, `results.toml`."""

from __future__ import annotations

from workbench.runs.events import EpochDone, Message, Reporter, SplitName
from workbench.runs.layout import RunDirectory
from workbench.runs.predictions import save_predictions
from workbench.runs.results import Evaluation, Results, write_results
from workbench.support.spans import Part, spanned
from workbench.train.checkpoint import discard_checkpoints, save_tensors
from workbench.train.metrics import evaluate_probabilities
from workbench.train.network import Network
from workbench.train.state import Best, RunState

FINAL_WEIGHTS = "final.safetensors"
TEACHER_WEIGHTS = "teacher.safetensors"


@spanned(Part.RESULTS)
def conclude(directory: RunDirectory, network: Network, state: RunState, reporter: Reporter) -> Results:
    """Evaluate the epoch that validation chose, and the teacher's, on the test split, once; record it all."""
    chosen = state.student
    assert chosen is not None  # the plan always ends with a fit or a student
    teacher_val = teacher_test = None
    if state.teacher is not None:
        teacher_val, teacher_test = _evaluate(directory, network, state.teacher, reporter, prefix="teacher-")
        _save_weights(directory, network, state.teacher, TEACHER_WEIGHTS)
    val, test = _evaluate(directory, network, chosen, reporter, prefix="")
    digest = _save_weights(directory, network, chosen, FINAL_WEIGHTS)
    if teacher_test is not None and test.accuracy < teacher_test.accuracy:
        _warn_of_worse_student(state, test, teacher_test, reporter)
    split = network.setup.split
    results = Results(
        classes=network.setup.classes,
        val=val,
        test=test,
        best_stage=chosen.stage,
        best_round=chosen.round,
        best_epoch=chosen.epoch,
        training_seconds=state.training_seconds,
        images_per_second=state.images_trained / max(1e-9, state.training_seconds),
        peak_memory_bytes=state.peak_memory_bytes,
        precision=_precision_words(network),
        labelled=len(split.labelled),
        unlabelled=len(split.unlabelled),
        **network.setup.extra_images,
        classes_covered=len(set(network.setup.taught[split.labelled].tolist())),
        weights_sha256=digest,
        teacher_val=teacher_val,
        teacher_test=teacher_test,
        probe_val_accuracy=state.probe_accuracy,
        rounds=tuple(state.rounds),
        warnings=tuple(state.warnings),
    )
    write_results(directory.results, results)
    discard_checkpoints(directory.checkpoint)
    return results


def _evaluate(
    directory: RunDirectory, network: Network, best: Best, reporter: Reporter, *, prefix: str
) -> tuple[Evaluation, Evaluation]:
    """(validation, test) of the weights in `best`; predictions are saved under `prefix` and the split."""
    network.reset()
    network.load(best.weights)
    val = _evaluate_split(directory, network, best, "val", reporter, prefix=prefix)
    return val, _evaluate_split(directory, network, best, "test", reporter, prefix=prefix)


def _evaluate_split(
    directory: RunDirectory,
    network: Network,
    best: Best,
    split: SplitName,
    reporter: Reporter,
    *,
    prefix: str,
) -> Evaluation:
    setup = network.setup
    positions = setup.split.validation if split == "val" else setup.split.test
    labels = setup.labels[positions]
    module = network.evaluated(setup.classifier, trunk_fixed=network.tuning.trunk_fixed)
    probabilities = network.probabilities(positions, module, task=f"{prefix}{split}")
    ids = [setup.catalogue.records[p].id for p in positions]
    save_predictions(directory.predictions(prefix + split), ids, probabilities, labels)
    evaluation = evaluate_probabilities(probabilities, labels)
    if split == "test":
        reporter.event(
            EpochDone(
                best.stage, best.round, best.epoch, split, evaluation.loss, evaluation.accuracy, 0.0, 0.0, 0.0
            )
        )
    return evaluation


def _save_weights(directory: RunDirectory, network: Network, best: Best, name: str) -> str:
    """Save the whole classifier as it stands; returns the file's SHA-256."""
    facts = {"stage": best.stage, "round": best.round, "epoch": best.epoch}
    return save_tensors(directory.checkpoint / name, network.classifier.state_dict(), facts)


def _warn_of_worse_student(
    state: RunState, test: Evaluation, teacher: Evaluation, reporter: Reporter
) -> None:
    images = round((teacher.accuracy - test.accuracy) * test.images)
    text = (
        f"the student is BELOW its teacher: {100 * test.accuracy:.2f} % against "
        f"{100 * teacher.accuracy:.2f} % "
        f"({images} of {test.images} test images)"
    )
    state.warnings.append(text)
    reporter.event(Message("warning", text))


def _precision_words(network: Network) -> str:
    precision = network.precision
    if precision.training == precision.inference:
        return precision.training
    return f"{precision.training} training, {precision.inference} inference"
