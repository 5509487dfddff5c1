"""`results.toml`: the headline numbers of a finished run, written once, last."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import tomli_w

from workbench.runs.ensemble import is_ensemble
from workbench.runs.intervals import Interval, of_share, overlap, share_words
from workbench.runs.layout import RunDirectory
from workbench.support.clean import clean
from workbench.support.digests import require_sum, summed_write
from workbench.support.errors import UserError
from workbench.support.records import plain, validated
from workbench.support.regular_file import UnreadableFile, read_text
from workbench.support.toml_text import as_toml
from workbench.support.units import in_percent, p_words, points, points_words

_LIMIT_BYTES = 256 * 2**20
"""Six confusions of a thousand classes are 18 MB."""
EVALUATIONS = ("val", "test", "teacher_val", "teacher_test", "student_val", "student_test")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A model on one split. Shares are in [0, 1]; per-class values follow the run's `classes`."""

    images: int
    accuracy: float
    loss: float
    macro_f1: float
    top5: float
    calibration_error: float
    """Expected calibration error, 15 equal bins (Guo et al. 2017, Eq. 3)."""
    recall: tuple[float | None, ...]
    """None for a class with no image in the split."""
    confusion: tuple[tuple[int, ...], ...]
    """Counts; rows are true classes, columns predictions."""
    accuracy_interval: Interval = field(default=(0.0, 1.0))
    """Of the accuracy, 95 %; it follows from the images, whatever was given."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "accuracy_interval", of_share(self.accuracy, self.images))

    @property
    def words(self) -> str:
        """`91.23 % (89.8–92.4)`."""
        return share_words(self.accuracy, self.images)

    @property
    def told_top5(self) -> float | None:
        """`top5` where it says something; None where it is 1 whatever the model says."""
        return self.top5 if tells_top5(len(self.recall)) else None


def tells_top5(classes: float | None) -> bool:
    """Whether accuracy among five says anything; of five classes or fewer it is always 1."""
    return classes is None or classes > 5


@dataclass(frozen=True, slots=True)
class RoundResult:
    """One round of pseudo-labels and the student it made."""

    round: int
    selected: int
    coverage: float
    pseudo_label_accuracy: float | None
    flipped: int
    student_val_accuracy: float
    taught_by: int | None = None
    """The round whose student taught this one; 0: the teacher. None in runs that did not note it."""
    improved: bool | None = None
    """Whether the student is better on validation than every model before it; None as above."""
    neighbour_recall: float | None = None
    """Share of the true nearest neighbours that the pseudo-labels went by, where there were too many images
    to find all; None where none was left out, or neighbours did not count."""


@dataclass(frozen=True, slots=True)
class LabelsUsed:
    """How many true labels went into a run, by what they were used for. The pool's count for nothing: they
    are hidden, and only score pseudo-labels."""

    training: int
    choosing: int
    """Validation images: they choose epochs, rounds, and between teacher and student."""
    testing: int

    @property
    def words(self) -> str:
        """`37 for training, 736 for choosing, 1,837 for testing`."""
        choosing = f"{self.choosing:,} for choosing" if self.choosing else "the same for choosing, in folds"
        return f"{self.training:,} for training, {choosing}, {self.testing:,} for testing"


@dataclass(frozen=True, slots=True)
class Calibration:
    """The temperature that makes a model's confidence right on validation, and the errors with and without.

    Expected calibration errors over bins of equal mass (`runs/calibration.py`).
    """

    temperature: float
    """What logits are divided by (Guo et al. 2017); 1 also where the images tell none."""
    images: int
    """Validation images that it was fitted to."""
    val_error_before: float
    """On the very images that the temperature is fitted to."""
    val_error: float
    test_error_before: float | None = None
    """None where the test predictions are lost."""
    test_error: float | None = None

    def words(self, judged_by: str) -> str:
        """`temperature 0.504: calibration error 0.188 → 0.012 on 736 validation images, … on test`.

        Args:
            judged_by: `Results.judged_by`.
        """
        words = (
            f"temperature {self.temperature:.3f}: calibration error {self.val_error_before:.3f} → "
            f"{self.val_error:.3f} on {self.images:,} {judged_by}"
        )
        if self.test_error is not None and self.test_error_before is not None:
            words += f", {self.test_error_before:.3f} → {self.test_error:.3f} on test"
        return words


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One of a run's models on validation and test images."""

    name: Literal["model", "teacher", "student"]
    """`model` of a supervised run, `teacher` or `student` of one with pseudo-labels."""
    val: Evaluation
    test: Evaluation
    is_final: bool

    def predictions(self, split: Literal["val", "test"]) -> str:
        """The name of what it says of a split (`RunDirectory.predictions`)."""
        return split if self.is_final else f"{self.name}-{split}"


