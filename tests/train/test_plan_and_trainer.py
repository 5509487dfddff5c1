"""The plan tells what the trainer does: random recipes are trained, and every stage is counted against it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from tests.train.making import Trained, train
from workbench.dataset import load_split
from workbench.dataset.run_data import open_catalogue
from workbench.model import backbones
from workbench.model.classifier import Architecture, LayerGroup
from workbench.model.family import BackboneFamily
from workbench.recipe import Recipe, load_recipe
from workbench.recipe.fields import Table
from workbench.recipe.offline import Noise
from workbench.recipe.plan import Stage, passes, plan
from workbench.recipe.pseudo_label import STRATEGIES
from workbench.runs.estimate import planned_stages
from workbench.runs.events import EpochDone, StageStarted, StepDone

GROUPS = ("stem", "block")
NOT_DRAWN = ("strategy", "labels_per_class", "stratified", "representative", "similarity")
"""Which labels are kept is another matter, and the small network has no published head to compare by."""


class Block(nn.Module):
    """A residual block with a layer norm."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.GroupNorm(1, 8))
        self.stochastic_depth = StochasticDepth(0.0, "row")

    def forward(self, maps: Tensor) -> Tensor:
        """(B, 8, h, w) -> the same."""
        added: Tensor = maps + self.stochastic_depth(self.branch(maps))
        return added


class Net(nn.Sequential):
    """Images (B, 3, H, W) -> features (B, 8): as small as a network with every kind of norm can be."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.BatchNorm2d(8), nn.ReLU())
        self.block = Block()
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Nets(BackboneFamily):
    """In place of any family."""

    def names(self) -> tuple[str, ...]:
        """None is asked for."""
        return ()

    def architecture(self, name: str, weights: str, **_: object) -> Architecture:
        """The network above."""
        return Architecture(name, Net(), 8, tuple(LayerGroup(g, (g,)) for g in GROUPS), native_size=64)


def _small(table: type[Table]) -> st.SearchStrategy[dict[str, Any]]:
    """Values of some of a strategy's knobs: choices, switches and counts, which are what stages hang on."""
    chosen: dict[str, st.SearchStrategy[Any]] = {}
    for name, field in table.model_fields.items():
        if name in NOT_DRAWN:
            continue
        words = [word for part in _parts(field.annotation) for word in _words(part)]
        if words:
            chosen[name] = st.sampled_from(words)
        elif field.annotation is bool:
            chosen[name] = st.booleans()
        elif field.annotation is int:
            least = min(getattr(rule, "ge", 3) for rule in field.metadata)
            chosen[name] = st.integers(least, max(least, 3))
    chosen |= {"fraction": st.floats(0.1, 1)} if "fraction" in table.model_fields else {}
    if "noise" in table.model_fields:
        noise = {"dropout": st.just(0.1), "stochastic_depth": st.just(0.1), "policy": _noise_policies()}
        chosen["noise"] = st.fixed_dictionaries({}, optional=noise)
    return st.fixed_dictionaries({}, optional=chosen)


def _noise_policies() -> st.SearchStrategy[str]:
    return st.sampled_from(
        [word for part in _parts(Noise.model_fields["policy"].annotation) for word in _words(part)]
    )


def _parts(annotation: Any) -> tuple[Any, ...]:
    return (annotation,) if get_origin(annotation) is Literal else get_args(annotation) or (annotation,)


def _words(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) is Literal else ()


@st.composite
def _pseudo_labels(draw: st.DrawFn) -> dict[str, Any]:
    strategy = draw(st.sampled_from(sorted(STRATEGIES)))
    knobs = draw(_small(STRATEGIES[strategy]))
    return {"strategy": strategy, "labelled_fraction": draw(st.sampled_from([0.4, 0.5, 0.6])), **knobs}


NORMS = st.sampled_from(["all", "tuned", "frozen", []])
TABLES: Mapping[str, Mapping[str, st.SearchStrategy[Any]]] = {
    "data": {
        "augmented_copies": st.integers(0, 2),
        "head_crops": st.sampled_from(["off", "add", "only"]),
        "evaluation_views": st.just(["centre"]),
        "validation_images": st.just(10),
        "folds": st.just(4),
        "label_folds": st.just(2),
        "image_size": st.just(32),
    },
    "model": {"dropout": st.just(0.2), "stochastic_depth": st.just(0.1)},
    "finetune": {
        "layers": st.sampled_from(["all", "head", ["head"], ["head", "head"], ["head", "block"]]),
        "batch_norm": NORMS,
        "batch_norm_statistics": st.sampled_from(["same", "all", "frozen", []]),
        "layer_norm": NORMS,
        "probe_epochs": st.integers(0, 2),
        "gradual_unfreeze": st.integers(0, 1),
    },
    "optimizer": {
        "schedule": st.sampled_from(["constant", "cosine", "one_cycle", "step"]),
        "warmup_epochs": st.just(0.5),
    },
    "augmentation": {
        "random_crop": st.just(False),
        "flip": st.booleans(),
        "policy": st.sampled_from(["none", "rand"]),
        "mixing": st.sampled_from(["none", "mixup", "cutmix"]),
        "erasing": st.just(0.2),
    },
    "training": {
        "epochs": st.integers(1, 3),
        "batch_size": st.sampled_from([3, 8, 64]),
        "ema": st.just(0.5),
        "early_stop": st.integers(0, 2),
        "saliency_weight": st.just(0.01),
        "class_weights": st.sampled_from(["none", "balanced"]),
        "progressive": st.just(0.5),
    },
}
ALWAYS: Mapping[str, Mapping[str, Any]] = {
    "data": {"dataset": "sample", "image_size": 64},
    "model": {"backbone": "resnet18", "weights": "none"},
    "finetune": {},
    "optimizer": {"learning_rate": 1e-3},
    "augmentation": {"random_crop": False, "flip": False},
    "training": {"epochs": 2, "precision": "fp32"},
}


