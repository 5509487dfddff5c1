"""Crops and matrices, against torchvision's distributions and against plain arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torchvision import transforms

from workbench.loader import geometry
from workbench.loader.randomness import uniforms

Floats = NDArray[np.float64]


def _whole(count: int) -> Floats:
    return np.tile(np.array(geometry.WHOLE), (count, 1))


def _draws(count: int) -> Floats:
    return uniforms(0, "crop", ids=np.arange(count), draws=22)


def test_the_plain_crop_of_a_landscape_is_its_centre_square_of_seven_eighths() -> None:
    crop = geometry.plain_crops(np.array([[400.0, 300.0]]), _whole(1))[0] * [400, 300, 400, 300]
    side = 300 * 7 / 8
    np.testing.assert_allclose(crop, [200 - side / 2, 150 - side / 2, 200 + side / 2, 150 + side / 2])


def test_the_plain_crop_of_a_box_is_square_in_pixels_and_centred_in_the_box() -> None:
    box = np.array([[0.1, 0.5, 0.3, 1.0]])
    crop = geometry.plain_crops(np.array([[500.0, 200.0]]), box)[0] * [500, 200, 500, 200]
    np.testing.assert_allclose(crop, [100 - 43.75, 150 - 43.75, 100 + 43.75, 150 + 43.75])


@pytest.mark.parametrize("size", [(400, 300), (100, 900), (50, 50)])
def test_random_crops_stay_in_their_box_with_area_and_aspect_in_range(size: tuple[int, int]) -> None:
    sizes = np.tile(np.array(size, dtype=float), (2000, 1))
    boxes = np.tile([0.2, 0.1, 0.9, 0.8], (2000, 1))
    crops = geometry.random_crops(sizes, boxes, (0.3, 0.8), _draws(2000))
    assert (crops[:, :2] >= boxes[:, :2] - 1e-9).all()
    assert (crops[:, 2:] <= boxes[:, 2:] + 1e-9).all()
    width, height = ((crops[:, 2:] - crops[:, :2]) * sizes).T
    assert (width / height > 3 / 4 - 1e-6).all()
    assert (width / height < 4 / 3 + 1e-6).all()
    if size != (100, 900):  # so narrow that the fall-back is smaller than the area asked for
        share = width * height / (0.7 * 0.7 * sizes.prod(axis=1))
        assert (share >= 0.3 - 1e-9).all()
        assert (share <= 0.8 + 1e-9).all()


@pytest.mark.parametrize("size", [(400, 300), (200, 600)])
def test_random_crops_are_distributed_as_torchvisions(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    image, count = torch.zeros(3, size[1], size[0]), 3000
    theirs = np.array(
        [transforms.RandomResizedCrop.get_params(image, [0.3, 1.0], [3 / 4, 4 / 3]) for _ in range(count)]
    )  # top, left, height, width
    ours = geometry.random_crops(
        np.tile(np.array(size, float), (count, 1)), _whole(count), (0.3, 1.0), _draws(count)
    )
    ours = ours * [*size, *size]
    width, height = ours[:, 2] - ours[:, 0], ours[:, 3] - ours[:, 1]
    for mine, torchvisions in ((width, theirs[:, 3]), (height, theirs[:, 2]), (ours[:, 1], theirs[:, 0])):
        at = np.linspace(0.05, 0.95, 19)
        np.testing.assert_allclose(
            np.quantile(mine, at), np.quantile(torchvisions, at), atol=0.03 * max(size)
        )


def test_where_no_try_fits_the_crop_is_the_largest_centred_one_in_range() -> None:
    sizes = np.array([[100.0, 900.0], [900.0, 100.0]])
    crops = geometry.random_crops(sizes, _whole(2), (1.0, 1.0), _draws(2)) * np.tile(sizes, 2)
    height = 100 * 4 / 3
    np.testing.assert_allclose(crops[0], [0, 450 - height / 2, 100, 450 + height / 2])
    np.testing.assert_allclose(crops[1], [450 - height / 2, 0, 450 + height / 2, 100])


def test_erased_rectangles_are_distributed_as_torchvisions() -> None:
    torch.manual_seed(0)
    count, image = 3000, torch.zeros(3, 64, 64)
    theirs = np.array(
        [
            transforms.RandomErasing.get_params(image, (0.02, 0.33), (0.3, 3.3), [0.0])[:4]
            for _ in range(count)
        ]
    )  # top, left, height, width
    ours = geometry.random_rectangles(64, (0.02, 0.33), (0.3, 3.3), _draws(count))
    assert (ours >= 0).all()
    assert (ours <= 64).all()
    for mine, torchvisions in (
        (ours[:, 2] - ours[:, 0], theirs[:, 3]),
        (ours[:, 3] - ours[:, 1], theirs[:, 2]),
        (ours[:, 0], theirs[:, 1]),
        (ours[:, 1], theirs[:, 0]),
    ):
        assert stats.ks_2samp(mine, torchvisions).statistic < 0.05


def test_a_crops_matrix_takes_the_views_corners_to_the_crops() -> None:
    matrix = geometry.crop_matrices(np.array([[0.25, 0.1, 0.75, 0.3]]))[0]
    np.testing.assert_allclose(matrix @ [-1, -1, 1], [-0.5, -0.8, 1])
    np.testing.assert_allclose(matrix @ [1, 1, 1], [0.5, -0.4, 1])
