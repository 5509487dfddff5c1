"""Previews are the loader's own training views, of a few images alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.loader.conftest import CPU, Recorder, catalogue_of, smooth_picture
from workbench.dataset.catalogue import Catalogue, HeadBox
from workbench.loader import ImageBatches, Samples, open_store
from workbench.loader.preview import Preview, choose_images, pixels_of, previews
from workbench.loader.views import ViewFormat, plain_views
from workbench.recipe import Augmentation, Data
from workbench.support.errors import UserError

FORM = ViewFormat(48, (0.4, 0.5, 0.6), (0.2, 0.3, 0.25), CPU)
LIVELY = Augmentation(random_crop=(0.3, 1.0), flip=True, rotation=20.0, brightness=0.3, erasing=0.5)
PLAIN = Augmentation(random_crop=False, flip=False)


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    paths = []
    for number in range(6):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(smooth_picture(60 + 5 * number, 70, phase=number)).save(paths[-1])
    return catalogue_of(paths, {4: HeadBox(0.25, 0.25, 0.75, 0.75), 5: HeadBox(0.1, 0.2, 0.9, 0.8)})


def _drawn(
    catalogue: Catalogue,
    positions: list[int],
    augmentation: Augmentation,
    data: Data | None = None,
    views: int = 3,
) -> list[Preview]:
    return previews(catalogue, positions, data or Data(), augmentation, FORM, views=views, seed=7)


@pytest.mark.parametrize("mixing", ["none", "cutmix", "mixup"])
def test_views_are_those_that_training_on_these_images_would_see(
    catalogue: Catalogue, tmp_path: Path, mixing: str
) -> None:
    augmentation = LIVELY.model_copy(update={"mixing": mixing})
    positions = [5, 0, 3]
    few = replace(catalogue, records=tuple(catalogue.records[p] for p in positions))
    store = open_store(few, 48, cache=tmp_path / "cache", reporter=Recorder())
    samples = Samples.of(np.arange(3), few.labels("breed"), 2)
    batches = ImageBatches(store, samples, augmentation, 48, FORM.mean, FORM.std, 3, 7, CPU)
    shown = _drawn(catalogue, positions, augmentation)
    for view, epoch in enumerate((1, 2, 3)):
        (batch,) = batches.epoch(epoch)
        for row, image in enumerate(batch.positions.tolist()):
            assert (shown[image].views[view] == pixels_of(batch.inputs, FORM)[row]).all()
    plain = pixels_of(plain_views(store, np.arange(3), FORM), FORM)
    for number, image in enumerate(shown):
        assert image.record is catalogue.records[positions[number]]
        assert (image.plain == plain[number]).all()


def test_a_seed_gives_the_same_views_and_another_seed_others(catalogue: Catalogue) -> None:
    one, again = (_drawn(catalogue, [0, 1], LIVELY) for _ in range(2))
    other = previews(catalogue, [0, 1], Data(), LIVELY, FORM, views=3, seed=8)
    assert all(
        (a == b).all() for x, y in zip(one, again, strict=True) for a, b in zip(x.views, y.views, strict=True)
    )
    assert any((a != b).any() for a, b in zip(one[0].views, other[0].views, strict=True))
    assert (one[0].views[0] != one[0].views[1]).any()


def test_without_augmentation_every_view_is_the_plain_one(catalogue: Catalogue) -> None:
    for shown in _drawn(catalogue, [0, 1], PLAIN):
        assert len(shown.views) == 3
        assert all((view == shown.plain).all() for view in shown.views)


def test_fixed_copies_are_shown_once_each(catalogue: Catalogue) -> None:
    shown = _drawn(catalogue, [0, 1], LIVELY, Data(augmented_copies=2), views=5)
    assert [len(image.views) for image in shown] == [2, 2]
    assert (shown[0].views[0] != shown[0].views[1]).any()
    assert [
        len(image.views) for image in _drawn(catalogue, [0], LIVELY, Data(augmented_copies=4), views=2)
    ] == [2]


def test_head_crops_take_turns_with_the_whole_image_or_stand_alone(catalogue: Catalogue) -> None:
    added = _drawn(catalogue, [0, 4], PLAIN, Data(head_crops="add"), views=4)
    assert [len(image.views) for image in added] == [4, 4]
    whole, head = added[1].views[:2]
    assert (whole == added[1].plain).all()
    assert (head != whole).any()
    only = _drawn(catalogue, [4], PLAIN, Data(head_crops="only"), views=2)
    assert all((view == head).all() for view in only[0].views)
    with pytest.raises(UserError, match="head box"):
        _drawn(catalogue, [0], PLAIN, Data(head_crops="only"))


def test_images_are_chosen_from_as_many_classes_as_there_are(catalogue: Catalogue) -> None:
    for seed in range(5):
        chosen = choose_images(catalogue, Data(), 4, seed)
        assert chosen == choose_images(catalogue, Data(), 4, seed)
        assert len(set(chosen)) == 4
        labels = catalogue.labels("breed")[chosen]
        assert set(labels[:2].tolist()) == {0, 1}
        assert all(catalogue.records[position].part == "train" for position in chosen)
    assert len({tuple(choose_images(catalogue, Data(), 4, seed)) for seed in range(5)}) > 1
    assert len(choose_images(catalogue, Data(), 99, 0)) == 6
    assert set(choose_images(catalogue, Data(head_crops="only"), 9, 0)) == {4, 5}