@dataclass(frozen=True, slots=True)
class Results:
    """All that a finished run says of itself.

    `test` and `val` are the run's final model: the fit of a supervised run; of a pseudo-label run the best
    student, or the teacher where no student beat it on validation.
    """

    classes: tuple[str, ...]
    val: Evaluation
    test: Evaluation
    best_stage: str
    best_round: int
    best_epoch: int
    training_seconds: float
    images_per_second: float
    peak_memory_bytes: int
    precision: str
    labelled: int
    unlabelled: int
    classes_covered: int
    """Classes with at least one labelled image."""
    extra_labelled: int | None = None
    """How many of the labelled images are not the data set's own; None where all are."""
    extra_unlabelled: int | None = None
    """Likewise of the unlabelled ones."""
    label_folds: int = 0
    """In how many folds the labelled images themselves chose, so that `val` is what models say of them that
    they did not teach; 0: validation images chose."""
    teacher_val: Evaluation | None = None
    teacher_test: Evaluation | None = None
    student_val: Evaluation | None = None
    """Of the best student, where the teacher is the final model; else `val` is the student's."""
    student_test: Evaluation | None = None
    student_test_p: float | None = None
    """Two-sided p of McNemar's exact test, student against teacher on the test images."""
    student_test_interval: Interval | None = None
    """Of the student's accuracy less the teacher's on the test images: 95 %, paired."""
    student_val_interval: Interval | None = None
    """The same on the validation images, which chose between them."""
    weighted_val: tuple[float, float] | None = None
    """Validation accuracy of teacher and best student with the classes mixed as `pseudo_label.target_prior`
    has them, where that, and not `val`, chose."""
    probe_val_accuracy: float | None = None
    rounds: tuple[RoundResult, ...] = ()
    warnings: tuple[str, ...] = ()
    devices: int | None = None
    """How many shared each batch, or processes on a CPU, when training ended; None: one had it all."""
    calibration: Calibration | None = None
    """Of the final model; None of runs of before: `calibration_from` reads it off their predictions."""
    weights_sha256: str = ""
    """Of `checkpoint/final.safetensors`: equal for runs with equal outcome."""
    labels: LabelsUsed = field(default=LabelsUsed(0, 0, 0))
    """They follow from the counts above, whatever was given."""

    def __post_init__(self) -> None:
        used = LabelsUsed(self.labelled, 0 if self.label_folds else self.val.images, self.test.images)
        object.__setattr__(self, "labels", used)

    @property
    def models(self) -> tuple[Evaluated, ...]:
        """The run's model; or the teacher, then the best student."""
        if self.teacher_val is None or self.teacher_test is None:
            return (Evaluated("model", self.val, self.test, True),)
        student_val, student_test = self.student_val, self.student_test
        if student_val is None or student_test is None:
            return (
                Evaluated("teacher", self.teacher_val, self.teacher_test, False),
                Evaluated("student", self.val, self.test, True),
            )
        return (
            Evaluated("teacher", self.val, self.test, True),
            Evaluated("student", student_val, student_test, False),
        )

    def model(self, *, teacher: bool = False) -> Evaluated:
        """The final model; or the teacher, whether it is that or not.

        Raises:
            ValueError: there was none.
        """
        for model in self.models:
            if model.name == "teacher" if teacher else model.is_final:
                return model
        raise ValueError("the run had no teacher")

    @property
    def judged_by(self) -> str:
        """What chose among epochs, rounds and models, in words for people."""
        return "labelled images, out of fold" if self.label_folds else "validation images"

    @property
    def predictions(self) -> tuple[str, ...]:
        """Names of the predictions that go with them: each model's on validation and test images."""
        prefixes = [""]
        prefixes += ["teacher-"] if self.teacher_val else []
        prefixes += ["student-"] if self.student_val else []
        return tuple(prefix + split for prefix in prefixes for split in ("val", "test"))

    @property
    def student_words(self) -> str:
        """The student beside the teacher on the test images, in one line; empty without a teacher."""
        if len(self.models) < 2:
            return ""
        teacher, student = self.models
        change = points(student.test.accuracy - teacher.test.accuracy)
        p = "" if self.student_test_p is None else f", McNemar's p {p_words(self.student_test_p)}"
        within = self.student_test_interval
        interval = "" if within is None else f" ({points_words(within)})"
        return (
            f"student less teacher on the {student.test.images:,} test images: {change} points{interval}{p}"
        )

    @property
    def choice_words(self) -> str:
        """Which model validation chose, and what it cannot tell apart; empty without a choice.

        `chosen by 736 validation images: the student, by +3.53 points (+1.2 to +5.9)`.
        """
        if len(self.models) < 2:
            return ""
        teacher, student = self.models
        final = next(model for model in self.models if model.is_final)
        told = f"chosen by {self.val.images:,} {self.judged_by}"
        if self.weighted_val is not None:
            before, after = map(in_percent, self.weighted_val)
            return (
                f"{told}, weighted as pseudo_label.target_prior mixes the classes: the {final.name}; "
                f"teacher {before}, student {after}"
            )
        told += f": the {final.name}; student less teacher "
        if final is student and (teacher.val.accuracy, -teacher.val.loss) > (
            student.val.accuracy,
            -student.val.loss,
        ):  # finished runs taught, whose weights this run does not have
            told = f"by {self.val.images:,} validation images, student less the runs that taught "
        told += f"{points(student.val.accuracy - teacher.val.accuracy)} points"
        within = self.student_val_interval
        if within is not None:
            told += f" ({points_words(within)})"
            told += ", which may be chance" if within[0] <= 0 <= within[1] else ""
        alike = self._rounds_alike(student.val)
        if alike:
            named = f"rounds {', '.join(map(str, alike[:-1]))} and {alike[-1]}"
            told += f"; the intervals of {named if len(alike) < len(self.rounds) else 'all rounds'} overlap"
        return told

    def _rounds_alike(self, student: Evaluation) -> list[int]:
        """The rounds whose students' validation intervals overlap with the best student's and its own."""
        alike = [
            row.round
            for row in self.rounds
            if overlap(of_share(row.student_val_accuracy, student.images), student.accuracy_interval)
        ]
        return alike if len(alike) > 1 else []


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often one class was taken for another."""

    true: str
    predicted: str
    count: int
    share: float
    """Of the true class's images."""


