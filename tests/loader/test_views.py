"""What the network sees, against PIL and torchvision doing the same step by step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import grid_sample
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tv

from tests.loader.conftest import CPU, random_store, smooth_picture, store_of
from workbench.loader.augmentation import ViewPlan, draw_plan
from workbench.loader.geometry import WHOLE, rotation_matrices
from workbench.loader.randomness import uniforms
from workbench.loader.store import stored_side
from workbench.loader.store_build import square_of
from workbench.loader.views import ViewFormat, augmented_views, plain_views, plain_views_of, render
from workbench.recipe.training import Augmentation

STILL = Augmentation(random_crop=False, flip=False)
EVERYTHING = Augmentation(
    rotation=20, brightness=0.4, colour=0.4, policy="rand", policy_magnitude=15, erasing=0.5
)


def _form(side: int) -> ViewFormat:
    """A format that leaves pixels in [0, 1]."""
    return ViewFormat(side, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), CPU)


def _augmented(pictures: list[NDArray[np.uint8]], augmentation: Augmentation) -> Tensor:
    """Views of 56 pixels of whole pictures from a store of 64."""
    count = len(pictures)
    return augmented_views(
        store_of(pictures, 64),
        np.arange(count),
        np.tile(np.array(WHOLE, dtype=np.float32), (count, 1)),
        np.arange(count, dtype=np.uint64),
        augmentation,
        _form(56),
        seed=0,
    )


def _torchvision_plain(picture: NDArray[np.uint8]) -> Tensor:
    resized = tv.resize(Image.fromarray(picture), 256, InterpolationMode.BICUBIC)
    cropped: Tensor = tv.to_tensor(tv.center_crop(resized, 224))
    return cropped


@pytest.mark.parametrize("size", [(400, 300), (300, 500), (256, 256), (640, 350)])
def test_a_plain_view_is_pils_resize_and_centre_crop(size: tuple[int, int]) -> None:
    picture = smooth_picture(*size)
    view = plain_views(store_of([picture], 256), np.array([0]), _form(224))[0]
    difference = (view - _torchvision_plain(picture)).abs() * 255
    # torchvision's crops lie on whole pixels: half a pixel aside is 2 levels on a slope of these waves.
    assert difference.mean() < 1.2
    assert difference.max() < 5


def test_evaluation_sees_squares_of_the_middle_and_the_whole_image_squashed() -> None:
    sizes = [(400, 300), (300, 500)]
    store = store_of([smooth_picture(*size) for size in sizes], 64)
    form = replace(_form(64), evaluation=("squash", "full", "close"))
    views = plain_views(store, np.array([0, 1]), form).view(3, 2, 3, 64, 64)
    stored = torch.from_numpy(np.array(store.pixels)).float() / 255
    torch.testing.assert_close(views[0], stored, atol=1e-5, rtol=0)
    for row, share in ((1, 1.0), (2, 0.75)):
        expected = torch.stack([_middle(*pair, share) for pair in zip(stored, sizes, strict=True)])
        torch.testing.assert_close(views[row], expected, atol=1e-4, rtol=0)


def _middle(stored: Tensor, size: tuple[int, int], share: float) -> Tensor:
    """The middle square of a stored picture that has `share` of the true picture's short side."""
    across, down = (share * min(size) / extent for extent in size)
    points = (torch.arange(64) + 0.5) / 32 - 1
    y, x = torch.meshgrid(down * points, across * points, indexing="ij")
    return grid_sample(stored[None], torch.stack([x, y], 2)[None], align_corners=False)[0]


def test_outputs_of_an_images_views_are_averaged() -> None:
    form = replace(_form(8), evaluation=("centre", "full"))
    outputs = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 8.0], [0.0, 0.0]])  # first views, then second ones
    torch.testing.assert_close(form.averaged(outputs), torch.tensor([[3.0, 5.0], [1.5, 2.0]]))
    assert form.as_shown.averaged(outputs) is outputs
    assert [form.images_a_pass(most) for most in (64, 5, 1)] == [32, 2, 1]


