"""Whole runs of the online strategies, tiny ones."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest
from torch import Tensor

from tests.train.making import (
    CLASSES,
    HEAD,
    TRUNK,
    Crash,
    differing,
    go_on,
    poison_hidden_labels,
    recipe_text,
    tiny,
    train,
)
from tests.train.processes import Moment, only_run, petbench
from workbench.recipe.online import Online
from workbench.recipe.plan import plan
from workbench.recipe.pseudo_label import strategies_of
from workbench.runs.events import ConfusionSeen, EpochDone, Event, Message, PoolTaught, StageStarted
from workbench.runs.ledger import read_ledger
from workbench.runs.metrics import MetricsWriter, read_events
from workbench.runs.predictions import load_predictions
from workbench.runs.results import Results, read_results
from workbench.runs.run_history import history_of
from workbench.train.feature_bank import INFERENCE_BATCH
from workbench.train.feed import Ints, KeptViews

WEAK = HEAD.replace("random_crop = false\nflip = false", "random_crop = [0.5, 1.0]").replace(
    "epochs = 3", "epochs = 2"
)
"""The head alone, on weakly augmented images."""

LENIENT = {
    "fixmatch": "threshold = 0.05",
    "flexmatch": "threshold = 0.11",
    "freematch": "momentum = 0.5",
    "softmatch": "momentum = 0.5",
    "mean_teacher": "rampup_epochs = 1.0",
    "meta_pseudo_labels": "finetune_epochs = 1",
}
"""Knobs that make untrained networks use their pseudo-labels."""


def _online(strategy: str, *lines: str) -> str:
    extra = "\n".join((LENIENT[strategy], *lines))
    return f"""