def most_confused(confusion: Sequence[Sequence[int]], classes: Sequence[str], n: int) -> list[Confusion]:
    """The `n` pairs (true, predicted) with the most errors, most first; ties keep the classes' order.

    Args:
        confusion: counts, rows are true classes, columns predictions.
    """
    pairs = [
        Confusion(classes[true], classes[predicted], count, count / sum(row))
        for true, row in enumerate(confusion)
        for predicted, count in enumerate(row)
        if true != predicted and count > 0
    ]
    return sorted(pairs, key=lambda pair: -pair.count)[:n]


def write_results(path: Path, results: Results) -> None:
    """Write `results` as TOML that a person can read: a matrix has a line a row.

    TOML has no null: a key whose value is None is left out, and in `recall` it is nan. A class named with
    bytes that are no Unicode text has `?` for them. The first line promises a checksum in the last.
    """
    values = {key: value for key, value in plain(results).items() if value is not None}
    evaluations = {name: values.pop(name) for name in EVALUATIONS if name in values}
    rounds = [{k: v for k, v in row.items() if v is not None} for row in values.pop("rounds")]
    parts = [tomli_w.dumps(values, multiline_strings=False)]
    parts += [f"[{name}]\n{_evaluation_toml(value)}" for name, value in evaluations.items()]
    parts += [f"[[rounds]]\n{tomli_w.dumps(row)}" for row in rounds]
    content = "\n".join([_PROMISE, *parts]).encode("utf-8", "replace")
    content += f"{_CHECKSUM}{hashlib.sha256(content).hexdigest()}\n".encode()
    summed_write(path, path.parent, content)


_PROMISE = "# results of petbench; the last line is the SHA-256 of all before it"
_CHECKSUM = "# SHA-256 "


def _checked_text(path: Path) -> str:
    """The text of a results file that is what was written; one of before there were checksums is believed.

    Raises:
        FileNotFoundError: the run has none yet.
        UnreadableFile: it was changed or cut short, or cannot be read.
    """
    text = read_text(path, _LIMIT_BYTES)
    body, mark, written = text.rpartition(_CHECKSUM)
    if not mark:
        if text.startswith(_PROMISE[:_PROMISED]) or not text.endswith("\n"):
            raise UnreadableFile(path, "it was cut short: its last line, the checksum, is missing")
        return text
    if written != f"{hashlib.sha256(body.encode()).hexdigest()}\n":
        raise UnreadableFile(path, "its content does not match its checksum: it was changed or damaged")
    require_sum(path, text.encode())  # whole, but another run's
    return text