def test_views_are_normalised_float_and_channels_last() -> None:
    store = random_store(3, 37)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    plain = plain_views(store, np.arange(3), _form(32))
    normalised = plain_views(store, np.arange(3), ViewFormat(32, mean, std, CPU))
    assert normalised.dtype == torch.float32
    assert normalised.is_contiguous(memory_format=torch.channels_last)
    expected = (plain - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(normalised, expected, atol=1e-5, rtol=1e-5)


def test_half_of_the_views_are_mirrored_exactly() -> None:
    pictures = [smooth_picture(300, 300, phase=0.1 * i) for i in range(40)]
    still = _augmented(pictures, STILL)
    views = _augmented(pictures, Augmentation(random_crop=False, flip=True))
    mirrored = [torch.allclose(v, s.flip(2), atol=1e-5) for v, s in zip(views, still, strict=True)]
    same = [torch.allclose(v, s, atol=1e-5) for v, s in zip(views, still, strict=True)]
    assert all(m != s for m, s in zip(mirrored, same, strict=True))
    assert 10 <= sum(mirrored) <= 30


def test_a_rotation_turns_as_torchvisions_does() -> None:
    picture = torch.from_numpy(smooth_picture(224, 224)).permute(2, 0, 1)
    view = render(picture[None], ViewPlan(rotation_matrices(np.array([25.0]))), _form(224))[0] * 255
    theirs = tv.rotate(picture.float(), 25.0, InterpolationMode.BILINEAR)
    y, x = torch.meshgrid(torch.arange(224) - 111.5, torch.arange(224) - 111.5, indexing="ij")
    inside = x**2 + y**2 < 105**2
    assert (view - theirs)[:, inside].abs().max() < 0.6
    assert (view - tv.rotate(picture.float(), -25.0, InterpolationMode.BILINEAR))[:, inside].abs().max() > 30


def test_rotations_go_both_ways_up_to_their_limit() -> None:
    def stream(name: str, draws: int) -> NDArray[np.float64]:
        return uniforms(0, name, ids=np.arange(2000), draws=draws)

    augmentation = Augmentation(random_crop=False, flip=False, rotation=30)
    sizes, boxes = np.full((2000, 2), 100.0), np.tile(np.array(WHOLE), (2000, 1))
    matrices = draw_plan(augmentation, sizes, boxes, 64, stream).matrices
    degrees = np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    assert -30 <= degrees.min() < -29
    assert 29 < degrees.max() <= 30


def test_what_lies_outside_the_picture_is_its_mirror_image() -> None:
    bright = np.full((100, 100, 3), 200, dtype=np.uint8)
    views = _augmented([bright] * 8, Augmentation(random_crop=(0.9, 1.0), rotation=180))
    torch.testing.assert_close(views, torch.full_like(views, 200 / 255))


def test_a_head_box_shows_only_the_head() -> None:
    picture = np.zeros((200, 400, 3), dtype=np.uint8)
    picture[40:120, 240:320] = (250, 10, 10)
    box = np.array([[0.6, 0.2, 0.8, 0.6]], dtype=np.float32)  # just the red square
    store, key = store_of([picture], 256), np.zeros(1, dtype=np.uint64)
    for augmentation in (STILL, Augmentation(random_crop=(0.3, 0.8), flip=True)):
        view = augmented_views(store, np.array([0]), box, key, augmentation, _form(96), 0)[0]
        inner = view[:, 12:-12, 12:-12]
        torch.testing.assert_close(inner[0], torch.full_like(inner[0], 250 / 255), atol=0.05, rtol=0)
        assert inner[1:].max() < 0.1


def test_brightness_and_colour_scale_within_their_range() -> None:
    picture = np.full((64, 64, 3), (120, 100, 90), dtype=np.uint8)
    views = _augmented([picture] * 200, Augmentation(random_crop=False, flip=False, brightness=0.5))
    factors = views[:, 0, 0, 0] * 255 / 120
    assert 0.5 <= factors.min() < 0.55
    assert 1.45 < factors.max() <= 1.5
    torch.testing.assert_close(views[:, 2, 5, 5] * 255 / 90, factors, atol=1e-3, rtol=1e-3)
    coloured = _augmented([picture] * 200, Augmentation(random_crop=False, flip=False, colour=1.0))
    spread = (coloured[:, 0, 0, 0] - coloured[:, 2, 0, 0]) * 255 / 30
    assert 0 <= spread.min() < 0.1
    assert 1.9 < spread.max() <= 2.0


def test_erasing_blanks_a_rectangle_to_the_mean_in_its_share_of_images() -> None:
    white = np.full((64, 64, 3), 255, dtype=np.uint8)
    views = _augmented([white] * 200, Augmentation(random_crop=False, flip=False, erasing=0.3))
    blank = views[:, 0] == 0  # a normalised 0
    hit = blank.flatten(1).any(dim=1)
    assert 35 <= hit.sum() <= 85
    for mask in blank[hit]:
        rows, columns = mask.any(dim=1).sum(), mask.any(dim=0).sum()
        assert mask.sum() == rows * columns
        assert 0.015 < mask.float().mean() < 0.34
    assert torch.equal(views[hit][:, 1] == 0, blank[hit])


def test_a_view_depends_on_its_seed_and_key_and_not_on_its_batch() -> None:
    store, form = random_store(12, 37), _form(32)
    positions, keys = np.arange(12), np.arange(100, 112, dtype=np.uint64)
    boxes = np.tile(np.array(WHOLE, dtype=np.float32), (12, 1))
    whole = augmented_views(store, positions, boxes, keys, EVERYTHING, form, 5)
    rows = np.array([7, 2, 9])
    some = augmented_views(store, positions[rows], boxes[rows], keys[rows], EVERYTHING, form, 5)
    torch.testing.assert_close(some, whole[rows], atol=1e-6, rtol=0)
    again = augmented_views(store, positions, boxes, keys, EVERYTHING, form, 5)
    assert torch.equal(again, whole)
    for other in (
        augmented_views(store, positions, boxes, keys, EVERYTHING, form, 6),
        augmented_views(store, positions, boxes, keys + np.uint64(1000), EVERYTHING, form, 5),
    ):
        assert ((other - whole).abs().flatten(1).max(dim=1).values > 0.05).all()


def test_spared_images_are_plain_within_a_batch_that_is_augmented() -> None:
    store, form = random_store(10, 37), _form(32)
    positions, keys = np.arange(10), np.arange(10, dtype=np.uint64)
    boxes = np.tile(np.array(WHOLE, dtype=np.float32), (10, 1))
    spared = np.arange(10) % 2 == 0
    views = augmented_views(store, positions, boxes, keys, EVERYTHING, form, 0, spared)
    plain = plain_views(store, positions, form)
    augmented = augmented_views(store, positions, boxes, keys, EVERYTHING, form, 0)
    # Half a grey level: the colour pass rounds differently from the plain one.
    torch.testing.assert_close(views[spared], plain[spared], atol=0.002, rtol=0)
    torch.testing.assert_close(views[~spared], augmented[~spared], atol=1e-6, rtol=0)
    assert (views[~spared] - plain[~spared]).abs().max() > 0.1


def test_turning_one_change_on_does_not_redraw_another() -> None:
    pictures = [smooth_picture(300, 260, phase=i) for i in range(6)]
    crops = _augmented(pictures, Augmentation())
    dimmed = _augmented(pictures, Augmentation(brightness=0.3))
    ratio = (dimmed / crops.clamp(min=1e-3))[:, 1, 25:30, 25:30].flatten(1)
    unclipped = dimmed[:, 1, 25:30, 25:30].flatten(1).amax(dim=1) < 0.99
    assert unclipped.any()
    assert (ratio.std(dim=1)[unclipped] < 1e-3).all()


def test_a_view_of_an_image_in_memory_is_that_of_the_store() -> None:
    pictures = [smooth_picture(140, 90), smooth_picture(70, 133, phase=2.0)]
    store, form = store_of(pictures, stored_side(56)), _form(56)
    squares = [square_of(picture, store.side) for picture in pictures]
    expected = plain_views(store, np.arange(2), form)
    found = plain_views_of(squares, form)
    assert torch.equal(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_pixels_between_those_that_a_small_view_samples_count_too() -> None:
    stripes = np.zeros((256, 256, 3), dtype=np.uint8)
    stripes[:, ::4] = 255  # one column of four: sampled bare, a view would show all of it or nothing
    store = store_of([stripes, np.full_like(stripes, 200)], 256)
    views = plain_views(store, np.arange(2), replace(_form(64), evaluation=("full",)))
    torch.testing.assert_close(views[0], torch.full_like(views[0], 0.25), atol=0.02, rtol=0)
    torch.testing.assert_close(views[1], torch.full_like(views[1], 200 / 255))
    # Cut close, the same square is sampled at its own pixels.
    box = np.array([[100 / 256, 100 / 256, 164 / 256, 164 / 256]], dtype=np.float32)
    still = Augmentation(random_crop=(1.0, 1.0), flip=False)
    close = augmented_views(store, np.array([0]), box, np.zeros(1, dtype=np.uint64), still, _form(64), 0)
    assert close.std() > 0.4