@st.composite
def small_recipes(draw: st.DrawFn, root: Path) -> Recipe:
    """Valid recipes for the sample at `root`, short enough to be trained in a moment."""
    values: dict[str, Any] = {"name": "planned"}
    for table, knobs in TABLES.items():
        # Few knobs at a time: of many, most recipes would be refused, and hardly any keep their features.
        few = draw(st.lists(st.sampled_from(sorted(knobs)), max_size=2, unique=True))
        values[table] = {**ALWAYS[table], **{name: draw(knobs[name]) for name in few}}
    values["data"]["root"] = str(root)
    if draw(st.integers(0, 3)):
        values["pseudo_label"] = draw(_pseudo_labels())
        if "epochs_per_round" not in values["pseudo_label"]:
            values["pseudo_label"]["epochs_per_round"] = 1
    for _ in range(20):
        try:
            return Recipe.model_validate(values)
        except ValidationError as error:
            assume(_took_back(values, error))
    raise AssertionError(values)


def _took_back(values: dict[str, Any], error: ValidationError) -> bool:
    """Take out a knob that the schema refuses beside others; False: it has another complaint."""
    details = error.errors()[0]
    context = details.get("ctx", {})
    keys = [name for name, _, _ in context.get("ignored", ())] + list(context.get("keys", ()))
    place = [str(part) for part in details["loc"][:1]]
    for key in keys:
        path = [*place, *str(key).split(".")]
        last, table = path.pop(), values
        for part in path:
            table = table.get(part, {})
        if table.pop(last, None) is not None:
            return True
    return False


def _expected(recipe: Recipe, run: Trained) -> Iterator[tuple[Stage, StageStarted]]:
    stages, began = plan(recipe), run.events(StageStarted)
    if len(began) < len(stages):
        assert any("the rounds end" in text for text in run.recorder.messages("info"))
    return zip(stages, began, strict=len(began) == len(stages))


def count(recipe: Recipe, run: Trained) -> None:
    """Every stage that began, its epochs, steps and images, and where they come from."""
    stages, began = plan(recipe), run.events(StageStarted)
    ended_early = "no better validation accuracy" in "".join(run.recorder.messages("info"))
    catalogue = open_catalogue(recipe.data, data_home=Path("/nowhere"))
    split = load_split(run.directory.split, catalogue)
    labelled, pool = len(split.labelled), len(split.unlabelled)
    first_epoch, images = 0, {True: 0, False: 0}
    for stage, event in _expected(recipe, run):
        assert (event.stage, event.round, event.epochs) == (stage.name, stage.round, stage.epochs)
        assert event.features is stage.is_on_features()
        assert stage.first_epoch == first_epoch
        first_epoch += stage.epochs
        assert event.labelled == stage.labelled_samples(labelled, catalogue.heads_among(split.labelled))
        trained = [e for e in _of(event, run.events(EpochDone)) if e.split == "train"]
        if not ended_early:
            assert [e.epoch for e in trained] == list(range(1, stage.epochs + 1))
        samples = event.labelled + (event.pseudo_labelled if stage.online is None else 0)
        steps = _of(event, run.events(StepDone))[-1].step
        assert steps == stage.steps_an_epoch(samples, pool) * len(trained)
        if stage.online is None:
            assert {e.images for e in trained} == {samples}
            # A class that is predicted less often than it should gives fewer; ⌈U/C⌉ of each are a few more.
            most = round(stage.pool_share * pool) + len(catalogue.breeds)
            assert event.pseudo_labelled <= most or not stage.share_is_known
        images[event.features] += stage.epochs * samples
    if len(began) == len(stages):
        assert recipe.sees_fixed_features is all(event.features for event in began)
    told = planned_stages(recipe, began, [])
    assert [(p.name, p.round, p.epochs) for p in told] == [(s.name, s.round, s.epochs) for s in stages]
    if recipe.pseudo_label is None and recipe.data.head_crops == "off":
        found = passes(stages, labelled, pool)
        assert (found.on_features, found.on_images) == (images[True], images[False])


EventT = TypeVar("EventT", EpochDone, StepDone)


def _of(stage: StageStarted, events: Sequence[EventT]) -> list[EventT]:
    return [event for event in events if (event.stage, event.round) == (stage.stage, stage.round)]


@pytest.fixture
def _net(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbones, "family_of", lambda _: Nets())


@pytest.mark.usefixtures("_net")
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_the_trainer_goes_through_the_plan(
    sample: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    recipe = data.draw(small_recipes(sample))
    run = train(recipe, tmp_path_factory.getbasetemp() / "planned")
    assert run.outcome.code == 0, run.outcome.reason
    count(recipe, run)
    assert plan(load_recipe(run.directory.recipe)) == plan(recipe)