[pseudo_label]
strategy = "{strategy}"
labelled_fraction = 0.5
epochs_per_round = 2
unlabelled_ratio = 1
{extra}
"""


@pytest.mark.parametrize("strategy", sorted(strategies_of(Online)))
def test_every_online_strategy_trains_a_teacher_then_a_student_on_the_pool(
    strategy: str, sample: Path, tmp_path: Path
) -> None:
    trained = train(tiny(WEAK + _online(strategy), sample), tmp_path)
    assert trained.outcome.code == 0, trained.outcome
    stages = [(e.stage, e.round, e.labelled, e.pseudo_labelled) for e in trained.events(StageStarted)]
    last = [("fit", 1, 20, 0)] if strategy == "meta_pseudo_labels" else []
    assert stages == [("teacher", 0, 20, 0), ("student", 1, 20, 20), *last]
    pool = trained.events(PoolTaught)
    assert [(e.stage, e.round, e.epoch, e.images) for e in pool] == [
        ("student", 1, 1, 20),
        ("student", 1, 2, 20),
    ]
    assert all(0 < e.used <= 1 and e.accuracy is not None for e in pool)
    assert len(pool[0].thresholds) == (CLASSES if strategy.endswith("match") and strategy[0] == "f" else 0)
    (result,) = trained.results.rounds
    assert result.coverage == pytest.approx(pool[-1].used)
    assert result.pseudo_label_accuracy == pool[-1].accuracy
    assert trained.results.teacher_test is not None
    ledger = read_ledger(trained.directory.ledger(1))
    said = load_predictions(trained.directory.predictions("unlabelled-01"))
    assert [row.id for row in ledger] == list(said.ids)
    assert len(ledger) == 20
    assert [row.confidence for row in ledger] == pytest.approx(
        said.probabilities.max(axis=1).tolist(), rel=1e-5
    )
    assert all(row.selected == (row.weight > 0) for row in ledger)
    assert all(row.true_label is not None for row in ledger)
    validated = [e for e in trained.events(EpochDone) if e.split == "val" and e.stage == "student"]
    assert len(validated) == 2
    assert len(trained.events(ConfusionSeen)) == len(
        [e for e in trained.events(EpochDone) if e.split == "val"]
    )
    assert any("cannot be cached" in text for text in trained.recorder.messages("info"))


@pytest.mark.slow
def test_hidden_labels_decide_nothing(sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipes = {s: tiny(WEAK + _online(s), sample) for s in sorted(strategies_of(Online))}
    honest = {s: train(recipe, tmp_path / "honest") for s, recipe in recipes.items()}

    poison_hidden_labels(monkeypatch)
    said = []
    for strategy, recipe in recipes.items():
        lied_to = train(recipe, tmp_path / "poisoned")
        assert lied_to.results.weights_sha256 == honest[strategy].results.weights_sha256, strategy
        ours, theirs = honest[strategy].events(PoolTaught), lied_to.events(PoolTaught)
        assert [e.used for e in ours] == [e.used for e in theirs]
        said += [(e.pool_accuracy, other.pool_accuracy) for e, other in zip(ours, theirs, strict=True)]
    assert any(mine != other for mine, other in said)  # the poison did arrive: it shows in the scores


@pytest.mark.slow
def test_fixmatch_above_every_confidence_trains_the_student_as_labelled_images_alone_would(
    sample: Path, tmp_path: Path
) -> None:
    strict = ("pseudo_label.threshold=1.5", "pseudo_label.ema=0.0")
    first, second = (
        train(tiny(WEAK + _online("fixmatch"), sample, *strict, weight), tmp_path / weight)
        for weight in ("pseudo_label.unlabelled_weight=1.0", "pseudo_label.unlabelled_weight=500.0")
    )
    assert [e.used for e in first.events(PoolTaught)] == [0, 0]
    assert [e.accuracy for e in first.events(PoolTaught)] == [None, None]
    assert differing(first.weights(), second.weights()) == set()


def test_a_teacher_that_never_moves_is_evaluated_as_it_began(sample: Path, tmp_path: Path) -> None:
    still = _online("mean_teacher", "early_ema = 0.9999999", "late_ema = 0.9999999")
    trained = train(tiny(WEAK + still, sample), tmp_path)
    seen = [(e.stage, e.accuracy, e.loss) for e in trained.events(EpochDone) if e.split == "val"]
    _, best = min((-accuracy, loss) for stage, accuracy, loss in seen if stage == "teacher")
    assert [loss for stage, _, loss in seen if stage == "student"] == pytest.approx([best, best], rel=1e-4)


def test_the_plan_has_one_student_and_only_meta_pseudo_labels_finetunes_after_it() -> None:
    for strategy in strategies_of(Online):
        stages = plan(tiny(WEAK + _online(strategy), Path("/nowhere")))
        names = [(stage.name, stage.round) for stage in stages]
        assert names[:2] == [("teacher", 0), ("student", 1)]
        assert names[2:] == ([("fit", 1)] if strategy == "meta_pseudo_labels" else [])
        assert [stage.online is not None for stage in stages] == [False, True, False][: len(stages)]
    fresh = plan(
        tiny(TRUNK + _online("fixmatch", 'student = "fresh"'), Path("/nowhere"), "finetune.probe_epochs=1")
    )
    assert [stage.name for stage in fresh] == ["probe", "teacher", "probe", "student"]


def test_the_students_average_is_its_own_knob() -> None:
    teacher, student = plan(tiny(TRUNK + _online("fixmatch", "ema = 0.5"), Path("/nowhere")))
    assert (teacher.ema, student.ema) == (0.9, 0.5)
    assert plan(tiny(TRUNK + _online("mean_teacher"), Path("/nowhere")))[1].ema == 0


def test_strong_views_add_a_policy_to_the_weak_ones() -> None:
    recipe = tiny(WEAK + _online("fixmatch", "strong_erasing = 0.5"), Path("/nowhere"))
    knobs = plan(recipe)[1].online
    assert knobs is not None
    strong = knobs.second_view(recipe.augmentation)
    assert (strong.policy, strong.policy_operations, strong.policy_magnitude, strong.erasing) == (
        "rand",
        2,
        10,
        0.5,
    )
    assert strong.random_crop == recipe.augmentation.random_crop
    mean = plan(tiny(WEAK + _online("mean_teacher"), Path("/nowhere")))[1].online
    assert mean is not None
    assert mean.second_view(recipe.augmentation) == recipe.augmentation


def test_what_the_pool_was_taught_is_read_back_and_unknown_kinds_are_passed_over(tmp_path: Path) -> None:
    event = PoolTaught("student", 1, 3, 200, 0.5, 0.9, 0.7, [0.95, 0.4])
    with MetricsWriter(tmp_path / "metrics.jsonl") as writer:
        writer.event(event)
    with (tmp_path / "metrics.jsonl").open("a") as stream:
        stream.write('{"t":1.0,"kind":"of tomorrow","stage":"student"}\n')
    tail = read_events(tmp_path / "metrics.jsonl")
    assert [record.event for record in tail.records] == [event]
    assert tail.skipped == 1


def test_an_attempt_that_goes_back_behind_an_epoch_takes_its_pool_with_it() -> None:
    def pool(epoch: int, used: float) -> Event:
        return PoolTaught("student", 1, epoch, 20, used, None, 0.5, [])

    started = StageStarted("student", 1, 3, 20, 20, False)
    final = StageStarted("fit", 1, 1, 20, 0, False)
    told = [started, pool(1, 0.1), pool(2, 0.2), started, pool(2, 0.3), Message("info", "x"), final]
    events = history_of(told).events
    assert [e.used for e in events if isinstance(e, PoolTaught)] == [0.1, 0.3]
    assert final in events


def test_in_a_short_run_with_defaults_no_two_of_the_thresholds_methods_train_alike(
    sample: Path, tmp_path: Path
) -> None:
    losses = {}
    for strategy in ("fixmatch", "flexmatch", "freematch", "softmatch"):
        text = f"""