_PROMISED = 20
"""So much of the promise at a file's beginning binds: TOML that petbench wrote before began with a key."""


def read_results(path: Path) -> Results:
    """The results in `path`.

    Raises:
        FileNotFoundError: the run has none yet.
        UserError: the file is damaged.
    """
    try:
        values = as_toml(path, _checked_text(path), max_bytes=_LIMIT_BYTES)
        for name in EVALUATIONS:
            if name in values:
                values[name]["recall"] = [None if math.isnan(r) else r for r in values[name]["recall"]]
        rounds = [{"pseudo_label_accuracy": None, **row} for row in values.pop("rounds", ())]
        results = validated(Results, {**values, "rounds": rounds})
        for name in EVALUATIONS:
            _refuse_other_classes(getattr(results, name), name, len(results.classes))
        return results
    except UnreadableFile as error:
        raise _damaged(path, error.reason) from error
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(path, error) from error


def trained_model(run: RunDirectory, *, teacher: bool = False) -> tuple[Results, Evaluated]:
    """A finished run's results and the model that is asked for.

    Raises:
        UserError: the run has no results yet, or had no teacher; its results are damaged.
    """
    if not run.results.exists():
        raise UserError(
            "the run has no trained model: it has not reached its results",
            where=clean(run.id),
            hint=f"petbench resume {run.handle} goes on with it; petbench runs show {run.handle} tells more",
        )
    results = read_results(run.results)
    try:
        return results, results.model(teacher=teacher)
    except ValueError:
        raise UserError(
            "an ensemble of runs has no teacher"
            if is_ensemble(run)
            else "the run had no teacher: it trained without pseudo-labels",
            where=clean(run.id),
        ) from None


def _damaged(path: Path, why: object) -> UserError:
    return UserError(
        f"damaged results: {clean(why)}",
        where=clean(path),
        hint=f"petbench resume {RunDirectory(path.parent).handle} concludes the run again from its weights",
    )


def _refuse_other_classes(on: Evaluation | None, name: str, classes: int) -> None:
    if on is not None and {len(on.recall), len(on.confusion), *map(len, on.confusion)} != {classes}:
        raise ValueError(f"{name} is not of the run's {classes} classes")


def read_top(path: Path) -> dict[str, Any]:
    """What stands before the first table, such as classes and warnings: all but the confusion matrices.

    Raises:
        FileNotFoundError: the run has none yet.
        UnreadableFile: the file is damaged.
    """
    # No line of it begins with a bracket.
    return as_toml(path, _checked_text(path).partition("\n[")[0], max_bytes=_LIMIT_BYTES)


def read_headline(path: Path) -> dict[str, dict[str, float]]:
    """The numbers of each table of a results file, less its lists; "" is the top, `rounds` the last round.

    `classes` of an evaluation is how many classes it has a recall of.

    For listing thousands of runs: most of the file is confusion matrices, and `tomllib` takes twenty times as
    long. It relies on the layout of `write_results`, where a number is alone in its line.

    Raises:
        FileNotFoundError: the run has none yet.
        UnreadableFile: the file is damaged.
    """
    tables: dict[str, dict[str, float]] = {"": {}}
    table = tables[""]
    for match in _NUMBER_LINE.finditer(_checked_text(path)):
        if match["recall"]:
            table["classes"] = match["recall"].count(",") + 1
        elif match["table"]:
            table = tables[match["table"]] = {}
        else:
            table[match["key"]] = float(match["number"])
    return tables


_NUMBER_LINE = re.compile(
    r"^(?:\[{1,2}(?P<table>\w+)\]{1,2}|recall = \[(?P<recall>[^\]\n]+)\]"
    r"|(?P<key>\w+) = (?P<number>[+-]?(?:[0-9][0-9.eE+-]*|inf|nan)))$",
    re.MULTILINE | re.ASCII,
)


def _evaluation_toml(values: dict[str, Any]) -> str:
    confusion = values.pop("confusion")
    recall = ", ".join("nan" if share is None else repr(float(share)) for share in values.pop("recall"))
    rows = "".join(f"    [{', '.join(str(int(count)) for count in row)}],\n" for row in confusion)
    return f"{tomli_w.dumps(values)}recall = [{recall}]\nconfusion = [\n{rows}]\n"