[pseudo_label]
strategy = "{strategy}"
labelled_fraction = 0.5
epochs_per_round = 1
unlabelled_ratio = 1
"""
        trained = train(tiny(WEAK + text, sample), tmp_path)
        assert trained.outcome.code == 0, trained.outcome
        (loss,) = [e.loss for e in trained.events(EpochDone) if e.stage == "student" and e.split == "val"]
        losses[strategy] = loss
        told = [text for text in trained.recorder.messages("info") if "by its" in text]
        knobs = "ema 0, momentum 0" if strategy in ("freematch", "softmatch") else "ema 0"
        assert told == [f"student r1: {knobs}: by its 3 steps"]
    assert len(set(losses.values())) == 4, losses


def test_an_average_that_a_run_is_too_short_for_is_warned_of(sample: Path, tmp_path: Path) -> None:
    slow = train(tiny(WEAK + _online("fixmatch", "ema = 0.999"), sample), tmp_path)
    (text,) = [text for text in slow.recorder.messages("warning") if "ema" in text]
    assert text == (
        "student r1: ema = 0.999 averages over 1000 steps and this stage has 6: what is evaluated stays near "
        "where it began"
    )
    paced = train(tiny(WEAK + _online("fixmatch"), sample), tmp_path)
    assert not [text for text in paced.recorder.messages("warning") if "ema" in text]


LATE = (
    "model.backbone='efficientnet_lite0'",
    "finetune.layers=['conv_head', 'head']",
    "finetune.batch_norm='frozen'",
    "optimizer.name='sgd'",
    "optimizer.learning_rate=1e-2",
    "pseudo_label.views=2",
)


@pytest.mark.parametrize("strategy", ["flexmatch", "mean_teacher", "meta_pseudo_labels"])
def test_kept_views_are_looked_at_once_for_all_runs_and_change_no_weight(
    strategy: str, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cold cache, a warm one, a run cut short and resumed: all the same weights."""
    recipe = tiny(WEAK + _online(strategy), sample, *LATE, "training.checkpoint_seconds=0")
    images: list[int] = []
    maps = KeptViews._maps

    def counted(self: KeptViews, turn: int, kind: int, positions: Ints) -> Tensor:
        images.append(len(positions))
        return maps(self, turn, kind, positions)

    monkeypatch.setattr(KeptViews, "_maps", counted)
    cold = train(recipe, tmp_path)
    assert cold.outcome.code == 0, cold.outcome
    assert any("2 views of either kind" in text for text in cold.recorder.messages("info"))
    assert sum(images) == 1 + 4 * INFERENCE_BATCH  # a look at the shape; two turns of two kinds
    images.clear()
    warm = train(recipe, tmp_path)
    assert sum(images) == 1
    assert differing(cold.weights("conclusion"), warm.weights("conclusion")) == set()
    broken = train(recipe, tmp_path, recorder=Crash(8))  # six intervals are the teacher's
    assert broken.outcome.code == 1
    resumed = go_on(broken.directory, recipe, tmp_path)
    assert resumed.outcome.code == 0, resumed.outcome
    for name in ("final", "conclusion"):
        assert differing(cold.weights(name), resumed.weights(name)) == set()


def test_students_on_kept_views_learn_what_they_would_from_the_images(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny(WEAK + _online("fixmatch"), sample, *LATE, "training.batch_size=20")
    kept = train(recipe, tmp_path)
    monkeypatch.setattr(KeptViews, "labelled", lambda *_: None)  # so that nothing is kept
    seen = train(recipe, tmp_path)
    assert any("cannot be cached" in text for text in seen.recorder.messages("info"))
    pools = [[(e.images, e.used) for e in run.events(PoolTaught)] for run in (kept, seen)]
    assert [images for images, _ in pools[0]] == [images for images, _ in pools[1]] == [20, 20]
    assert kept.events(PoolTaught)[0].used == pytest.approx(seen.events(PoolTaught)[0].used, abs=0.1)


def _timeless(results: Results) -> Results:
    return replace(results, training_seconds=0.0, images_per_second=0.0, peak_memory_bytes=0)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", sorted(strategies_of(Online)))
def test_a_run_killed_while_its_student_trains_and_resumed_gives_the_same_weights(
    strategy: str, sample: Path, tmp_path: Path
) -> None:
    often = TRUNK.replace("epochs = 2", "epochs = 1") + "checkpoint_seconds = 0\n"
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(recipe_text(often + _online(strategy), sample))
    whole = petbench("run", str(recipe), home=tmp_path / "whole")
    assert whole.code == 0, whole.output
    expected = read_results(only_run(tmp_path / "whole").results)
    # The teacher's steps: 20 images in batches of 8, then one for the end of its epoch and one of its stage.
    home = tmp_path / "cut"
    ended = petbench("run", str(recipe), home=home, moment=Moment("0*.safetensors", 8))
    assert ended.code == -signal.SIGKILL, ended.output
    resumed = petbench("resume", "latest", home=home)
    assert resumed.code == 0, resumed.output
    found = read_results(only_run(home).results)
    assert found.weights_sha256 == expected.weights_sha256
    assert _timeless(found) == _timeless(expected)
    events = [record.event for record in read_events(only_run(home).metrics).records]
    clean = [record.event for record in read_events(only_run(tmp_path / "whole").metrics).records]
    pools = [[e for e in history_of(each).events if isinstance(e, PoolTaught)] for each in (events, clean)]
    assert pools[0] == pools[1]
